"""A tenant's own objects in a Dedicated swarm's namespace: what may be asked for, and what is completed.

Only what is known here may be said: a field that nobody looked at could open a wall, and one that the apiserver does
not know would be dropped, and written again at every sync. Pods are brought to the *restricted* Pod Security Standard
where they are silent, and refused where they ask for less:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from userswarm import quantity
from userswarm.errors import Problem, QuantityError
from userswarm.k8s import (
    CONFIG_MAP,
    CRON_JOB,
    DEPLOYMENT,
    JOB,
    MAX_APPLIED_BYTES,
    SERVICE,
    Kind,
    Manifest,
    applied_size,
)
from userswarm.settings import Settings
from userswarm.slugs import SWARM_PREFIX

WORKLOAD_KINDS: tuple[Kind, ...] = (DEPLOYMENT, SERVICE, CONFIG_MAP, JOB, CRON_JOB)
MAX_WORKLOADS = 20
MAX_WORKLOADS_BYTES = 256 * 1024

_RESERVED = (SWARM_PREFIX, "verify-", "kube-")
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?")
_RESERVED_KEYS = re.compile(
    r"(.*\.)?(crawbl\.ai|metacontroller\.k8s\.io|metacontroller\.io|kubernetes\.io|k8s\.io)/.*|controller-uid"
)

_METADATA = frozenset(("name", "namespace", "labels", "annotations"))
_TOP: Mapping[str, frozenset[str]] = {
    DEPLOYMENT.kind: frozenset(("spec",)),
    SERVICE.kind: frozenset(("spec",)),
    CONFIG_MAP.kind: frozenset(("data", "binaryData", "immutable")),
    JOB.kind: frozenset(("spec",)),
    CRON_JOB.kind: frozenset(("spec",)),
}
_JOB_SPEC = frozenset(("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "suspend", "template"))
_SPEC: Mapping[str, frozenset[str]] = {
    DEPLOYMENT.kind: frozenset(
        (
            "replicas",
            "selector",
            "template",
            "strategy",
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
            "paused",
        )
    ),
    SERVICE.kind: frozenset(("type", "ports", "selector", "clusterIP", "publishNotReadyAddresses", "sessionAffinity")),
    JOB.kind: _JOB_SPEC,
    CRON_JOB.kind: frozenset(
        (
            "schedule",
            "timeZone",
            "concurrencyPolicy",
            "suspend",
            "startingDeadlineSeconds",
            "successfulJobsHistoryLimit",
            "failedJobsHistoryLimit",
            "jobTemplate",
        )
    ),
}
_POD_SPEC = frozenset(
    (
        "containers",
        "initContainers",
        "volumes",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "nodeSelector",
        "tolerations",
        "securityContext",
        "imagePullSecrets",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "hostNetwork",
        "hostPID",
        "hostIPC",
    )
)
_CONTAINER = frozenset(
    (
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "args",
        "workingDir",
        "env",
        "envFrom",
        "ports",
        "resources",
        "volumeMounts",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "securityContext",
        "restartPolicy",
        "stdin",
        "tty",
    )
)
_VOLUMES = frozenset(("name", "emptyDir", "configMap", "secret", "downwardAPI"))
_CONTAINER_SECURITY = frozenset(
    (
        "allowPrivilegeEscalation",
        "capabilities",
        "privileged",
        "readOnlyRootFilesystem",
        "runAsNonRoot",
        "runAsUser",
        "runAsGroup",
        "seccompProfile",
    )
)
_POD_SECURITY = frozenset(
    (
        "fsGroup",
        "fsGroupChangePolicy",
        "runAsNonRoot",
        "runAsUser",
        "runAsGroup",
        "seccompProfile",
        "supplementalGroups",
    )
)


def complete_workloads(workloads: Sequence[Any], settings: Settings) -> tuple[list[Manifest], list[Problem]]:
    """Return the workloads completed to what a restricted namespace admits, and all that is wrong with them.

    A workload with a problem is not among those returned. The input is not changed.
    """
    completed: list[Manifest] = []
    problems: list[Problem] = []
    if len(workloads) > MAX_WORKLOADS:
        problems.append(Problem("spec.workloads", f"are {len(workloads)}; at most {MAX_WORKLOADS}"))
    size = applied_size(list(workloads))
    if size > min(MAX_WORKLOADS_BYTES, MAX_APPLIED_BYTES * MAX_WORKLOADS):
        problems.append(Problem("spec.workloads", f"are {size} bytes as JSON; at most {MAX_WORKLOADS_BYTES}"))
    seen: set[tuple[str, str]] = set()
    for position, workload in enumerate(workloads):
        path = f"spec.workloads[{position}]"
        manifest = _without_empty(copy.deepcopy(workload))
        found = list(_check_workload(manifest, path, settings))
        if not found:
            key = (manifest["kind"], manifest["metadata"]["name"])
            if key in seen:
                found = [Problem(f"{path}.metadata.name", f"a second {key[0]} {key[1]!r}; names must differ")]
            seen.add(key)
        if found:
            problems.extend(found)
        else:
            completed.append(manifest)
    return completed, problems


def pod_template(manifest: Manifest) -> Manifest | None:
    """Return the Pod template inside a workload, None for a kind that has none."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == CRON_JOB.kind:
        spec = spec["jobTemplate"]["spec"]
    template: Manifest | None = spec.get("template") if isinstance(spec, dict) else None
    return template


