"""The whole WSGI call as the server's worker makes it, without sockets."""

from __future__ import annotations

import io
import logging
from datetime import datetime
from typing import Any

from benchmarks.measure import measure
from benchmarks.report import Report
from benchmarks.samples import SETTINGS, SIZES, STATES, Sample, record
from userswarm.server.app import create_app


def run(report: Report, seconds: float) -> None:
    """Measure every state of a swarm in every size."""
    # As in production: only calls that change something are logged, and those lines go nowhere here.
    logging.getLogger("userswarm").setLevel(logging.WARNING)
    for size in SIZES:
        samples = record(size)
        rows = []
        for state in STATES:
            sample = samples[state]
            cost = _call(sample, seconds)
            rows.append(
                {
                    "": state,
                    "bytes in": len(sample.body),
                    "best us": cost.best,
                    "p50 us": cost.p50,
                    "p90 us": cost.p90,
                    "peak KB": cost.peak_bytes / 1024,
                }
            )
        report.add(f"WSGI call, bytes to bytes ({size})", rows)


def _call(sample: Sample, seconds: float) -> Any:
    def clock() -> datetime:
        return sample.now

    app = create_app(SETTINGS, clock=clock)
    statuses: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        statuses[:] = [status]

    def environ() -> dict[str, Any]:
        return {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": f"/{sample.hook}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(sample.body)),
            "wsgi.input": io.BytesIO(sample.body),
        }

    cost = measure(lambda prepared: b"".join(app.wsgi_app(prepared, start_response)), environ, seconds=seconds)
    if statuses != ["200 OK"]:
        raise RuntimeError(f"{sample.hook} was answered with {statuses}")
    return cost
