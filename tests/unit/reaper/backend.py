"""A backend's list of owners over real HTTP on loopback, right or wrong as a test asks for."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Page = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; `length` is the Content-Length where it is to be a lie, `drip` the pause after each byte."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    drip: float = 0.0

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Answer:
        return cls(json.dumps(value).encode(), status)


@dataclass
class Backend:
    """Serves `owners` in pages; `spoil` may replace the page (a dict) or the whole answer of request number n.

    `requests` are the targets and Authorization headers that came. A request for which `spoil` returns None gets no
    answer until the server closes.
    """

    owners: list[tuple[str, str]] = field(default_factory=list)
    token: str | None = None
    max_page: int = 1000
    spoil: Callable[[int, Page], Page | Answer | None] = lambda _, page: page
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, target: str, authorization: str | None) -> Answer | None:
        self.requests.append((target, authorization))
        if self.token is not None and authorization != f"Bearer {self.token}":
            return Answer.json({"error": "who are you?"}, 401)
        query = {key: values[0] for key, values in parse_qs(urlsplit(target).query).items()}
        size = min(self.max_page, int(query["limit"]))
        start = int(query.get("cursor", "0"))
        page: Page = {
            "owners": [
                {"workspaceId": workspace, "userId": user} for workspace, user in self.owners[start : start + size]
            ],
            "next": str(start + size) if start + size < len(self.owners) else None,
            "total": len(self.owners),
        }
        spoiled = self.spoil(len(self.requests), page)
        return Answer.json(spoiled) if isinstance(spoiled, dict) else spoiled


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that gives up in the middle is what many tests are about."""


@contextmanager
def serve(backend: Backend, *, certificate: Path | None = None, path: str = "/owners") -> Iterator[Backend]:
    """Serve until the block ends; with a `certificate` (PEM, key included) over TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            answer = backend.answer(self.path, self.headers.get("Authorization"))
            if answer is None:
                backend.closing.wait()
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if answer.drip:
                for byte in answer.body:
                    self.wfile.write(bytes([byte]))
                    if backend.closing.wait(answer.drip):
                        break
            else:
                self.wfile.write(answer.body)
            self.close_connection = answer.length is not None

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = _QuietServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    backend.url = f"{scheme}://127.0.0.1:{server.server_address[1]}{path}"
    try:
        yield backend
    finally:
        backend.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
