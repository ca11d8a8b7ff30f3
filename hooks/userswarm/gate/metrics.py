"""What Prometheus is told of the gate. No user and no workspace is ever a label: labels are stored for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0)
_HELD = (0.1, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 300)


class Metrics:
    """All metrics of one worker, registered once."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self.registry = registry
        self._decisions = Counter(
            "userswarm_gate_decisions", "Decisions, by answer and reason", ["code", "reason"], registry=registry
        )
        self._seconds = Histogram(
            "userswarm_gate_decision_duration_seconds",
            "Time to decide, without the time that a request was held",
            buckets=_SECONDS,
            registry=registry,
        )
        self._held = Histogram(
            "userswarm_gate_hold_seconds", "For how long requests were held", buckets=_HELD, registry=registry
        )
        self._wakes = Counter("userswarm_gate_wakes", "Swarms woken for a request", registry=registry)
        self._keys = Counter(
            "userswarm_gate_key_reads", "Readings of issuers' keys: read, failed", ["result"], registry=registry
        )
        self._age = Gauge(
            "userswarm_gate_cache_age_seconds",
            "For how long nothing has proved the memory of swarms to be whole",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._streams = Gauge(
            "userswarm_gate_open_streams",
            "Requests that have been open for longer than Envoy's period",
            multiprocess_mode="livesum",
            registry=registry,
        )
        # Counters exist from the start, so that rate() sees the first event.
        self._decisions.labels(200, "owner")
        for result in ("read", "failed"):
            self._keys.labels(result)

    def decided(self, code: int, reason: str, seconds: float, held: float | None) -> None:
        """Count a decision."""
        self._decisions.labels(code, reason).inc()
        self._seconds.observe(max(0.0, seconds - (held or 0.0)))
        if held is not None:
            self._held.observe(held)

    def woken(self) -> None:
        """Count a wake."""
        self._wakes.inc()

    def keys_read(self, result: str) -> None:
        """Count a reading of keys."""
        self._keys.labels(result).inc()

    def look(self, *, cache_age: float, streams: int) -> None:
        """Take in how things stand."""
        self._age.set(cache_age)
        self._streams.set(streams)


def keep_looking(look: Callable[[], object], every: float = 5.0) -> None:
    """Look now, and again and again in a thread, for as long as the process lives."""

    def run() -> None:
        while True:
            time.sleep(every)
            look()

    look()
    threading.Thread(target=run, name="gate-metrics", daemon=True).start()
