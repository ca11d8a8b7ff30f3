"""Which fields of an object are ours, and whether applying would change anything.

Server-side apply records per manager what it applied (metadata.managedFields, FieldsV1):
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
A tree with ``f:<name>`` for a field, ``k:<json>`` for an item of a list with keys, and nothing below a leaf.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from userswarm.k8s import Manifest, Observed

Fields = Mapping[str, Any]


def owned_fields(observed: Observed, field_manager: str) -> Fields:
    """Return the fields that the manager has applied, empty if it never has."""
    for entry in observed["metadata"].get("managedFields") or ():
        if entry.get("manager") == field_manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields: Fields = entry.get("fieldsV1") or {}
            return fields
    return {}


def is_unchanged(desired: Observed, complete: Observed, observed: Observed, owned: Fields) -> bool:
    """Tell whether applying `desired` would change neither a value nor an owner.

    `complete` is `desired` with the CRD's defaults: the API server writes defaults also inside lists and maps
    that it compares whole. A default that is written beside our fields does not count. Anything doubtful is a
    change: the API server, asked to apply what is already so, writes nothing either.
    """
    return all(_is_same(desired[top], complete[top], observed.get(top), owned.get(f"f:{top}")) for top in desired) and {
        f"f:{top}" for top in desired
    } == set(owned)


def _is_same(desired: Any, complete: Any, observed: Any, owned: Fields | None) -> bool:
    if owned is None:
        return False
    if owned and isinstance(desired, dict) and isinstance(observed, dict):
        return {f"f:{name}" for name in desired} == owned.keys() - {"."} and all(
            name in observed and _is_same(desired[name], complete[name], observed[name], owned[f"f:{name}"])
            for name in desired
        )
    if owned and isinstance(desired, list) and isinstance(observed, list):
        keys = list(_item_keys(owned))
        return len(keys) == len(desired) == len(owned.keys() - {"."}) and all(
            _is_same_item(desired, complete, observed, key, fields) for key, fields in keys
        )
    # A leaf. Python takes True for 1; the API server does not.
    return bool(complete == observed) and isinstance(complete, bool) == isinstance(observed, bool)


def _is_same_item(
    desired: Sequence[Any], complete: Sequence[Any], observed: Sequence[Any], key: Observed, fields: Fields
) -> bool:
    ours, theirs = _find(desired, key), _find(observed, key)
    return ours is not None and theirs is not None and _is_same(desired[ours], complete[ours], observed[theirs], fields)


def extract(observed: Any, owned: Fields) -> Any:
    """Return our part of an object, with its values as they are now: what we would have to apply to keep it.

    A field that somebody took away is left out.
    """
    if owned and isinstance(observed, dict):
        return {
            name: extract(observed[name], fields)
            for name, fields in ((name.removeprefix("f:"), fields) for name, fields in owned.items())
            if name in observed
        }
    if owned and isinstance(observed, list):
        found = ((_find(observed, key), key, fields) for key, fields in _item_keys(owned))
        return [
            {**key, **extract(observed[index], {name: below for name, below in fields.items() if name != "."})}
            for index, key, fields in found
            if index is not None
        ]
    return observed


def _item_keys(owned: Fields) -> Iterator[tuple[Manifest, Fields]]:
    for segment, fields in owned.items():
        if segment.startswith("k:"):
            yield json.loads(segment[2:]), fields


def _find(items: Sequence[Any], key: Observed) -> int | None:
    """Return where the item with these key fields is."""
    return next(
        (
            index
            for index, item in enumerate(items)
            if isinstance(item, dict) and all(item.get(name) == value for name, value in key.items())
        ),
        None,
    )
