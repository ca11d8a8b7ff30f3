"""LimitRange at admission: what a container gets that says nothing, and what it must not exceed.

Source: kubernetes/plugin/pkg/admission/limitranger/admission.go. Ratios, and the limits of images, are not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from devcluster import quantities
from devcluster.apiserver import Admission, AdmissionRequest, ApiServer
from devcluster.defaults import quality
from devcluster.errors import forbidden
from devcluster.objects import Manifest, Observed
from devcluster.resources import containers_of, pod_usage, written

_ANNOTATION = "kubernetes.io/limit-ranger"


def default_limits(api: ApiServer) -> Admission:
    """Return the step that fills in what a new pod's containers do not say."""

    def step(request: AdmissionRequest) -> None:
        if request.kind.kind == "Pod" and request.operation == "CREATE":
            items = _items(api, request.object)
            _fill_in(request.object, [item for item in items if item["type"] == "Container"])

    return step


def limit_range(api: ApiServer) -> Admission:
    """Return the step that refuses pods and claims that are too large, or too small.

    A pod is judged when it is made: its resources stay as they are.
    """

    def step(request: AdmissionRequest) -> None:
        kind = request.kind.kind
        judged = {"Pod": {"CREATE"}, "PersistentVolumeClaim": {"CREATE", "UPDATE"}}
        if request.operation not in judged.get(kind, ()):
            return
        obj = request.object
        problems = [problem for item in _items(api, obj) for problem in _exceeded(kind, obj, item)]
        if problems:
            text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            raise forbidden(request.kind.resource, obj["metadata"]["name"], text)

    return step


def _items(api: ApiServer, obj: Observed) -> list[Mapping[str, Any]]:
    found = api.scan("v1", "LimitRange", obj["metadata"]["namespace"])
    return [item for each in found for item in each["spec"].get("limits", ())]


def _fill_in(pod: Manifest, items: list[Mapping[str, Any]]) -> None:
    told = []
    for container in containers_of(pod["spec"]):
        resources = container["resources"]
        for field, source in (("requests", "defaultRequest"), ("limits", "default")):
            said = resources.get(field, {})
            missing = {
                name: amount for item in items for name, amount in item.get(source, {}).items() if name not in said
            }
            if missing:
                resources[field] = {**said, **missing}
                names = ", ".join(sorted(missing))
                told.append(f"{names} {field.removesuffix('s')} for container {container.get('name')}")
    if told:
        pod["metadata"].setdefault("annotations", {})[_ANNOTATION] = f"LimitRanger plugin set: {'; '.join(told)}"
        pod["status"]["qosClass"] = quality(pod["spec"])


def _exceeded(kind: str, obj: Observed, item: Observed) -> Iterator[str]:
    if item["type"] == "PersistentVolumeClaim" and kind == item["type"]:
        yield from _bounds(item, _parsed(obj["spec"]["resources"]["requests"]), None)
    elif item["type"] == "Pod" and kind == item["type"]:
        yield from _bounds(item, pod_usage(obj["spec"], "requests"), pod_usage(obj["spec"], "limits"))
    elif item["type"] == "Container" and kind == "Pod":
        for container in containers_of(obj["spec"]):
            yield from _bounds(
                item, *(_parsed(container["resources"].get(side, {})) for side in ("requests", "limits"))
            )


def _parsed(amounts: Mapping[str, str]) -> dict[str, Fraction]:
    return {name: quantities.parse(amount) for name, amount in amounts.items()}


def _bounds(item: Observed, requests: Mapping[str, Fraction], limits: Mapping[str, Fraction] | None) -> Iterator[str]:
    """Yield which bounds do not hold; with no `limits` at all, as for a claim, requests alone count."""
    for name, least in item.get("min", {}).items():
        bound = f"minimum {name} usage per {item['type']} is {least}"
        if name not in requests:
            yield f"{bound}.  No request is specified"
        elif requests[name] < quantities.parse(least):
            yield f"{bound}, but request is {written(requests[name])}"
    for name, most in item.get("max", {}).items():
        bound = f"maximum {name} usage per {item['type']} is {most}"
        if limits is not None and name not in limits:
            yield f"{bound}.  No limit is specified"
        elif limits is not None and limits[name] > quantities.parse(most):
            yield f"{bound}, but limit is {written(limits[name])}"
        elif requests.get(name, 0) > quantities.parse(most):
            yield f"{bound}, but request is {written(requests[name])}"
