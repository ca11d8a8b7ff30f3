"""What the API server makes of our kinds: the form in which it stores them, and the defaults it adds.

Two steps, as in Kubernetes: decoding into Go types drops what `omitempty` drops and writes quantities in canonical
form; then defaults are filled in. Source: the captured requests of a real run on Kubernetes 1.36.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

from devcluster import quantities
from devcluster.errors import bad_request
from devcluster.objects import Manifest, Observed
from devcluster.quantities import QuantityError

_MAPS = frozenset(
    {
        "labels",
        "annotations",
        "matchLabels",
        "nodeSelector",
        "data",
        "binaryData",
        "stringData",
        "parameters",
    }
)
"""Fields that are maps: dropped when empty, while their values are kept whatever they are."""

_QUANTITIES = frozenset(
    {
        "limits",
        "requests",
        "capacity",
        "allocatedResources",
        "hard",
        "used",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
    }
)
"""Fields that are maps of quantities."""

_ZEROS = frozenset(
    {
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "publishNotReadyAddresses",
        "initialDelaySeconds",
        "minReadySeconds",
        "paused",
        "hostPort",
        "nodePort",
    }
)
"""Fields whose false or 0 is the same as their absence, and is dropped; elsewhere it means something."""

_RBAC = "rbac.authorization.k8s.io"

_KEPT_LISTS = frozenset({"containers", "endpoints", "ports"})
_KEPT_TEXTS = frozenset({"image", "imageID", "storageClassName", "message", "reason", "type"})


def as_stored(kind: str, obj: Observed) -> Manifest:
    """Return an object of a built-in kind as decoding and encoding it would leave it.

    Raises ApiError (400) for a quantity that is none.
    """
    stored: Manifest = _decode(obj, "", in_service=kind == "Service")
    stored.setdefault("metadata", {})
    return stored


def metadata_as_stored(metadata: Observed) -> Manifest:
    """Return metadata as every kind, custom ones too, stores it: without nulls and without what is empty."""
    stored: Manifest = _decode(metadata, "metadata", in_service=False)
    return stored


def _decode(value: Any, field: str, *, in_service: bool) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        # A LimitRange has a list that is called limits, of objects that are no quantities.
        return [_decode(item, "", in_service=in_service) for item in value]
    if not isinstance(value, dict):
        return value
    if field in _QUANTITIES:
        return {name: _amount(item, f"{field}.{name}") for name, item in value.items() if item is not None}
    if _is_map(field, in_service=in_service):
        return {name: item for name, item in value.items() if item is not None}
    decoded = {}
    for name, item in value.items():
        if item is None or _is_omitted(name, item, in_service=in_service):
            continue
        amount = name in {"sizeLimit", "divisor"}
        decoded[name] = _quantity(item, name) if amount else _decode(item, name, in_service=in_service)
    return decoded


def _is_map(field: str, *, in_service: bool) -> bool:
    # A Service's selector is a plain map; everywhere else it is a LabelSelector.
    return field in _MAPS or (in_service and field == "selector")


def _is_omitted(name: str, value: Any, *, in_service: bool) -> bool:
    if value == {}:
        return name in _QUANTITIES or _is_map(name, in_service=in_service)
    if value == []:
        return name not in _KEPT_LISTS or (in_service and name == "ports")
    if value == "":
        return name not in _KEPT_TEXTS
    return name in _ZEROS and not value


def _quantity(value: Any, field: str) -> str:
    return _read(quantities.canonical, value, field)


def _amount(value: Any, field: str) -> str:
    return _read(quantities.canonical_amount, value, field)


def _read(written: Callable[[str | int], str], value: Any, field: str) -> str:
    try:
        return written(value)
    except QuantityError as error:
        raise bad_request(f"{field}: {error}") from None


def add_defaults(kind: str, obj: Manifest, random_source: random.Random) -> Manifest:
    """Fill in the API server's defaults, and return the object; `random_source` picks cluster IPs."""
    step = _DEFAULTS.get(kind)
    if step is not None:
        step(obj, random_source)
    return obj


def _default(target: Manifest, **values: Any) -> None:
    for name, value in values.items():
        target.setdefault(name, value)


