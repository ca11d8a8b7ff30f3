"""Simulated time: it stands still until somebody advances it, and then fires the timers that fell due.

The whole dev cluster is timers on one clock, in order of due time and then of creation, so a run is the same
however fast the machine is. Time is counted in whole microseconds: floats would drift.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class Timer:
    """One callback that is due at a time; background timers do not keep a cluster from being settled."""

    __slots__ = ("background", "callback", "due", "order")

    def __init__(self, due: int, order: int, callback: Callable[[], None], background: bool) -> None:
        self.due = due
        self.order = order
        self.callback: Callable[[], None] | None = callback
        self.background = background

    def __lt__(self, other: Timer) -> bool:
        return (self.due, self.order) < (other.due, other.order)


class Clock:
    """The simulated clock of one cluster."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._elapsed = 0
        self._timers: list[Timer] = []
        self._order = 0
        self._foreground = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._elapsed / 1_000_000

    @property
    def pending(self) -> int:
        """How many foreground timers are still to fire."""
        return self._foreground

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return self._start + timedelta(microseconds=self._elapsed)

    def timestamp(self, seconds_ahead: float = 0) -> str:
        """Return the time as metav1.Time writes it: RFC 3339, whole seconds."""
        return (self.now() + timedelta(seconds=seconds_ahead)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def after(self, seconds: float, callback: Callable[[], None], *, background: bool = False) -> Timer:
        """Call `callback` when so many seconds have passed; never at once, even for 0."""
        self._order += 1
        # Something is always later than nothing: else a remainder of a float would stop time.
        delay = max(1, round(seconds * 1_000_000)) if seconds > 0 else 0
        timer = Timer(self._elapsed + delay, self._order, callback, background)
        heapq.heappush(self._timers, timer)
        self._foreground += not background
        return timer

    def cancel(self, timer: Timer) -> None:
        """Make sure that the timer does not fire (any more)."""
        if timer.callback is not None:
            timer.callback = None
            self._foreground -= not timer.background

    def next_due(self) -> float | None:
        """Return in how many seconds the next timer is due, None if there is no timer."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return (self._timers[0].due - self._elapsed) / 1_000_000 if self._timers else None

    def advance(self, seconds: float) -> None:
        """Let time pass, firing what falls due, also what those timers set in turn."""
        end = self._elapsed + round(seconds * 1_000_000)
        while self._fire_before(end):
            pass
        self._elapsed = end

    def advance_to_next(self) -> None:
        """Let time pass until the next timer is due, and fire it; there must be one."""
        due = self._timers[0].due
        self._fire_before(due)

    def _fire_before(self, end: int) -> bool:
        """Fire the earliest timer that is due by `end`; return False if there is none."""
        while self._timers and self._timers[0].due <= end:
            timer = heapq.heappop(self._timers)
            callback = timer.callback
            if callback is None:
                continue
            self._elapsed = max(self._elapsed, timer.due)
            self.cancel(timer)
            callback()
            return True
        return False
