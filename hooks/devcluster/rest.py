"""The Kubernetes REST API over the in-memory API server, on loopback, for real clients.

Enough for the official client: get, list with limit and continue, create, update, server-side apply, merge patch,
delete with preconditions, the status subresource, and watches with bookmarks, timeoutSeconds and 410. Any bearer
token will do. Unlike the rest of this package it starts threads, and its watches live by the real clock.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import struct
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import orjson
import yaml

from devcluster import selectors
from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.errors import ApiError, bad_request, conflict
from devcluster.kinds import Kind
from devcluster.objects import Manifest, Observed, labels_of
from devcluster.rest_faults import Fault, Faults
from devcluster.selectors import Selector

_SNAPSHOTS = 64
"""How many lists may be read page by page at once; the oldest expire."""

_NO_PATH = "the server could not find the requested resource"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection (no name), an object or its subresource."""

    kind: Kind
    namespace: str | None
    name: str
    subresource: str


@dataclass(frozen=True, slots=True)
class _Filter:
    """Which objects of a collection are asked for."""

    namespace: str | None
    labels: Selector
    fields: tuple[tuple[str, str, bool], ...]

    def matches(self, obj: Observed) -> bool:
        metadata = obj["metadata"]
        return (
            self.namespace in {None, metadata.get("namespace")}
            and self.labels.matches(labels_of(obj))
            and all((metadata.get(field, "") == value) is equal for field, value, equal in self.fields)
        )


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
        http = _HttpServer(self, self._port)
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

    def list_page(self, target: Target, wanted: _Filter, limit: int, token: str) -> Manifest:
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

    http: _HttpServer
    thread: threading.Thread
    unsubscribe: Callable[[], None]


