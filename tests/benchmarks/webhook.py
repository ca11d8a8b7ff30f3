"""gunicorn over loopback: wrk asks, Linux tells what the workers used; cold start; many swarms in turn."""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.report import Report, Value
from benchmarks.samples import Crowd, Sample, record
from benchmarks.serving import Server, server
from benchmarks.wrk import has_wrk, load

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{close}
"""

_IMPORT = """
import sys, time
began = time.perf_counter()
import userswarm.server.launch, userswarm.sync, userswarm.finalize
print(time.perf_counter() - began, "kubernetes" in sys.modules)
"""


def run(report: Report, seconds: float, rounds: int, swarms: int) -> None:
    """Measure the server from its start to its ten thousandth swarm."""
    settled = record("35 KB")["settled"]
    _measure_start(report, settled, rounds)
    _measure_load(report, seconds, rounds)
    _measure_crowd(report, swarms)


def _measure_start(report: Report, sample: Sample, rounds: int) -> None:
    imports, starts = [], []
    for _ in range(rounds):
        words = subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True, text=True).stdout
        imported, with_kubernetes = words.split()
        if with_kubernetes != "False":
            raise RuntimeError("the server imports kubernetes")
        imports.append(float(imported))
        with server(("/sync", sample.body)) as running:
            starts.append(running.first_answer)
            fresh = running.memory()
    rows: list[dict[str, Value]] = [
        {"": "import of server and hooks, no kubernetes", "best s": min(imports), "p50 s": statistics.median(imports)},
        {"": "cold start to first answer", "best s": min(starts), "p50 s": statistics.median(starts)},
    ]
    report.add("Start", rows)
    report.add("A worker that has just started, MB", [{"": "memory", "rss": fresh["rss"], "own": fresh["own"]}])


def _measure_load(report: Report, seconds: float, rounds: int) -> None:
    if not has_wrk(report):
        return
    for size in ("35 KB", "as it is", "200 KB"):
        sample = record(size)["settled"]
        rows = []
        with server(("/sync", sample.body)) as running:
            for keep_alive in (True, False):
                for connections in (1, 5, 50):
                    found = [_ask(running, sample, connections, seconds, keep_alive) for _ in range(rounds)]
                    rows.append(_summary(connections, keep_alive, found, running))
        report.add(f"gunicorn, 2 workers, settled, {len(sample.body):,} bytes ({size}): best of {rounds}", rows)


def _summary(connections: int, keep_alive: bool, found: list[dict[str, float]], running: Server) -> dict[str, Value]:
    best = max(found, key=lambda each: each["rate"])
    return {
        "": f"{connections} connections, {'kept alive' if keep_alive else 'closed'}",
        "req/s": best["rate"],
        "median req/s": statistics.median(each["rate"] for each in found),
        "p50 ms": best["p50"] / 1000,
        "p99 ms": best["p99"] / 1000,
        "p999 ms": best["p999"] / 1000,
        "CPU ms/req": min(each["cpu"] for each in found),
        "failed": int(sum(each["failed"] for each in found)),
        "RSS MB": running.memory()["rss"],
    }


def _ask(running: Server, sample: Sample, connections: int, seconds: float, keep_alive: bool) -> dict[str, float]:
    with tempfile.NamedTemporaryFile() as body:
        body.write(sample.body)
        body.flush()
        close = "" if keep_alive else 'wrk.headers["Connection"] = "close"'
        script = _SCRIPT.format(body=body.name, close=close)
        return load(running, script, f"/{sample.hook}", connections, seconds)


def _measure_crowd(report: Report, swarms: int) -> None:
    """Ask for many swarms in turn, twice, and check that each is answered with its own children."""
    crowd = Crowd()
    rows: list[dict[str, Value]] = []
    with server(("/sync", crowd.body(0))) as running:
        ports = [http.client.HTTPConnection("127.0.0.1", running.port) for _ in running.workers()]
        for turn in ("first seen", "all again"):
            seconds, wrong = 0.0, 0
            before = running.cpu_seconds()
            for number in range(swarms):
                body = crowd.body(number)
                # Every worker has to see every swarm, as it would in the long run.
                for port in ports:
                    began = time.perf_counter()
                    port.request("POST", "/sync", body, {"Content-Type": "application/json"})
                    answer = port.getresponse().read()
                    seconds += time.perf_counter() - began
                    wrong += bool(crowd.problem(number, answer))
            calls = swarms * len(ports)
            memory = running.memory()
            rows.append(
                {
                    "": turn,
                    "swarms": swarms,
                    "wrong answers": wrong,
                    "CPU ms/req": (running.cpu_seconds() - before) / calls * 1000,
                    "ms/req": seconds / calls * 1000,
                    "RSS MB": memory["rss"],
                    "own MB": memory["own"],
                }
            )
        for port in ports:
            port.close()
    report.add("Many swarms in turn, each to every worker", rows)
