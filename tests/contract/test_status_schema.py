"""Every status that is answered is one the CRD keeps as it is: a pruned field is a write at every sync."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

import scenes
import template_samples
from scenes import Json, Scene
from userswarm.compose.status import CONDITION_TYPES
from userswarm.spec.schema import load_crd, user_swarm_schema
from userswarm.wire.k8s import CLAIM, POD, RUNTIME_KINDS, STATEFUL_SET

STATUS = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]


def invalid() -> Scene:
    return Scene(scenes.user_swarm(userId="", storage={"size": "0"}, config={"tomlOverrides": "BAD"}))


def failing() -> Scene:
    scene = scenes.ready()
    scene.http = {"error": "m" * 40_000}
    scenes.step(scene)
    return scene


def failed() -> Scene:
    scene = scenes.ready(scenes.user_swarm(verification={"maxAttempts": 1}))
    scene.http = {"status": 500, "body": "m" * 40_000}
    scenes.step(scene)
    return scene


def overdue() -> Scene:
    scene = scenes.ready()
    scene.child(STATEFUL_SET)["status"] = {}
    scene.now += timedelta(seconds=60)
    scenes.step(scene)
    scene.parent["metadata"]["generation"] += 1
    scene.now += timedelta(seconds=100)
    scenes.step(scene)
    scene.now += timedelta(days=1)
    return scene


def crashing() -> Scene:
    scene = scenes.ready()
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    scenes.pod_of(scene)["status"] = {"containerStatuses": [{"name": "runtime", "state": state}]}
    return scene


def unmanaged(kind: scenes.Kind) -> Callable[[], Scene]:
    def build() -> Scene:
        scene = scenes.verified()
        scene.resources = [rule for rule in scene.resources if rule["resource"] != kind.resource]
        return scene

    return build


STATES: dict[str, Callable[[], Scene]] = {
    "new": Scene,
    "created": scenes.created,
    "ready": scenes.ready,
    "verified": scenes.verified,
    "suspended": lambda: scenes.created(scenes.user_swarm(suspend=True)),
    "awake": lambda: scenes.verified(scenes.user_swarm(lifecycle={"idleAfter": "30m"})),
    "Dedicated": lambda: scenes.verified(scenes.user_swarm(placement={"isolation": "Dedicated"})),
    "templated": lambda: scenes.verified(*template_samples.swarm("small")),
    "invalid": invalid,
    "failing": failing,
    "failed": failed,
    "overdue": overdue,
    "crashing": crashing,
    **{f"without {kind.resource}": unmanaged(kind) for kind in RUNTIME_KINDS},
    "name of 253": lambda: scenes.ready(scenes.user_swarm("n" * 253, userId="Ω" * 256)),
}


def answers(scene: Scene) -> list[Json]:
    return [scene.sync(), scene.deleted().finalize()]


@pytest.mark.parametrize("state", STATES)
def test_every_status_is_kept_by_the_apiserver_as_it_is(state: str) -> None:
    for answer in answers(STATES[state]()):
        assert user_swarm_schema().status_problems(answer["status"]) == []
        assert answer["status"].keys() <= STATUS.keys()


@pytest.mark.parametrize("state", STATES)
def test_no_message_is_longer_than_a_condition_may_have(state: str) -> None:
    for answer in answers(STATES[state]()):
        assert {len(each["message"]) <= 32_768 for each in answer["status"]["conditions"]} == {True}


def test_every_field_of_the_crd_is_written_by_some_state() -> None:
    written: set[str] = set()
    for build in STATES.values():
        for answer in answers(build()):
            written |= answer["status"].keys()
    assert written == STATUS.keys()


def test_the_words_of_the_crd_are_the_words_of_the_hooks() -> None:
    described = STATUS["conditions"]["description"]
    for kind in CONDITION_TYPES:
        assert kind in described


def test_resync_is_asked_for_only_where_time_alone_changes_something() -> None:
    asked = {state: STATES[state]().sync().get("resyncAfterSeconds") for state in STATES}
    assert all(seconds is None or seconds > 0 for seconds in asked.values())
    for state in ("verified", "Dedicated", "invalid", "suspended", "failed"):
        assert asked[state] is None, state
    for state in ("new", "created", "ready", "failing", "crashing", "overdue"):
        assert asked[state] is not None, state


def test_pods_and_claims_are_only_ever_shown_never_returned() -> None:
    for build in STATES.values():
        kinds = [child["kind"] for child in build().sync()["children"]]
        assert POD.kind not in kinds
        assert kinds.count(CLAIM.kind) <= 1