class _HttpServer(ThreadingHTTPServer):
    """Knows its connections, so that it can drop them."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, rest: RestServer, port: int) -> None:
        self.rest = rest
        self._connections: set[Any] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        # Before its thread starts: a connection that nobody knows could not be dropped.
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what gets here is a connection that the client or a fault broke."""

    def drop_connections(self) -> None:
        """Make every thread that reads or writes fail."""
        for connection in tuple(self._connections):
            # It may be closed at this very moment.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection; its requests come one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536
    server: _HttpServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet: `RestServer.requests` is the log."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        rest = self.server.rest
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rest.requests.append(f"{self.command} {self.path}")
        fault = rest.faults.take(self.command, self.path)
        if fault is not None and fault.effect == "reset":
            self._reset()
            return
        if fault is not None and fault.effect == "answer":
            self._answer_fault(fault)
            return
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        target: Target | None = None
        code = 200
        try:
            target = _parse_path(rest.api, url.path)
            if self.command == "GET" and not target.name and query.get("watch") in {"true", "1"}:
                self._watch(target, query)
                return
            code, answer = self._carry_out(target, query, body)
        except ApiError as error:
            code, answer = error.code, _status(error, target)
        except Exception as error:  # a bug, ours or of an admission step
            code, answer = 500, _status(ApiError(500, "InternalError", repr(error)), None)
        self._answer(code, answer, fault)

    def _answer(self, code: int, answer: Observed, fault: Fault | None = None, *, retry_after: str = "") -> None:
        content = orjson.dumps(answer)
        if fault is not None and fault.effect == "lose":
            self._reset()
            return
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        if fault is not None:
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def _answer_fault(self, fault: Fault) -> None:
        error = ApiError(fault.status, fault.reason, "a fault that was asked for")
        self._answer(fault.status, _status(error, None), retry_after=fault.retry_after)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    # Verbs

    def _carry_out(self, target: Target, query: Mapping[str, str], body: bytes) -> tuple[int, Observed]:
        if "dryRun" in query:
            raise bad_request("dryRun is not supported")
        api, kind = self.server.rest.api, target.kind
        place = (kind.api_version, kind.kind, target.namespace, target.name)
        actor = query.get("fieldManager") or (self.headers.get("User-Agent") or "unknown").partition("/")[0]
        match self.command, bool(target.name), target.subresource:
            case "GET", False, _:
                return 200, self.server.rest.list_page(
                    target, _parse_filter(target, query), _whole(query, "limit"), query.get("continue", "")
                )
            case "GET", True, _:
                return 200, api.get(*place)
            case "POST", False, _:
                return 201, api.create(_parse_object(body, target), actor=actor)
            case "PUT", True, "":
                return 200, api.update(_parse_object(body, target), actor=actor)
            case "PUT", True, _:
                return 200, api.update_status(_parse_object(body, target), actor=actor)
            case "PATCH", True, subresource:
                content_type = (self.headers.get("Content-Type") or "").partition(";")[0].strip()
                if content_type == "application/merge-patch+json":
                    return 200, api.patch(*place, _parse_body(body), subresource=subresource, actor=actor)
                if content_type == "application/apply-patch+yaml" and not subresource:
                    return self._apply(target, query, body)
                raise ApiError(415, "UnsupportedMediaType", f"{content_type} is not supported for {self.path}")
            case "DELETE", True, "":
                return 200, self._delete(target, query, body, actor)
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _apply(self, target: Target, query: Mapping[str, str], body: bytes) -> tuple[int, Observed]:
        if not query.get("fieldManager"):
            raise bad_request("fieldManager is required for apply patch")
        api, kind = self.server.rest.api, target.kind
        applied = _parse_object(body, target)
        uid = applied["metadata"].pop("uid", None)
        with api.lock:
            old = api.peek(kind.api_version, kind.kind, target.namespace or "", target.name)
            if uid and (old is None or old["metadata"]["uid"] != uid):
                raise conflict(
                    kind.resource,
                    target.name,
                    f"uid mismatch: the provided object specified uid {uid}, which is not there",
                )
            force = query.get("force") in {"true", "1"}
            return 201 if old is None else 200, api.apply(applied, query["fieldManager"], force=force)

    def _delete(self, target: Target, query: Mapping[str, str], body: bytes, actor: str) -> Observed:
        options = _parse_body(body) if body else {}
        preconditions = options.get("preconditions") or {}
        api, kind = self.server.rest.api, target.kind
        last = api.delete(
            kind.api_version,
            kind.kind,
            target.namespace,
            target.name,
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            propagation=options.get("propagationPolicy") or query.get("propagationPolicy") or "Background",
            grace_period=options.get("gracePeriodSeconds"),
            actor=actor,
        )
        uid = last["metadata"]["uid"]
        if api.find_uid(uid) is not None:
            return last
        details = {"name": target.name, "kind": kind.plural, "uid": uid}
        return {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "details": details}

    # Watches

    def _watch(self, target: Target, query: Mapping[str, str]) -> None:
        rest, kind = self.server.rest, target.kind
        wanted = _parse_filter(target, query)
        now = time.monotonic()
        deadline = now + (_whole(query, "timeoutSeconds") or 1800)
        bookmarks = query.get("allowWatchBookmarks") in {"true", "1"}
        next_bookmark = now + rest.bookmark_interval if bookmarks else deadline
        with rest.changed:
            version = _whole(query, "resourceVersion")
            lines: list[bytes] = []
            if version:
                rest.api.events_since(version)
            else:
                version = rest.api.resource_version
                found = rest.api.scan(kind.api_version, kind.kind, wanted.namespace, wanted.labels)
                lines = [_line("ADDED", obj) for obj in found if wanted.matches(obj)]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._write_chunk(b"".join(lines))
        expired = b""
        while True:
            with rest.changed:
                if rest.stopping:
                    self.close_connection = True
                    return
                if rest.silent:
                    rest.changed.wait()
                    continue
                try:
                    events = rest.api.events_since(version)
                except ApiError as error:
                    expired = _line("ERROR", _status(error, target))
                    break
                now = time.monotonic()
                if not events and now < min(deadline, next_bookmark):
                    rest.changed.wait(min(deadline, next_bookmark) - now)
                    continue
            version = events[-1].resource_version if events else version
            lines = [line for event in events for line in _event_lines(event, kind, wanted)]
            if bookmarks and now >= min(deadline, next_bookmark):
                next_bookmark = now + rest.bookmark_interval
                bookmark = {"metadata": {"resourceVersion": str(version)}}
                lines.append(_line("BOOKMARK", {"apiVersion": kind.api_version, "kind": kind.kind, **bookmark}))
            self._write_chunk(b"".join(lines))
            if now >= deadline:
                break
        self._write_chunk(expired)
        self.wfile.write(b"0\r\n\r\n")

    def _write_chunk(self, content: bytes) -> None:
        if content:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()


