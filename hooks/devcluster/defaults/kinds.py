"""The defaults of each kind."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

from devcluster.defaults.pods import fill_in, pod, template_of
from devcluster.objects import Manifest

_RBAC = "rbac.authorization.k8s.io"


def add_defaults(kind: str, obj: Manifest, random_source: random.Random) -> Manifest:
    """Fill in the API server's defaults, and return the object; `random_source` picks cluster IPs."""
    step = _DEFAULTS.get(kind)
    if step is not None:
        step(obj, random_source)
    return obj


def _namespace(obj: Manifest, _: random.Random) -> None:
    fill_in(obj, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _secret(obj: Manifest, _: random.Random) -> None:
    obj.setdefault("type", "Opaque")
    for name, text in obj.pop("stringData", {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _claim(obj: Manifest, _: random.Random) -> None:
    fill_in(obj.setdefault("spec", {}), volumeMode="Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _service(obj: Manifest, random_source: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    if spec["sessionAffinity"] == "ClientIP":
        fill_in(spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}), timeoutSeconds=10800)
    if not spec.get("clusterIP"):
        spec["clusterIP"] = f"10.96.{random_source.randrange(256)}.{random_source.randrange(1, 255)}"
    fill_in(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in spec.get("ports", ()):
        fill_in(port, protocol="TCP", targetPort=port.get("port"))
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _stateful_set(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(spec, podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    fill_in(spec.setdefault("persistentVolumeClaimRetentionPolicy", {}), whenDeleted="Retain", whenScaled="Retain")
    for claim in spec.get("volumeClaimTemplates", ()):
        fill_in(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim, _)
    template_of(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)
    obj["status"].setdefault("availableReplicas", 0)


def _job(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(
        spec,
        completions=1,
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="TerminatingOrFailed",
    )
    metadata = obj["metadata"]
    template = template_of(spec)
    labels = template["metadata"].setdefault("labels", {})
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    uid = metadata["uid"]
    for prefix in ("batch.kubernetes.io/", ""):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = metadata.get("name", "")
    fill_in(spec, selector={"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})
    obj.setdefault("status", {})


def _limit_range(obj: Manifest, _: random.Random) -> None:
    for item in obj.setdefault("spec", {}).get("limits", ()):
        if item.get("type") == "Container":
            default, request = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
            for known, source in ((default, item.get("max", {})), (request, default), (request, item.get("min", {}))):
                fill_in(known, **source)
            for name in ("default", "defaultRequest"):
                if not item[name]:
                    del item[name]


def _resource_quota(obj: Manifest, _: random.Random) -> None:
    fill_in(obj, spec={}, status={})


def _network_policy(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(spec, podSelector={})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            fill_in(port, protocol="TCP")


def _role_binding(obj: Manifest, _: random.Random) -> None:
    fill_in(obj.setdefault("roleRef", {}), apiGroup=_RBAC)
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in {"User", "Group"}:
            fill_in(subject, apiGroup=_RBAC)


def _deployment(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        fill_in(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    template_of(spec)
    obj.setdefault("status", {})


def _replica_set(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(spec, replicas=1)
    template_of(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _cron_job(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    fill_in(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    # The defaults of a Job itself are filled in when one is made.
    job_template = spec.setdefault("jobTemplate", {})
    fill_in(job_template, metadata={})
    template_of(job_template.setdefault("spec", {}))
    obj.setdefault("status", {})


def _endpoint_slice(obj: Manifest, _: random.Random) -> None:
    fill_in(obj, endpoints=None, ports=None)


_DEFAULTS: dict[str, Callable[[Manifest, random.Random], None]] = {
    "Namespace": _namespace,
    "Secret": _secret,
    "PersistentVolumeClaim": _claim,
    "Service": _service,
    "ResourceQuota": _resource_quota,
    "LimitRange": _limit_range,
    "NetworkPolicy": _network_policy,
    "RoleBinding": _role_binding,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "CronJob": _cron_job,
    "StatefulSet": _stateful_set,
    "Job": _job,
    "EndpointSlice": _endpoint_slice,
    "Pod": pod,
}
