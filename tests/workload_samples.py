"""A tenant's own workloads as a spec says them, the least of each kind, for tests of all sorts."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

POD = "spec.template.spec"
CONTAINER = f"{POD}.containers[0]"


def container(**fields: Any) -> Json:
    return {"name": "main", "image": "registry.example/app:1", **fields}


def pod(**fields: Any) -> Json:
    return {"containers": [container()], **fields}


def deployment(spec: Json | None = None, name: str = "web", **fields: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod() if spec is None else spec},
            **fields,
        },
    }


def with_container(**fields: Any) -> Json:
    return deployment(pod(containers=[container(**fields)]))


def service(**spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }


def job(spec: Json | None = None, **fields: Any) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {"template": {"spec": pod(restartPolicy="Never") if spec is None else spec}, **fields},
    }


def cron_job(schedule: str = "30 3 * * *", **fields: Any) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": job()["spec"]}, **fields},
    }


def config_map(**fields: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pages"}, "data": {"a": "b"}, **fields}
