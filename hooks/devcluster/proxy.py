"""An HTTP proxy on loopback through which programs reach the cluster's Services, whose names lead nowhere else.

    with ServiceProxy(cluster.traffic) as proxy: …  # http_proxy=proxy.url

502 says that there is no such Service or port, 503 that it has no ready endpoint. It starts threads, and lives by the
real clock.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import orjson

from devcluster.traffic import HangError, Traffic, Unreachable

LONGEST = 30.0
"""Seconds that a request may take, and that one hangs which is not answered."""

_NOT_FORWARDED = {"connection", "content-length", "host", "keep-alive", "proxy-connection", "transfer-encoding"}


class ServiceProxy:
    """The proxy: a context manager; `url` is where it listens."""

    def __init__(self, traffic: Traffic) -> None:
        self._http = _HttpServer(traffic)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="devcluster-proxy", daemon=True
        )

    @property
    def url(self) -> str:
        """The proxy's address."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.stopping.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.stopping = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One request; then the connection ends, so that nobody has to be waited for."""

    server: _HttpServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Keep quiet: `Traffic.requests` is the log."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        service, *domain = (url.hostname or "").split(".")
        if len(domain) < 2 or domain[1] != "svc":
            self._answer(502, _error(f"{self.path} is no Service's; it must be http://SERVICE.NAMESPACE.svc:PORT/path"))
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_FORWARDED}
        path = url._replace(scheme="", netloc="").geturl() or "/"
        try:
            answer = self.server.traffic.send(
                self.command, service, domain[0], url.port or 80, path, body, headers, timeout=LONGEST
            )
        except HangError as error:
            self.server.stopping.wait(LONGEST)
            self._answer(504, _error(str(error)))
        except Unreachable as error:
            self._answer(error.code, _error(str(error)))
        except (OSError, http.client.HTTPException) as error:
            self._answer(502, _error(repr(error)))
        else:
            self._answer(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base class looks for them

    def _answer(self, code: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(message: str) -> bytes:
    return orjson.dumps({"error": message})
