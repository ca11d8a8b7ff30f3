"""What the server's tests share: a hook request of the smallest kind, hooks that need no cluster, raw sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Flask
from gunicorn.config import Config
from gunicorn.glogging import Logger

from userswarm.server.app import EXTENSION, create_app
from userswarm.server.balance import Balance
from userswarm.server.calls import Hook
from userswarm.server.launch import gunicorn_options
from userswarm.server.worker import BufferingWorker
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import CHILD_KINDS

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CAPTURED = Path(__file__).parents[3].parent / "shared" / "metacontroller-requests"


def hook_request(status: Mapping[str, Any] | None = None, **parent: Any) -> dict[str, Any]:
    """Return a request to sync, of a swarm with one child."""
    return {
        "controller": {"spec": {"childResources": []}},
        "parent": {
            "apiVersion": "crawbl.ai/v1alpha1",
            "kind": "UserSwarm",
            "metadata": {
                "name": "workspace-1",
                "uid": "uid-1",
                "generation": 1,
                "creationTimestamp": "2026-05-01T11:59:00Z",
            },
            "spec": {"userId": "u"},
            **({"status": status} if status is not None else {}),
            **parent,
        },
        "children": {"ConfigMap.v1": {"ns/c": {"metadata": {"name": "c", "namespace": "ns"}}}},
        "related": {},
        "finalizing": False,
    }


def first_request() -> dict[str, Any]:
    """Return the request that Metacontroller sends for a swarm that is new: good enough for the real hooks."""
    rules = [{"apiVersion": kind.api_version, "resource": kind.resource} for kind in CHILD_KINDS]
    return {
        **hook_request(),
        "controller": {"spec": {"childResources": rules}},
        "children": {kind.group: {} for kind in CHILD_KINDS},
    }


def quiet_response() -> dict[str, Any]:
    """Return an answer that changes nothing about `hook_request()`."""
    return {"status": {}, "children": [{"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}}]}


def quiet_hook(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
    return quiet_response()


def make_app(settings: Settings | None = None, hook: Hook = quiet_hook) -> Flask:
    """Return the application with one hook behind all three paths, and a clock that stands still."""
    return create_app(
        settings or Settings(),
        hooks=dict.fromkeys(("sync", "finalize", "customize"), hook),
        clock=lambda: NOW,
        unknown_fields=lambda parent: [],
    )


def eventually(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


class _App:
    def __init__(self, app: Flask) -> None:
        self.app = app
        self.balance = Balance()

    def wsgi(self) -> Flask:
        return self.app


class RunningWorker:
    """One worker of the real kind, in a thread of the test instead of a process of gunicorn."""

    def __init__(self, app: Flask, **options: Any) -> None:
        cfg = Config()
        settings: Settings = app.extensions[EXTENSION].settings
        for name, value in {**gunicorn_options(settings), "graceful_timeout": 5, **options}.items():
            cfg.set(name, value)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        log = Logger(cfg)
        log.error_log.handlers.clear()
        log.error_log.propagate = True  # so that caplog sees it
        self.worker = BufferingWorker(1, os.getppid(), [self.listener], _App(app), 1, cfg, log)
        self.worker.load_wsgi()
        self.worker.linger_when_stopping = 0.0
        self.worker.PIPE = os.pipe()
        self._thread = threading.Thread(target=self.worker.run, daemon=True)
        self._thread.start()

    def begin_to_stop(self) -> None:
        self.worker.handle_exit(None, None)
        os.write(self.worker.PIPE[1], b"x")

    def stop(self) -> None:
        self.begin_to_stop()
        self._thread.join(30)
        for end in self.worker.PIPE:
            os.close(end)
        self.worker.tmp.close()
        assert not self._thread.is_alive(), "the worker does not stop"

    def wait_for_arriving(self, count: int) -> None:
        """Wait until the heads of so many requests are in, their bodies not."""
        eventually(lambda: len(self.worker._arriving) == count)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)


@contextlib.contextmanager
def running(app: Flask, **options: Any) -> Iterator[RunningWorker]:
    worker = RunningWorker(app, **options)
    try:
        yield worker
    finally:
        worker.stop()


class Answer:
    """An HTTP answer as read from a socket."""

    def __init__(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.code = code
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def read_answer(sock: socket.socket) -> Answer:
    """Read one answer, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise EOFError(f"closed after {head!r}")
        head += byte
    status, *lines = head.decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers.get("content-length", "0"))
    body = b""
    while len(body) < length:
        part = sock.recv(length - len(body))
        if not part:
            raise EOFError(f"closed after {len(body)} of {length} bytes")
        body += part
    return Answer(int(status.split()[1]), headers, body)


def post(path: str, body: bytes, *lines: str) -> bytes:
    """Return the bytes of a POST with a Content-Length."""
    return head(path, f"Content-Length: {len(body)}", *lines) + body


def head(path: str, *lines: str) -> bytes:
    """Return the head of a POST of JSON."""
    all_lines = (f"POST {path} HTTP/1.1", "Host: webhook", "Content-Type: application/json", *lines)
    return "".join(f"{line}\r\n" for line in all_lines).encode() + b"\r\n"
