"""What the server's tests share: a hook request of the smallest kind, hooks that need no cluster, raw sockets."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from flask import Flask

from userswarm.server.app import HOOKS, create_app
from userswarm.server.gathering import Hook
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
    """Return the application with one hook behind both paths, and a clock that stands still."""
    return create_app(
        settings or Settings(),
        hooks=dict.fromkeys(HOOKS, hook),
        clock=lambda: NOW,
        unknown_fields=lambda parent: [],
    )


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
    body = bytearray()
    while len(body) < length:
        part = sock.recv(length - len(body))
        if not part:
            raise EOFError(f"closed after {len(body)} of {length} bytes")
        body += part
    return Answer(int(status.split()[1]), headers, bytes(body))


def post(path: str, body: bytes, *lines: str) -> bytes:
    """Return the bytes of a POST with a Content-Length."""
    return head(path, f"Content-Length: {len(body)}", *lines) + body


def head(path: str, *lines: str) -> bytes:
    """Return the head of a POST of JSON."""
    all_lines = (f"POST {path} HTTP/1.1", "Host: webhook", "Content-Type: application/json", *lines)
    return "".join(f"{line}\r\n" for line in all_lines).encode() + b"\r\n"
