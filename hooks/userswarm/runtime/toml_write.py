"""Plain values as TOML text: one value, some tables, a whole document.

A value is always written on one line, so that a text editor of statements can put it anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Any

Path = tuple[str, ...]
"""Where a value is: the keys that lead to it, from the root."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def key_text(path: Iterable[str]) -> str:
    """Return a dotted key, with quotes where a part needs them."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else _string_text(part) for part in path)


def value_text(value: Any) -> str:
    """Return one value, tables and arrays inline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string_text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{key_text((key,))} = {value_text(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return repr(value)


def pair_text(key: Path, value: Any) -> str:
    """Return the line ``key = value``."""
    return f"{key_text(key)} = {value_text(value)}\n"


def has_headers(value: Any) -> bool:
    """Tell whether a value is written under headers: a table, or an array of nothing but tables."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)
    )


def tables_text(path: Path, value: Mapping[str, Any] | list[Mapping[str, Any]]) -> str:
    """Return a table or an array of tables under headers that name the whole path."""
    if isinstance(value, list):
        return "\n".join(
            f"[[{key_text(path)}]]\n" + "".join(pair_text((key,), inner) for key, inner in element.items())
            for element in value
        )
    pairs = [pair_text((key,), inner) for key, inner in value.items() if not has_headers(inner)]
    tables = [tables_text((*path, key), inner) for key, inner in value.items() if has_headers(inner)]
    # A table that only holds tables needs no header of its own, but an empty one would be nothing without it.
    if path and (pairs or not tables):
        pairs.insert(0, f"[{key_text(path)}]\n")
    return "\n".join(["".join(pairs), *tables] if pairs else tables)


def document_text(table: Mapping[str, Any]) -> str:
    """Return a whole document."""
    return tables_text((), table)


def _string_text(text: str) -> str:
    # JSON escapes what TOML wants escaped, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
