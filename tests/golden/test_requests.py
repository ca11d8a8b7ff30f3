"""What the hooks are asked and what they answer, in the states that a reader wants to see.

The pairs are made by the dev cluster, whose time and uids are the same at every run: `NAME.request.json` is what
Metacontroller sends, `NAME.response.json` the whole answer. Try one: `userswarm render --request FILE`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from devcluster.faults import Trouble
from devcluster.metacontroller import HookCall
from userswarm.demo.cluster import Cluster

NAME = "workspace-golden"
MEANING = "If the change is meant, write it with --update-golden and read the diff: this is what clusters will see."

Answer = tuple[str, str]


class Recorder:
    """A cluster with one UserSwarm, and every call that was made about it."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.calls: list[HookCall] = []
        self.cluster.metacontroller.observers.append(self.calls.append)

    def create(self, **spec: Any) -> None:
        self.cluster.apply(
            {
                "apiVersion": "crawbl.ai/v1alpha1",
                "kind": "UserSwarm",
                "metadata": {"name": NAME},
                "spec": {"userId": "user-1", **spec},
            }
        )

    def find(self, wanted: Callable[[dict[str, Any], dict[str, Any]], bool], hook: str = "sync") -> Answer:
        """Return the first call whose request and answer are as wanted."""
        for call in self.calls:
            if call.hook == hook:
                request, answer = json.loads(call.request), json.loads(call.response.body)
                if wanted(request, answer):
                    return _readable(request), _readable(answer)
        raise AssertionError(f"no such call among {len(self.calls)}")


def _readable(value: dict[str, Any]) -> str:
    return json.dumps(_without_managed_fields(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _without_managed_fields(value: Any) -> Any:
    """Leave out what no hook may look at and no reader wants to see."""
    if isinstance(value, dict):
        return {key: _without_managed_fields(inner) for key, inner in value.items() if key != "managedFields"}
    if isinstance(value, list):
        return [_without_managed_fields(inner) for inner in value]
    return value


def _in_phase(phase: str) -> Callable[[dict[str, Any], dict[str, Any]], bool]:
    return lambda request, answer: answer["status"]["phase"] == phase


def _reason(answer: dict[str, Any]) -> str:
    return next(each["reason"] for each in answer["status"]["conditions"] if each["type"] == "Ready")


def record_life() -> dict[str, Answer]:
    """Return the states of a swarm that is created, verified, suspended and deleted."""
    recorder = Recorder()
    recorder.create()
    recorder.cluster.settle()
    pairs = {
        "new": recorder.find(_in_phase("Pending")),
        "creating": recorder.find(lambda request, answer: _reason(answer) == "ClaimPending"),
        "ready": recorder.find(
            lambda request, answer: answer["status"]["phase"] == "Verifying" and not request["children"]["Job.batch/v1"]
        ),
        "verifying": recorder.find(
            lambda request, answer: (
                answer["status"]["phase"] == "Verifying" and bool(request["children"]["Job.batch/v1"])
            )
        ),
        "verified": recorder.find(lambda request, answer: request["parent"].get("status", {}).get("verified") is True),
    }
    recorder.cluster.edit(NAME, {"spec": {"suspend": True}})
    recorder.cluster.settle()
    pairs["suspended"] = recorder.find(_in_phase("Suspended"))
    recorder.cluster.edit(NAME, {"spec": {"suspend": False}})
    recorder.cluster.settle()
    recorder.cluster.delete(NAME)
    recorder.cluster.settle()
    for stage in ("1", "2", "3"):
        pairs[f"teardown-{stage}"] = recorder.find(
            lambda request, answer, stage=stage: _is_of_stage(request, stage),  # type: ignore[misc]
            "finalize",
        )
    return pairs


def _is_of_stage(request: dict[str, Any], stage: str) -> bool:
    """Tell the stage by what is left: Pods or their makers, then Services and the like, then claims."""
    children, pods = request["children"], request["related"]["Pod.v1"]
    if children["StatefulSet.apps/v1"] or children["Job.batch/v1"] or pods:
        return stage == "1"
    if children["Service.v1"]:
        return stage == "2"
    return stage == "3"


def record_failed() -> dict[str, Answer]:
    """Return the state of a swarm whose container crashes until the deadline is over."""
    recorder = Recorder()
    recorder.cluster.faults.inject(Trouble.CRASH_LOOP, "*", exit_code=1)
    recorder.create()
    recorder.cluster.run(700)
    return {"failed": recorder.find(_in_phase("Failed"))}


def record_invalid() -> dict[str, Answer]:
    """Return the state of a running swarm whose spec was broken."""
    recorder = Recorder()
    recorder.create()
    recorder.cluster.settle()
    recorder.cluster.edit(NAME, {"spec": {"config": {"tomlOverrides": "not = = toml"}}})
    recorder.cluster.settle()
    return {"invalid": recorder.find(_in_phase("Invalid"))}


@pytest.fixture(scope="module")
def pairs() -> dict[str, Answer]:
    return record_life() | record_failed() | record_invalid()


@pytest.mark.parametrize(
    "state",
    ["new", "creating", "ready", "verifying", "verified", "suspended", "failed", "invalid"]
    + [f"teardown-{stage}" for stage in (1, 2, 3)],
)
def test_a_state_is_asked_and_answered_as_recorded(
    state: str, pairs: dict[str, Answer], golden: Callable[[str, str, str], None]
) -> None:
    request, answer = pairs[state]

    golden(f"requests/{state}.request.json", request, MEANING)
    golden(f"requests/{state}.response.json", answer, MEANING)
