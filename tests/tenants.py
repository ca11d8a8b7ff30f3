"""A cluster with quotas, limit ranges and Deployments, and what is to be made in it."""

from __future__ import annotations

from typing import Any

from devcluster.limit_ranges import default_limits, limit_range
from devcluster.quotas import resource_quota
from devcluster.workloads.deployments import DeploymentController
from devcluster.workloads.namespaces import ContentController
from devcluster.workloads.quotas import QuotaController
from devcluster.workloads.replica_sets import ReplicaSetController
from fakes import NAMESPACE, Json, Workloads, pod_spec

RBAC = "rbac.authorization.k8s.io"


class Tenants(Workloads):
    """`Workloads` with what a namespace of one's own needs besides."""

    def __init__(self) -> None:
        super().__init__()
        self.api.admission.insert(2, default_limits(self.api))
        self.api.validating += [limit_range(self.api), resource_quota(self.api)]
        self.contents = ContentController(self.api)
        self.quotas = QuotaController(self.api)
        self.deployments = DeploymentController(self.api)
        self.replica_sets = ReplicaSetController(self.api)

    def used(self, name: str = "q") -> Json:
        used: Json = self.get("ResourceQuota", name)["status"]["used"]
        return used


def _namespaced(api_version: str, kind: str, name: str, **content: Any) -> Json:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        **content,
    }


def quota(name: str = "q", hard: Json | None = None, **spec: Any) -> Json:
    return _namespaced("v1", "ResourceQuota", name, spec={"hard": hard or {}, **spec})


def limits(*items: Json, name: str = "l") -> Json:
    return _namespaced("v1", "LimitRange", name, spec={"limits": list(items)})


def network_policy(name: str = "n", **spec: Any) -> Json:
    return _namespaced("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def role_binding(role_ref: Json | None = None, subjects: list[Json] | None = None, name: str = "b") -> Json:
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "r"}
    return _namespaced(
        f"{RBAC}/v1",
        "RoleBinding",
        name,
        roleRef=reference if role_ref is None else role_ref,
        subjects=subjects or [{"kind": "User", "name": "ann"}],
    )


def resources(**amounts: str) -> Json:
    """A container's limits, which are its requests too."""
    return {"resources": {"limits": amounts}}


def deployment(
    name: str = "web", *, image: str = "registry.example/web:1", pods: Json | None = None, **spec: Any
) -> Json:
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec(container={"image": image}, **(pods or {}))}
    return _namespaced(
        "apps/v1",
        "Deployment",
        name,
        spec={"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    )


def cron_job(name: str = "nightly", **spec: Any) -> Json:
    template = {"spec": pod_spec(restartPolicy="Never")}
    return _namespaced(
        "batch/v1",
        "CronJob",
        name,
        spec={"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}, **spec},
    )
