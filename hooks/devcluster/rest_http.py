"""The REST API's side of HTTP: connections, verbs, and the faults that befall a request."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orjson

from devcluster.errors import ApiError, bad_request, conflict
from devcluster.objects import Observed
from devcluster.rest_faults import Fault
from devcluster.rest_requests import (
    Target,
    parse_body,
    parse_filter,
    parse_object,
    parse_path,
    status_of,
    whole_number,
)
from devcluster.rest_watches import Watch

if TYPE_CHECKING:
    from devcluster.rest import RestServer


class HttpServer(ThreadingHTTPServer):
    """Knows its connections, so that it can drop them."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, rest: RestServer, port: int) -> None:
        self.rest = rest
        self._connections: set[Any] = set()
        super().__init__(("127.0.0.1", port), Handler)

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


class Handler(BaseHTTPRequestHandler):
    """One connection; its requests come one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536
    server: HttpServer

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
            target = parse_path(rest.api, url.path)
            if self.command == "GET" and not target.name and query.get("watch") in {"true", "1"}:
                self._watch(target, query)
                return
            code, answer = self._carry_out(target, query, body)
        except ApiError as error:
            code, answer = error.code, status_of(error, target)
        except Exception as error:  # a bug, ours or of an admission step
            code, answer = 500, status_of(ApiError(500, "InternalError", repr(error)), None)
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
        self._answer(fault.status, status_of(error, None), retry_after=fault.retry_after)

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
                    target, parse_filter(target, query), whole_number(query, "limit"), query.get("continue", "")
                )
            case "GET", True, _:
                return 200, api.get(*place)
            case "POST", False, _:
                return 201, api.create(parse_object(body, target), actor=actor)
            case "PUT", True, "":
                return 200, api.update(parse_object(body, target), actor=actor)
            case "PUT", True, _:
                return 200, api.update_status(parse_object(body, target), actor=actor)
            case "PATCH", True, subresource:
                content_type = (self.headers.get("Content-Type") or "").partition(";")[0].strip()
                if content_type == "application/merge-patch+json":
                    return 200, api.patch(*place, parse_body(body), subresource=subresource, actor=actor)
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
        applied = parse_object(body, target)
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
        options = parse_body(body) if body else {}
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

    def _watch(self, target: Target, query: Mapping[str, str]) -> None:
        watch = Watch(self.server.rest, target, query)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for content in watch.chunks():
            if content:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            self.wfile.flush()
        if watch.cut:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")
