"""The instants that a cron line names in a time zone, as Debian's cron finds them, summer time and all.

cronsim reads the line: it is small and kept by a service that lives by it; the zones are those of the tzdata package.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_LOOKED_AT = 64
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
"""From here on so many instants are looked at for the shortest pause: a week of them, for what recurs daily."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron line and the name of its time zone, both known to be good."""

    cron: str
    zone: str

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first instant later than a moment, in UTC; None where none comes within fifty years."""
        return _next_after(self.cron, self.zone, moment)

    def shortest_pause(self) -> timedelta:
        """Return the shortest time between two of its instants, as far as a look at some of them shows."""
        shortest, last = timedelta.max, self.next_after(_MONDAY)
        for _ in range(_LOOKED_AT):
            following = self.next_after(last) if last is not None else None
            if last is None or following is None:
                break
            shortest, last = min(shortest, following - last), following
        return shortest


def find_cron_problem(cron: str) -> str:
    """Say what is wrong with a cron line; an empty text for nothing."""
    try:
        CronSim(cron, _MONDAY)
    except CronSimError as error:
        return str(error)
    # cronsim reads seconds too, if there are six fields.
    return "" if len(cron.split()) == 5 else "it has to have five fields"


def is_zone(name: str) -> bool:
    """Tell whether a time zone is known by that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


@functools.lru_cache(maxsize=4096)
def _next_after(cron: str, zone: str, moment: datetime) -> datetime | None:
    found = next(CronSim(cron, moment.astimezone(ZoneInfo(zone))), None)
    return found.astimezone(UTC) if found is not None else None
