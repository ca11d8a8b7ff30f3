"""`userswarm serve` as a process of its own, on a free port of the loopback address."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson

from unit.server.serving import first_request

BODY = orjson.dumps(first_request())
JSON = {"Content-Type": "application/json"}
Found = TypeVar("Found")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


PATIENCE = 120.0
"""Seconds after which something that should come about is taken for never: machines may be slow, and busy."""


def eventually(find: Callable[[], Found | None], seconds: float = PATIENCE) -> Found:
    """Return what `find` finds, once it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about")


ODD = (str(Path(__file__).parent / "odd_webhook.py"),)
"""The program with hooks that do what a request says."""


def command(*words: str, program: tuple[str, ...] = ("-c", "from userswarm.cli import main; main()")) -> list[str]:
    return [sys.executable, *program, "serve", *words]


class Server:
    """One `userswarm serve` on a free port of the loopback address."""

    def __init__(
        self, directory: Path, *words: str, tls: ssl.SSLContext | None = None, odd: bool = False, **environ: str
    ) -> None:
        self.port, self.tls = free_port(), tls
        self.log = directory / "stderr"
        ours = ("USERSWARM_", "PROMETHEUS_", "KUBE")
        outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        bind = ("--bind", f"127.0.0.1:{self.port}", "--graceful-timeout", "5")
        with self.log.open("wb") as stderr:
            self.master = subprocess.Popen(
                command(*bind, *words, program=ODD) if odd else command(*bind, *words),
                stderr=stderr,
                stdout=subprocess.DEVNULL,
                env={**outside, **environ},
            )
        try:
            eventually(self.is_ready)
        except BaseException:
            self.master.kill()
            self.master.wait()
            raise AssertionError(self.log.read_text(encoding="utf-8")) from None

    def is_ready(self) -> bool:
        assert self.master.poll() is None, self.log.read_text(encoding="utf-8")
        with contextlib.suppress(OSError):
            return self.get("/readyz")[0] == 200
        return False

    def connect(self) -> http.client.HTTPConnection:
        if self.tls is not None:
            return http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def get(self, path: str) -> tuple[int, Any]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, orjson.loads(answer.read())

    def post(
        self, path: str, body: Any = BODY, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("POST", path, body, JSON if headers is None else headers)
            answer = connection.getresponse()
            return (
                answer.status,
                orjson.loads(answer.read()),
                {name.lower(): value for name, value in answer.getheaders()},
            )

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children")
        return {int(pid) for pid in children.read_text(encoding="ascii").split()}

    def unread(self) -> dict[int, int]:
        """Return the port of each client with whom a worker holds a connection, and how much of it nobody has read."""
        inodes = set()
        for pid in self.workers():
            with contextlib.suppress(OSError):
                for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        inodes.update(re.findall(r"socket:\[(\d+)\]", str(descriptor.readlink())))
        rows = (line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:])
        # Each row has its number, our address, theirs, the state, tx:rx, and further on the inode.
        return {
            int(row[2].partition(":")[2], 16): int(row[4].partition(":")[2], 16) for row in rows if row[9] in inodes
        }

    def log_lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]

    def stop(self) -> int:
        self.master.send_signal(signal.SIGTERM)
        return self.master.wait(PATIENCE)


@contextlib.contextmanager
def serving(directory: Path, *words: str, **options: Any) -> Iterator[Server]:
    server = Server(directory, *words, **options)
    try:
        yield server
    finally:
        if server.master.poll() is None:
            server.stop()
