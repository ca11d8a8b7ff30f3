"""Every exception that UserSwarm raises on purpose, under one root.

An error names the object, the field, the value, and what would be accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class UserSwarmError(Exception):
    """The root: whatever we raise on purpose."""


class SettingsError(UserSwarmError):
    """Some settings cannot be used; the message names all of them."""


class QuantityError(UserSwarmError, ValueError):
    """A text is not a Kubernetes quantity."""


class SchemaError(UserSwarmError):
    """The CRD uses a keyword that this project's validator does not know."""


class RequestError(UserSwarmError):
    """A body is JSON, but not a hook request; `field` is the path that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class WrongParentError(UserSwarmError):
    """A hook request is about a parent that is no UserSwarm."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a UserSwarm.

    `path` is the field as `kubectl explain` spells it (``spec.storage.size``), `message` the value that was
    found and what would be accepted.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidParentError(UserSwarmError):
    """A UserSwarm from which no children can be built; `problems` holds all that was found."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"UserSwarm {name!r}: " + "; ".join(map(str, problems)))
        self.name = name
        self.problems = tuple(problems)


class CannotFreezeError(UserSwarmError):
    """An observed child cannot be returned as last applied, so no answer is safe but none."""
