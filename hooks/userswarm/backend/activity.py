"""Remembers which swarms were touched lately, so that a busy one costs one write a minute and not one a message."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable


class RecentlyTouched:
    """A bounded memory of what happened within the last `interval` seconds; safe for use by many threads.

    What is older is forgotten, and the oldest goes first where more than `capacity` would have to be kept.
    """

    def __init__(self, interval: float, capacity: int = 100_000) -> None:
        self._interval = interval
        self._capacity = capacity
        self._when: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._when)

    def is_recent(self, key: Hashable, now: float) -> bool:
        """Tell whether it happened within the interval; `now` in seconds."""
        when = self._when.get(key)
        return when is not None and now - when < self._interval

    def claim(self, key: Hashable, now: float) -> bool:
        """Record that it happens now, unless it is recent already: then somebody else has claimed it."""
        with self._lock:
            if self.is_recent(key, now):
                return False
            self._when[key] = now
            self._when.move_to_end(key)
            while len(self._when) > self._capacity or now - next(iter(self._when.values())) >= self._interval:
                self._when.popitem(last=False)
            return True
