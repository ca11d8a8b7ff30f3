"""Which parent is synced when: soon after a change, at a wished time, or later and later after errors."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable

from devcluster.clock import Clock, Timer
from devcluster.objects import Key


class WorkQueue:
    """Calls `work` with the key of a parent that is due."""

    def __init__(self, clock: Clock, latency: float, work: Callable[[Key], None]) -> None:
        self._clock = clock
        self._latency = latency
        self._sync = work
        self._queued: dict[Key, Timer] = {}
        self._delayed: dict[Key, Timer] = {}
        self._failures: Counter[Key] = Counter()

    def add(self, key: Key) -> None:
        """Sync a parent soon; several changes within the latency become one sync."""
        if key not in self._queued:
            self._queued[key] = self._clock.after(self._latency, functools.partial(self._work, key))

    def add_after(self, key: Key, seconds: float, *, background: bool) -> None:
        """Sync a parent later; of two such wishes the earlier one counts."""
        planned = self._delayed.get(key)
        timer = self._clock.after(seconds, functools.partial(self._fall_due, key), background=background)
        if planned is not None and planned.due <= timer.due:
            self._clock.cancel(timer)
            return
        if planned is not None:
            self._clock.cancel(planned)
        self._delayed[key] = timer

    def back_off(self, key: Key) -> None:
        """Sync a parent again after an error: after 5 ms, doubling, up to 1000 s, which is client-go's default."""
        delay = min(0.005 * 2 ** min(self._failures[key], 30), 1000.0)
        self._failures[key] += 1
        self.add_after(key, delay, background=False)

    def forget(self, key: Key) -> None:
        """Forget a parent's errors: the next one is its first."""
        self._failures.pop(key, None)

    def stop(self) -> None:
        """Call for no parent any more."""
        for timer in (*self._queued.values(), *self._delayed.values()):
            self._clock.cancel(timer)

    def _work(self, key: Key) -> None:
        del self._queued[key]
        self._sync(key)

    def _fall_due(self, key: Key) -> None:
        del self._delayed[key]
        self.add(key)
