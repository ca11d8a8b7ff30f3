"""What the API server refuses about our kinds: on create, and what may not change on update.

Only what decides how a cluster goes on: what cannot be changed, and workloads that could never run. What else a real
API server refuses (network policies, roles, quotas) is asked of a real one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from devcluster import quantities
from devcluster.errors import bad_request
from devcluster.metadata import label_problems, name_problem
from devcluster.objects import Observed, same_json
from devcluster.selectors import from_object

_CONTENT_LIMIT = 1024 * 1024

_STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)

_STATEFUL_SET_MESSAGE = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)

_CLAIM_MESSAGE = (
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
    "bound claims"
)

_JOB_IMMUTABLE = ("selector", "template", "completionMode", "completions", "podFailurePolicy", "backoffLimitPerIndex")

_POD_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName")


def creation_problems(kind: str, obj: Observed) -> Iterator[str]:
    """Yield what is wrong with a new object of a built-in kind."""
    if kind in {"StatefulSet", "Deployment", "ReplicaSet"}:
        yield from _scalable(obj)
    elif kind == "CronJob":
        yield from _template(obj["spec"]["jobTemplate"]["spec"]["template"], ("Never", "OnFailure"))
    elif kind == "Job":
        yield from _template(obj["spec"]["template"], ("Never", "OnFailure"))
    elif kind == "Pod":
        yield from _pod_spec(obj["spec"], "spec", ("Always", "Never", "OnFailure"))
    elif kind == "Service":
        yield from _service(obj)
    elif kind == "PersistentVolumeClaim":
        yield from _claim(obj)
    elif kind in {"ConfigMap", "Secret"}:
        yield from _content(obj)
    elif kind in {"ResourceQuota", "LimitRange"}:
        yield from _not_modelled(obj["spec"])


def update_problems(kind: str, old: Observed, new: Observed) -> Iterator[str]:
    """Yield what is wrong with a changed object: with the object, and with the change."""
    yield from creation_problems(kind, new)
    before, after = old.get("spec", {}), new.get("spec", {})
    match kind:
        case "StatefulSet" if not same_json(_set_frozen(before), _set_frozen(after)):
            yield _STATEFUL_SET_MESSAGE
        case "Deployment" | "ReplicaSet" if not same_json(before.get("selector"), after.get("selector")):
            yield "spec.selector: Invalid value: field is immutable"
        case "Job":
            for field in _JOB_IMMUTABLE:
                if not same_json(before.get(field), after.get(field)):
                    yield f"spec.{field}: Invalid value: field is immutable"
        case "PersistentVolumeClaim":
            yield from _claim_update(old, before, after)
        case "Service" if before.get("clusterIP") != after.get("clusterIP"):
            yield f"spec.clusterIPs[0]: Invalid value: {[after.get('clusterIP')]}: may not change once set"
        case "Pod" if not same_json(_pod_frozen(before), _pod_frozen(after)):
            yield "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
        case "RoleBinding" if not same_json(old["roleRef"], new["roleRef"]):
            yield "roleRef: Invalid value: cannot change roleRef"
        case "ConfigMap" | "Secret" if old.get("immutable") and not same_json(_payload(old), _payload(new)):
            yield "data: Forbidden: field is immutable when `immutable` is set"


def _set_frozen(spec: Observed) -> dict[str, Any]:
    return _without(spec, _STATEFUL_SET_MUTABLE)


def _payload(obj: Observed) -> list[Any]:
    return [obj.get(field) for field in ("data", "binaryData", "immutable")]


def _without(spec: Observed, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}


def _pod_frozen(spec: Observed) -> dict[str, Any]:
    frozen = _without(spec, _POD_MUTABLE)
    for name in ("containers", "initContainers"):
        frozen[name] = [_without(container, ("image",)) for container in spec.get(name, ())]
    return frozen


def _scalable(obj: Observed) -> Iterator[str]:
    spec = obj["spec"]
    selector = spec.get("selector")
    if not selector:
        yield "spec.selector: Required value"
    elif not from_object(selector).matches(spec["template"]["metadata"].get("labels", {})):
        yield "spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`"
    yield from _template(spec["template"], ("Always",))


def _template(template: Observed, policies: tuple[str, ...]) -> Iterator[str]:
    yield from label_problems(template["metadata"].get("labels", {}), "spec.template.labels")
    yield from _pod_spec(template["spec"], "spec.template.spec", policies)


def _pod_spec(spec: Observed, path: str, policies: tuple[str, ...]) -> Iterator[str]:
    if not spec.get("containers"):
        yield f"{path}.containers: Required value"
    if spec["restartPolicy"] not in policies:
        supported = ", ".join(f'"{policy}"' for policy in policies)
        yield f'{path}.restartPolicy: Unsupported value: "{spec["restartPolicy"]}": supported values: {supported}'
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field, ())):
            where = f"{path}.{field}[{index}]"
            yield from _container(container, where, volumes)
            if container.get("name") in names:
                yield f'{where}.name: Duplicate value: "{container["name"]}"'
            names.add(container.get("name", ""))


def _container(container: Observed, where: str, volumes: set[str]) -> Iterator[str]:
    problem = name_problem("label", container.get("name"), f"{where}.name")
    if problem:
        yield problem
    if not container.get("image"):
        yield f"{where}.image: Required value"
    for index, mount in enumerate(container.get("volumeMounts", ())):
        if mount["name"] not in volumes:
            yield f'{where}.volumeMounts[{index}].name: Not found: "{mount["name"]}"'
    for index, entry in enumerate(container.get("env", ())):
        if not re.fullmatch(r"[^=\x00-\x1f\x7f]+", entry.get("name", "")):
            yield f"{where}.env[{index}].name: Invalid value: {entry.get('name', '')!r}: not an environment variable"
    resources = container["resources"]
    for name, amount in resources.get("requests", {}).items():
        limit = resources.get("limits", {}).get(name)
        if limit is not None and quantities.compare(amount, limit) > 0:
            problem = f'Invalid value: "{amount}": must be less than or equal to {name} limit of {limit}'
            yield f"{where}.resources.requests: {problem}"


def _service(obj: Observed) -> Iterator[str]:
    spec = obj["spec"]
    ports = spec.get("ports", [])
    if not ports and spec["clusterIP"] != "None":
        yield "spec.ports: Required value"
    for index, port in enumerate(ports):
        if not 1 <= port.get("port", 0) <= 65535:
            number = port.get("port", 0)
            yield f"spec.ports[{index}].port: Invalid value: {number}: must be between 1 and 65535, inclusive"
        if len(ports) > 1 and not port.get("name"):
            yield f"spec.ports[{index}].name: Required value"
    yield from label_problems(spec.get("selector", {}), "spec.selector")


def _claim(obj: Observed) -> Iterator[str]:
    spec = obj["spec"]
    if not spec.get("accessModes"):
        yield "spec.accessModes: Required value: at least 1 access mode is required"
    size = spec.get("resources", {}).get("requests", {}).get("storage")
    if size is None:
        yield "spec.resources[storage]: Required value"
    elif quantities.compare(size, "0") <= 0:
        yield f'spec.resources[storage]: Invalid value: "{size}": must be greater than zero'


def _claim_update(old: Observed, before: Observed, after: Observed) -> Iterator[str]:
    frozen = ("resources", "volumeName") if not before.get("volumeName") else ("resources",)
    if not same_json(_without(before, frozen), _without(after, frozen)):
        yield _CLAIM_MESSAGE
        return
    have = before["resources"]["requests"]["storage"]
    want = after.get("resources", {}).get("requests", {}).get("storage", have)
    if quantities.compare(want, have) < 0:
        yield "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    elif quantities.compare(want, have) > 0 and old["status"]["phase"] != "Bound":
        yield _CLAIM_MESSAGE


def _not_modelled(spec: Observed) -> Iterator[str]:
    """Yield what a real API server takes, and the dev cluster would only store."""
    for field in ("scopes", "scopeSelector"):
        if spec.get(field):
            yield f"spec.{field}: Forbidden: the dev cluster models no scopes"
    if any(item.get("maxLimitRequestRatio") for item in spec.get("limits", ())):
        yield "spec.limits: Forbidden: the dev cluster models no ratios"


def _content(obj: Observed) -> Iterator[str]:
    size = 0
    for field in ("data", "binaryData"):
        for name, text in obj.get(field, {}).items():
            if not re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", name) or name in {".", ".."} or name.startswith(".."):
                words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                yield f"{field}[{name}]: Invalid value: {name!r}: {words}"
            if not isinstance(text, str):
                raise bad_request(f"json: cannot unmarshal {text!r} into {field} of type string")
            size += len(str(text).encode())
    if size > _CONTENT_LIMIT:
        yield f"[]: Too long: may not be more than {_CONTENT_LIMIT} bytes"
