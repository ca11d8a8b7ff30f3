"""Metrics of one process; that several workers add up is tested with real ones (contract/test_server_http.py)."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import generate_latest

from unit.server.serving import NOW, hook_request, make_app, quiet_response
from userswarm.errors import RequestError
from userswarm.server.changes import compute_change
from userswarm.server.metrics import Metrics
from userswarm.spec.settings import Settings
from userswarm.web.metrics import make_metrics_server


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def change(metrics: Metrics, status: Any, hook: str = "sync", before: Any = None, **parent: Any) -> None:
    request = hook_request(before, **parent)
    metrics.changed(hook, request["parent"], compute_change(request, {"status": status, "children": []}), NOW)


def test_calls_are_counted_by_hook_and_code() -> None:
    metrics = Metrics()
    metrics.called("sync", 200, seconds=0.0003, bytes_in=35_000)
    metrics.called("sync", 200, seconds=0.02, bytes_in=35_000)
    metrics.called("sync", 401, seconds=0.00001, bytes_in=0)

    assert value(metrics, "userswarm_hook_requests_total", hook="sync", code="200") == 2
    assert value(metrics, "userswarm_hook_requests_total", hook="sync", code="401") == 1
    assert value(metrics, "userswarm_hook_duration_seconds_count", hook="sync") == 3
    assert value(metrics, "userswarm_hook_duration_seconds_bucket", hook="sync", le="0.0005") == 2
    assert value(metrics, "userswarm_hook_request_bytes_count", hook="sync") == 2
    assert value(metrics, "userswarm_hook_request_bytes_sum", hook="sync") == 70_000


def test_syncs_are_counted_by_the_phase_answered_and_finalizes_are_not() -> None:
    metrics = Metrics()
    for phase in ("Ready", "Ready", "Failed"):
        change(metrics, {"phase": phase})
    change(metrics, {"phase": "Deleting"}, hook="finalize")

    assert value(metrics, "userswarm_syncs_total", phase="Ready") == 2
    assert value(metrics, "userswarm_syncs_total", phase="Failed") == 1
    assert value(metrics, "userswarm_syncs_total", phase="Deleting") is None


def test_an_invalid_parent_counts_once_and_each_answer_that_freezes_it() -> None:
    metrics = Metrics()
    change(metrics, {"phase": "Invalid"}, before={"phase": "Ready"})
    change(metrics, {"phase": "Invalid"}, before={"phase": "Invalid", "observedGeneration": 1})

    assert value(metrics, "userswarm_invalid_parents_total") == 1
    assert value(metrics, "userswarm_freezes_total") == 2


def test_verifications_count_by_outcome_and_are_there_from_the_start() -> None:
    metrics = Metrics()
    assert value(metrics, "userswarm_verifications_total", outcome="passed") == 0
    assert value(metrics, "userswarm_verifications_total", outcome="failed") == 0

    change(metrics, {"verified": True, "verifiedAt": "t"})
    change(metrics, {"conditions": [{"type": "Verified", "reason": "SmokeTestFailed"}]})
    assert value(metrics, "userswarm_verifications_total", outcome="passed") == 1
    assert value(metrics, "userswarm_verifications_total", outcome="failed") == 1


def test_the_time_to_verified_is_that_from_creation_and_of_the_first_time_only() -> None:
    metrics = Metrics()
    change(metrics, {"verified": True, "verifiedAt": "t"})
    change(metrics, {"verified": True, "verifiedAt": "t2"}, before={"verifiedAt": "t"})

    assert value(metrics, "userswarm_time_to_verified_seconds_count") == 1
    assert value(metrics, "userswarm_time_to_verified_seconds_sum") == 60


@pytest.mark.parametrize("created", [None, "yesterday", "2026-05-01T11:59:00", 5])
def test_a_parent_without_a_time_of_creation_has_no_time_to_verified(created: Any) -> None:
    metrics = Metrics()
    change(metrics, {"verified": True, "verifiedAt": "t"}, metadata={"creationTimestamp": created})
    assert value(metrics, "userswarm_time_to_verified_seconds_count") == 0


def test_the_application_counts_what_it_answers_and_names_no_user_and_no_swarm(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    monkeypatch.setattr("userswarm.server.metrics.Metrics", lambda: metrics)

    def hook(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        if not request:
            raise RequestError("parent", "must be an object")
        return {**quiet_response(), "status": {"phase": "Ready"}}

    client = make_app(Settings(metrics_bind="127.0.0.1:0"), hook).test_client()
    for body in (orjson.dumps(hook_request()), b"{}", b"{"):
        client.post("/sync", data=body, content_type="application/json")
    client.post("/sync", data=b"x")
    client.post("/finalize", data=orjson.dumps(hook_request()), content_type="application/json")
    client.get("/sync")
    client.get("/nowhere")

    counted = {
        (hook, code): value(metrics, "userswarm_hook_requests_total", hook=hook, code=code)
        for hook, code in (("sync", "200"), ("sync", "400"), ("sync", "415"), ("finalize", "200"))
    }
    assert counted == {("sync", "200"): 1, ("sync", "400"): 2, ("sync", "415"): 1, ("finalize", "200"): 1}
    assert value(metrics, "userswarm_syncs_total", phase="Ready") == 1
    text = generate_latest(metrics.registry).decode()
    assert "workspace-1" not in text
    assert "uid-1" not in text
    assert {name for line in text.splitlines() if line.startswith("userswarm") for name in _labels(line)} <= {
        "cause",
        "hook",
        "code",
        "le",
        "phase",
        "reason",
        "outcome",
    }


def _labels(line: str) -> list[str]:
    inside = line.partition("{")[2].partition("}")[0]
    return [pair.partition("=")[0] for pair in inside.split(",") if pair]


def test_without_a_place_to_serve_them_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Metrics:
        raise AssertionError("metrics are made though nobody reads them")

    monkeypatch.setattr("userswarm.server.metrics.Metrics", never)
    assert make_app(Settings()).test_client().get("/healthz").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_metrics_are_served_over_both_families_without_a_lookup(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(name: str = "") -> str:
        raise AssertionError(f"asked DNS for the name of {name}")

    monkeypatch.setattr(socket, "getfqdn", never)
    try:
        server = make_metrics_server(host, 0, str(tmp_path))
    except OSError as error:
        if host != "::1":
            raise
        pytest.skip(f"this machine has no IPv6: {error}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    connection = http.client.HTTPConnection(host, server.server_address[1], timeout=30)
    try:
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
    finally:
        connection.close()
        server.shutdown()
        thread.join()
        server.server_close()


def test_sleep_is_counted_by_reason_and_waking_by_cause_and_until_it_is_verified() -> None:
    metrics = Metrics()
    since = "2026-05-01T11:59:00Z"
    awake = {"phase": "Ready", "lifecycle": {"awakeSince": since, "reason": "Created"}}
    asleep = {"phase": "Progressing", "lifecycle": {"asleepSince": since, "reason": "Idle"}}
    woken = {"phase": "Progressing", "verified": False, "lifecycle": {"awakeSince": since, "reason": "Activity"}}
    verified = {**woken, "phase": "Ready", "verified": True}
    assert value(metrics, "userswarm_falls_asleep_total", reason="MaxAwake") == 0

    for before, after in ((None, awake), (awake, asleep), (asleep, asleep), (asleep, woken), (woken, verified)):
        change(metrics, after, before=before)
    change(metrics, verified, before=verified)
    # A Pod that was ill for a moment has not woken.
    change(metrics, verified, before={**woken, "verifiedAt": "2026-05-01T11:59:30Z"})

    assert value(metrics, "userswarm_falls_asleep_total", reason="Idle") == 1
    assert value(metrics, "userswarm_wakes_total", cause="Activity") == 1
    assert value(metrics, "userswarm_wake_to_verified_seconds_count") == 1
    assert value(metrics, "userswarm_wake_to_verified_seconds_sum") == 60
