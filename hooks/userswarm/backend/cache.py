"""Every UserSwarm, kept up to date by one watch, so that `resolve` costs no request.

What a reader gets is never older than the bound: the cache counts as fresh only for `max_staleness` seconds after
the last proof that nothing was missed (a finished list, an event, a bookmark, a watch that ended in good order),
and watches are short enough to give that proof in time. Beyond it, readers ask the API server.

Readers take no lock: they look one name up in a dict. Writers put whole, frozen entries.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from dataclasses import dataclass

from userswarm.backend.api import UserSwarmApi, WatchEvent, WatchStream, is_transient
from userswarm.backend.errors import ApiStatusError, BackendError, ExpiredError, SilenceError
from userswarm.backend.model import Swarm, parse_swarm

_AHEAD = 60.0
"""For how many seconds an answer to a request of ours may be ahead of the watch."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """The newest that is known of a name; until `ahead_until` an older event does not replace it."""

    swarm: Swarm
    revision: int
    ahead_until: float = float("-inf")


class SwarmCache:
    """Start it once; `find` from any thread."""

    def __init__(self, api: UserSwarmApi, *, max_staleness: float, page_size: int = 500) -> None:
        """`max_staleness`: in seconds, at least 2."""
        if max_staleness < 2:
            raise ValueError(f"max_staleness={max_staleness!r}: must be at least 2 seconds")
        self._api = api
        self._clock = api.policy.clock
        self._max_staleness = max_staleness
        self._page_size = page_size
        self._entries: dict[str, _Entry] = {}
        self._doomed: set[str] = set()
        self._fresh_at = float("-inf")
        self._version = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._filled = threading.Event()
        self._stream: WatchStream | None = None
        self._thread = threading.Thread(target=self._run, name="userswarm-cache", daemon=True)
        self.error: BackendError | None = None
        """Why the cache is not kept up to date; None while it is."""

    def start(self) -> None:
        """Begin to read; readers ask the API server until the first list is there."""
        self._thread.start()

    def wait_filled(self, timeout: float | None) -> bool:
        """Wait for the first list; tell whether it is there."""
        return self._filled.wait(timeout)

    def close(self) -> None:
        """Stop, and wait for the thread."""
        self._stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.stop()
        self._thread.join()

    def is_fresh(self) -> bool:
        """Tell whether `find` may be believed."""
        return self.age() <= self._max_staleness

    def age(self) -> float:
        """Return the seconds since the last proof that nothing was missed, infinite where there was none."""
        return self._clock() - self._fresh_at

    def find(self, name: str) -> Swarm | None:
        """Return the swarm with this name, None where there is none; only while `is_fresh`."""
        entry = self._entries.get(name)
        return None if entry is None else entry.swarm

    def __len__(self) -> int:
        return len(self._entries)

    def observe(self, swarm: Swarm) -> None:
        """Take in what an answer to a request of ours showed, unless the watch knows better."""
        revision = _revision(swarm.resource_version)
        with self._lock:
            known = self._entries.get(swarm.name)
            # An object that the watch does not know, from before what it has seen last, is gone again.
            if revision >= (_revision(self._version) + 1 if known is None else known.revision):
                self._entries[swarm.name] = _Entry(self._judged(swarm), revision, self._clock() + _AHEAD)

    def doom(self, swarm: Swarm) -> None:
        """Take in that the deletion of this very object was accepted: nothing brings it back."""
        with self._lock:
            self._doomed.add(swarm.uid)
            known = self._entries.get(swarm.name)
            if known is not None:
                self._entries[swarm.name] = dataclasses.replace(known, swarm=self._judged(known.swarm))

    def _judged(self, swarm: Swarm) -> Swarm:
        return dataclasses.replace(swarm, deleting=True) if swarm.uid in self._doomed else swarm

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                if not self._version:
                    self._list()
                self._watch()
            except Exception as error:  # whatever one answer holds, the thread goes on
                if not isinstance(error, BackendError) or isinstance(error, SilenceError) or not is_transient(error):
                    # Nobody knows what was missed. After a mere break, watching resumes where it broke.
                    self._version = ""
                # An expired watch is part of life: list again soon.
                failures = 1 if isinstance(error, ExpiredError) else failures + 1
                self.error = error if isinstance(error, BackendError) else BackendError(f"unreadable answer: {error!r}")
                least = (error.retry_after if isinstance(error, ApiStatusError) else None) or 0.0
                self._stopped.wait(least + self._api.policy.delay(failures))
            else:
                failures, self.error = 0, None

    def _list(self) -> None:
        asked_at = self._clock()
        # Retries wait in a way that `close` can end.
        policy = dataclasses.replace(self._api.policy, sleep=self._stopped.wait)
        pages = list(self._api.pages(limit=self._page_size, budget=policy.budget()))
        version = pages[0].resource_version
        swarms = [parse_swarm(item) for page in pages for item in page.items]
        with self._lock:
            self._doomed &= {swarm.uid for swarm in swarms}
            found = {swarm.name: _Entry(self._judged(swarm), _revision(swarm.resource_version)) for swarm in swarms}
            ahead = {
                name: known
                for name, known in self._entries.items()
                if known.ahead_until > asked_at and known.revision > _revision(version)
            }
            self._entries = found | ahead
            self._version = version
        self._fresh_at = asked_at
        self._filled.set()

    def _watch(self) -> None:
        # Two watches fit into the bound, so a quiet one proves in time, by ending, that nothing was missed.
        window = self._max_staleness / 2
        stream = self._api.watch(resource_version=self._version, window=window, silence=window * 1.5)
        with self._lock:
            self._stream = stream
            if self._stopped.is_set():
                # `close` has come before there was a watch to stop.
                stream.stop()
        try:
            with contextlib.closing(stream.events()) as events:
                for event in events:
                    self._take(event)
                    self._fresh_at = self._clock()
            self._fresh_at = self._clock()
        finally:
            with self._lock:
                self._stream = None

    def _take(self, event: WatchEvent) -> None:
        with self._lock:
            self._version = event.resource_version or self._version
            if event.type == "BOOKMARK":
                return
            swarm = parse_swarm(event.object)
            revision = _revision(swarm.resource_version)
            known = self._entries.get(swarm.name)
            if known is not None and known.revision > revision and known.ahead_until > self._clock():
                return
            if event.type == "DELETED":
                self._doomed.discard(swarm.uid)
                self._entries.pop(swarm.name, None)
            else:
                self._entries[swarm.name] = _Entry(self._judged(swarm), revision)


def _revision(text: str) -> int:
    """Return a resourceVersion as the number it is: those of one kind can be compared.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
    """
    return int(text) if text.isdecimal() else 0
