"""One field of the CRD, compiled: what it takes, and what is made of a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field of the CRD, compiled; `accepted` says in words what it takes."""

    validator: Any
    complete: Callable[[Any], Any]
    prune: Callable[[Any], Any]
    accepted: str
    nullable: bool
    fields: Mapping[str, Field]
    entries: Field | None
    items: Field | None
