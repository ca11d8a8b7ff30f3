"""What is asked of a real API server and recorded in tests/golden/apiserver; the dev cluster has to answer the same.

`pytest tests/cluster/test_recordings.py --update-golden` records.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from contract.rendered import MANIFESTS
from fakes import NAMESPACE, Json, claim, config_map, job, pod, secret, service, stateful_set
from properties.test_workloads import CORPUS
from template_samples import SHIPPED
from tenants import cron_job, deployment, limits, network_policy, quota, role_binding
from userswarm.compose.plan import compute_plan
from userswarm.spec.settings import Settings

RECORDED = Path(__file__).parent / "golden" / "apiserver"


def swarms() -> dict[str, Json]:
    """Return the samples, and swarms that say little or much of what they do not say."""
    found = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((MANIFESTS / "samples").glob("*.yaml"))
    }
    room = {"placement": {"isolation": "Dedicated"}, "quota": {"cpu": "9", "memory": "9Gi", "pods": 90}}
    room["limitRange"] = {"max": {"cpu": "2", "memory": "2Gi"}}
    for number, workload in enumerate(CORPUS):
        found[f"workload {number}"] = {
            "apiVersion": "crawbl.ai/v1alpha1",
            "kind": "UserSwarm",
            "metadata": {"name": "ann"},
            "spec": {"userId": "u", **room, "access": {"role": "edit"}, "workloads": [workload]},
        }
    return found


def stored() -> dict[str, Json]:
    """Return what is made of swarms, and small objects of other shapes; Namespaces have names of their own."""
    found: dict[str, Json] = {
        "a claim with a class": claim("c1", storageClassName="standard"),
        "a claim of an odd size": claim("c2", "1.5Gi"),
        "a headless service without ports": service("s1", clusterIP="None", ports=[]),
        "a service of two protocols": service(
            "s2", ports=[{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
        ),
        "a service named with a digit first": service("1a"),
        "a quota": quota("q1", {"requests.cpu": "1500u", "pods": "3", "count/jobs.batch": "1"}),
        "limits of all kinds": limits(
            {"type": "Container", "max": {"cpu": "1000m"}, "min": {"memory": "1024Ki"}},
            {"type": "Pod", "max": {"cpu": "1"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
            name="l1",
        ),
        "a policy of nothing": network_policy("n1", podSelector={}),
        "a binding": role_binding(name="b1"),
        "a CronJob": cron_job("cron1"),
        "a Deployment": deployment("d1", pods={"nodeSelector": {}, "tolerations": []}),
    }
    for name, swarm in swarms().items():
        for child in compute_plan(swarm, Settings(templates=SHIPPED)).children():
            if "namespace" in child["metadata"]:
                child["metadata"]["namespace"] = NAMESPACE
            # What is made of every swarm is among the samples.
            if not (name.startswith("workload") and child["metadata"]["name"].startswith("swarm-")):
                found[f"{name}: {child['kind']} {child['metadata']['name']}"] = child
    return found


def with_container(**changes: Any) -> Json:
    return pod(container=changes)


REFUSED: dict[str, Json] = {
    "no selector": stateful_set(selector=None),
    "a selector that misses the template": stateful_set(selector={"matchLabels": {"app": "other"}}),
    "a pod that never restarts in a set": stateful_set(pod_spec_changes={"restartPolicy": "Never"}),
    "a job whose pod always restarts": {**job(), "spec": {"template": {"spec": pod()["spec"]}}},
    "a job with a name too long for a label": job("j" * 64),
    "no containers": pod(containers=[]),
    "a strange restart policy": pod(restartPolicy="Sometimes"),
    "a container without a name": with_container(name=None),
    "a container without an image": with_container(image=""),
    "two containers of one name": pod(initContainers=[{"name": "main", "image": "i"}]),
    "a mount without a volume": with_container(volumeMounts=[{"name": "nothing", "mountPath": "/x"}]),
    "a variable with an equals sign": with_container(env=[{"name": "A=B"}]),
    "a request beyond its limit": with_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}),
    "a service without ports": service(ports=[]),
    "a port out of range": service(ports=[{"port": 70000}]),
    "two ports without names": service(ports=[{"name": "a", "port": 1}, {"port": 2}]),
    "a selector that is no label": service(selector={"app": "not a label"}),
    "a claim without access modes": claim(accessModes=[]),
    "a claim without a size": claim(resources={}),
    "a claim for nothing": claim(size="0"),
    "a key with a slash": config_map(data={"a/b": "x"}),
    "a key of dots": config_map(data={"..": "x"}),
    "a value that is no text": config_map(data={"a": 5}),
    "too much text": config_map(data={"a": "x" * 1024 * 1024, "b": "x"}),
    "a secret with a strange key": secret("s", **{"a b": "x"}),
}

CHANGED: dict[str, tuple[Json, Json]] = {
    "a set's replicas": (stateful_set("x1"), {"spec": {"replicas": 0}}),
    "a set's template": (stateful_set("x2"), {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}),
    "a set's service": (stateful_set("x3"), {"spec": {"serviceName": "other"}}),
    "a set's policy": (stateful_set("x4"), {"spec": {"podManagementPolicy": "Parallel"}}),
    "a Deployment's selector": (
        deployment("x5"),
        {"spec": {"selector": {"matchLabels": {"app": "y"}}, "template": {"metadata": {"labels": {"app": "y"}}}}},
    ),
    "a Deployment's strategy": (deployment("x6"), {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}),
    "a Job's template": (job("x7"), {"spec": {"template": {"spec": {"hostname": "x"}}}}),
    "a Job's completions": (job("x8"), {"spec": {"completions": 2}}),
    "a Job's deadline": (job("x9"), {"spec": {"activeDeadlineSeconds": 5}}),
    "a claim that is not bound": (claim("x10"), {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
    "a claim's class": (claim("x11"), {"spec": {"storageClassName": "other"}}),
    "a claim's modes": (claim("x12"), {"spec": {"accessModes": ["ReadWriteMany"]}}),
    "a service's address": (service("x13"), {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}}),
    "a service's port": (service("x14"), {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 81}]}}),
    "a binding's role": (role_binding(name="x15"), {"roleRef": {"name": "other"}}),
    "a quota's amount": (quota("x16", {"pods": "3"}), {"spec": {"hard": {"pods": "4"}}}),
    "a Pod's host name": (pod("x19"), {"spec": {"hostname": "x"}}),
    "a fixed ConfigMap": ({**config_map("x17"), "immutable": True}, {"data": {"k": "w"}}),
}
"""What is there, and a merge patch for it."""


def changed(stored: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """Return what is stored with a merge patch applied, to be written whatever came in between."""
    return _merged({**stored, "metadata": _without(stored["metadata"], "resourceVersion")}, patch)


def _without(metadata: Mapping[str, Any], name: str) -> Json:
    return {key: value for key, value in metadata.items() if key != name}


def _merged(obj: Json, patch: Mapping[str, Any]) -> Json:
    result = copy.deepcopy(obj)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merged(result.get(key, {}), value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def refusal(code: int, message: str) -> Json:
    """Return what counts of a refusal: its code, and the fields that it names."""
    why = "Required|Invalid|Unsupported|Duplicate|Not found|Forbidden|Too"
    return {"code": code, "fields": sorted(set(re.findall(rf"([\w/-][\w.\[\]/-]*): (?:{why})", message)))}


def comparable(answer: Mapping[str, Any]) -> Json:
    """Return what is stored of an object, without status and what no two servers give alike."""
    metadata = {key: value for key, value in answer["metadata"].items() if key in {"labels", "annotations"}}
    content = {key: value for key, value in answer.items() if key not in {"metadata", "status"}}
    text = json.dumps({**content, "metadata": metadata}, sort_keys=True)
    if "uid" in answer["metadata"]:
        text = text.replace(answer["metadata"]["uid"], "UID")
    found: Json = json.loads(re.sub(r'"10\.\d+\.\d+\.\d+"', '"ADDRESS"', text))
    return found
