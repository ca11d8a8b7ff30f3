"""Who set which field: metadata.managedFields, and server-side apply on top of it.

A field is a path such as ``("f:spec", "f:replicas")``; an item of a list that Kubernetes merges by key is
``k:{"name":"runtime"}``, an element of a set ``v:"…"``. Any other list is one field. Source: Kubernetes,
"Server-Side Apply".
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from devcluster.objects import Manifest, Observed, copy_json, same_json

Path = tuple[str, ...]
Lists = Mapping[str, tuple[str, ...]]

BUILT_IN_LISTS: Lists = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "podIPs": ("ip",),
    "ports": ("containerPort", "port", "protocol"),
}
"""The keys of lists that are merged by key, by the field's name, or by its whole path in a custom resource.

`ports` is that of a container or of a Service: of the two numbers each item has one.
"""

_NOT_OWNED = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)

_ITEM: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, and by which operation: Update or Apply."""

    name: str
    operation: str = "Update"
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The fields that one manager owns, and since when; `tree` is the same as metadata.managedFields writes it."""

    fields: frozenset[Path]
    time: str
    tree: Manifest = dataclasses.field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", _tree(self.fields))

    def without(self, paths: Set[Path]) -> Claim:
        """Return what is left of the claim when others own these fields."""
        return self if self.fields.isdisjoint(paths) else Claim(self.fields - paths, self.time)


Owners = Mapping[Manager, Claim]


def flatten(obj: Observed, lists: Lists) -> dict[Path, Any]:
    """Return every field of an object that can be owned, with its value."""
    content = {name: value for name, value in obj.items() if name not in {"apiVersion", "kind", "metadata"}}
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _NOT_OWNED}
    if metadata:
        content["metadata"] = metadata
    return dict(_leaves(content, lists, (), ""))


def _leaves(value: Any, lists: Lists, prefix: Path, dotted: str) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            path = f"{dotted}.{name}" if dotted else name
            yield from _leaves(item, lists, (*prefix, f"f:{name}"), path)
        return
    if isinstance(value, list) and value:
        if dotted == "metadata.finalizers":
            for item in value:
                yield (*prefix, f"v:{json.dumps(item)}"), item
            return
        keys = list_keys(lists, dotted)
        if keys:
            for item in value:
                item_path = (*prefix, _segment(keys, item))
                yield item_path, _ITEM
                if item:
                    yield from _leaves(item, lists, item_path, dotted)
            return
    if prefix:
        yield prefix, value


def list_keys(lists: Lists, dotted: str) -> tuple[str, ...]:
    """Return by which keys a list is merged; none if it is replaced whole."""
    return lists.get(dotted) or lists.get(dotted.rpartition(".")[2], ())


def _segment(keys: tuple[str, ...], item: Mapping[str, Any]) -> str:
    found = {key: item[key] for key in keys if key in item}
    if "protocol" in keys:
        found.setdefault("protocol", "TCP")
        if "containerPort" in found:
            found.pop("port", None)
    return "k:" + json.dumps(found, sort_keys=True, separators=(",", ":"))


def changes(old: Observed, new: Observed) -> tuple[Manifest, Manifest]:
    """Return the two objects without the parts at their top, and of their metadata, that are the same in both."""

    def differing(one: Observed, other: Observed) -> Manifest:
        return {name: value for name, value in one.items() if name not in other or not same_json(value, other[name])}

    before, after = differing(old, new), differing(new, old)
    before["metadata"] = differing(old["metadata"], new["metadata"])
    after["metadata"] = differing(new["metadata"], old["metadata"])
    return before, after


def record_update(owners: Owners, manager: Manager, old: dict[Path, Any], new: dict[Path, Any], time: str) -> Owners:
    """Return the owners after a plain write: what changed is the writer's, and no longer anybody else's.

    Fields that are the same before and after may be left out of both.
    """
    changed = {path for path, value in new.items() if path not in old or not same_json(old[path], value)}
    gone = old.keys() - new.keys()
    if not changed and not gone:
        return owners
    lost = changed | gone
    result = {other: claim.without(lost) for other, claim in owners.items() if other != manager}
    mine = owners.get(manager)
    result[manager] = Claim(frozenset(changed | ((mine.fields if mine else frozenset()) - gone)), time)
    return {other: claim for other, claim in result.items() if claim.fields}


def record_apply(owners: Owners, manager: Manager, applied: frozenset[Path], taken: set[Path], time: str) -> Owners:
    """Return the owners after an apply: the manager owns exactly what it applied."""
    result = {other: claim.without(taken) for other, claim in owners.items() if other != manager}
    mine = owners.get(manager)
    result[manager] = mine if mine and mine.fields == applied else Claim(applied, time)
    return {other: claim for other, claim in result.items() if claim.fields}


def find_conflicts(
    owners: Owners, manager: Manager, live: dict[Path, Any], applied: dict[Path, Any]
) -> dict[str, list[Path]]:
    """Return, by the other manager's name, the fields that it owns and that the apply would change."""
    conflicts: dict[str, list[Path]] = {}
    for path, value in applied.items():
        # A map that was empty and is not any more is nobody's to quarrel about: its fields are.
        if path not in live or same_json(live[path], value):
            continue
        for other, claim in owners.items():
            if other != manager and path in claim.fields:
                conflicts.setdefault(other.name, []).append(path)
    return conflicts


