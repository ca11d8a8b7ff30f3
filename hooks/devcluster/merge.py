"""Metacontroller's three-way merge, by which it updates children under ``--apply-strategy=dynamic-apply``.

What the hook returned last time is in an annotation. What is in it and no longer returned goes; what is returned is
set; everything else stays as observed. Lists of objects are merged by the first key that all their items have.
Source: Metacontroller's pkg/dynamic/apply and pkg/controller/common; its quirks are here on purpose.
"""

from __future__ import annotations

import json
from typing import Any

from devcluster.objects import Manifest, Observed, copy_json

LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"

MERGE_KEYS = ("containerPort", "port", "mountPath", "name", "uid", "ip", "path")

_SYSTEM_FIELDS = (
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)

_GO_ESCAPES = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"},
)


def last_applied_text(desired: Observed) -> str:
    """Return the text of the last-applied annotation, as Go's encoding/json writes it."""
    text = json.dumps(_go_numbers(desired), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES)


def _go_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _go_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_go_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_last_applied(obj: Observed) -> Any:
    """Return what the last-applied annotation says, None where there is none; ValueError if it is not JSON."""
    text = obj["metadata"].get("annotations", {}).get(LAST_APPLIED)
    return json.loads(text) if text else None


def without_last_applied(desired: Observed) -> Manifest:
    """Return what a hook returned, without the annotation that is not its to set."""
    result: Manifest = copy_json(desired)
    (result["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)
    return result


def set_last_applied(obj: Manifest, desired: Observed) -> None:
    """Write the last-applied annotation."""
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), LAST_APPLIED: last_applied_text(desired)}


def apply_update(observed: Observed, desired: Observed) -> Manifest:
    """Return the object that Metacontroller would write for an observed child and what the hook returned for it.

    It shares its system fields and its status with the observed one.
    """
    wanted = without_last_applied(desired)
    metadata = {name: value for name, value in observed["metadata"].items() if name not in _SYSTEM_FIELDS}
    content = {name: value for name, value in observed.items() if name != "status"}
    merged: Manifest = merge(copy_json({**content, "metadata": metadata}), read_last_applied(observed), wanted)
    for name in _SYSTEM_FIELDS:
        _revert(merged["metadata"], observed["metadata"], name)
    _revert(merged, observed, "status")
    set_last_applied(merged, wanted)
    return merged


def _revert(merged: Manifest, observed: Observed, name: str) -> None:
    merged.pop(name, None)
    if name in observed:
        merged[name] = observed[name]


def merge(destination: Any, last_applied: Any, desired: Any) -> Any:
    """Apply the difference between `last_applied` and `desired` to `destination`, which is used up."""
    if isinstance(destination, dict):
        return _merge_objects(destination, _if(dict, last_applied), _if(dict, desired))
    if isinstance(destination, list):
        # What is no list where a list is observed becomes null: Go's nil slice.
        replacement = desired if isinstance(desired, list) else None
        last, want = _if(list, last_applied), _if(list, desired)
        key = find_merge_key(destination, last, want)
        return replacement if key is None else _merge_lists(key, destination, last, want)
    return desired


def _if(wanted: type, value: Any) -> Any:
    """Return the value, or an empty one where it has another type: a mismatch is no error there."""
    return value if isinstance(value, wanted) else wanted()


def _merge_objects(
    destination: dict[str, Any], last_applied: dict[str, Any], desired: dict[str, Any]
) -> dict[str, Any]:
    for key in last_applied:
        if key not in desired:
            destination.pop(key, None)
    for key, value in desired.items():
        destination[key] = merge(destination.get(key), last_applied.get(key), value)
    return destination


def find_merge_key(*lists: list[Any]) -> str | None:
    """Return by which key lists are merged; None if they are replaced."""
    common: set[str] | None = None
    for item in (item for each in lists for item in each):
        if not isinstance(item, dict):
            return None
        common = set(item) if common is None else common & item.keys()
    return next((key for key in MERGE_KEYS if key in (common or ())), None)


def _merge_lists(key: str, destination: list[Any], last_applied: list[Any], desired: list[Any]) -> list[Any]:
    by_key = {str(item[key]): item for item in destination}
    _merge_objects(
        by_key,
        {str(item[key]): item for item in last_applied},
        {str(item[key]): item for item in desired},
    )
    # Two observed items with one key both become the merged one, as there.
    merged = [by_key[str(item[key])] for item in destination if str(item[key]) in by_key]
    seen = {str(item[key]) for item in destination}
    for item in desired:
        if str(item[key]) not in seen:
            seen.add(str(item[key]))
            merged.append(by_key[str(item[key])])
    return merged
