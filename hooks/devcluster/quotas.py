"""ResourceQuota: what the objects of a namespace use in all, and the step that refuses what would be too much.

Source: kubernetes/pkg/quota/v1 and kubernetes/staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota. A real
API server charges every object to the quota's status, and its controller corrects that later; here usage is counted
from what is stored, so nothing is ever charged for an object that was not made. Scopes are not modelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from fractions import Fraction

from devcluster import quantities
from devcluster.apiserver import Admission, AdmissionRequest, ApiServer
from devcluster.clock import Clock
from devcluster.errors import forbidden
from devcluster.kinds import Kind
from devcluster.objects import Observed
from devcluster.resources import containers_of, pod_usage, written

_COUNTED = {
    "Pod": "pods",
    "Service": "services",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "ResourceQuota": "resourcequotas",
}
_MUST_SPECIFY = frozenset(f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory"))

Usage = dict[str, Fraction]


def object_usage(kind: Kind, obj: Observed, clock: Clock) -> Usage:
    """Return how much of each limited resource one object uses."""
    used: Usage = {f"count/{kind.resource}": Fraction(1)}
    if kind.kind == "Pod" and not _is_over(obj, clock):
        used["pods"] = Fraction(1)
        for name, amount in pod_usage(obj["spec"], "requests").items():
            used[name] = used[f"requests.{name}"] = amount
        for name, amount in pod_usage(obj["spec"], "limits").items():
            used[f"limits.{name}"] = amount
    elif kind.kind != "Pod" and kind.kind in _COUNTED and kind.api_version == "v1":
        used[_COUNTED[kind.kind]] = Fraction(1)
    if kind.kind == "PersistentVolumeClaim":
        size = quantities.parse(obj["spec"]["resources"]["requests"]["storage"])
        used["requests.storage"] = size
        prefix = f"{obj['spec'].get('storageClassName', '')}.storageclass.storage.k8s.io/"
        used |= {f"{prefix}requests.storage": size, f"{prefix}persistentvolumeclaims": Fraction(1)}
    if kind.kind == "Service" and obj["spec"]["type"] in {"NodePort", "LoadBalancer"}:
        ports = Fraction(len(obj["spec"].get("ports", ())))
        used["services.nodeports"] = ports
        if obj["spec"]["type"] == "LoadBalancer":
            used["services.loadbalancers"] = Fraction(1)
    return used


def _is_over(pod: Observed, clock: Clock) -> bool:
    """Tell whether a pod has ended, or should have by now: then it no longer counts."""
    if pod["status"]["phase"] in {"Succeeded", "Failed"}:
        return True
    deleted = pod["metadata"].get("deletionTimestamp")
    # The time of deletion is when its grace is over.
    return deleted is not None and datetime.fromisoformat(deleted) < clock.now()


def namespace_usage(api: ApiServer, namespace: str, names: Iterable[str]) -> Usage:
    """Return how much of these resources everything in a namespace uses."""
    total = {name: Fraction(0) for name in names}
    for kind, obj in api.everything_in(namespace):
        for name, amount in object_usage(kind, obj, api.clock).items():
            if name in total:
                total[name] += amount
    return total


def resource_quota(api: ApiServer) -> Admission:
    """Return the last step, which refuses what a namespace's quotas have no room for."""

    def step(request: AdmissionRequest) -> None:
        if request.operation not in {"CREATE", "UPDATE"} or not request.kind.namespaced:
            return
        namespace = request.object["metadata"]["namespace"]
        for found in api.scan("v1", "ResourceQuota", namespace):
            problem = _problem(api, found, request)
            if problem:
                raise forbidden(request.kind.resource, request.object["metadata"].get("name", ""), problem)

    return step


def _problem(api: ApiServer, found: Observed, request: AdmissionRequest) -> str:
    """Say why one quota has no room for an object, nothing if it has."""
    name, namespace = found["metadata"]["name"], request.object["metadata"]["namespace"]
    used = object_usage(request.kind, request.object, api.clock)
    before = object_usage(request.kind, request.old, api.clock) if request.old is not None else {}
    # What its controller has taken note of: a quota that is new, or was changed, holds a moment later.
    hard = found["status"].get("hard", {})
    if request.kind.kind == "Pod" and request.operation == "CREATE":
        missing = "; ".join(_unspecified(request.object["spec"], hard))
        if missing:
            return f"failed quota: {name}: must specify {missing}"
    more = {
        each: amount - before.get(each, 0)
        for each, amount in sorted(used.items())
        if each in hard and amount > before.get(each, 0)
    }
    total = namespace_usage(api, namespace, more) if more else {}
    over = [each for each in more if total[each] + more[each] > quantities.parse(hard[each])]
    if not over:
        return ""
    asked = ",".join(f"{each}={written(more[each])}" for each in over)
    taken = ",".join(f"{each}={written(total[each])}" for each in over)
    limited = ",".join(f"{each}={hard[each]}" for each in over)
    return f"exceeded quota: {name}, requested: {asked}, used: {taken}, limited: {limited}"


def _unspecified(spec: Observed, hard: Mapping[str, str]) -> Iterator[str]:
    for each in sorted(_MUST_SPECIFY & hard.keys()):
        side, _, resource = each.rpartition(".")
        names = [
            container["name"]
            for container in containers_of(spec)
            if resource not in container["resources"].get(side or "requests", {})
        ]
        if names:
            yield f"{each} for: {','.join(sorted(names))}"