def merge_applied(live: Any, applied: Any, lists: Lists, dotted: str = "") -> Any:
    """Return `live` with everything set that was applied; lists are merged by key where they have one."""
    if isinstance(live, dict) and isinstance(applied, dict):
        result = dict(live)
        for name, value in applied.items():
            path = f"{dotted}.{name}" if dotted else name
            result[name] = merge_applied(live[name], value, lists, path) if name in live else copy_json(value)
        return result
    if isinstance(live, list) and isinstance(applied, list):
        if dotted == "metadata.finalizers":
            return [*live, *(item for item in applied if item not in live)]
        keys = list_keys(lists, dotted)
        if keys:
            mine = {_segment(keys, item): item for item in applied}
            merged = [
                merge_applied(item, mine.pop(segment), lists, dotted) if segment in mine else item
                for item, segment in ((item, _segment(keys, item)) for item in live)
            ]
            return merged + [copy_json(item) for item in mine.values()]
    return copy_json(applied)


def remove_fields(obj: Manifest, paths: Set[Path], kept: Set[Path], lists: Lists) -> None:
    """Take fields away, but for those that others own, and with them maps and lists that are empty then."""
    # Items before their fields: a field that makes up an item's key goes with the item only.
    for path in sorted(paths - kept, key=len):
        if not (path[-1].startswith("k:") and any(other[: len(path)] == path for other in kept)):
            _remove(obj, path, lists, "")


def _remove(value: Any, path: Path, lists: Lists, dotted: str) -> None:
    head, rest = path[0], path[1:]
    if head.startswith("f:"):
        name = head[2:]
        if name not in value:
            return
        if rest:
            _remove(value[name], rest, lists, f"{dotted}.{name}" if dotted else name)
        if not rest or value[name] in ({}, []):
            del value[name]
        return
    keys = list_keys(lists, dotted)
    for index, item in enumerate(value):
        segment = f"v:{json.dumps(item)}" if head.startswith("v:") else _segment(keys, item)
        if segment == head:
            if not rest:
                del value[index]
            elif rest[0][2:] not in keys:
                _remove(item, rest, lists, dotted)
            return


def managed_fields(owners: Owners, api_version: str) -> list[Manifest]:
    """Return metadata.managedFields."""
    entries = []
    for manager, claim in owners.items():
        entry: Manifest = {
            "apiVersion": api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": claim.tree,
            "manager": manager.name,
            "operation": manager.operation,
            "time": claim.time,
        }
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


def _tree(paths: frozenset[Path]) -> Manifest:
    tree: Manifest = {}
    for path in sorted(paths):
        node = tree
        for segment in path:
            node = node.setdefault(segment, {})
        if path[-1].startswith("k:"):
            node["."] = {}
    return tree


def field_name(path: Path) -> str:
    """Return a path as conflict messages spell it: ``.spec.replicas``."""
    text = ""
    for segment in path:
        text += f".{segment[2:]}" if segment.startswith("f:") else f"[{segment[2:]}]"
    return text