def _namespace(obj: Manifest, _: random.Random) -> None:
    _default(obj, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")


def _secret(obj: Manifest, _: random.Random) -> None:
    obj.setdefault("type", "Opaque")
    for name, text in obj.pop("stringData", {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _claim(obj: Manifest, _: random.Random) -> None:
    _default(obj.setdefault("spec", {}), volumeMode="Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _service(obj: Manifest, random_source: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, type="ClusterIP", sessionAffinity="None", internalTrafficPolicy="Cluster")
    if spec["sessionAffinity"] == "ClientIP":
        _default(spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}), timeoutSeconds=10800)
    if not spec.get("clusterIP"):
        spec["clusterIP"] = f"10.96.{random_source.randrange(256)}.{random_source.randrange(1, 255)}"
    _default(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    for port in spec.get("ports", ()):
        _default(port, protocol="TCP", targetPort=port.get("port"))
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _stateful_set(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    _default(spec.setdefault("persistentVolumeClaimRetentionPolicy", {}), whenDeleted="Retain", whenScaled="Retain")
    for claim in spec.get("volumeClaimTemplates", ()):
        _default(claim, apiVersion="v1", kind="PersistentVolumeClaim")
        _claim(claim, _)
    _template(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)
    obj["status"].setdefault("availableReplicas", 0)


def _job(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(
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
    template = _template(spec)
    labels = template["metadata"].setdefault("labels", {})
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    uid = metadata["uid"]
    for prefix in ("batch.kubernetes.io/", ""):
        labels[f"{prefix}controller-uid"] = uid
        labels[f"{prefix}job-name"] = metadata.get("name", "")
    _default(spec, selector={"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})
    obj.setdefault("status", {})


def _limit_range(obj: Manifest, _: random.Random) -> None:
    for item in obj.setdefault("spec", {}).get("limits", ()):
        if item.get("type") == "Container":
            default, request = item.setdefault("default", {}), item.setdefault("defaultRequest", {})
            for known, source in ((default, item.get("max", {})), (request, default), (request, item.get("min", {}))):
                _default(known, **source)
            for name in ("default", "defaultRequest"):
                if not item[name]:
                    del item[name]


def _resource_quota(obj: Manifest, _: random.Random) -> None:
    _default(obj, spec={}, status={})


def _network_policy(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, podSelector={})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            _default(port, protocol="TCP")


def _role_binding(obj: Manifest, _: random.Random) -> None:
    _default(obj.setdefault("roleRef", {}), apiGroup=_RBAC)
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in {"User", "Group"}:
            _default(subject, apiGroup=_RBAC)


def _deployment(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _default(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    _template(spec)
    obj.setdefault("status", {})


def _replica_set(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, replicas=1)
    _template(spec)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _cron_job(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    # The defaults of a Job itself are filled in when one is made.
    job_template = spec.setdefault("jobTemplate", {})
    _default(job_template, metadata={})
    _template(job_template.setdefault("spec", {}))
    obj.setdefault("status", {})


def _endpoint_slice(obj: Manifest, _: random.Random) -> None:
    _default(obj, endpoints=None, ports=None)


def _template(spec: Manifest) -> Manifest:
    template: Manifest = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))
    return template


def _pod(obj: Manifest, _: random.Random) -> None:
    spec = obj.setdefault("spec", {})
    _pod_spec(spec)
    _default(spec, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    containers = (*spec.get("initContainers", ()), *spec.get("containers", ()))
    for container in containers:
        resources = container["resources"]
        for name, amount in resources.get("limits", {}).items():
            resources.setdefault("requests", {}).setdefault(name, amount)
    status = obj.setdefault("status", {})
    _default(status, phase="Pending", qosClass=quality(spec))
    for condition in status.get("conditions", ()):
        condition.setdefault("lastProbeTime", None)
    for name in ("initContainerStatuses", "containerStatuses"):
        for entry in status.get(name, ()):
            _default(entry, lastState={}, imageID="")


def quality(spec: Observed) -> str:
    """Return the quality of service of a pod's spec that is complete."""
    resources = [each["resources"] for each in (*spec.get("initContainers", ()), *spec.get("containers", ()))]
    if not any(resources):
        return "BestEffort"
    guaranteed = all(
        each.get("limits", {}).get(name) is not None and each["limits"][name] == each["requests"].get(name)
        for each in resources
        for name in ("cpu", "memory")
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _pod_spec(spec: Manifest) -> None:
    _default(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
        securityContext={},
        terminationGracePeriodSeconds=30,
    )
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        _default(spec, serviceAccountName=account, serviceAccount=account)
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Manifest) -> None:
    tag = container.get("image", "").rpartition("/")[2].partition(":")[2]
    pinned = "@" in container.get("image", "") or tag not in {"", "latest"}
    _default(
        container,
        imagePullPolicy="IfNotPresent" if pinned else "Always",
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for entry in container.get("env", ()):
        _reference(entry.get("valueFrom", {}))
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if name in container:
            probe = container[name]
            _default(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if "httpGet" in probe:
                _default(probe["httpGet"], path="/", scheme="HTTP")
            if "grpc" in probe:
                _default(probe["grpc"], service="")


def _reference(source: Manifest) -> None:
    if "fieldRef" in source:
        _default(source["fieldRef"], apiVersion="v1")
    if "resourceFieldRef" in source:
        _default(source["resourceFieldRef"], divisor="0")


_VOLUME_MODE = ("configMap", "secret", "projected", "downwardAPI")


def _volume(volume: Manifest) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for name in _VOLUME_MODE:
        if name in volume:
            volume[name].setdefault("defaultMode", 0o644)
    sources = volume.get("projected", {}).get("sources", ())
    for source in sources:
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for source in (volume, *sources):
        for item in source.get("downwardAPI", {}).get("items", ()):
            _reference(item)


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
    "Pod": _pod,
}
