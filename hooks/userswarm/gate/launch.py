"""Starts gunicorn with the gate in its workers.

Each worker makes its own client, keys and memory, after gevent has patched it: the master imports none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from userswarm.gate.settings import PREFIX, GateSettings
from userswarm.gate.streams import make_pipe
from userswarm.gate.tokens.who import Tokens
from userswarm.web.gunicorn import MetricsEndpoint, Server, common_options, metrics_endpoint
from userswarm.web.logs import configure_logging

if TYPE_CHECKING:
    from flask import Flask


def serve(settings: GateSettings) -> None:
    """Answer the proxy until told to stop; does not return, but exits.

    Raises SettingsError where the settings cannot be used on this machine.
    """
    configure_logging(settings)
    Tokens(settings)  # so that what cannot be used stops the start
    if settings.access_log:
        make_pipe(Path(settings.access_log))
    with metrics_endpoint(settings.metrics_bind, f"{PREFIX}METRICS_BIND") as metrics:
        _Gate(settings, metrics).run()


def gunicorn_options(settings: GateSettings) -> dict[str, Any]:
    """Return the gunicorn settings that follow from ours."""
    return {
        **common_options(settings),
        "bind": settings.bind,
        "workers": settings.workers,
        "worker_connections": settings.max_waiting,
        # Envoy keeps its connections; one that we close as it asks would be an answer that never came.
        "keepalive": 3600,
        "timeout": 30,
        "graceful_timeout": settings.graceful_timeout,
        "limit_request_line": 8190,
        "limit_request_fields": 64,
        "limit_request_field_size": 16_380,
    }


class _Gate(Server):
    def __init__(self, settings: GateSettings, metrics: MetricsEndpoint | None) -> None:
        self._settings = settings
        self._worker: Any = None
        super().__init__(gunicorn_options(settings), self._make, metrics)

    def post_fork(self, arbiter: Any, worker: Any) -> None:
        super().post_fork(arbiter, worker)
        self._worker = worker

    def _make(self) -> Flask:
        from userswarm.gate.worker import make_app

        return make_app(self._settings, is_stopping=lambda: not self._worker.alive)
