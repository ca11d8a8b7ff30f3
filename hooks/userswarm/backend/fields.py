"""Which fields of an object are ours, and whether applying would change anything.

Server-side apply records per manager what it applied (metadata.managedFields, FieldsV1):
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
A tree with ``f:<name>`` for a field, ``k:<json>`` for an item of a list with keys, and nothing below a leaf.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from userswarm.wire.k8s import Manifest, Observed

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
        return _are_same_items(desired, complete, observed, owned)
    # A leaf. Python takes True for 1; the API server does not.
    return bool(complete == observed) and isinstance(complete, bool) == isinstance(observed, bool)


def _are_same_items(desired: Sequence[Any], complete: Sequence[Any], observed: Sequence[Any], owned: Fields) -> bool:
    places = []
    for key, fields in _item_keys(owned):
        ours, theirs = _find(desired, key), _find(observed, key)
        if ours is None or theirs is None or not _is_same(desired[ours], complete[ours], observed[theirs], fields):
            return False
        places.append((ours, theirs))
    # The order counts too: an environment variable may refer to those before it.
    theirs_in_our_order = [theirs for _, theirs in sorted(places)]
    return len(places) == len(desired) and theirs_in_our_order == sorted(theirs_in_our_order)


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
        keys = _item_keys(owned)
        # In the order of the list, which applying must not change.
        return [
            {**key, **extract(item, {name: below for name, below in fields.items() if name != "."})}
            for index, item in enumerate(observed)
            for key, fields in keys
            if _find(observed, key) == index
        ]
    return observed


def _item_keys(owned: Fields) -> list[tuple[Manifest, Fields]]:
    return [(json.loads(segment[2:]), fields) for segment, fields in owned.items() if segment.startswith("k:")]


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
