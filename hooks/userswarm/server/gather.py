"""Gathers what hooks need, within limits: in one call, in one second, and at once. One Gathering serves one call.

Waiting is gevent's, so that a slow API server or a slow runtime keeps nobody waiting but the call that asked. Whatever
hits a limit of ours is unavailable, which hooks take for a reason to ask again, not for a failure of the swarm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from math import ceil
from time import perf_counter
from typing import TYPE_CHECKING, Any

import gevent
from gevent import Timeout
from gevent.lock import BoundedSemaphore

from userswarm.server.cluster import Api
from userswarm.server.gathering import HTTP, HttpNeed, ObjectNeed, Unavailable
from userswarm.server.service import ask, is_vacant
from userswarm.wire.k8s import Observed

if TYPE_CHECKING:
    from userswarm.server.metrics import Metrics

# In one call: with the longest request to a Service (5 s) less than the 10 s after which Metacontroller gives up.
_SECONDS_TO_READ = 3.0
_SECONDS_TO_WAIT = 1.0
_READS = 32

# A Pod is ready a moment before its Service leads to it; an attempt that met nobody would cost a status and a call.
_SECONDS_TO_APPEAR = 1.5
_ASK_AGAIN = 0.25

# In one process.
_PER_SECOND = 50
_READS_AT_ONCE = 8
_ASKS_AT_ONCE = 16

_SLOW = f"the Kubernetes API does not answer within {_SECONDS_TO_READ:g} s"
_TOO_MANY = "too much is looked up at once; it is looked up later"


class Bucket:
    """So many in a second, and as many in one go after a quiet one."""

    def __init__(self, per_second: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._monotonic = monotonic
        self._left, self._at = float(per_second), monotonic()

    def take(self, count: int) -> None:
        """Take so many; raises Unavailable where they are not there."""
        now = self._monotonic()
        self._left = min(self._rate, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < count:
            raise Unavailable(_TOO_MANY)
        self._left -= count


class Gatherers:
    """Makes a Gatherer for each call, and holds what all calls of a process share; `api` may be why there is none."""

    def __init__(self, api: Api | Unavailable, proxy: tuple[str, int] | None, metrics: Metrics | None) -> None:
        self.api = api
        self.proxy = proxy
        self.metrics = metrics
        self.reads, self.asks = Bucket(_PER_SECOND), Bucket(_PER_SECOND)
        self.reading, self.asking = BoundedSemaphore(_READS_AT_ONCE), BoundedSemaphore(_ASKS_AT_ONCE)

    def __call__(self) -> Gathering:
        return Gathering(self)


class Gathering:
    """The Gatherer of one call."""

    def __init__(self, shared: Gatherers) -> None:
        self._shared = shared
        self._reads_left = _READS
        self._seconds_left = _SECONDS_TO_READ

    def read(self, need: ObjectNeed) -> Iterable[Observed]:
        """Return the objects that are there; raises Unavailable where that cannot be told."""
        began, result = perf_counter(), "unavailable"
        try:
            objects = self._read(need)
            result = "read"
        finally:
            seconds = perf_counter() - began
            self._seconds_left -= seconds
            self._count(f"{need['kind']}.{need['apiVersion']}", result, seconds)
        return objects

    def ask(self, need: HttpNeed) -> Mapping[str, Any]:
        """Return `status` and `body`, or the `error` of the Service; raises Unavailable where it was not asked."""
        began, result = perf_counter(), "unavailable"
        try:
            said = self._ask(need)
            result = "failed" if "error" in said else "answered"
        finally:
            self._count(HTTP, result, perf_counter() - began)
        return said

    def _read(self, need: ObjectNeed) -> Iterable[Observed]:
        shared = self._shared
        if isinstance(shared.api, Unavailable):
            raise shared.api
        reads = len(need.get("names", ("a list",)))
        self._reads_left -= reads
        if self._reads_left < 0:
            raise Unavailable(f"a call may look up {_READS} objects, and this one has more to look up")
        if self._seconds_left <= 0:
            raise Unavailable(_SLOW)
        shared.reads.take(reads)
        try:
            with Timeout(self._seconds_left), shared.reading:
                return shared.api.read(need)
        except Timeout:
            raise Unavailable(_SLOW) from None
        except (OSError, HTTPException) as error:
            raise Unavailable(f"the Kubernetes API cannot be read: {error}") from error

    def _ask(self, need: HttpNeed) -> Mapping[str, Any]:
        """Ask, and for a moment again where nobody is there yet; the need's own time is the limit for all of it."""
        self._shared.asks.take(1)
        began = perf_counter()
        said = self._ask_once(need)
        while is_vacant(said) and (waited := perf_counter() - began) < _SECONDS_TO_APPEAR:
            gevent.sleep(_ASK_AGAIN)
            said = self._ask_once({**need, "timeoutSeconds": max(1, need["timeoutSeconds"] - ceil(waited))})
        return said

    def _ask_once(self, need: HttpNeed) -> Mapping[str, Any]:
        shared = self._shared
        if not shared.asking.acquire(timeout=_SECONDS_TO_WAIT):
            raise Unavailable(_TOO_MANY)
        try:
            return ask(need, shared.proxy)
        finally:
            shared.asking.release()

    def _count(self, kind: str, result: str, seconds: float) -> None:
        if self._shared.metrics is not None:
            self._shared.metrics.gathered(kind, result, seconds)
