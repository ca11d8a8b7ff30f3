"""Changes what a TOML document says, and leaves every other byte of its text alone.

Statements are cut out, values take the place of values, lines are added. A comment is the user's: it stays even
where the statement beside it goes. tomlkit is not used here because it loses the comments that follow the last
key of a removed table, adds a key below the comment of the next table, and cannot remove from a table whose parts
are scattered over the document.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from userswarm.runtime.toml_scan import prefixes, scan
from userswarm.runtime.toml_write import Path, has_headers, key_text, pair_text, tables_text, value_text


def edit(text: str, live: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return the text changed so that it says `wanted`; `live` is what it says now."""
    return _add(_replace(text, live, wanted), wanted)


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


def _replace(text: str, live: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Put new values where old ones stand, and cut out what goes or has to move."""
    statements = scan(text)
    pairs = {statement.path for statement in statements if not statement.is_header}
    values: dict[Path, str] = {}
    gone: dict[Path, str] = {}
    for path, value in _changes(live, wanted, pairs, ()):
        if path in pairs and value is not None:
            values[path] = value_text(value)
        else:
            gone[path] = tables_text(path, value) if has_headers(value) else ""

    newline = _newline(text)
    pieces: list[str] = []
    done = floor = 0
    for statement in statements:
        cut = next((prefix for prefix in prefixes(statement.path) if prefix in gone), None)
        if cut is not None:
            between = text[floor : statement.start]
            if statement.is_header:
                between = _without_blank_end(between)
            pieces += [text[done:floor], between]
            if statement.comment:
                pieces.append(statement.comment + newline)
            if statement.is_header and gone[cut]:
                # Tables give way to tables where the first of them stood.
                pieces.append(newline + gone[cut].replace("\n", newline))
                gone[cut] = ""
            done = statement.end
        elif statement.path in values:
            pieces += [text[done : statement.value.start], values[statement.path]]
            done = statement.value.stop
        floor = statement.end
    result = "".join([*pieces, text[done:]])
    return result if text.startswith(("\n", "\r\n")) else result.lstrip("\r\n")


def _changes(
    live: Mapping[str, Any], wanted: Mapping[str, Any], pairs: set[Path], above: Path
) -> Iterator[tuple[Path, Any]]:
    """Yield where the keys of `live` are not as wanted, with what is wanted there: None for nothing."""
    for key, value in live.items():
        path = (*above, key)
        new = wanted.get(key)
        if path not in pairs and isinstance(value, dict) and isinstance(new, dict):
            yield from _changes(value, new, pairs, path)
        elif not same(value, new):
            yield path, new


def _add(text: str, wanted: Mapping[str, Any]) -> str:
    """Add what the text does not say yet."""
    pairs: dict[Path, list[tuple[Path, Any]]] = {}
    tables: dict[Path, list[tuple[Path, Any]]] = {}
    for path, value in _missing(tomllib.loads(text), wanted, ()):
        (tables if has_headers(value) else pairs).setdefault(path[:-1], []).append((path, value))
    if not pairs and not tables:
        return text

    newline = _newline(text)
    layout = _Layout(text if text.endswith("\n") or not text else text + newline)
    insertions: list[tuple[int, bool, str]] = []
    for parent, members in pairs.items():
        position, section, header = layout.place_for_pairs(parent)
        lines = (pair_text(path[len(section) :], value) for path, value in members)
        insertions.append((position, bool(header), header + "".join(lines)))
    for parent, members in tables.items():
        blocks = (tables_text(path, value) for path, value in members)
        insertions.append((layout.place_for_tables(parent), True, "\n".join(blocks)))

    result = ""
    done = 0
    # At one place, a key of the section above comes before a new header.
    for position, has_header, block in sorted(insertions, key=lambda insertion: insertion[:2]):
        result += layout.text[done:position]
        if has_header and result and not result.endswith(("\n\n", "\n\r\n")):
            result += newline
        result += block.replace("\n", newline)
        if position in layout.leads.values():
            result += newline
        done = position
    return result + layout.text[done:]


def _missing(live: Mapping[str, Any], wanted: Mapping[str, Any], above: Path) -> Iterator[tuple[Path, Any]]:
    for key, value in wanted.items():
        path = (*above, key)
        if key not in live:
            yield path, value
        elif isinstance(value, dict) and isinstance(live[key], dict):
            yield from _missing(live[key], value, path)


class _Layout:
    """Where in a text something new can stand.

    leads: where each header begins together with the comment lines right above it, by where it begins itself.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._statements = scan(text)
        self._headers = [statement for statement in self._statements if statement.is_header]
        self.leads: dict[int, int] = {}
        floor = 0
        for statement in self._statements:
            if statement.is_header:
                self.leads[statement.start] = self._above_comments(floor, statement.start)
            floor = statement.end

    def place_for_pairs(self, parent: Path) -> tuple[int, Path, str]:
        """Return where new keys of a table go, the section that they are in there, and its header if it has none."""
        depth = len(parent)
        own = [statement for statement in self._statements if statement.section == parent]
        if own:
            return own[-1].end, parent, ""
        dotted = [
            statement
            for statement in self._statements
            if statement.path[:depth] == parent and len(statement.section) < depth
        ]
        if dotted:
            return dotted[-1].end, dotted[-1].section, ""
        below = [self.leads[header.start] for header in self._headers if header.path[:depth] == parent]
        return min(below, default=len(self.text)), parent, f"[{key_text(parent)}]\n" if parent else ""

    def place_for_tables(self, parent: Path) -> int:
        """Return where new tables of a table go: behind the last that it has, else at the end."""
        section_ends = [*list(self.leads.values())[1:], len(self.text)]
        below = [
            end
            for header, end in zip(self._headers, section_ends, strict=False)
            if header.path[: len(parent)] == parent
        ]
        return max(below, default=len(self.text))

    def _above_comments(self, floor: int, start: int) -> int:
        while start > floor:
            line_start = self.text.rfind("\n", floor, start - 1) + 1 or floor
            if not self.text[line_start:start].lstrip(" \t").startswith("#"):
                break
            start = line_start
        return start


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _without_blank_end(lines: str) -> str:
    """Return the lines less the blank ones at their end."""
    kept = lines.rstrip(" \t\r\n")
    return kept and lines[: lines.index("\n", len(kept)) + 1]
