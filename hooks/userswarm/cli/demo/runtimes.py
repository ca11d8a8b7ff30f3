"""Programs that play runtimes in the demo of the gate: each says whose it is, streams events, and speaks WebSocket."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENTS = 3

_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455


class Runtime:
    """One runtime on loopback; `asked` counts the requests that have reached it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._server.server_port}"

    @classmethod
    @contextmanager
    def running(cls, name: str) -> Iterator[Runtime]:
        """Run one for a while."""
        runtime = cls(name)
        runtime._thread.start()
        try:
            yield runtime
        finally:
            runtime._server.shutdown()
            runtime._thread.join()
            runtime._server.server_close()


class _Server(ThreadingHTTPServer):
    # All who waited for a wake come at once.
    request_queue_size = 1024
    daemon_threads = True


def accept_key(key: str) -> str:
    """Return what answers a WebSocket's key."""
    return base64.b64encode(hashlib.sha1((key + _WEBSOCKET).encode()).digest()).decode()  # noqa: S324 - RFC 6455


def frame(text: str, mask: bytes = b"") -> bytes:
    """Return a short text as a WebSocket's frame; a client has to mask it."""
    content = text.encode()
    head = struct.pack("!BB", 0x81, len(content) | (0x80 if mask else 0))
    return head + mask + bytes(byte ^ mask[i % 4] if mask else byte for i, byte in enumerate(content))


def read_frame(stream: Any) -> str:
    """Return the text of the next short frame, "" at the end."""
    head = stream.read(2)
    if len(head) < 2 or head[0] != 0x81:
        return ""
    mask = stream.read(4) if head[1] & 0x80 else bytes(4)
    content = stream.read(head[1] & 0x7F)
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(content)).decode()


def _handler(runtime: Runtime) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            runtime.asked += 1
            return super().parse_request()

        def do_GET(self) -> None:
            if self.path == "/events":
                self._events()
            elif self.headers.get("Upgrade", "").lower() == "websocket":
                self._talk()
            else:
                self._tell()

        def _tell(self) -> None:
            told = {name.lower(): value for name, value in self.headers.items()}
            body = json.dumps({"status": "ok", "runtime": runtime.name, "path": self.path, "headers": told}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _events(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for number in range(EVENTS):
                self.wfile.write(f"data: {runtime.name} {number}\n\n".encode())
                self.wfile.flush()

        def _talk(self) -> None:
            """Say everything back until the client has had enough."""
            self.protocol_version = "HTTP/1.1"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", accept_key(self.headers["Sec-WebSocket-Key"]))
            self.end_headers()
            while text := read_frame(self.rfile):
                self.wfile.write(frame(f"{runtime.name}: {text}"))
                self.wfile.flush()
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    return Handler
