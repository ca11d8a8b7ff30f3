"""Our servers as subprocesses, and what Linux says of its workers."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds
from contract.serving import free_port
from userswarm.spec.settings import PREFIX

_PATIENCE = 60.0


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
    """Run `userswarm serve` on a free loopback port, and wait until it answers the first request: a path and its body.

    Without a body the request is a GET. `python` has the release that shall serve; `settings` are variables.
    """
    port = free_port()
    words = ["serve", "--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--log-level", "error"]
    with started(python, words, settings or {}, port, workers, *first) as running:
        yield running


@contextmanager
def started(
    python: str,
    words: Sequence[str],
    settings: Mapping[str, str],
    port: int,
    workers: int,
    path: str,
    body: bytes = b"",
) -> Iterator[Server]:
    """Run `userswarm` with these words, until it answers a request by 200 and all its workers are there."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [python, "-c", "from userswarm.cli import main; main()", *words]
    began = time.perf_counter()
    with subprocess.Popen(command, env={**environment, **settings}) as process:
        try:
            _wait_for_answer(port, path, body, process)
            running = Server(port, process.pid, time.perf_counter() - began)
            # The first worker answers before the last one is there, and would keep all connections of a short load.
            while len(running.workers()) < workers:
                time.sleep(0.01)
            time.sleep(0.2)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _wait_for_answer(port: int, path: str, body: bytes, process: subprocess.Popen[bytes]) -> None:
    deadline, last = time.monotonic() + _PATIENCE, "nothing"
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        with closing(connection), suppress(ConnectionRefusedError):
            connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status == http.HTTPStatus.OK:
                return
            last = f"{answer.status}: {answer.read()!r}"
        time.sleep(0.002)
    raise RuntimeError(f"{path} is not answered by 200; the last answer is {last}")
