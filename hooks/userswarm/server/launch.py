"""Starts gunicorn with the application and a configuration made from the settings.

Its gevent workers patch Python's sockets after they are forked: the master, and whoever imports a hook, live without.
Stopping, in order: on SIGTERM each worker answers 503 at /readyz and closes connections as it answers on them; within a
second it stops accepting, finishes what has begun within graceful_timeout, and ends. In Kubernetes a preStop sleep goes
before the SIGTERM, so that the Service has let go of the Pod by then.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from userswarm.errors import SettingsError
from userswarm.server.app import EXTENSION, create_app
from userswarm.server.cluster import find_api
from userswarm.server.tls import CertificateFiles
from userswarm.spec.settings import PREFIX, Settings
from userswarm.web.addresses import is_loopback
from userswarm.web.gunicorn import MetricsEndpoint, Server, common_options, metrics_endpoint
from userswarm.web.logs import configure_logging

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("userswarm.server")


def serve(settings: Settings) -> None:
    """Answer Metacontroller until told to stop; does not return, but exits.

    Raises SettingsError where the settings are unsafe together, or cannot be used on this machine.
    """
    configure_logging(settings)
    check_exposure(settings)
    with metrics_endpoint(settings.metrics_bind, f"{PREFIX}METRICS_BIND") as metrics:
        _Webhook(settings, create_app(settings, api=find_api(os.environ)), metrics).run()


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


def gunicorn_options(settings: Settings) -> dict[str, Any]:
    """Return the gunicorn settings that follow from ours."""
    options: dict[str, Any] = {
        **common_options(settings),
        "bind": settings.bind,
        "workers": settings.workers,
        "worker_connections": 1000,
        "keepalive": settings.keep_alive,
        "timeout": settings.request_timeout,
        "graceful_timeout": settings.graceful_timeout,
        # Imported once, shared by all workers.
        "preload_app": True,
        "limit_request_line": 2048,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
    }
    if settings.tls_cert_file:
        CertificateFiles.of(settings)  # so that what cannot be used stops the start
        options["certfile"] = settings.tls_cert_file
        options["keyfile"] = settings.tls_key_file
        # Made in the worker, whose sockets are gevent's.
        options["ssl_context"] = lambda _config, _default: CertificateFiles.of(settings).renewed_context()
    return options


class _Webhook(Server):
    def __init__(self, settings: Settings, app: Flask, metrics: MetricsEndpoint | None) -> None:
        self._settings = settings
        self._app = app
        super().__init__(gunicorn_options(settings), lambda: app, metrics)

    def post_fork(self, arbiter: Any, worker: Any) -> None:
        super().post_fork(arbiter, worker)
        self._app.extensions[EXTENSION].is_stopping = lambda: not worker.alive
        # For a TLS handshake that does not go on; gunicorn takes it off once the connection is made.
        socket.setdefaulttimeout(self._settings.request_timeout)

    def pre_request(self, worker: Any, request: Any) -> None:
        """Let a connection end with a request whose body is too large: gunicorn would read all of it for the next one.

        What is a little too large it may read, or the client would see a reset instead of the 413.
        """
        super().pre_request(worker, request)
        headers = dict(request.headers)
        length = headers.get("CONTENT-LENGTH", "0")
        if "TRANSFER-ENCODING" in headers or int(length) > 2 * self._settings.max_body_bytes:
            request.force_close()
