"""How many requests of a user, and of a workspace, are open at once.

A decision sees a request begin; that it has ended, or goes on, Envoy tells (`streams`). Each is counted under a lease,
which Envoy's word renews: one whose end was never told is forgotten, and nobody is locked out for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from userswarm.gate.answers import Refused
from userswarm.gate.settings import GateSettings
from userswarm.gate.sharing import connect, uncounted
from userswarm.spec.slugs import digest

LEASE = 60.0
"""Seconds after which a request counts no more that nobody has spoken of."""


class Store(Protocol):
    """Where requests are counted; raises Refused (503) where that cannot be asked."""

    def add(self, key: str, request_id: str, limit: int) -> bool:
        """Count a request, unless there are `limit` of them, or this very one; tell whether it was counted."""
        ...

    def renew(self, key: str, request_id: str) -> None:
        """Take in that a request goes on."""
        ...

    def remove(self, key: str, request_id: str) -> None:
        """Take in that a request has ended."""
        ...


class OpenRequests:
    """The limits of a gate's settings."""

    def __init__(self, settings: GateSettings, store: Store | None = None) -> None:
        self._store: Store = store if store is not None else _make_store(settings.limits_storage)
        self._usual = {"user": settings.user_open, "workspace": settings.workspace_open}
        self._exceptions = {
            (group, name): int(each["open"])
            for group, members in settings.limits.items()
            for name, each in members.items()
            if "open" in each
        }

    def opened(self, request_id: str, user: str, workspace: str) -> None:
        """Count a request; raises Refused (429, 503)."""
        counted: list[str] = []
        for group, key, limit in self._keys(user, workspace):
            if not self._store.add(key, request_id, limit):
                for other in counted:
                    self._store.remove(other, request_id)
                raise Refused(429, f"{group}-open", "too many requests are open", retry_after=1)
            counted.append(key)

    def goes_on(self, request_id: str, user: str, workspace: str) -> None:
        """Take in that a request goes on."""
        for _, key, _ in self._keys(user, workspace):
            self._store.renew(key, request_id)

    def closed(self, request_id: str, user: str, workspace: str) -> None:
        """Take in that a request has ended."""
        for _, key, _ in self._keys(user, workspace):
            self._store.remove(key, request_id)

    def _keys(self, user: str, workspace: str) -> Iterator[tuple[str, str, int]]:
        for group, name in (("user", user), ("workspace", workspace)):
            limit = self._exceptions.get((group, name), self._usual[group])
            if limit:
                yield group, f"{group}:{digest(name)}", limit


class Memory:
    """A store of one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def add(self, key: str, request_id: str, limit: int) -> bool:
        now = self._monotonic()
        with self._lock:
            there = {each: until for each, until in self._until.get(key, {}).items() if now < until}
            self._until[key] = there
            if len(there) >= limit or request_id in there:
                return False
            there[request_id] = now + LEASE
            return True

    def renew(self, key: str, request_id: str) -> None:
        with self._lock:
            if request_id in self._until.get(key, {}):
                self._until[key][request_id] = self._monotonic() + LEASE

    def remove(self, key: str, request_id: str) -> None:
        with self._lock:
            there = self._until.get(key, {})
            there.pop(request_id, None)
            if not there:
                self._until.pop(key, None)


class Redis:
    """A store that several processes share: a sorted set for each key, its members scored by when they end."""

    def __init__(self, url: str) -> None:
        from redis import RedisError

        self._redis = connect(url)
        self._error = RedisError

    def add(self, key: str, request_id: str, limit: int) -> bool:
        now, key = time.time(), _NAME + key
        with self._asked(), self._redis.pipeline(transaction=True) as steps:
            steps.zremrangebyscore(key, "-inf", now)
            steps.zadd(key, {request_id: now + LEASE}, nx=True)
            steps.zcard(key)
            steps.expire(key, _KEPT)
            _, added, count, _ = steps.execute()
            if added and count > limit:
                self._redis.zrem(key, request_id)
        return bool(added) and count <= limit

    def renew(self, key: str, request_id: str) -> None:
        key = _NAME + key
        with self._asked(), self._redis.pipeline(transaction=True) as steps:
            steps.zadd(key, {request_id: time.time() + LEASE}, xx=True)
            # A stream may outlast everything else of its user's.
            steps.expire(key, _KEPT)
            steps.execute()

    def remove(self, key: str, request_id: str) -> None:
        with self._asked():
            self._redis.zrem(_NAME + key, request_id)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise uncounted(error) from error


_NAME = "userswarm:gate:open:"

_KEPT = round(2 * LEASE)


def _make_store(url: str) -> Store:
    return Redis(url) if url else Memory()
