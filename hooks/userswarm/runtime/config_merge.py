"""The three-way merge of config.toml: what we rendered last time, what we render now, what is on the volume.

A key that we set is ours. A key that we set last time and no longer set goes, and a table that this leaves empty.
Everything else was written by the runtime or its user, and stays. Tables are merged key by key; an array is one
value. What the merge says is computed on plain values; only then is the text edited. Where no edit of it says exactly
that, the document is written anew: the values are never wrong, comments may be lost.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from userswarm.runtime.toml_edit import edit, same

Table = dict[str, Any]

DEEPEST = 64
"""How many tables and arrays may be within each other."""


def parse_config(content: bytes) -> tuple[str, Table]:
    """Return the text of a config.toml, less a byte order mark, and what it says.

    Raises ValueError, with a reason for people, for what is not UTF-8 or TOML, is nested beyond `DEEPEST`, or has
    an integer beyond the 64 bits that TOML promises.
    """
    text = content.decode("utf-8-sig")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    _check(table)
    return text, table


def merge_config(base: Mapping[str, Any], ours: Mapping[str, Any], live: str) -> str:
    """Return the text of `live` with what we set put in, and what we no longer set taken out.

    `live` must have come from `parse_config`. It comes back as it is where nothing has to change.
    """
    said = tomllib.loads(live)
    wanted = merge_values(base, ours, said)
    if same(said, wanted):
        return live
    edited = edit(live, said, wanted)
    return tomli_w.dumps(wanted) if edited is None else edited


def merge_values(base: Mapping[str, Any], ours: Mapping[str, Any], live: Mapping[str, Any]) -> Table:
    """Return what the merged document says; the keys of `live` keep their order, new ones follow."""
    merged: Table = {}
    for key, value in live.items():
        set_before, set_now = base.get(key), ours.get(key)
        if not isinstance(value, dict):
            # Ours, gone, or never ours.
            if key in ours or key not in base:
                merged[key] = ours.get(key, value)
        elif isinstance(set_now, dict) or key not in ours:
            inner = merge_values(_table(set_before), _table(set_now), value)
            # A table that only we filled goes with our keys; one that the user wrote stays even when it is empty.
            if inner or key in ours or key not in base:
                merged[key] = inner
        else:
            merged[key] = set_now
    return merged | {key: value for key, value in ours.items() if key not in live}


def union(one: Mapping[str, Any], other: Mapping[str, Any]) -> Table:
    """Return a table with the keys of both; a table wins over a value, else `one` over `other`."""
    result = dict(one)
    for key, value in other.items():
        if isinstance(value, dict):
            result[key] = union(_table(result.get(key)), value)
        else:
            result.setdefault(key, value)
    return result


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _check(table: Table) -> None:
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in level):
            raise ValueError("an integer does not fit into 64 bits")
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
