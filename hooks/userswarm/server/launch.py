"""Starts gunicorn with the application and a configuration made from the settings.

Its gevent workers patch Python's sockets after they are forked: the master, and whoever imports a hook, live without.
Stopping, in order: on SIGTERM each worker answers 503 at /readyz and closes connections as it answers on them; within a
second it stops accepting, finishes what has begun within graceful_timeout, and ends. In Kubernetes a preStop sleep goes
before the SIGTERM, so that the Service has let go of the Pod by then.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import gevent
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from userswarm.errors import SettingsError
from userswarm.server.app import EXTENSION, create_app
from userswarm.server.cluster import find_api
from userswarm.server.logs import configure_logging, make_formatter
from userswarm.server.tls import CertificateFiles
from userswarm.spec.settings import Settings

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from flask import Flask

logger = logging.getLogger("userswarm.server")


def serve(settings: Settings) -> None:
    """Answer Metacontroller until told to stop; does not return, but exits.

    Raises SettingsError where the settings are unsafe together, or cannot be used on this machine.
    """
    configure_logging(settings)
    check_exposure(settings)
    master = os.getpid()
    metrics_dir = _prepare_metrics_dir() if settings.metrics_bind else None
    try:
        _Webhook(settings, create_app(settings, api=find_api(os.environ)), metrics_dir).run()
    finally:
        if metrics_dir is not None and os.getpid() == master:
            shutil.rmtree(metrics_dir, ignore_errors=True)


def check_exposure(settings: Settings) -> None:
    """Warn of a server without tokens; raise SettingsError where others than this machine could call it."""
    if settings.token_file:
        return
    if settings.insecure_no_auth:
        logger.warning("USERSWARM_INSECURE_NO_AUTH is true: whoever reaches %s may call the hooks", settings.bind)
    elif is_loopback(settings.bind):
        logger.warning("there is no USERSWARM_TOKEN_FILE: whoever is on this machine may call the hooks")
    else:
        raise SettingsError(
            f"USERSWARM_BIND={settings.bind!r}: others than this machine can call it, so set USERSWARM_TOKEN_FILE "
            f"(or, to allow anyone, USERSWARM_INSECURE_NO_AUTH=true)"
        )


def is_loopback(bind: str) -> bool:
    """Tell whether only this machine reaches an address such as ``127.0.0.1:8080``."""
    host = split_bind(bind)[0]
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def split_bind(bind: str) -> tuple[str, int]:
    """Split ``host:port``; the brackets of an IPv6 address go."""
    host, _, port = bind.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def memory_dir() -> str:
    """Return a directory in memory where there is one: a disk that hangs must not look like a worker that does."""
    shared = "/dev/shm"  # noqa: S108
    return shared if os.access(shared, os.W_OK | os.X_OK) else tempfile.gettempdir()


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Return the gunicorn settings that follow from ours."""
    options: dict[str, Any] = {
        "bind": settings.bind,
        "workers": settings.workers,
        "worker_class": "gevent",
        "worker_connections": 1000,
        "keepalive": settings.keep_alive,
        "timeout": settings.request_timeout,
        "graceful_timeout": settings.graceful_timeout,
        "worker_tmp_dir": memory_dir(),
        # Imported once, shared by all workers.
        "preload_app": True,
        "loglevel": settings.log_level,
        "logger_class": _logger_class(settings.log_format),
        "limit_request_line": 2048,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
        # Nobody sits between Metacontroller and us whose word on schemes and paths would count.
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "control_socket_disable": True,
        "proc_name": "userswarm",
    }
    if settings.tls_cert_file:
        CertificateFiles.of(settings)  # so that what cannot be used stops the start
        options["certfile"] = settings.tls_cert_file
        options["keyfile"] = settings.tls_key_file
        # Made in the worker, whose sockets are gevent's.
        options["ssl_context"] = lambda _config, _default: CertificateFiles.of(settings).renewed_context()
    return options


class _Webhook(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, app: Flask, metrics_dir: str | None) -> None:
        self._settings = settings
        self._app = app
        self._metrics_dir = metrics_dir
        self._metrics_server = _bind_metrics(settings, metrics_dir) if metrics_dir else None
        self._options = gunicorn_options(settings)
        super().__init__()

    def load_config(self) -> None:
        hooks = {
            "when_ready": self._when_ready,
            "post_fork": self._post_fork,
            "pre_request": self._pre_request,
            "worker_exit": self._worker_exit,
            "child_exit": self._child_exit,
        }
        for name, value in {**self._options, **hooks}.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app

    def _when_ready(self, _arbiter: Any) -> None:
        if self._metrics_server is not None:
            threading.Thread(target=self._metrics_server.serve_forever, name="metrics", daemon=True).start()
        # What is there before the fork is never garbage: unless the collector touches it, workers share its memory.
        gc.collect()
        gc.freeze()

    def _post_fork(self, _arbiter: Any, worker: Any) -> None:
        if self._metrics_server is not None:
            self._metrics_server.socket.close()
        self._app.extensions[EXTENSION].is_stopping = lambda: not worker.alive
        # For a TLS handshake that does not go on; gunicorn takes it off once the connection is made.
        socket.setdefaulttimeout(self._settings.request_timeout)
        # A request alone makes a thousand containers, none of them in a cycle: collecting at every 700th is waste.
        gc.set_threshold(50_000, 20, 20)

    def _pre_request(self, _worker: Any, request: Any) -> None:
        """Let a connection end with a request whose body is too large: gunicorn would read all of it for the next one.

        What is a little too large it may read, or the client would see a reset instead of the 413.
        """
        # gevent goes on with a client as long as something of it is there: who asks on and on would be all it serves.
        gevent.sleep(0)
        headers = dict(request.headers)
        length = headers.get("CONTENT-LENGTH", "0")
        if "TRANSFER-ENCODING" in headers or int(length) > 2 * self._settings.max_body_bytes:
            request.force_close()

    def _worker_exit(self, _arbiter: Any, worker: Any) -> None:
        if os.getpid() == worker.pid:
            # When Python ends, logging takes locks of a gevent that is gone, and says so (gevent's issue 2148).
            sys.unraisablehook = lambda _: None

    def _child_exit(self, _arbiter: Any, worker: Any) -> None:
        if self._metrics_dir is not None:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(worker.pid, self._metrics_dir)  # type: ignore[no-untyped-call]


def _prepare_metrics_dir() -> str:
    directory = tempfile.mkdtemp(prefix="userswarm-metrics-", dir=memory_dir())
    # prometheus-client chooses its way of counting by this variable when it is imported: never before this.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    return directory


def _bind_metrics(settings: Settings, directory: str) -> WSGIServer:
    from userswarm.server.metrics import make_metrics_server

    try:
        return make_metrics_server(*split_bind(settings.metrics_bind), directory)
    except OSError as error:
        raise SettingsError(f"USERSWARM_METRICS_BIND={settings.metrics_bind!r}: {error}") from error


def _logger_class(log_format: str) -> type[Logger]:
    """Return gunicorn's logger with our formatter: one log, one format."""

    class OurLogger(Logger):  # type: ignore[misc]
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            for handler in self.error_log.handlers:
                handler.setFormatter(make_formatter(log_format))

    return OurLogger
