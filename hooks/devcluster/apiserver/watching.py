"""The log of events: whoever subscribed is told at once, and watches read it by resourceVersion."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.errors import gone
from devcluster.kinds import Kind
from devcluster.objects import Observed


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED or DELETED, as a watch reports it; `old` is the object before a MODIFIED."""

    type: str
    kind: Kind
    object: Observed
    old: Observed | None
    resource_version: int


class EventLog:
    """The newest events, `history` of them at most."""

    def __init__(self, history: int) -> None:
        self._subscribers: list[Callable[[WatchEvent], None]] = []
        self._events: deque[WatchEvent] = deque()
        self._history = history
        self._compacted = 0

    def subscribe(self, callback: Callable[[WatchEvent], None]) -> Callable[[], None]:
        """Call `callback` with every event from now on; return how to stop."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def tell(self, event: WatchEvent) -> None:
        """Write an event down and tell it to everybody; the oldest one is forgotten where they are too many."""
        self._events.append(event)
        if len(self._events) > self._history:
            self._compacted = self._events.popleft().resource_version
        for callback in tuple(self._subscribers):
            callback(event)

    def since(self, resource_version: int) -> list[WatchEvent]:
        """Return every event after a resourceVersion, oldest first; 410 if some of them are forgotten."""
        if resource_version < self._compacted:
            raise gone(f"too old resource version: {resource_version} ({self._compacted})")
        newer = []
        for event in reversed(self._events):
            if event.resource_version <= resource_version:
                break
            newer.append(event)
        return newer[::-1]

    def compact(self, resource_version: int) -> None:
        """Forget all events up to the newest resourceVersion."""
        self._events.clear()
        self._compacted = resource_version