def _check_workload(manifest: Any, path: str, settings: Settings) -> Iterator[Problem]:
    """Yield what is wrong with one workload, and complete it in place."""
    if not isinstance(manifest, dict):
        yield Problem(path, "must be a Kubernetes object")
        return
    kind = next((each for each in WORKLOAD_KINDS if each.kind == manifest.get("kind")), None)
    if kind is None or manifest.get("apiVersion") != kind.api_version:
        allowed = ", ".join(f"{each.kind} of {each.api_version}" for each in WORKLOAD_KINDS)
        found = f"{manifest.get('kind')!r} of {manifest.get('apiVersion')!r}"
        yield Problem(f"{path}.kind", f"{found} is not allowed here; allowed are {allowed}")
        return
    yield from _only(manifest, _TOP[kind.kind] | {"apiVersion", "kind", "metadata"}, path)
    yield from _check_metadata(manifest.get("metadata"), f"{path}.metadata")
    if kind is CONFIG_MAP:
        yield from _check_texts(manifest.get("data", {}), f"{path}.data")
        return
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        yield Problem(f"{path}.spec", "must be an object")
        return
    yield from _only(spec, _SPEC[kind.kind], f"{path}.spec")
    if kind is SERVICE:
        yield from _check_service(spec, f"{path}.spec")
        return
    place = f"{path}.spec"
    if kind is CRON_JOB:
        job_template = spec.get("jobTemplate")
        spec = job_template.get("spec") if isinstance(job_template, dict) else None
        place = f"{path}.spec.jobTemplate.spec"
        if not isinstance(spec, dict):
            yield Problem(place, "must be an object")
            return
        yield from _only(spec, _JOB_SPEC, place)
    yield from _check_template(spec.get("template"), f"{place}.template", settings)
    if kind is DEPLOYMENT:
        yield from _check_selector(spec, place)


def _check_metadata(metadata: Any, path: str) -> Iterator[Problem]:
    if not isinstance(metadata, dict):
        yield Problem(path, "must be an object with a name")
        return
    yield from _only(metadata, _METADATA, path)
    name = metadata.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield Problem(
            f"{path}.name", f"{name!r} is no name here; must be a-z, 0-9 and -, start with a letter, at most 52"
        )
    elif name.startswith(_RESERVED) or name == "default":
        yield Problem(f"{path}.name", f"{name!r} is reserved; must not start with {' or '.join(_RESERVED)}")
    if "namespace" in metadata:
        yield Problem(f"{path}.namespace", "is always the swarm's own namespace; leave it out")
    yield from _check_keys(metadata, path)


