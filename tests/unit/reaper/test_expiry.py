"""Swarms that nobody came back to: gone only where their hooks, their annotations and the reaper's own limits agree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from unit.reaper.fakes import NOW, FakeCluster, FakeSource, make_swarm, run, stamp
from userswarm.parts.lifecycle import activity
from userswarm.reaper import expiry
from userswarm.reaper.amounts import parse_share
from userswarm.reaper.decide import Reason, Rules, Verdict, decide
from userswarm.reaper.reap import Options

RULES = Rules(expired=True)
MARK = stamp(NOW - timedelta(days=40))


def expired(workspace: str = "w1", **more: Any) -> dict[str, Any]:
    """Return a swarm that was due to go an hour ago."""
    swarm = make_swarm(workspace, age=timedelta(days=50), **more)
    swarm["metadata"] |= {"generation": 3, "annotations": {"crawbl.ai/last-activity": MARK}}
    swarm["status"] = {
        "phase": "Asleep",
        "observedGeneration": 3,
        "lifecycle": {"asleepSince": MARK, "mark": MARK, "expiresAt": stamp(NOW - timedelta(hours=1))},
        "conditions": [
            {
                "type": "ExpiresSoon",
                "status": "True",
                "reason": "Expired",
                "message": "",
                "lastTransitionTime": MARK,
                "observedGeneration": 3,
            }
        ],
    }
    return swarm


def judged(swarm: object, rules: Rules = RULES) -> tuple[Verdict, Reason]:
    (decision,) = decide([swarm], None, None, NOW, rules).decisions
    return decision.verdict, decision.reason


def test_an_expired_swarm_goes_without_a_list_of_owners_and_only_if_asked_for() -> None:
    assert judged(expired()) == (Verdict.DELETE, Reason.EXPIRED)
    assert judged(expired(), Rules()) == (Verdict.LEAVE, Reason.NOT_EXPIRED)
    assert judged(make_swarm()) == (Verdict.LEAVE, Reason.NOT_EXPIRED)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "used since": lambda swarm: swarm["metadata"]["annotations"].update({"crawbl.ai/last-activity": stamp(NOW)}),
    "leased since": lambda swarm: swarm["metadata"]["annotations"].update({"crawbl.ai/busy-until": stamp(NOW)}),
    "awake": lambda swarm: swarm["status"].update(phase="Ready"),
    "suspended": lambda swarm: swarm["spec"].update(suspend=True),
    "changed since": lambda swarm: swarm["metadata"].update(generation=4),
    "not yet": lambda swarm: swarm["status"]["lifecycle"].update(expiresAt=stamp(NOW + timedelta(seconds=1))),
    "only soon": lambda swarm: swarm["status"]["conditions"][0].update(reason="ExpiresSoon"),
    "not said": lambda swarm: swarm["status"].update(conditions=[]),
    "no time": lambda swarm: swarm["status"]["lifecycle"].update(expiresAt="soon"),
    "no lifecycle": lambda swarm: swarm["status"].update(lifecycle="x"),
    "no status": lambda swarm: swarm.update(status=None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_speaks_against_it_keeps_it(change: str) -> None:
    swarm = expired()
    CHANGES[change](swarm)
    assert judged(swarm) == (Verdict.LEAVE, Reason.NOT_EXPIRED)


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"labels": {"crawbl.ai/keep": ""}}, Reason.KEEP_LABEL), ({"deleting": True}, Reason.ALREADY_DELETING)],
)
def test_the_reapers_own_questions_come_first(more: dict[str, Any], reason: Reason) -> None:
    assert judged(expired(**more)) == (Verdict.LEAVE, reason)


def test_a_run_looks_twice_and_keeps_to_its_limit() -> None:
    swarms = [expired(f"w{number}") for number in range(4)]
    assert run(FakeCluster.of(*swarms), None, Options(rules=RULES)).code == 3
    cluster = FakeCluster.of(*swarms)
    outcome = run(cluster, None, Options(rules=Rules(expired=True, max_delete=parse_share("100%"))))
    assert {outcome.decisions[f"workspace-w{number}"] for number in range(4)} == {("deleted", "expired")}
    assert len(cluster.deleted) == 4


def test_with_owners_a_live_owner_does_not_keep_what_nobody_uses() -> None:
    cluster = FakeCluster.of(expired("w1"), make_swarm("w2"), make_swarm("w3", "u3"))
    outcome = run(cluster, FakeSource([{"w1": "u1", "w3": "u3"}]), Options(rules=RULES))
    assert outcome.decisions == {
        "workspace-w1": ("deleted", "expired"),
        "workspace-w2": ("deleted", "owner-gone"),
        "workspace-w3": ("left", "owner-alive"),
    }


def test_the_annotations_are_those_that_the_hooks_read() -> None:
    assert (expiry.LAST_ACTIVITY, expiry.BUSY_UNTIL) == (activity.LAST_ACTIVITY, activity.BUSY_UNTIL)
