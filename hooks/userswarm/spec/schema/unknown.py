"""Fields that the CRD does not know, each with the nearest that it does."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.schema.field import Field


@dataclass(frozen=True, slots=True)
class Member:
    """A field of an observed object; `field` is None where the CRD does not know it among its `siblings`."""

    path: str
    name: str
    value: Any
    field: Field | None
    siblings: Mapping[str, Field]


def walk(field: Field, value: Any, path: str) -> Iterator[Member]:
    """Walk everything below a field that the CRD could know."""
    if value.__class__ is dict and field.fields:
        for name, each in value.items():
            below = field.fields.get(name)
            where = f"{path}.{name}".removeprefix(".")
            yield Member(where, str(name), each, below, field.fields)
            if below:
                yield from walk(below, each, where)
    elif value.__class__ is dict and field.entries:
        for key, each in value.items():
            yield from walk(field.entries, each, f"{path}[{key}]")
    elif value.__class__ is list and field.items:
        for index, each in enumerate(value):
            yield from walk(field.items, each, f"{path}[{index}]")


def unknown(member: Member) -> Problem:
    known = {name.lower(): name for name in member.siblings}
    nearest = difflib.get_close_matches(member.name.lower(), known, n=1)
    hint = f"did you mean {known[nearest[0]]}?" if nearest else f"known here are {', '.join(sorted(member.siblings))}"
    return Problem(member.path, f"is not a field of a UserSwarm; {hint}")
