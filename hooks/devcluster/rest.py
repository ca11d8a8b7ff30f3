"""The Kubernetes REST API over the in-memory API server, on loopback, for real clients.

Enough for the official client: get, list with limit and continue, create, update, server-side apply, merge patch,
delete with preconditions, the status subresource, and watches with bookmarks, timeoutSeconds and 410. Any bearer
token will do. Unlike the rest of this package it starts threads, and its watches live by the real clock.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.errors import ApiError, bad_request
from devcluster.objects import Manifest
from devcluster.rest_faults import Faults
from devcluster.rest_http import HttpServer
from devcluster.rest_requests import Filter, Target

_SNAPSHOTS = 64
"""How many lists may be read page by page at once; the oldest expire."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """A list as it was when its first page was read."""

    version: int
    items: list[Manifest]


class RestServer:
    """Serves one ApiServer on 127.0.0.1; a context manager, or `start` and `stop`.

    `faults` and `set_silent` make things go wrong; `requests` holds the last ones as ``GET /path?query``.
    """

    def __init__(self, api: ApiServer, *, port: int = 0, bookmark_interval: float = 60.0) -> None:
        """`bookmark_interval`: seconds between the bookmarks of a watch that asks for them."""
        self.api = api
        self.faults = Faults()
        self.requests: deque[str] = deque(maxlen=100_000)
        self.bookmark_interval = bookmark_interval
        # Watches wait on the API server's own lock, which whoever writes holds while telling of it.
        self.changed = threading.Condition(api.lock)
        self.stopping = False
        self.silent = False
        self._port = port
        self._running: _Running | None = None
        self._snapshots: OrderedDict[str, _Snapshot] = OrderedDict()
        self._lists = 0

    @property
    def url(self) -> str:
        """The base URL; it stays the same over a restart."""
        return f"http://127.0.0.1:{self._port}"

    def kubeconfig(self) -> Manifest:
        """Return a kubeconfig that leads here."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "devcluster", "cluster": {"server": self.url}}],
            "users": [{"name": "devcluster", "user": {"token": "any"}}],
            "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": "devcluster"}}],
            "current-context": "devcluster",
        }

    def start(self) -> None:
        """Listen, on the same port as before if it has been stopped."""
        self.stopping = False
        http = HttpServer(self, self._port)
        self._port = http.server_port
        thread = threading.Thread(
            target=http.serve_forever, kwargs={"poll_interval": 0.02}, name="devcluster-rest", daemon=True
        )
        self._running = _Running(http, thread, self.api.subscribe(self._notify))
        thread.start()

    def stop(self) -> None:
        """Drop every connection, also in the middle of an answer, and wait for all threads."""
        running, self._running = self._running, None
        if running is None:
            return
        running.http.shutdown()
        running.thread.join()
        running.unsubscribe()
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
        running.http.drop_connections()
        running.http.server_close()

    def restart(self) -> None:
        """Drop every connection and be there again; nothing that is stored is lost, lists under way are."""
        self.stop()
        self._snapshots.clear()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def set_silent(self, silent: bool) -> None:
        """Let watches say nothing any more, not even that they end; or let them go on."""
        with self.changed:
            self.silent = silent
            self.changed.notify_all()

    def expire_lists(self) -> None:
        """Answer 410 to every continue token that was given out."""
        with self.changed:
            self._snapshots.clear()

    def _notify(self, _: WatchEvent) -> None:
        self.changed.notify_all()

    # Lists

    def list_page(self, target: Target, wanted: Filter, limit: int, token: str) -> Manifest:
        """Return one page, and the token for the next one."""
        with self.changed:
            if token:
                list_id, start = _parse_token(token)
                snapshot = self._snapshot(list_id)
            else:
                items = self.api.scan(target.kind.api_version, target.kind.kind, wanted.namespace, wanted.labels)
                snapshot = _Snapshot(self.api.resource_version, [item for item in items if wanted.matches(item)])
                self._lists += 1
                list_id, start = str(self._lists), 0
            end = start + limit if limit else len(snapshot.items)
            metadata: Manifest = {"resourceVersion": str(snapshot.version)}
            if end < len(snapshot.items):
                self._snapshots[list_id] = snapshot
                while len(self._snapshots) > _SNAPSHOTS:
                    self._snapshots.popitem(last=False)
                metadata["continue"] = base64.urlsafe_b64encode(f"{list_id}/{end}".encode()).decode()
                metadata["remainingItemCount"] = len(snapshot.items) - end
        return {
            "apiVersion": target.kind.api_version,
            "kind": f"{target.kind.kind}List",
            "metadata": metadata,
            "items": snapshot.items[start:end],
        }

    def _snapshot(self, list_id: str) -> _Snapshot:
        snapshot = self._snapshots.get(list_id)
        if snapshot is None:
            raise ApiError(410, "Expired", "The provided continue parameter is too old to display a consistent list")
        # 410 too where the API server has forgotten that time.
        self.api.events_since(snapshot.version)
        return snapshot


@dataclass(frozen=True, slots=True)
class _Running:
    """What `stop` has to end."""

    http: HttpServer
    thread: threading.Thread
    unsubscribe: Callable[[], None]


def _parse_token(token: str) -> tuple[str, int]:
    try:
        list_id, end = base64.urlsafe_b64decode(token).decode().split("/")
        return list_id, int(end)
    except ValueError:
        raise bad_request(f"continue key is not valid: {token!r}") from None
