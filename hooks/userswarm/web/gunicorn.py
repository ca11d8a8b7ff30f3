"""gunicorn around one application: its gevent workers, its log in our format, and the metrics in its master.

The workers patch Python's sockets after they are forked: the master lives without.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gevent
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from userswarm.errors import SettingsError
from userswarm.web.addresses import split_bind
from userswarm.web.logs import LogSettings, make_formatter

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from _typeshed.wsgi import WSGIApplication


def memory_dir() -> str:
    """Return a directory in memory where there is one: a disk that hangs must not look like a worker that does."""
    shared = "/dev/shm"  # noqa: S108
    return shared if os.access(shared, os.W_OK | os.X_OK) else tempfile.gettempdir()


def common_options(settings: LogSettings) -> dict[str, Any]:
    """Return the gunicorn settings that all our servers have."""
    return {
        "worker_class": "gevent",
        "worker_tmp_dir": memory_dir(),
        "loglevel": settings.log_level,
        "logger_class": _logger_class(settings.log_format),
        # Whoever sits before us, no word of theirs on schemes and paths counts.
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "control_socket_disable": True,
        "proc_name": "userswarm",
    }


@dataclass(frozen=True, slots=True)
class MetricsEndpoint:
    """Where all workers count, and the server in the master that sums them up."""

    directory: str
    server: WSGIServer


@contextmanager
def metrics_endpoint(bind: str, variable: str) -> Iterator[MetricsEndpoint | None]:
    """Make the place of the metrics, and take it away at the end; None where `bind` is empty.

    Raises SettingsError where it cannot be bound, naming the variable that asked for it.
    """
    if not bind:
        yield None
        return
    master = os.getpid()
    directory = tempfile.mkdtemp(prefix="userswarm-metrics-", dir=memory_dir())
    # prometheus-client chooses its way of counting by this variable when it is imported: never before this.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    try:
        from userswarm.web.metrics import make_metrics_server

        try:
            server = make_metrics_server(*split_bind(bind), directory)
        except OSError as error:
            raise SettingsError(f"{variable}={bind!r}: {error}") from error
        yield MetricsEndpoint(directory, server)
    finally:
        if os.getpid() == master:
            shutil.rmtree(directory, ignore_errors=True)


class Server(BaseApplication):  # type: ignore[misc]
    """One application under gunicorn; what is particular to it overrides the hooks below."""

    def __init__(
        self, options: Mapping[str, Any], load: Callable[[], WSGIApplication], metrics: MetricsEndpoint | None
    ) -> None:
        self._options = options
        self._load = load
        self._metrics = metrics
        super().__init__()

    def load_config(self) -> None:
        hooks = {
            "when_ready": self.when_ready,
            "post_fork": self.post_fork,
            "pre_request": self.pre_request,
            "worker_exit": self.worker_exit,
            "child_exit": self.child_exit,
        }
        for name, value in {**self._options, **hooks}.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        return self._load()

    def when_ready(self, _arbiter: Any) -> None:
        """Serve the metrics, before there is a worker."""
        if self._metrics is not None:
            threading.Thread(target=self._metrics.server.serve_forever, name="metrics", daemon=True).start()
        # What is there before the fork is never garbage: unless the collector touches it, workers share its memory.
        gc.collect()
        gc.freeze()

    def post_fork(self, _arbiter: Any, worker: Any) -> None:
        """Make a worker of what the master was."""
        # Until gunicorn sets the worker's own handlers the master's are there, and a SIGTERM would be lost: the master
        # would wait for such a worker until its patience ends.
        signal.signal(signal.SIGTERM, worker.handle_exit)
        if self._metrics is not None:
            self._metrics.server.socket.close()
        # A request alone makes a thousand containers, none of them in a cycle: collecting at every 700th is waste.
        gc.set_threshold(50_000, 20, 20)

    def pre_request(self, _worker: Any, _request: Any) -> None:
        """Let others have their turn, now that a request's head is there.

        gevent goes on with a client as long as something of it is there: who asks on and on would be all it serves.
        """
        gevent.sleep(0)

    def worker_exit(self, _arbiter: Any, worker: Any) -> None:
        """Let a worker end in silence."""
        if os.getpid() == worker.pid:
            # When Python ends, logging takes locks of a gevent that is gone, and says so (gevent's issue 2148).
            sys.unraisablehook = lambda _: None

    def child_exit(self, _arbiter: Any, worker: Any) -> None:
        """Take in that a worker counts no more."""
        if self._metrics is not None:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(worker.pid, self._metrics.directory)  # type: ignore[no-untyped-call]


def _logger_class(log_format: str) -> type[Logger]:
    """Return gunicorn's logger with our formatter: one log, one format."""

    class OurLogger(Logger):  # type: ignore[misc]
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            for handler in self.error_log.handlers:
                handler.setFormatter(make_formatter(log_format))

    return OurLogger
