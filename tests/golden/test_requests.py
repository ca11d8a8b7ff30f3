"""What the hooks are asked and what they answer, in the states that a reader wants to see.

The pairs are made on the dev cluster, whose time and uids are the same at every run: `NAME.request.json` is what a hook
is given, with what was looked up for it where that was needed, `NAME.response.json` its whole answer. Try one:
`userswarm render --request FILE`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from devcluster.faults import Trouble
from devcluster.hooks import Hook
from userswarm.cli.demo.cluster import Cluster, composite_controller
from userswarm.finalize import finalize
from userswarm.server import gathering
from userswarm.sync import sync
from userswarm.wire.k8s import CLAIM, STATEFUL_SET

NAME = "workspace-golden"
MEANING = "If the change is meant, write it with --update-golden and read the diff: this is what clusters will see."

Json = dict[str, Any]
Answer = tuple[str, str]
Wanted = Callable[[Json, Json], bool]


class Recorder:
    """A cluster with one UserSwarm, and every call of a hook that was made about it."""

    def __init__(self, **spec: Any) -> None:
        self.calls: list[tuple[str, Json, Json]] = []
        hooks = {"sync": self._recorded("sync", sync), "finalize": self._recorded("finalize", finalize)}
        self.cluster = Cluster(hooks=hooks, controller=composite_controller(dedicated="placement" in spec))
        self.cluster.apply(
            {
                "apiVersion": "crawbl.ai/v1alpha1",
                "kind": "UserSwarm",
                "metadata": {"name": NAME},
                "spec": {"userId": "user-1", **spec},
            }
        )

    def _recorded(self, name: str, hook: gathering.Hook) -> Hook:
        def record(request: Mapping[str, Any], settings: Any, now: Any) -> Mapping[str, Any]:
            answer = hook(request, settings, now)
            self.calls.append((name, copy.deepcopy(dict(request)), copy.deepcopy(dict(answer))))
            return answer

        def answer(request: Json) -> Mapping[str, Any]:
            cluster = self.cluster
            return gathering.answer(record, request, cluster.settings, cluster.clock.now(), cluster.gatherer)

        return answer

    def find(self, wanted: Wanted, hook: str = "sync") -> Answer:
        """Return the first call whose request and answer are as wanted."""
        for name, request, answer in self.calls:
            if name == hook and wanted(request, answer):
                return _readable(request), _readable(answer)
        raise AssertionError(f"no such call among {len(self.calls)}")


def _readable(value: Json) -> str:
    return json.dumps(_without_managed_fields(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _without_managed_fields(value: Any) -> Any:
    """Leave out what no hook may look at and no reader wants to see."""
    if isinstance(value, dict):
        return {key: _without_managed_fields(inner) for key, inner in value.items() if key != "managedFields"}
    if isinstance(value, list):
        return [_without_managed_fields(inner) for inner in value]
    return value


def _in_phase(phase: str) -> Wanted:
    return lambda request, answer: answer["status"]["phase"] == phase


def _has(request: Json, kind: Any) -> bool:
    return bool(request["children"].get(kind.group))


def record_life() -> dict[str, Answer]:
    """Return the states of a swarm that is created, verified, suspended and deleted."""
    recorder = Recorder()
    recorder.cluster.settle()
    # Nothing calls the hooks about a settled swarm, unless somebody touches it.
    recorder.cluster.edit(NAME, {"metadata": {"labels": {"team": "a"}}})
    recorder.cluster.settle()
    pairs = {
        "new": recorder.find(_in_phase("Pending")),
        "claimed": recorder.find(lambda request, _: _has(request, CLAIM) and not _has(request, STATEFUL_SET)),
        "ready": recorder.find(lambda _, answer: "http" in answer.get("needs", {})),
        "answered": recorder.find(lambda request, _: "http" in request),
        "verified": recorder.find(lambda request, _: request["parent"].get("status", {}).get("verified") is True),
    }
    recorder.cluster.edit(NAME, {"spec": {"suspend": True}})
    recorder.cluster.settle()
    pairs["suspended"] = recorder.find(_in_phase("Suspended"))
    recorder.cluster.edit(NAME, {"spec": {"suspend": False}})
    recorder.cluster.settle()
    recorder.cluster.delete(NAME)
    recorder.cluster.settle()
    pairs["teardown"] = recorder.find(lambda request, _: _has(request, STATEFUL_SET), "finalize")
    pairs["gone"] = recorder.find(lambda _, answer: bool(answer["finalized"]), "finalize")
    return pairs


def record_retained() -> dict[str, Answer]:
    """Return how a volume that is kept is released."""
    recorder = Recorder(storage={"retainPolicy": "Retain"})
    recorder.cluster.settle()
    recorder.cluster.delete(NAME)
    recorder.cluster.settle()
    return {"teardown-retained": recorder.find(lambda request, _: _has(request, CLAIM), "finalize")}


def record_walls() -> dict[str, Answer]:
    """Return how the walls of a Dedicated swarm stay until it is known that no Pod is left behind them."""
    recorder = Recorder(placement={"isolation": "Dedicated"})
    recorder.cluster.settle()
    recorder.cluster.delete(NAME)
    recorder.cluster.settle()
    return {"teardown-walls": recorder.find(lambda _, answer: "needs" in answer, "finalize")}


def record_unhealthy() -> dict[str, Answer]:
    """Return an attempt to verify a runtime that failed."""
    recorder = Recorder()
    recorder.cluster.faults.inject(Trouble.UNHEALTHY, "*", message="degraded")
    recorder.cluster.run(60)
    return {"attempt-failed": recorder.find(lambda request, answer: "http" in request)}


def record_failed() -> dict[str, Answer]:
    """Return the state of a swarm whose container crashes until the deadline is over."""
    recorder = Recorder()
    recorder.cluster.faults.inject(Trouble.CRASH_LOOP, "*", exit_code=1)
    recorder.cluster.run(700)
    failed = _in_phase("Failed")
    return {"failed": recorder.find(lambda request, answer: failed(request, answer) and "Pod.v1" in request["related"])}


def record_invalid() -> dict[str, Answer]:
    """Return the state of a running swarm whose spec was broken."""
    recorder = Recorder()
    recorder.cluster.settle()
    recorder.cluster.edit(NAME, {"spec": {"config": {"tomlOverrides": "not = = toml"}}})
    recorder.cluster.settle()
    return {"invalid": recorder.find(_in_phase("Invalid"))}


RECORDS = (record_life, record_retained, record_walls, record_unhealthy, record_failed, record_invalid)
STATES = (
    *("new", "claimed", "ready", "answered", "verified", "suspended", "failed", "attempt-failed", "invalid"),
    *("teardown", "teardown-retained", "teardown-walls", "gone"),
)


@pytest.fixture(scope="module")
def pairs() -> dict[str, Answer]:
    return {state: pair for record in RECORDS for state, pair in record().items()}


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_asked_and_answered_as_recorded(
    state: str, pairs: dict[str, Answer], golden: Callable[[str, str, str], None]
) -> None:
    request, answer = pairs[state]

    golden(f"requests/{state}.request.json", request, MEANING)
    golden(f"requests/{state}.response.json", answer, MEANING)
