"""What cannot become as it is wanted by an update: such a child has to go before it can be made again.

Either Kubernetes lets nobody change the field, and would refuse the update at every sync, for ever; or the update would
be taken and mean something else, for Metacontroller keeps the observed order of a list that it merges by its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from userswarm.spec.identity import WORKLOAD_ANNOTATION
from userswarm.wire.k8s import CRON_JOB, DEPLOYMENT, JOB, SERVICE, STATEFUL_SET, Manifest, Observed

_STATEFUL_SET_FIELDS = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")

_TEMPLATES = {
    STATEFUL_SET.kind: ("template",),
    DEPLOYMENT.kind: ("template",),
    CRON_JOB.kind: ("jobTemplate", "spec", "template"),
}

REPLACEABLE = (STATEFUL_SET.kind, SERVICE.kind, DEPLOYMENT.kind, JOB.kind, CRON_JOB.kind)
"""Kinds without data of their own."""


def find_obstacle(desired: Manifest, observed: Observed) -> str:
    """Return the field that keeps an observed child from becoming what is desired, or an empty text."""
    if desired["kind"] not in REPLACEABLE:
        return ""
    return _immutable_difference(desired, observed) or _order_difference(desired, observed)


def _immutable_difference(desired: Manifest, observed: Observed) -> str:
    """Return the field in which an observed child differs for good from what is desired.

    https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/ and the validation of Services and Jobs.
    """
    wanted, current = desired.get("spec", {}), observed.get("spec", {})
    match desired["kind"]:
        case STATEFUL_SET.kind:
            for field in _STATEFUL_SET_FIELDS:
                if (wanted.get(field) or None) != (current.get(field) or None):
                    return f"spec.{field}"
        case DEPLOYMENT.kind:
            if wanted.get("selector") != current.get("selector"):
                return "spec.selector"
        case SERVICE.kind:
            if (wanted.get("clusterIP") == "None") != (current.get("clusterIP") == "None"):
                return "spec.clusterIP"
        case JOB.kind:
            # A tenant's Job runs once for what the tenant wrote. What a release makes of it is no reason to run it
            # again.
            if _asked(desired) != _asked(observed):
                return "spec"
    return ""


def _order_difference(desired: Manifest, observed: Observed) -> str:
    """Return the list that an update would store in another order, where the order means something.

    The merge leaves what is observed in its order and puts what is new last. Containers start in any order, but init
    containers one after the other; and a variable can only name those before it.
    """
    path = _TEMPLATES.get(desired["kind"])
    if path is None:
        return ""
    wanted, current = _pod(desired, path), _pod(observed, path)
    where = f"spec.{'.'.join(path)}.spec"
    if _is_reordered(wanted.get("initContainers", []), current.get("initContainers") or []):
        return f"{where}.initContainers"
    for container in _containers(wanted):
        env = container.get("env")
        if not env or not any("$(" in each.get("value", "") for each in env):
            continue
        known = next((each for each in _containers(current) if each["name"] == container["name"]), {})
        if _is_reordered(env, known.get("env") or []):
            return f"{where}: env of container {container['name']}"
    return ""


def _is_reordered(desired: list[Manifest], observed: list[Manifest]) -> bool:
    wanted = [each["name"] for each in desired]
    kept = [each["name"] for each in observed if each["name"] in wanted]
    return kept != wanted[: len(kept)]


def _pod(workload: Observed, path: tuple[str, ...]) -> Manifest:
    found: Any = workload.get("spec", {})
    for step in (*path, "spec"):
        found = found.get(step, {})
    pod: Manifest = found
    return pod


def _containers(pod: Manifest) -> Iterator[Manifest]:
    yield from pod.get("initContainers") or ()
    yield from pod.get("containers") or ()


def _asked(job: Observed) -> Any:
    return (job.get("metadata", {}).get("annotations") or {}).get(WORKLOAD_ANNOTATION)
