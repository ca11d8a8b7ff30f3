"""Small readers of JSON, each for one shape, from which a table of fields is put together.

A reader returns a value as the apiserver stores it (numbers whole, quantities canonical, what it would drop left out)
and adds to a list what is wrong. None stands for what is not there.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from userswarm.errors import Problem, QuantityError
from userswarm.spec import quantity

Reader = Callable[[Any, str, list[Problem]], Any]
"""Reads a value at a path; the third argument takes the problems."""

_LONGEST_SHOWN = 60


def text(pattern: str = "", told: str = "a text") -> Reader:
    """Return the reader of a text that matches a pattern; an empty text is as good as none."""
    wanted = re.compile(pattern, re.DOTALL)

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, str) or (pattern and value and not wanted.fullmatch(value)):
            problems.append(_wrong(path, value, told))
        return value or None

    return read


def number(least: int, most: int = 2**31 - 1, *, zero_is_absent: bool = False) -> Reader:
    """Return the reader of a whole number; `zero_is_absent` where the apiserver stores no 0."""

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        whole = _whole(value)
        if whole is None or not least <= whole <= most:
            problems.append(_wrong(path, value, f"a whole number from {least} to {most}"))
        return None if zero_is_absent and whole == 0 else whole

    return read


def flag(*, false_is_absent: bool = False) -> Reader:
    """Return the reader of true or false; `false_is_absent` where the apiserver stores no false."""

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, bool):
            problems.append(_wrong(path, value, "true or false"))
        return None if false_is_absent and value is False else value

    return read


def only(wanted: Any, because: str, *, kept: bool = True) -> Reader:
    """Return the reader of a field that may say one thing; unless `kept`, saying it is as good as saying nothing."""

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        if type(value) is not type(wanted) or value != wanted:
            problems.append(_wrong(path, value, f"{json.dumps(wanted)}: {because}"))
        return wanted if kept else None

    return read


def one_of(*words: str) -> Reader:
    """Return the reader of one of some words."""

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        if value not in words:
            problems.append(_wrong(path, value, f"one of {', '.join(words)}"))
        return value

    return read


def amount(written: Callable[[str | int], str]) -> Reader:
    """Return the reader of a quantity, `written` as it is stored; not negative, and half a core may be a number too."""

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        said = repr(value) if isinstance(value, float) else value
        try:
            quantity.parse_non_negative(said)
            return written(said)
        except QuantityError as error:
            problems.append(Problem(path, str(error)))
            return None

    return read


def number_or_text(least: int, most: int, pattern: str, told: str) -> Reader:
    """Return the reader of Kubernetes' IntOrString."""
    as_number, as_text = number(least, most), text(pattern, told)

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        if isinstance(value, str) and value:
            return as_text(value, path, problems)
        found: list[Problem] = []
        whole = as_number(value, path, found)
        if found:
            problems.append(_wrong(path, value, f"a whole number from {least} to {most}, or {told}"))
        return whole

    return read


def binary(value: Any, path: str, problems: list[Problem]) -> Any:
    """Read base64, as the apiserver writes it back."""
    try:
        raw = base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
    except (TypeError, binascii.Error, ValueError):
        problems.append(_wrong(path, value, "base64"))
        return None
    return base64.b64encode(raw).decode("ascii")


def mapping(check_key: Callable[[str], str], read: Reader | None = None, pattern: str = "", told: str = "") -> Reader:
    """Return the reader of a map with free keys.

    `check_key` says what is wrong with a key, or an empty text. Values are texts, the empty one included, that match
    a pattern, unless `read` reads them.
    """
    wanted = re.compile(pattern or ".*", re.DOTALL)

    def entry(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, str) or not wanted.fullmatch(value):
            problems.append(_wrong(path, value, told or "a text"))
        return value

    def read_map(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, dict):
            problems.append(_wrong(path, value, "an object"))
            return None
        for key in value:
            wrong = check_key(key)
            if wrong:
                problems.append(Problem(f"{path}[{key}]", wrong))
        entries = {key: (read or entry)(each, f"{path}[{key}]", problems) for key, each in value.items()}
        found = {key: each for key, each in entries.items() if each is not None}
        return found or None

    return read_map


def items(read: Reader, *, key: str = "", why: str = "a name stands for one thing") -> Reader:
    """Return the reader of a list; no two of its objects may have the same `key`.

    Metacontroller merges many lists by such a key: two items that share it would become one.
    """

    def read_list(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, list):
            problems.append(_wrong(path, value, "a list"))
            return None
        found = []
        first: dict[Any, int] = {}
        for position, each in enumerate(value):
            where = f"{path}[{position}]"
            before = len(problems)
            item = read(each, where, problems)
            found.append(item)
            if not key or len(problems) > before:
                continue
            earlier = first.setdefault(item[key], position)
            if earlier != position:
                problems.append(Problem(f"{where}.{key}", f"is {item[key]!r}, as [{earlier}] is; {why}"))
        return found or None

    return read_list


def texts(value: Any, path: str, problems: list[Problem]) -> Any:
    """Read a list of texts, in which an empty one counts."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        problems.append(_wrong(path, value, "a list of texts"))
    return value or None


def record(
    fields: Mapping[str, Reader],
    *,
    required: tuple[str, ...] = (),
    one_among: tuple[str, ...] = (),
    refused: Mapping[str, str] | None = None,
    kept: bool = False,
) -> Reader:
    """Return the reader of an object with exactly these fields.

    `one_among` are fields of which one and only one has to be there; `refused` says of fields that Kubernetes has
    why a workload may not. An empty object is as good as none, unless `kept`.
    """

    def read(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, dict):
            problems.append(_wrong(path, value, "an object"))
            return None
        found = {}
        for name, each in value.items():
            if each is None:
                continue
            where = f"{path}.{name}"
            if name not in fields:
                problems.append(Problem(where, (refused or {}).get(name) or _unknown(name, fields)))
                continue
            member = fields[name](each, where, problems)
            if member is not None:
                found[name] = member
        missing = [f"{path}.{name}" for name in required if name not in found and value.get(name) in (None, "", [], {})]
        named = {problem.path for problem in problems} if missing else set()
        problems.extend(Problem(where, "is missing") for where in missing if where not in named)
        there = [name for name in one_among if value.get(name) is not None]
        if one_among and len(there) != 1:
            has = f"has {' and '.join(there)}" if there else "has none of them"
            problems.append(Problem(path, f"must have one of {', '.join(one_among)}, and {has}"))
        return found if found or kept else None

    return read


def _whole(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _unknown(name: str, fields: Mapping[str, Any]) -> str:
    known = {each.lower(): each for each in fields}
    nearest = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f"did you mean {known[nearest[0]]}?" if nearest else f"allowed are {', '.join(sorted(fields))}"
    return f"is not a field that may be said here; {hint}"


def _wrong(path: str, value: Any, told: str) -> Problem:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return Problem(path, f"is {shown}; must be {told}")
