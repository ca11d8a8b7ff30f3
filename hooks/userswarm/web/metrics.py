"""Where Prometheus reads: each worker counts into files of its own, and one small server sums them up."""

from __future__ import annotations

import socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking DNS for a name of our own, which nobody needs and which may take long."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()


class _ServerOverIPv6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5  # a slow scraper holds a thread no longer than this

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: a scrape is no event."""


def make_metrics_server(host: str, port: int, directory: str) -> WSGIServer:
    """Return a server of /metrics, bound already: the sum over all workers that count in `directory`.

    Raises OSError where it cannot bind.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
    server_class = _ServerOverIPv6 if ":" in host else _Server
    return make_server(host, port, make_wsgi_app(registry), server_class=server_class, handler_class=_Handler)
