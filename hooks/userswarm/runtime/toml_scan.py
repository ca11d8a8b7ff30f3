"""Reads a TOML document as statements with their places in the text.

It reads only what `tomllib` has accepted, so it has no errors of its own: it finds places, it does not judge.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from userswarm.runtime.toml_write import Path

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*+"|'[^']*+')"""
_STRING = (
    r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*+"""(?:"{0,2})'
    r"|'''(?:[^']|'(?!''))*+'''(?:'{0,2})"
    r'|"(?:[^"\\]|\\.)*+"'
    r"|'[^']*+'"
)
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_SPACE = re.compile(r"[ \t]*")
_HEADER_START = re.compile(r"\[\[?[ \t]*")
_HEADER_END = re.compile(r"[ \t]*\]\]?")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_LINE = re.compile(r"[^\n]*\n?")
_BARE_VALUE = re.compile(r"[^#\r\n]*[^#\s]")
_TOKEN = re.compile(rf"{_STRING}|#[^\n]*|[^\"'#\[\]{{}}]+|[\s\S]")
_NESTING = {"[": 1, "{": 1, "]": -1, "}": -1}
_WHOLE_STRING = re.compile(_STRING)


@dataclass(frozen=True, slots=True)
class Statement:
    """One header, or one key with its value.

    path: from the root; what is in an array of tables has the path of the array in it, where no table can be.
    section: the path of the header above, for a header its own; () above the first.
    start, end: from the start of its first line to behind its last.
    comment: what stands behind it on its last line, "" for nothing.
    value: from where to where its value stands; the empty place behind a header.
    """

    is_header: bool
    path: Path
    section: Path
    start: int
    end: int
    comment: str
    value: slice


def scan(text: str) -> list[Statement]:
    """Return the statements of a valid document, in order."""
    statements: list[Statement] = []
    section: Path = ()
    end = 0
    while end < len(text):
        start = end
        position = _behind(_SPACE, text, start)
        if text[position : position + 1] in ("", "#", "\r", "\n"):
            end = _behind(_LINE, text, position)
            continue
        is_header = text[position] == "["
        if is_header:
            position = _behind(_HEADER_START, text, position)
        behind_key = _behind(_KEY, text, position)
        path = _parts(text[position:behind_key])
        if is_header:
            section = path
            behind_header = _behind(_HEADER_END, text, behind_key)
            value = slice(behind_header, behind_header)
        else:
            path = (*section, *path)
            value_start = _behind(_EQUALS, text, behind_key)
            value = slice(value_start, _value_end(text, value_start))
        end = _behind(_LINE, text, value.stop)
        comment = text[value.stop : end].strip(" \t\r\n")
        statements.append(Statement(is_header, path, section, start, end, comment, value))
    return statements


def prefixes(path: Path) -> Iterator[Path]:
    """Yield the first key, the first two, … the whole path."""
    return (path[:length] for length in range(1, len(path) + 1))


def _parts(key: str) -> Path:
    """Return a dotted key's parts without their quotes, as tomllib reads them."""
    parts: list[str] = []
    inner: Any = tomllib.loads(key + " = 0")
    while isinstance(inner, dict):
        ((part, inner),) = inner.items()
        parts.append(part)
    return tuple(parts)


def _value_end(text: str, start: int) -> int:
    if text[start] in "\"'":
        return _behind(_WHOLE_STRING, text, start)
    if text[start] not in "[{":
        return _behind(_BARE_VALUE, text, start)
    position = start
    depth = 0
    while True:
        depth += _NESTING.get(text[position], 0)
        position = _behind(_TOKEN, text, position)
        if depth == 0:
            return position


def _behind(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