def _check_keys(metadata: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for field in ("labels", "annotations"):
        texts = metadata.get(field, {})
        yield from _check_texts(texts, f"{path}.{field}")
        for key in texts if isinstance(texts, dict) else ():
            if _RESERVED_KEYS.fullmatch(key):
                yield Problem(f"{path}.{field}[{key}]", "is reserved for the platform; use a key of your own")


def _check_texts(texts: Any, path: str) -> Iterator[Problem]:
    if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
        yield Problem(path, "must be an object of texts")


def _check_service(spec: Manifest, path: str) -> Iterator[Problem]:
    if spec.setdefault("type", "ClusterIP") != "ClusterIP":
        yield Problem(f"{path}.type", f"{spec['type']!r} is not allowed here; a Service must be ClusterIP")
    if spec.get("clusterIP", "None") != "None":
        yield Problem(f"{path}.clusterIP", f"{spec['clusterIP']!r}: must be None for a headless Service, or left out")
    yield from _check_texts(spec.get("selector", {}), f"{path}.selector")
    for position, port in enumerate(_list(spec.get("ports"))):
        if isinstance(port, dict):
            yield from _only(port, frozenset(("name", "port", "targetPort", "protocol")), f"{path}.ports[{position}]")
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))


def _check_selector(spec: Manifest, path: str) -> Iterator[Problem]:
    selector = spec.get("selector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    template = spec.get("template")
    own = template.get("metadata", {}).get("labels") if isinstance(template, dict) else None
    if not isinstance(labels, dict) or not labels or set(selector or ()) != {"matchLabels"}:
        yield Problem(f"{path}.selector", "must have matchLabels, and nothing else")
    elif not isinstance(own, dict) or not labels.items() <= own.items():
        yield Problem(f"{path}.selector.matchLabels", "must be among the labels of the Pod template")


def _check_template(template: Any, path: str, settings: Settings) -> Iterator[Problem]:
    spec = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(spec, dict):
        yield Problem(f"{path}.spec", "must be an object")
        return
    yield from _only(template, frozenset(("metadata", "spec")), path)
    metadata = template.get("metadata", {})
    if isinstance(metadata, dict):
        yield from _only(metadata, frozenset(("labels", "annotations")), f"{path}.metadata")
        yield from _check_keys(metadata, f"{path}.metadata")
    yield from _check_pod(spec, f"{path}.spec", settings)


def _check_pod(spec: Manifest, path: str, settings: Settings) -> Iterator[Problem]:
    yield from _only(spec, _POD_SPEC, path)
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.pop(field, False) is not False:
            yield Problem(f"{path}.{field}", "is not allowed here; leave it out")
    if spec.setdefault("automountServiceAccountToken", False) is not False:
        yield Problem(f"{path}.automountServiceAccountToken", "must be false: a workload gets no token")
    spec["enableServiceLinks"] = bool(spec.get("enableServiceLinks", False))
    security = spec.setdefault("securityContext", {})
    yield from _check_security(security, _POD_SECURITY, f"{path}.securityContext")
    if isinstance(security, dict):
        security.setdefault("runAsNonRoot", True)
        security.setdefault("seccompProfile", {"type": "RuntimeDefault"})
        if "runAsUser" not in security:
            security["runAsUser"] = settings.runtime_user
    for position, volume in enumerate(_list(spec.get("volumes"))):
        where = f"{path}.volumes[{position}]"
        if isinstance(volume, dict):
            for field in sorted(set(volume) - _VOLUMES):
                allowed = ", ".join(sorted(_VOLUMES - {"name"}))
                yield Problem(f"{where}.{field}", f"is not allowed here; a volume must be one of {allowed}")
        else:
            yield Problem(where, "must be an object")
    containers = _list(spec.get("containers"))
    if not containers:
        yield Problem(f"{path}.containers", "must be a list of at least one container")
    for field in ("initContainers", "containers"):
        for position, container in enumerate(_list(spec.get(field))):
            yield from _check_container(container, f"{path}.{field}[{position}]", settings)


def _check_container(container: Any, path: str, settings: Settings) -> Iterator[Problem]:
    if not isinstance(container, dict):
        yield Problem(path, "must be an object")
        return
    yield from _only(container, _CONTAINER, path)
    image, prefixes = container.get("image"), settings.allowed_image_prefixes
    if not isinstance(image, str):
        yield Problem(f"{path}.image", "must be an image reference")
    elif prefixes and not image.startswith(prefixes):
        yield Problem(f"{path}.image", f"{image!r} is not allowed here; it must start with {' or '.join(prefixes)}")
    for position, port in enumerate(_list(container.get("ports"))):
        if isinstance(port, dict):
            yield from _only(port, frozenset(("name", "containerPort", "protocol")), f"{path}.ports[{position}]")
            port.setdefault("protocol", "TCP")
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(field)
        for action in ("httpGet", "tcpSocket"):
            if isinstance(probe, dict) and isinstance(probe.get(action), dict) and "host" in probe[action]:
                yield Problem(f"{path}.{field}.{action}.host", "is not allowed here; a probe asks the Pod itself")
    yield from _check_resources(container.get("resources", {}), f"{path}.resources")
    security = container.setdefault("securityContext", {})
    yield from _check_security(security, _CONTAINER_SECURITY, f"{path}.securityContext")
    if isinstance(security, dict):
        security.setdefault("allowPrivilegeEscalation", False)
        security.setdefault("capabilities", {}).setdefault("drop", ["ALL"])


def _check_security(security: Any, known: frozenset[str], path: str) -> Iterator[Problem]:
    """Refuse what the restricted standard refuses; what is only missing is completed by the caller."""
    if not isinstance(security, dict):
        yield Problem(path, "must be an object")
        return
    yield from _only(security, known, path)
    for field, wanted in (("privileged", False), ("allowPrivilegeEscalation", False), ("runAsNonRoot", True)):
        if security.get(field, wanted) is not wanted:
            yield Problem(f"{path}.{field}", f"must be {str(wanted).lower()}")
    if security.get("runAsUser", 1) == 0:
        yield Problem(f"{path}.runAsUser", "0 is root; must be another user")
    profile = security.get("seccompProfile", {"type": "RuntimeDefault"})
    if not isinstance(profile, dict) or profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield Problem(f"{path}.seccompProfile", "must be of type RuntimeDefault or Localhost")
    capabilities = security.get("capabilities", {})
    if not isinstance(capabilities, dict) or set(capabilities) - {"add", "drop"}:
        yield Problem(f"{path}.capabilities", "must be an object with drop")
        return
    if set(_list(capabilities.get("add"))) - {"NET_BIND_SERVICE"}:
        yield Problem(f"{path}.capabilities.add", "only NET_BIND_SERVICE is allowed here")
    if "ALL" not in capabilities.get("drop", ["ALL"]):
        yield Problem(f"{path}.capabilities.drop", "must hold ALL")


def _check_resources(resources: Any, path: str) -> Iterator[Problem]:
    """Check the quantities, and write them as Kubernetes stores them."""
    if not isinstance(resources, dict):
        yield Problem(path, "must be an object")
        return
    yield from _only(resources, frozenset(("requests", "limits")), path)
    for side, amounts in resources.items():
        if not isinstance(amounts, dict):
            yield Problem(f"{path}.{side}", "must be an object")
            continue
        for name, amount in amounts.items():
            try:
                amounts[name] = quantity.canonical(amount)
            except (QuantityError, TypeError) as error:
                yield Problem(f"{path}.{side}.{name}", str(error))


def _only(value: Mapping[str, Any], known: frozenset[str], path: str) -> Iterator[Problem]:
    for field in sorted(set(value) - known):
        yield Problem(f"{path}.{field}", f"is not allowed here; allowed are {', '.join(sorted(known))}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _without_empty(value: Any) -> Any:
    """Drop what the apiserver drops: nulls, and empty maps, lists and texts; an emptyDir is nothing but empty."""
    if isinstance(value, dict):
        kept = {key: _without_empty(inner) for key, inner in value.items() if inner is not None}
        return {key: inner for key, inner in kept.items() if inner not in ({}, [], "") or key == "emptyDir"}
    if isinstance(value, list):
        return [_without_empty(inner) for inner in value]
    return value
