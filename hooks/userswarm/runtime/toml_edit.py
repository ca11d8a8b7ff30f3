"""Changes what a TOML text says, by tomlkit, which keeps comments, order and spelling.

tomlkit does not get every layout right (tables scattered over the document, arrays of tables under dotted keys), and
the text was written by a swarm's user. So what comes out is read back, and anything but exactly what was wanted,
an exception too, is no edit: the caller writes the values plainly then.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tomlkit.container import Container
    from tomlkit.items import Item

LARGEST = 64 * 1024
"""Characters. For some layouts tomlkit takes time that grows with the square of them: up to a minute for so many."""


def edit(text: str, live: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Return the text changed so that it says `wanted`, None where that fails; `live` is what it says now."""
    # Here, because most starts change nothing.
    import tomlkit

    if len(text) > LARGEST:
        return None
    try:
        document = tomlkit.parse(text)
        _move_comments_to_headers(document)
        _change(document, live, wanted)
        edited = tomlkit.dumps(document)
        return edited if same(tomllib.loads(edited), wanted) else None
    except Exception:
        # Not only tomlkit's own: a user's text meets a KeyError, an AssertionError, a RecursionError.
        return None


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are alike in type as well: 1, 1.0 and true are three values; nan is nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    # As text, because -0.0 equals 0.0, and a time equals the same instant in another zone.
    return repr(one) == repr(other)


def _change(table: MutableMapping[str, Any], live: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key in live.keys() - wanted.keys():
        del table[key]
    for key, value in wanted.items():
        # A table that becomes empty is set anew: it may have had no header of its own, and would be gone.
        if value and isinstance(value, dict) and isinstance(live.get(key), dict):
            _change(table[key], live[key], value)
        elif key not in live or not same(live[key], value):
            table[key] = value


def _move_comments_to_headers(document: Container) -> None:
    """Let the comment lines right above a header belong to it.

    To tomlkit they are the end of the table before: they would go with it, and new keys of it come below them.
    """
    from tomlkit.items import Comment, Null, Table

    above: list[tuple[list[Any], int, Comment]] = []
    for body, index, item in _lines(document):
        if isinstance(item, Comment):
            above.append((body, index, item))
        elif isinstance(item, Table) and item.is_super_table():
            continue
        else:
            if isinstance(item, Table):
                item.trivia.indent = "".join(comment.as_string() for _, _, comment in above) + item.trivia.indent
                for old_body, old_index, _ in above:
                    old_body[old_index] = (None, Null())
            above = []


def _lines(container: Container) -> Iterator[tuple[list[Any], int, Item]]:
    """Yield what stands in a document line by line, in order, with its place in the body that it is part of."""
    from tomlkit.items import AoT, Table

    for index, (_, item) in enumerate(container.body):
        for line in item.body if isinstance(item, AoT) else [item]:
            yield container.body, index, line
            if isinstance(line, Table):
                yield from _lines(line.value)
