"""`userswarm serve` as a subprocess, and what Linux says of its workers."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds
from userswarm.spec.settings import PREFIX

_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers; `first_answer` is how many seconds it took from its start to its first answer."""

    port: int
    master: int
    first_answer: float

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split()]

    def cpu_seconds(self) -> float:
        """Return the CPU time that the workers have used so far."""
        return sum(cpu_seconds(pid) for pid in self.workers())

    def memory(self) -> dict[str, float]:
        """Return megabytes of the largest worker: resident, and of these its own, shared with nobody."""
        found = [memory_of(pid) for pid in self.workers()]
        return {"rss": max(each["VmRSS"] for each in found), "own": max(each["RssAnon"] for each in found)}


def memory_of(pid: int) -> dict[str, float]:
    """Return megabytes of a process: resident, and of these its own."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return {name: int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}


@contextmanager
def server(
    first: tuple[str, bytes],
    workers: int = 2,
    python: str = sys.executable,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run the server on a free loopback port, and wait until it answers the first request: a path and its body.

    Without a body the request is a GET. `python` has the release that shall serve; `settings` are variables.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= settings or {}
    command = [python, "-c", "from userswarm.cli import main; main()", "serve", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(workers), "--log-level", "error"]
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment) as process:
        try:
            _wait_for_answer(port, first, process)
            running = Server(port, process.pid, time.perf_counter() - began)
            # The first worker answers before the last one is there, and would keep all connections of a short load.
            while len(running.workers()) < workers:
                time.sleep(0.01)
            time.sleep(0.2)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait_for_answer(port: int, first: tuple[str, bytes], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        try:
            path, body = first
            connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"the first request was answered with {answer.status}: {answer.read()!r}")
            answer.read()
        except ConnectionRefusedError:
            time.sleep(0.002)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError("userswarm serve does not answer")
