"""What is known of a swarm's sleep from one call to the next: the field `lifecycle` of its status, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from userswarm.wire.k8s import Manifest, read_time, written_time


@dataclass(frozen=True, slots=True)
class Checked:
    """The last answer to the activity check: when, when the next is due, since when it says busy, or what was wrong."""

    at: datetime
    again: datetime
    busy_since: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Whether a swarm is asleep, since when, and why: it sleeps for that reason, or woke for it.

    `mark` is the activity that was known when it fell asleep last, `unused_since` when it did so with that mark first:
    waking for an appointment of its own is no use. `appointment` is when the runtime itself wants to be awake.
    """

    asleep: bool
    since: datetime
    reason: str
    mark: str = ""
    unused_since: datetime | None = None
    appointment: datetime | None = None
    checked: Checked | None = None


def read_state(status: Mapping[str, Any]) -> State | None:
    """Return what an earlier answer recorded; None where there is nothing that can be read."""
    told = status.get("lifecycle")
    if not isinstance(told, dict):
        return None
    asleep = "asleepSince" in told
    since = read_time(told.get("asleepSince" if asleep else "awakeSince"))
    if since is None:
        return None
    return State(
        asleep,
        since,
        str(told.get("reason", "")),
        str(told.get("mark", "")),
        read_time(told.get("unusedSince")),
        read_time(told.get("wakeAt")),
        _read_checked(told.get("checked")),
    )


def write_state(state: State, **more: datetime | int | None) -> Manifest:
    """Return the field of the status; `more` are fields that only tell."""
    checked = state.checked
    fields: dict[str, Any] = {
        ("asleepSince" if state.asleep else "awakeSince"): state.since,
        "reason": state.reason,
        "mark": state.mark or None,
        "unusedSince": state.unused_since,
        "wakeAt": state.appointment,
        "checked": _told(at=checked.at, again=checked.again, busySince=checked.busy_since, problem=checked.problem)
        if checked is not None
        else None,
        **more,
    }
    return _told(**fields)


def _told(**fields: Any) -> Manifest:
    return {
        name: written_time(value) if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value not in (None, "")
    }


def _read_checked(told: object) -> Checked | None:
    if not isinstance(told, dict):
        return None
    at, again = read_time(told.get("at")), read_time(told.get("again"))
    if at is None or again is None:
        return None
    return Checked(at, again, read_time(told.get("busySince")), str(told.get("problem", "")))
