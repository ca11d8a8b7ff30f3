"""Who is alive: the owners of workspaces, as a source outside the cluster tells it.

A workspace is the unit and has one owner; a user who is gone is in no entry, so all theirs goes. A read is whole
or it is an error: there is no such thing as most of a list, and an empty one is taken for a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from userswarm.errors import UserSwarmError

MAX_OWNERS = 2_000_000
"""A list longer than this is taken for a fault of its source: two reads of it take about a gigabyte."""

PAUSE = 5.0
"""Seconds between two attempts at one read."""


class OwnersError(UserSwarmError):
    """A list of owners that cannot be used; nothing may be deleted on its word.

    `transient`: the same read may well succeed if it is asked again in a moment.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


@dataclass(frozen=True, slots=True)
class Owners:
    """One whole read: workspace id -> user id, true at `as_of` and silent on whatever came after."""

    by_workspace: Mapping[str, str]
    as_of: datetime


class OwnerSource(Protocol):
    """Where the owners are read from; `describe` names it without its secrets."""

    def describe(self) -> str: ...

    def read(self, now: datetime) -> Owners:
        """Return all owners, or raise OwnersError. `now` is the moment at which the read begins."""
        ...


def collect_owners(entries: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Return workspace id -> user id of (workspace id, user id) pairs.

    Raises OwnersError for an id that is no text or empty, a workspace that comes twice, and for none at all.
    """
    owners: dict[str, str] = {}
    for number, (workspace, user) in enumerate(entries, start=1):
        workspace_id = _checked(workspace, "workspace", number)
        if workspace_id in owners:
            raise OwnersError(
                f"entry {number}: workspace {workspace_id!r} is listed twice, and a workspace has one owner"
            )
        if number > MAX_OWNERS:
            raise OwnersError(f"more than {MAX_OWNERS} owners")
        owners[workspace_id] = _checked(user, "user", number)
    if not owners:
        raise OwnersError("the list of owners is empty; that is taken for a fault of its source")
    return owners


def read_owners(
    source: OwnerSource,
    *,
    attempts: int,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> Owners:
    """Read `source`, again where the fault is one that passes, at most `attempts` times with a pause between."""
    for left in range(attempts - 1, -1, -1):
        try:
            return source.read(now())
        except OwnersError as error:
            if not error.transient or not left:
                raise
        sleep(PAUSE)
    raise ValueError("attempts must be 1 or more")


def _checked(value: object, word: str, number: int) -> str:
    if not isinstance(value, str) or not value:
        raise OwnersError(f"entry {number}: its {word} id is {value!r:.80}, not a text of at least one character")
    return value
