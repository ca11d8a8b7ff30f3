"""One call of a hook: what goes there and back, and how a test may spoil it."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from devcluster.apiserver import ApiServer
from devcluster.hooks import HookConnectionError, HookResponse, Hooks
from devcluster.objects import Observed, qualified_name
from devcluster.related import SyncError


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a hook, for whoever watches: golden files, the demo, tests."""

    hook: str
    parent: str
    request: bytes
    response: HookResponse
    at: float


class TooManyRequestsError(SyncError):
    """The hook answered 429."""

    def __init__(self, after: float) -> None:
        super().__init__(f"too many requests, retry after {after} s")
        self.after = after


class HookCaller:
    """Calls the hooks of one controller, and counts the calls; `spoiled` says which of the next go wrong, and how."""

    def __init__(self, api: ApiServer, hooks: Hooks) -> None:
        self._api = api
        self._hooks = hooks
        self.calls: Counter[str] = Counter()
        self.request_bytes = 0
        self.response_bytes = 0
        self.observers: list[Callable[[HookCall], None]] = []
        self.spoiled: deque[tuple[str, str]] = deque()

    def spoil_next(self, hook: str, what: str) -> None:
        """Drop, lose or repeat the next call of a hook, "*" for any."""
        self.spoiled.append((hook, what))

    def call(self, hook: str, parent: Observed, request: Mapping[str, Any]) -> bytes:
        """Return the answer to one request; SyncError where there is none of status 200."""
        body = orjson.dumps(request)
        what = self._take_trouble(hook)
        if what == "drop":
            raise SyncError(f"{hook} hook failed: http error: connection refused")
        for _ in range(2 if what == "repeat" else 1):
            self.calls[hook] += 1
            self.request_bytes += len(body)
            try:
                with self._api.unlocked():
                    response = self._hooks(hook, body)
            except HookConnectionError as error:
                raise SyncError(f"{hook} hook failed: {error}") from error
            self.response_bytes += len(response.body)
            call = HookCall(hook, qualified_name(parent), body, response, self._api.clock.elapsed)
            for observer in self.observers:
                observer(call)
        if what == "lose":
            raise SyncError(f"{hook} hook failed: http error: context deadline exceeded")
        if response.status == 429:
            raise TooManyRequestsError(self._retry_after(response.headers.get("retry-after", "")))
        if response.status != 200:
            text = response.body.decode(errors="replace")
            raise SyncError(f"{hook} hook failed: unsupported status code: {response.status} body: {text}")
        return response.body

    def _take_trouble(self, hook: str) -> str:
        for index, (wanted, what) in enumerate(self.spoiled):
            if wanted in {"*", hook}:
                del self.spoiled[index]
                return what
        return ""

    def _retry_after(self, text: str) -> float:
        """Return how long to wait after a 429; with no usable header not at all."""
        if text.isdigit():
            return float(text)
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return 0
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return float(max(0, math.ceil((aware - self._api.clock.now()).total_seconds())))
