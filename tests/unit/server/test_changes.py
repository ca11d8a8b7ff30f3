"""What an answer changes."""

from __future__ import annotations

from typing import Any

import pytest

from unit.server.serving import hook_request, quiet_response
from userswarm.server.changes import compute_change


def response(children: list[str] | None = None, /, **status: Any) -> dict[str, Any]:
    answer = quiet_response()
    answer["status"] = status
    if children is not None:
        answer["children"] = [{"kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}} for name in children]
    return answer


def verified_condition(reason: str) -> list[dict[str, Any]]:
    return [{"type": "Ready", "reason": "x"}, {"type": "Verified", "reason": reason}]


def test_the_same_again_is_not_noteworthy() -> None:
    status = {"phase": "Ready", "verified": True, "verifiedAt": "t", "verifiedChecksum": "c"}
    change = compute_change(hook_request(status), response(**status))

    assert not change.noteworthy
    assert (change.phase, change.verified, change.outcome) == ("Ready", True, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {"phase": "Pending"}),
        ({"phase": "Pending"}, {"phase": "Progressing"}),
        ({"phase": "Ready", "verified": True}, {"phase": "Ready", "verified": False}),
        ({"phase": "Ready"}, {"phase": "Ready", "verified": True}),
    ],
)
def test_another_phase_or_verdict_is_noteworthy(before: Any, after: Any) -> None:
    assert compute_change(hook_request(before), response(**after)).noteworthy


def test_children_are_compared_by_kind_namespace_and_name() -> None:
    change = compute_change(hook_request(), response(["b", "a"]))
    assert (change.added, change.dropped) == (("ConfigMap/ns/a", "ConfigMap/ns/b"), ("ConfigMap/ns/c",))
    assert change.noteworthy

    assert compute_change(hook_request(), response(["c"])).added == ()
    nothing = compute_change({"parent": {}, "children": {"A.v1": {}}}, {"status": {}, "children": None})
    assert (nothing.added, nothing.dropped) == ((), ())


def test_an_invalid_swarm_is_new_once_a_generation_and_frozen_each_time() -> None:
    first = compute_change(hook_request({"phase": "Ready", "observedGeneration": 1}), response(phase="Invalid"))
    again = compute_change(hook_request({"phase": "Invalid", "observedGeneration": 1}), response(phase="Invalid"))
    edited = compute_change(hook_request({"phase": "Invalid", "observedGeneration": 0}), response(phase="Invalid"))

    assert [change.newly_invalid for change in (first, again, edited)] == [True, False, True]
    assert [change.frozen for change in (first, again, edited)] == [True, True, True]
    assert edited.noteworthy
    assert not again.noteworthy
    assert not compute_change(hook_request(), response(phase="Ready")).frozen


PASSED: dict[str, Any] = {"verified": True, "verifiedAt": "t1", "verifiedChecksum": "c1"}


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (None, PASSED, "passed"),
        (PASSED, PASSED, None),
        ({**PASSED, "verified": False}, PASSED, None),
        (PASSED, {**PASSED, "verifiedAt": "t2"}, "passed"),
        (PASSED, {**PASSED, "verifiedChecksum": "c2"}, "passed"),
        (None, {"conditions": verified_condition("SmokeTestFailed")}, "failed"),
        (
            {"conditions": verified_condition("SmokeTestRunning")},
            {"conditions": verified_condition("SmokeTestFailed")},
            "failed",
        ),
        (
            {"conditions": verified_condition("SmokeTestFailed")},
            {"conditions": verified_condition("SmokeTestFailed")},
            None,
        ),
        (
            {"conditions": verified_condition("SmokeTestFailed")},
            {"conditions": verified_condition("SmokeTestRunning")},
            None,
        ),
        ({"conditions": "broken"}, {"conditions": [{"type": "Ready"}]}, None),
        ({"conditions": ["broken"]}, {"conditions": [{"type": "Verified", "reason": 5}]}, None),
    ],
)
def test_a_smoke_test_counts_once_when_its_outcome_is_first_told(before: Any, after: Any, outcome: str | None) -> None:
    assert compute_change(hook_request(before), response(**after)).outcome == outcome


def test_only_the_first_verification_ever_is_the_first() -> None:
    assert compute_change(hook_request(), response(**PASSED)).first_verified
    assert not compute_change(hook_request({"verifiedAt": "t0"}), response(**PASSED)).first_verified
    assert not compute_change(hook_request(), response(verified=False)).first_verified
