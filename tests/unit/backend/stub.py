"""An HTTP server that answers exactly what a test says, byte by byte."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stub:
    """Answers the n-th request with the n-th of `answers`, raw, then closes the connection; `requests` are raw too."""

    answers: list[bytes]
    requests: list[str] = field(default_factory=list)
    url: str = ""


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def stream(*chunks: bytes, end: bool = True) -> bytes:
    """Return a chunked answer, with or without its end."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + (b"0\r\n\r\n" if end else b"")


@contextmanager
def serve(*answers: bytes) -> Iterator[Stub]:
    stub = Stub(list(answers))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines = []
            while (line := self.rfile.readline().decode().strip()) != "":
                lines.append(line)
            length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length")), 0)
            stub.requests.append("\n".join(lines) + "\n\n" + self.rfile.read(length).decode())
            self.wfile.write(stub.answers.pop(0))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
