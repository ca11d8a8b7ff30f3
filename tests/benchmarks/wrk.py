"""wrk (Debian's package of that name): many requests over a few connections, made by a script of Lua."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile

from benchmarks.report import Report
from benchmarks.serving import Server

_DONE = """
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\n{"requests": %d, "seconds": %f, "p50": %d, "p99": %d, "p999": %d, "failed": %d}\\n',
        summary.requests, summary.duration / 1e6,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def has_wrk(report: Report) -> bool:
    """Tell whether wrk is there; where it is not, the report says so."""
    found = shutil.which("wrk") is not None
    if not found:
        report.add("wrk is not installed (apt-get install wrk): no measurement over HTTP", [{"": "skipped"}])
    return found


def run_wrk(script: str, url: str, connections: int, seconds: float, **headers: str) -> dict[str, float]:
    """Return the counts `requests` and `failed`, the `seconds`, and `p50`, `p99` and `p999` in microseconds."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as file:
        file.write(script + _DONE)
        file.flush()
        words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", file.name]
        words += [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        output = subprocess.run([*words, url], check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return found


def load(running: Server, script: str, path: str, connections: int, seconds: float) -> dict[str, float]:
    """Return what `run_wrk` does, the requests a second as `rate`, and the workers' CPU milliseconds each as `cpu`."""
    before = running.cpu_seconds()
    found = run_wrk(script, f"http://127.0.0.1:{running.port}{path}", connections, seconds)
    used = running.cpu_seconds() - before
    return {**found, "rate": found["requests"] / found["seconds"], "cpu": used / found["requests"] * 1000}
