"""What a Swarm says about a UserSwarm, and when traffic may go there."""

from __future__ import annotations

from typing import Any

import pytest

from userswarm.backend.model import Endpoint, Swarm, parse_swarm

READY = {
    "observedGeneration": 3,
    "phase": "Ready",
    "verified": True,
    "verifiedGeneration": 3,
    "endpoint": "http://swarm-a.userswarms.svc:42617",
    "conditions": [{"type": "Ready", "status": "True", "reason": "Verified", "message": "all is well"}],
}


def swarm(status: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **metadata: Any) -> Swarm:
    return parse_swarm(
        {
            "metadata": {"name": "workspace-a", "uid": "1", "generation": 3, "resourceVersion": "9", **metadata},
            "spec": {"userId": "u", **(spec or {})},
            "status": READY if status is None else status,
        }
    )


def test_ready_swarm_has_an_endpoint_and_nothing_in_the_way() -> None:
    ready = swarm(
        creationTimestamp="2026-01-01T00:00:00Z", annotations={"crawbl.ai/last-activity": "2026-01-01T00:00:01Z"}
    )

    assert ready.is_verified()
    assert ready.endpoint == Endpoint("http://swarm-a.userswarms.svc:42617", "a", "u", "1")
    assert (ready.phase, ready.reason, ready.message) == ("Ready", "", "")
    assert (ready.created_at, ready.last_activity) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")


@pytest.mark.parametrize(
    "outdated",
    [
        swarm({**READY, "verified": False}),
        swarm({**READY, "verified": "true"}),
        swarm({**READY, "verifiedGeneration": 2}),
        swarm({**READY, "endpoint": ""}),
        swarm({}),
        swarm(spec={"suspend": True}),
        swarm(deletionTimestamp="2026-01-01T00:00:00Z"),
        swarm(generation=4),
    ],
)
def test_no_traffic_while_anything_speaks_against_it(outdated: Swarm) -> None:
    assert not outdated.is_verified()


def test_verified_for_an_older_generation_is_verified_for_that_one() -> None:
    newer = swarm(generation=4)

    assert newer.is_verified(3)
    assert not newer.is_verified(4)


def test_what_is_not_reported_yet_is_empty() -> None:
    fresh = parse_swarm({"metadata": {"name": "workspace-a", "uid": "1"}, "spec": {"userId": "u"}})

    assert (fresh.phase, fresh.reason, fresh.url, fresh.verified, fresh.observed_generation) == ("", "", "", False, 0)


def test_workspace_is_the_one_in_the_spec_or_else_in_the_name() -> None:
    assert swarm().workspace_id == "a"
    assert swarm(spec={"workspaceId": "B"}).workspace_id == "B"
    assert swarm(spec={"workspaceId": "B"}).belongs_to("B", "u")
    assert not swarm(spec={"workspaceId": "B"}).belongs_to("a", "u")
    assert not swarm().belongs_to("a", "U")


def test_the_reason_is_that_of_the_condition_that_says_most() -> None:
    unmet = {"type": "StorageReady", "status": "False", "reason": "ClaimPending", "message": "no volume"}
    ready = {"type": "Ready", "status": "Unknown", "reason": "Waiting", "message": "for the volume"}
    met = {"type": "SpecValid", "status": "True", "reason": "Valid", "message": "fine"}

    invalid = {"type": "SpecValid", "status": "False", "reason": "InvalidSpec", "message": "spec.storage.size: …"}

    assert swarm({**READY, "conditions": [met, unmet, ready]}).reason == "Waiting"
    assert swarm({**READY, "conditions": [unmet, ready, invalid]}).message == "spec.storage.size: …"
    assert swarm({**READY, "conditions": [met, unmet]}).message == "no volume"
    assert swarm({**READY, "conditions": [met]}).reason == ""
