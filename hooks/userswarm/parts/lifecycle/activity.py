"""When a swarm was used last, as its annotations say, and how far the clock that wrote them can be believed.

Whoever writes an annotation stamps it by a clock of its own; the API server notes beside it when it was written. Where
the two differ by more than CLOCK_BOUND, the API server is believed: so no clock puts a swarm to sleep early by more
than that, or keeps it awake for longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from userswarm.wire.k8s import read_time

LAST_ACTIVITY = "crawbl.ai/last-activity"
PREVIOUS_ACTIVITY = "crawbl.ai/previous-activity"
BUSY_UNTIL = "crawbl.ai/busy-until"

CLOCK_BOUND = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Activity:
    """What is known of a swarm's use: `mark` is the annotation as it stands, `doubt` what is wrong with its clock."""

    mark: str = ""
    last: datetime | None = None
    previous: datetime | None = None
    busy_until: datetime | None = None
    doubt: str = ""


def read_activity(metadata: Mapping[str, Any]) -> Activity:
    """Return what a parent's metadata says about its use."""
    annotations = metadata.get("annotations") or {}
    last, busy_until = read_time(annotations.get(LAST_ACTIVITY)), read_time(annotations.get(BUSY_UNTIL))
    # Of the length of a time; whoever writes more is remembered by its beginning.
    mark, previous = annotations.get(LAST_ACTIVITY, "")[:64], read_time(annotations.get(PREVIOUS_ACTIVITY))
    written = _written_at(metadata) if last is not None else None
    if last is None or written is None or abs(written - last) <= CLOCK_BOUND:
        return Activity(mark, last, previous, busy_until)
    behind = written - last
    return Activity(
        mark,
        written,
        previous + behind if previous is not None else None,
        # Another writer's clock may be right: a lease is never cut short.
        max(busy_until, busy_until + behind) if busy_until is not None else None,
        f"the clock that wrote {LAST_ACTIVITY} is {'behind' if behind > timedelta(0) else 'ahead'} by more than "
        f"{CLOCK_BOUND.total_seconds():.0f} s; the API server's is believed",
    )


def _written_at(metadata: Mapping[str, Any]) -> datetime | None:
    """Return when the annotation was written, by the API server's clock; None where it does not say."""
    entries = metadata.get("managedFields")
    for entry in entries if isinstance(entries, list) else ():
        try:
            if f"f:{LAST_ACTIVITY}" in entry["fieldsV1"]["f:metadata"]["f:annotations"]:
                return read_time(entry.get("time"))
        except (KeyError, TypeError):
            continue
    return None
