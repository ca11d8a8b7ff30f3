"""What a call has to see besides: nothing for a settled swarm, and little, late and by name for any other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import scenes
from scenes import Json, Scene, children_of, condition
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, POD, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET, Kind, written_time

NAME = "swarm-workspace-a"


def objects(response: Json) -> list[Json]:
    found: list[Json] = response.get("needs", {}).get("objects", [])
    return found


def lacking(kind: Kind, name: str, seconds: float) -> Scene:
    """Return a settled swarm that has lacked a child for so many seconds."""
    scene = scenes.verified()
    scene.drop(kind, name)
    scenes.step(scene)
    scene.now += timedelta(seconds=seconds)
    return scene


@pytest.mark.parametrize(
    "parent",
    [
        pytest.param(scenes.user_swarm(), id="Shared"),
        pytest.param(scenes.user_swarm(placement={"isolation": "Dedicated"}), id="Dedicated"),
        pytest.param(scenes.user_swarm(verification={"mode": "Readiness"}), id="Readiness"),
    ],
)
def test_a_settled_swarm_needs_nothing_at_any_time(parent: Json) -> None:
    scene = scenes.verified(parent)
    for days in range(3):
        scene.now += timedelta(days=days)
        assert "needs" not in scene.sync()


CHILDREN = {
    "the claim, with the Pod that may use it": (CLAIM, f"{NAME}-data", {f"{NAME}-data"}),
    "the ServiceAccount": (SERVICE_ACCOUNT, NAME, {NAME}),
    "the ConfigMap": (CONFIG_MAP, f"{NAME}-config", {f"{NAME}-config"}),
    "a Service": (SERVICE, f"{NAME}-headless", {f"{NAME}-headless"}),
    "the StatefulSet": (STATEFUL_SET, NAME, {NAME}),
}


@pytest.mark.parametrize("what", CHILDREN)
def test_a_child_that_does_not_come_about_is_looked_up_after_a_while_by_its_name(what: str) -> None:
    kind, name, needed = CHILDREN[what]
    assert objects(lacking(kind, name, 4).sync()) == []

    rules = objects(lacking(kind, name, 5).sync())
    assert {each for rule in rules for each in rule["names"]} == needed
    assert rules[0] == {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "resource": kind.resource,
        "namespace": "userswarms",
        "names": [name],
    }


def test_children_of_one_kind_are_one_need() -> None:
    scene = lacking(SERVICE, NAME, 0)
    scene.drop(SERVICE)
    scene.now += timedelta(seconds=5)
    (rule,) = objects(scene.sync())
    assert rule["names"] == [f"{NAME}-headless", NAME]


def test_a_wall_that_does_not_come_about_is_looked_up_too() -> None:
    scene = Scene(scenes.user_swarm(placement={"isolation": "Dedicated"}))
    scene.apply(scenes.step(scene))
    assert objects(scene.sync()) == []
    scene.now += timedelta(seconds=5)
    rules = {rule["resource"]: rule for rule in objects(scene.sync())}
    assert rules.keys() == {"resourcequotas", "limitranges", "networkpolicies"}
    assert len(rules["networkpolicies"]["names"]) == 4


@pytest.mark.parametrize(
    ("owners", "told"),
    [([{"kind": "Release", "name": "other", "uid": "u"}], "belongs to Release other"), ([], "nobody we know of")],
)
@pytest.mark.parametrize("what", [each for each in CHILDREN if "claim" not in each])
def test_a_foreign_object_under_a_childs_name_is_a_name_conflict(what: str, owners: list[Json], told: str) -> None:
    kind, name, _ = CHILDREN[what]
    foreign = scenes.verified().child(kind, name)
    foreign["metadata"]["ownerReferences"] = owners
    scene = lacking(kind, name, 5)
    response = scene.ask(foreign)
    assert condition(response, "Ready")["reason"] == "NameConflict"
    assert told in condition(response, "Ready")["message"]
    # It is still asked for, and recovers by itself.
    assert children_of(response, kind)


def test_an_object_of_ours_that_is_not_among_the_children_yet_is_no_conflict() -> None:
    made = scenes.verified().child(CONFIG_MAP)
    assert condition(lacking(CONFIG_MAP, f"{NAME}-config", 5).ask(made), "Ready")["reason"] == "ChildMissing"


def test_what_cannot_be_looked_up_is_said_and_nothing_is_made_deleted_or_changed_for_it() -> None:
    scene = lacking(CONFIG_MAP, f"{NAME}-config", 60)
    before = scene.sync()["children"]
    scene.unavailable = {CONFIG_MAP.group: "the API answers 403", POD.group: "the API answers 403"}
    response = scene.sync()
    assert response["children"] == before
    assert "cannot be looked up: the API answers 403" in condition(response, "WorkloadReady")["message"]


def _unmanaged() -> Scene:
    scene = scenes.verified()
    scene.resources = [rule for rule in scene.resources if rule["resource"] != "services"]
    return scene


UNSETTLED: dict[str, Callable[[], Scene]] = {
    "new": Scene,
    "created": scenes.created,
    "suspended": lambda: scenes.created(scenes.user_swarm(suspend=True)),
    "invalid": lambda: Scene(scenes.user_swarm(config={"tomlOverrides": "BAD"})),
    "unmanaged": _unmanaged,
}


@pytest.mark.parametrize("state", UNSETTLED)
def test_nothing_is_looked_up_in_the_first_seconds(state: str) -> None:
    assert "needs" not in UNSETTLED[state]().sync()


@pytest.mark.parametrize("state", UNSETTLED)
def test_every_need_is_by_name_within_one_namespace(state: str) -> None:
    scene = UNSETTLED[state]()
    scenes.step(scene)
    scene.now += timedelta(hours=1)
    for rule in objects(scene.sync()):
        assert rule["names"]
        assert rule["namespace"] == "userswarms"


def with_a_volume(scene: Scene) -> None:
    claim = scene.child(CLAIM)
    claim["status"] = {"phase": "Bound", "capacity": claim["spec"]["resources"]["requests"]}


def with_a_pod(scene: Scene) -> None:
    scene.child(STATEFUL_SET)["status"] = {"replicas": 1}


def test_a_trouble_is_told_at_the_latest_fifteen_seconds_after_the_stage_began() -> None:
    scene = scenes.created()
    with_a_pod(scene)
    began = scene.now
    trouble: Any = {"containerStatuses": [{"name": "runtime", "image": "a", "state": {"waiting": {}}}]}
    trouble["containerStatuses"][0]["state"]["waiting"]["reason"] = "ErrImagePull"
    pod = scenes.pod_of(scene)
    pod["status"] = trouble
    scene.related.clear()
    while condition(response := scene.ask(pod), "Ready")["reason"] != "ImagePull":
        scene.adopt_status(response)
        scene.now += timedelta(seconds=response["resyncAfterSeconds"])
        assert (scene.now - began).total_seconds() <= 15


def changed(child: Json, moment: datetime) -> None:
    """Let an object be changed, as the API server notes it beside what the manager set."""
    child["metadata"]["managedFields"].append({"manager": "kube-controller-manager", "time": written_time(moment)})


@pytest.mark.parametrize("kind", [CLAIM, STATEFUL_SET], ids=lambda kind: kind.kind)
def test_a_pod_that_gets_on_is_not_looked_at_and_one_that_does_not_is(kind: Kind) -> None:
    scene = scenes.created()
    with_a_pod(scene)
    scene.now += timedelta(seconds=20)
    assert looked_up(scene) == {"pods"}
    changed(scene.child(CONFIG_MAP), scene.now)
    assert looked_up(scene) == {"pods"}
    changed(scene.child(kind), scene.now - timedelta(seconds=4))
    assert looked_up(scene) == set()
    assert scene.sync()["resyncAfterSeconds"] == 11
    scene.now += timedelta(seconds=1)
    assert looked_up(scene) == {"pods"}


def test_a_stage_that_was_not_worth_a_status_is_looked_at_fifteen_seconds_after_it_began() -> None:
    scene = scenes.created()
    with_a_pod(scene)
    began = scene.now + timedelta(seconds=5)
    with_a_volume(scene)
    changed(scene.child(CLAIM), began)
    # A call that looks itself asks for a later look.
    for waited, looks, left in ((0, False, 15), (3, False, 12), (4.5, False, 11), (5, True, 15), (15, True, 45)):
        scene.now = began + timedelta(seconds=waited)
        response = scene.sync()
        assert response["status"] == scene.parent["status"], "it was worth a status"
        assert ("needs" in response, response["resyncAfterSeconds"]) == (looks, left)


def test_a_change_that_is_dated_later_than_now_is_a_change_of_now() -> None:
    scene = scenes.created()
    with_a_pod(scene)
    changed(scene.child(CLAIM), scene.now + timedelta(seconds=30))
    assert scene.sync()["resyncAfterSeconds"] == 15
    scene.now += timedelta(seconds=20)
    assert looked_up(scene) == set()


@pytest.mark.parametrize(
    ("stage", "first", "later"),
    [
        pytest.param(lambda scene: None, 60, 54, id="the claim is not bound, and there is no Pod"),
        pytest.param(with_a_volume, 60, 54, id="there is no Pod"),
        # The later call looks itself: 18 s are three times what it has waited.
        pytest.param(with_a_pod, 15, 18, id="the claim is not bound, and its Pod is there"),
        pytest.param(lambda scene: scene.drop(SERVICE_ACCOUNT), 15, 9, id="a child is missing"),
    ],
)
def test_what_only_the_children_keep_is_looked_at_when_there_is_something_to_tell(
    stage: Callable[[Scene], None], first: int, later: int
) -> None:
    scene = scenes.created()
    stage(scene)
    changed(scene.child(CLAIM), scene.now)
    assert scene.sync()["resyncAfterSeconds"] == first
    scene.now += timedelta(seconds=6)
    assert scene.sync()["resyncAfterSeconds"] == later


@pytest.mark.parametrize("entries", [None, "x", [None, 7], [{"time": "yesterday"}], [{"time": 7}], [{}]], ids=str)
def test_a_change_without_a_time_counts_as_none(entries: Any) -> None:
    scene = scenes.created()
    with_a_pod(scene)
    scene.now += timedelta(seconds=20)
    scene.child(CLAIM)["metadata"]["managedFields"] = entries
    assert looked_up(scene) == {"pods"}


def test_nothing_is_looked_up_while_other_children_still_come_about() -> None:
    scene = scenes.created()
    scene.drop(SERVICE, f"swarm-{scenes.NAME}")
    scene.now += timedelta(seconds=40)
    assert "services" in looked_up(scene)
    scene.child(CLAIM)["metadata"]["creationTimestamp"] = written_time(scene.now - timedelta(seconds=4))
    assert "services" not in looked_up(scene)


def test_what_waits_for_the_volume_is_not_looked_up_before_it_can_have_been_made() -> None:
    scene = scenes.created()
    scene.drop(STATEFUL_SET)
    scene.now += timedelta(seconds=20)
    # While the claim is being bound, calls come, and the first of them asks for the StatefulSet.
    for quiet, looked, left in ((14, set(), 1), (15, {"statefulsets"}, 45)):
        changed(scene.child(CLAIM), scene.now - timedelta(seconds=quiet))
        assert looked_up(scene) == looked
        assert scene.sync()["resyncAfterSeconds"] == left
        scene.child(CLAIM)["metadata"]["managedFields"].pop()
    with_a_volume(scene)
    for quiet, looked in ((4, set()), (5, {"statefulsets"})):
        changed(scene.child(CLAIM), scene.now - timedelta(seconds=quiet))
        assert looked_up(scene) == looked
        scene.child(CLAIM)["metadata"]["managedFields"].pop()


def test_the_first_answer_and_those_after_it_ask_for_the_same_look() -> None:
    scene = Scene()
    scene.parent["metadata"]["creationTimestamp"] = written_time(scene.now - timedelta(seconds=3))
    first = scenes.step(scene)
    assert first["resyncAfterSeconds"] == 12
    scene.now += timedelta(seconds=1)
    assert scenes.step(scene)["resyncAfterSeconds"] == 11


def looked_up(scene: Scene) -> set[str]:
    return {rule["resource"] for rule in scene.sync().get("needs", {}).get("objects", ())}
