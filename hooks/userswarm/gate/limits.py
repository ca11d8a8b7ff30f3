"""How many requests a user, and a workspace, may send in a time: counted by the library `limits`.

In memory, or in a Redis that several gates share; where that cannot be asked, nobody is let in. The workspace's own
limit counts only what its owner sends: nobody uses up another's.
"""

from __future__ import annotations

import math
import time
from typing import Literal

import limits
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import SlidingWindowCounterRateLimiter

from userswarm.gate.answers import Refused
from userswarm.gate.settings import GateSettings
from userswarm.gate.sharing import connect, uncounted
from userswarm.spec.slugs import digest

Group = Literal["user", "workspace"]


class Rates:
    """The rates of a gate's settings."""

    def __init__(self, settings: GateSettings) -> None:
        self._counter = SlidingWindowCounterRateLimiter(_make_storage(settings.limits_storage))
        self._usual = {"user": _parse(settings.user_rate), "workspace": _parse(settings.workspace_rate)}
        self._exceptions = {
            (group, name): _parse(each["rate"])
            for group, members in settings.limits.items()
            for name, each in members.items()
            if "rate" in each
        }

    def count(self, group: Group, name: str) -> None:
        """Count a request; raises Refused (429 where it is one too many, 503 where nobody can tell)."""
        rate = self._exceptions.get((group, name), self._usual[group])
        if rate is None:
            return
        key = digest(name)
        try:
            if self._counter.hit(rate, group, key):
                return
            seconds = self._counter.get_window_stats(rate, group, key).reset_time - time.time()
        except StorageError as error:
            raise uncounted(error.storage_error) from error
        raise Refused(429, f"{group}-rate", "too many requests", retry_after=max(1, math.ceil(seconds)))


def _make_storage(url: str) -> Storage:
    if not url:
        return MemoryStorage()
    return RedisStorage(url, connection_pool=connect(url).connection_pool, wrap_exceptions=True)


def _parse(rate: str) -> limits.RateLimitItem | None:
    return limits.parse(rate) if rate else None
