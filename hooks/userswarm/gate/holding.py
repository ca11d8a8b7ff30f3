"""Requests that wait: for a runtime that is asleep, or not verified yet.

However many wait, the swarm is woken once: one annotation, written for all of them. Each looks into memory again and
again, which costs no request, until the runtime is verified or the request's own time is up.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from userswarm.backend import BackendError, Swarm, UserSwarmClient
from userswarm.backend.activity import RecentlyTouched
from userswarm.gate.answers import Case, Refused, missing

LOOKS = 0.1
"""Seconds between two looks."""

_TRIES = 5.0
"""Seconds after which a swarm that still sleeps is woken again: the first try may have failed."""

_HOPELESS = {"Failed", "Invalid"}


def judge(swarm: Swarm) -> bool:
    """Tell whether traffic may go to a swarm now; False where it may soon; raises Refused where waiting is no use."""
    if swarm.deleting:
        raise missing()
    if swarm.suspended:
        raise Refused(409, "suspended", "the workspace is suspended until somebody resumes it")
    if swarm.is_verified():
        return True
    if swarm.phase in _HOPELESS and swarm.observed_generation >= swarm.generation and not swarm.asleep:
        raise Refused(503, "broken", "the workspace does not run", retry_after=30)
    return False


class Holding:
    """Holds requests until their swarm takes traffic."""

    def __init__(
        self,
        client: UserSwarmClient,
        find: Callable[[Case], Swarm],
        seconds: float,
        *,
        most: int,
        woken: Callable[[], object],
        sleep: Callable[[float], object] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find` looks into memory for a case's swarm; of one user `most` may wait; `woken` is told of each wake."""
        self._client = client
        self._find = find
        self._seconds = seconds
        self._most = most
        self._woken = woken
        self._sleep = sleep
        self._monotonic = monotonic
        self._waking = RecentlyTouched()
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()

    def until_verified(self, case: Case, swarm: Swarm) -> Swarm:
        """Return the swarm once traffic may go there; raises Refused (404, 409, 503)."""
        if judge(swarm):
            return swarm
        with self._lock:
            if self._waiting[case.user] >= self._most:
                raise Refused(503, "crowded", "too many requests wait already", retry_after=5)
            self._waiting[case.user] += 1
        began = self._monotonic()
        try:
            while not judge(swarm):
                if swarm.asleep and self._waking.claim((swarm.uid, swarm.asleep_since), self._monotonic(), _TRIES):
                    self._wake(case)
                if self._monotonic() - began >= self._seconds:
                    raise Refused(503, "starting", "the workspace is not awake yet", retry_after=2)
                self._sleep(LOOKS)
                swarm = self._find(case)
        finally:
            case.held = self._monotonic() - began
            with self._lock:
                self._waiting[case.user] -= 1
                if not self._waiting[case.user]:
                    del self._waiting[case.user]
        return swarm

    def _wake(self, case: Case) -> None:
        try:
            self._client.wake(case.workspace, case.user)
        except BackendError as error:
            raise Refused(503, "unavailable", "the workspace cannot be woken now", retry_after=5) from error
        self._woken()
