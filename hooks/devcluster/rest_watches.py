"""One watch of the REST API: the lines that it sends, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import orjson

from devcluster.apiserver import WatchEvent
from devcluster.errors import ApiError
from devcluster.kinds import Kind
from devcluster.objects import Observed
from devcluster.rest_requests import Filter, Target, parse_filter, status_of, whole_number

if TYPE_CHECKING:
    from devcluster.rest import RestServer


class Watch:
    """What a client that watches is sent; `cut` tells that the server stops, and the watch is not ended properly."""

    def __init__(self, rest: RestServer, target: Target, query: Mapping[str, str]) -> None:
        """Begin at a resourceVersion, or with what is there now; ApiError (410) where that version is forgotten."""
        self.cut = False
        self._rest = rest
        self._target = target
        self._wanted = wanted = parse_filter(target, query)
        now = time.monotonic()
        self._deadline = now + (whole_number(query, "timeoutSeconds") or 1800)
        self._bookmarks = query.get("allowWatchBookmarks") in {"true", "1"}
        self._next_bookmark = now + rest.bookmark_interval if self._bookmarks else self._deadline
        self._lines: list[bytes] = []
        kind = target.kind
        with rest.changed:
            self._version = whole_number(query, "resourceVersion")
            if self._version:
                rest.api.events_since(self._version)
            else:
                self._version = rest.api.resource_version
                found = rest.api.scan(kind.api_version, kind.kind, wanted.namespace, wanted.labels)
                self._lines = [_line("ADDED", obj) for obj in found if wanted.matches(obj)]

    def chunks(self) -> Iterator[bytes]:
        """Yield what to send next, which may be nothing, until the watch ends."""
        yield b"".join(self._lines)
        rest, kind = self._rest, self._target.kind
        while True:
            with rest.changed:
                if rest.stopping:
                    self.cut = True
                    return
                if rest.silent:
                    rest.changed.wait()
                    continue
                try:
                    events = rest.api.events_since(self._version)
                except ApiError as error:
                    expired = _line("ERROR", status_of(error, self._target))
                    break
                now = time.monotonic()
                due = min(self._deadline, self._next_bookmark)
                if not events and now < due:
                    rest.changed.wait(due - now)
                    continue
            self._version = events[-1].resource_version if events else self._version
            lines = [line for event in events for line in _event_lines(event, kind, self._wanted)]
            if self._bookmarks and now >= due:
                self._next_bookmark = now + rest.bookmark_interval
                bookmark = {"metadata": {"resourceVersion": str(self._version)}}
                lines.append(_line("BOOKMARK", {"apiVersion": kind.api_version, "kind": kind.kind, **bookmark}))
            yield b"".join(lines)
            if now >= self._deadline:
                return
        yield expired


def _line(kind: str, obj: Observed) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


def _event_lines(event: WatchEvent, kind: Kind, wanted: Filter) -> list[bytes]:
    """Return an event as a filtered watch sees it: what no longer matches is gone, what newly matches is new."""
    if event.kind is not kind:
        return []
    is_in = wanted.matches(event.object)
    was_in = event.old is not None and wanted.matches(event.old)
    if event.type == "MODIFIED":
        seen = {(True, True): "MODIFIED", (True, False): "ADDED", (False, True): "DELETED"}.get((is_in, was_in))
    else:
        seen = event.type if is_in else None
    return [_line(seen, event.object)] if seen else []
