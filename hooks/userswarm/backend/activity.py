"""What a backend notes of a swarm's use, and how seldom: its own memory, and the annotations that it writes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime, timedelta

from userswarm.backend.model import TOUCH_INTERVAL, Swarm
from userswarm.parts.lifecycle.activity import BUSY_UNTIL, LAST_ACTIVITY, PREVIOUS_ACTIVITY
from userswarm.wire.k8s import Manifest, read_time, written_time

LEASES = 3
"""How many pauses between two renewals a lease lasts: one renewal may fail."""


class RecentlyTouched:
    """A bounded memory of what happened lately; safe for use by many threads.

    Each thing is remembered for as long as it is said to be, and the oldest goes first where more than `capacity`
    would have to be kept.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._until: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def is_recent(self, key: Hashable, now: float) -> bool:
        """Tell whether it is remembered; `now` in seconds."""
        until = self._until.get(key)
        return until is not None and now < until

    def claim(self, key: Hashable, now: float, interval: float = TOUCH_INTERVAL) -> bool:
        """Record for so many seconds that it happens now, unless it is recent: then somebody else has claimed it."""
        with self._lock:
            if self.is_recent(key, now):
                return False
            self._until[key] = now + interval
            self._until.move_to_end(key)
            while len(self._until) > self._capacity or next(iter(self._until.values())) <= now:
                self._until.popitem(last=False)
            return True


def is_noted(swarm: Swarm, now: datetime) -> bool:
    """Tell whether somebody, another process say, has noted activity lately, and so that the swarm is awake for it."""
    noted = read_time(swarm.last_activity)
    return not swarm.asleep and noted is not None and abs((now - noted).total_seconds()) < swarm.touch_every


def is_held(swarm: Swarm, now: datetime) -> bool:
    """Tell whether a lease lasts until after the next time that it is looked at."""
    until = read_time(swarm.busy_until)
    return until is not None and until >= now + timedelta(seconds=2 * swarm.touch_every)


def note(swarm: Swarm, now: datetime, *, busy: bool = False) -> Manifest:
    """Return the patch that notes activity, and with `busy` a lease; never on one made anew under its name."""
    annotations = {LAST_ACTIVITY: written_time(now)}
    if swarm.last_activity:
        annotations[PREVIOUS_ACTIVITY] = swarm.last_activity
    if busy:
        annotations[BUSY_UNTIL] = written_time(now + timedelta(seconds=LEASES * swarm.touch_every))
    return {"metadata": {"uid": swarm.uid, "annotations": annotations}}