def _line(kind: str, obj: Observed) -> bytes:
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


def _event_lines(event: WatchEvent, kind: Kind, wanted: _Filter) -> list[bytes]:
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


def _parse_path(api: ApiServer, path: str) -> Target:
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        api_version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        api_version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        raise ApiError(404, "NotFound", _NO_PATH)
    namespace = None
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    kind = api.resource(api_version, plural)
    if len(rest) > 3 or subresource not in {"", "status"} or (subresource and not kind.status):
        raise ApiError(404, "NotFound", _NO_PATH)
    if kind.namespaced is (namespace is None) and (name or namespace is not None):
        raise ApiError(404, "NotFound", _NO_PATH)
    return Target(kind, namespace, name, subresource)


def _parse_filter(target: Target, query: Mapping[str, str]) -> _Filter:
    fields = []
    for term in filter(None, query.get("fieldSelector", "").split(",")):
        parsed = re.fullmatch(r"metadata\.(name|namespace)(=|==|!=)([^=!]*)", term)
        if parsed is None:
            raise bad_request(f'field label not supported: "{term}"; metadata.name and metadata.namespace are')
        fields.append((parsed[1], parsed[3], parsed[2] != "!="))
    labels = selectors.from_text(query.get("labelSelector", ""))
    return _Filter(target.namespace, labels, tuple(fields))


def _parse_token(token: str) -> tuple[str, int]:
    try:
        list_id, end = base64.urlsafe_b64decode(token).decode().split("/")
        return list_id, int(end)
    except ValueError:
        raise bad_request(f"continue key is not valid: {token!r}") from None


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not text.isdecimal():
        raise bad_request(f"{name}: {text!r} must be a whole number")
    return int(text)


def _parse_body(body: bytes) -> Manifest:
    """Read JSON, or YAML, of which JSON is a part."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            parsed = yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise bad_request(f"the body is neither JSON nor YAML: {error}") from None
    if not isinstance(parsed, dict):
        raise bad_request("the body must be an object")
    return parsed


def _parse_object(body: bytes, target: Target) -> Manifest:
    """Read an object, which has to be the one that the path names."""
    obj = _parse_body(body)
    obj.setdefault("apiVersion", target.kind.api_version)
    obj.setdefault("kind", target.kind.kind)
    metadata = obj.setdefault("metadata", {})
    wrong = (obj["apiVersion"], obj["kind"]) != (target.kind.api_version, target.kind.kind)
    if wrong or not isinstance(metadata, dict):
        raise bad_request(f"the object in the body must be a {target.kind.kind} of {target.kind.api_version}")
    for field, value in (("namespace", target.namespace), ("name", target.name)):
        if value and metadata.setdefault(field, value) != value:
            raise bad_request(f"metadata.{field} is {metadata[field]!r}, but the path says {value!r}")
    return obj


def _status(error: ApiError, target: Target | None) -> Manifest:
    """Return the metav1.Status of an error; its details tell a missing object from a missing path."""
    status: Manifest = {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "code": error.code,
    }
    if target is not None:
        causes = [
            {"reason": "FieldManagerConflict", "field": field, "message": f'conflict with "{manager}"'}
            for manager, fields in re.findall(r'conflict with "([^"]*)": ([^;]*)', error.message)
            for field in fields.split(", ")
        ]
        details = {"name": target.name, "kind": target.kind.plural, "causes": causes}
        status["details"] = {name: value for name, value in details.items() if value}
    return status
