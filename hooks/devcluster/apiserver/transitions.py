"""What a write may change of an object, and what follows from it: its generation, how long a deleted pod still runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from devcluster.errors import conflict, invalid
from devcluster.kinds import Kind
from devcluster.objects import Manifest, Observed, copy_json, same_json
from devcluster.ownership import BUILT_IN_LISTS, Lists

SET_BY_SERVER = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_KEPT = (*SET_BY_SERVER, "managedFields", "resourceVersion")


def check_preconditions(kind: Kind, old: Observed, new: Observed, *, unconditional: bool) -> None:
    """Raise ApiError where an update is not of the object that is stored, or of an older version of it."""
    metadata = new["metadata"]
    name = metadata["name"]
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    if uid and uid != old["metadata"]["uid"]:
        message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
        raise conflict(kind.resource, name, message)
    if version and version != old["metadata"]["resourceVersion"]:
        message = "the object has been modified; please apply your changes to the latest version and try again"
        raise conflict(kind.resource, name, message)
    if not version and kind.custom is not None and not unconditional:
        problem = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        raise invalid(kind.qualified, name, [problem])


def with_untouchables(kind: Kind, old: Manifest, new: Manifest, *, status_only: bool) -> Manifest:
    """Return the object that was sent, with what its sender has no say in put back as it was."""
    if status_only:
        return {**old, "status": new.get("status", {})}
    kept = {name: old["metadata"][name] for name in _KEPT if name in old["metadata"]}
    sent = {name: value for name, value in new["metadata"].items() if name not in _KEPT}
    result = {**new, "metadata": {**sent, **kept}}
    if kind.status:
        result.pop("status", None)
        if "status" in old:
            result["status"] = old["status"]
    return result


def lists_of(kind: Kind) -> Lists:
    """Return which lists of a kind are merged by keys."""
    return BUILT_IN_LISTS if kind.custom is None else kind.custom.lists


def merge_patch(target: Any, patch: Any) -> Any:
    """Return a value after a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy_json(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def spec_changed(old: Observed, new: Observed, *, by_spec: bool) -> bool:
    """Return whether the generation moves: a custom resource's for everything but metadata and status."""

    def content(obj: Observed) -> Iterator[tuple[str, Any]]:
        for name, value in obj.items():
            if name == "spec" and by_spec:
                # Binding a pod to a node is not a change of its spec.
                yield name, {field: part for field, part in value.items() if field != "nodeName"}
            elif name not in {"metadata", "status"} and (not by_spec or name in {"endpoints", "ports"}):
                yield name, value

    return not same_json(dict(content(old)), dict(content(new)))


def grace_of(kind: Kind, obj: Observed, asked: int | None) -> int:
    """Return how many seconds a deleted pod may still run; everything else has none."""
    if kind.kind != "Pod" or not obj["spec"].get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    grace: int = obj["spec"]["terminationGracePeriodSeconds"] if asked is None else asked
    return grace


def in_grace(kind: Kind, obj: Observed) -> bool:
    """Return whether an object is a pod that may still run though it is deleted."""
    return kind.kind == "Pod" and bool(obj["metadata"].get("deletionGracePeriodSeconds"))
