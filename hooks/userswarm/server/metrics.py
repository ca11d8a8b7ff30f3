"""What Prometheus is told, right under several workers, and where it is told.

Each worker counts in a file of its own (prometheus-client's multi-process mode, in PROMETHEUS_MULTIPROC_DIR); the
master, which answers no hook, sums them up on a port of its own. No user and no swarm is ever a label: labels are
stored for ever, users are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from userswarm.parts.lifecycle import FALLS_ASLEEP, WAKES
from userswarm.server.changes import Change
from userswarm.wire.k8s import read_time

# A settled call takes 0.2 ms, a first one below 1 ms; Metacontroller gives up after 10 s.
_SECONDS = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
_BYTES = (4096, 16_384, 32_768, 65_536, 131_072, 524_288, 2_097_152, 8_388_608)
_UNTIL_VERIFIED = (2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600)


class Metrics:
    """All metrics, registered once; children of labels are looked up once too."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self.registry = registry
        self._requests = Counter(
            "userswarm_hook_requests", "Hook calls, by answer", ["hook", "code"], registry=registry
        )
        self._seconds = Histogram(
            "userswarm_hook_duration_seconds", "Time to answer", ["hook"], buckets=_SECONDS, registry=registry
        )
        self._bytes = Histogram(
            "userswarm_hook_request_bytes", "Size of request bodies", ["hook"], buckets=_BYTES, registry=registry
        )
        self._syncs = Counter("userswarm_syncs", "Calls to sync, by the phase answered", ["phase"], registry=registry)
        self._invalid = Counter(
            "userswarm_invalid_parents",
            "UserSwarms that cannot be built, once a generation",
            registry=registry,
        )
        self._freezes = Counter(
            "userswarm_freezes", "Answers that returned the children as last applied", registry=registry
        )
        self._verifications = Counter(
            "userswarm_verifications", "Smoke tests by outcome: passed, failed", ["outcome"], registry=registry
        )
        self._until_verified = Histogram(
            "userswarm_time_to_verified_seconds",
            "From creation to verified for the first time",
            buckets=_UNTIL_VERIFIED,
            registry=registry,
        )
        self._falls = Counter(
            "userswarm_falls_asleep", "Swarms that fell asleep, by reason", ["reason"], registry=registry
        )
        self._wakes = Counter("userswarm_wakes", "Swarms that woke, by cause", ["cause"], registry=registry)
        self._until_awake = Histogram(
            "userswarm_wake_to_verified_seconds", "From waking to verified", buckets=_UNTIL_VERIFIED, registry=registry
        )
        self._needs = Counter(
            "userswarm_needs",
            "What hooks needed to see, by kind (http is a request to a Service): read, answered, failed, unavailable",
            ["kind", "result"],
            registry=registry,
        )
        self._need_seconds = Histogram(
            "userswarm_need_duration_seconds", "Time to look it up", ["kind"], buckets=_SECONDS, registry=registry
        )
        # Counters exist from the start, so that rate() sees the first event.
        for outcome in ("passed", "failed"):
            self._verifications.labels(outcome)
        for reason in FALLS_ASLEEP:
            self._falls.labels(reason)
        for cause in WAKES:
            self._wakes.labels(cause)

    def called(self, hook: str, code: int, *, seconds: float, bytes_in: int) -> None:
        """Count a call, answered or refused."""
        self._requests.labels(hook, code).inc()
        self._seconds.labels(hook).observe(seconds)
        if bytes_in:
            self._bytes.labels(hook).observe(bytes_in)

    def gathered(self, kind: str, result: str, seconds: float) -> None:
        """Count something that a hook needed to see."""
        self._needs.labels(kind, result).inc()
        self._need_seconds.labels(kind).observe(seconds)

    def changed(self, hook: str, parent: Mapping[str, Any], change: Change, now: datetime) -> None:
        """Count what an answer changed."""
        if hook == "sync":
            self._syncs.labels(change.phase).inc()
        if change.frozen:
            self._freezes.inc()
        if change.newly_invalid:
            self._invalid.inc()
        if change.outcome is not None:
            self._verifications.labels(change.outcome).inc()
        if change.fell_asleep:
            self._falls.labels(change.fell_asleep).inc()
        if change.woke:
            self._wakes.labels(change.woke).inc()
        woken_at = read_time(change.woken_at)
        if woken_at is not None:
            self._until_awake.observe(max(0.0, (now - woken_at).total_seconds()))
        if change.first_verified:
            created = _created(parent)
            if created is not None:
                self._until_verified.observe((now - created).total_seconds())


def _created(parent: Mapping[str, Any]) -> datetime | None:
    try:
        created = datetime.fromisoformat(parent["metadata"]["creationTimestamp"])
    except (KeyError, TypeError, ValueError):
        return None
    return created if created.tzinfo is not None else None
