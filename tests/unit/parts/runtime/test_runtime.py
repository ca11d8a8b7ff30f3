"""The StatefulSet: after the configuration it starts with, and its Pod looked at only where it is slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import scenes
from scenes import Json, Scene, children_of, condition
from userswarm.compose.plan import compute_plan
from userswarm.spec.identity import template_checksum
from userswarm.wire.k8s import CONFIG_MAP, POD, STATEFUL_SET, written_time

NAME = "swarm-workspace-a"
POD_NEED = {"apiVersion": "v1", "kind": "Pod", "resource": "pods", "namespace": "userswarms", "names": [f"{NAME}-0"]}


def edit(scene: Scene, **spec: object) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def only(response: Json, kind: scenes.Kind) -> Json:
    (found,) = children_of(response, kind)
    return found


def template(response: Json) -> Json:
    found: Json = only(response, STATEFUL_SET)["spec"]["template"]
    return found


def wanted(parent: Json) -> Json:
    """Return the template that a spec asks for."""
    return template({"children": compute_plan(parent, scenes.SETTINGS).children()})


# --- the configuration comes before its Pod --------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [{"config": {"defaultModel": "m"}}, {"config": {"files": {"SOUL.md": "x"}}}])
def test_the_template_waits_until_the_new_configuration_is_stored(spec: Json) -> None:
    scene = scenes.verified()
    before = template(scene.sync())
    edit(scene, **spec)

    first = scene.sync()
    assert template(first) == before
    assert only(first, CONFIG_MAP)["data"] != scene.child(CONFIG_MAP)["data"]

    scene.child(CONFIG_MAP)["data"] = only(first, CONFIG_MAP)["data"]
    second = scene.sync()
    assert template(second) != before
    assert template(second) == wanted(scene.parent)


def _store(scene: Scene, response: Json) -> Json:
    """Let Metacontroller update the ConfigMap as an answer desires it."""
    config = scene.child(CONFIG_MAP)
    wanted = only(response, CONFIG_MAP)
    config["metadata"]["annotations"][scenes.LAST_APPLIED] = json.dumps(wanted)
    config["data"] |= wanted["data"]
    return config


def test_a_key_that_somebody_added_to_the_configuration_does_not_hold_its_roll_out_for_ever() -> None:
    scene = scenes.verified()
    scene.child(CONFIG_MAP)["data"]["added-by-hand"] = "x"
    edit(scene, config={"defaultModel": "m"})
    held = scene.sync()
    assert "crawbl.ai/checksum" in template(held)["metadata"]["annotations"]
    _store(scene, held)
    assert template(scene.sync()) == wanted(scene.parent)


def test_a_file_that_we_took_out_has_to_be_gone_before_the_pod_starts_anew() -> None:
    scene = scenes.verified(scenes.user_swarm(config={"files": {"SOUL.md": "x"}}))
    before = template(scene.sync())
    edit(scene, config={})
    assert template(scene.sync()) == before


def test_a_suspension_does_not_wait_for_the_configuration() -> None:
    scene = scenes.verified()
    edit(scene, config={"defaultModel": "m"}, suspend=True)
    held = only(scene.sync(), STATEFUL_SET)
    assert held["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda scene: scene.drop(CONFIG_MAP), id="no ConfigMap yet"),
        pytest.param(
            lambda scene: scene.child(STATEFUL_SET)["metadata"]["annotations"].pop(scenes.LAST_APPLIED),
            id="server-side apply",
        ),
    ],
)
def test_where_nothing_can_be_held_the_new_template_is_asked_for_at_once(change: Callable[[Scene], None]) -> None:
    scene = scenes.verified()
    change(scene)
    edit(scene, config={"defaultModel": "m"})
    assert template(scene.sync()) == wanted(scene.parent)


def test_a_configuration_edited_by_hand_is_put_back_and_rolls_nothing() -> None:
    scene = scenes.verified()
    before = scene.sync()
    scene.child(CONFIG_MAP)["data"]["config.toml"] = "edited = true"
    after = scene.sync()
    assert only(after, CONFIG_MAP) == only(before, CONFIG_MAP)
    assert template(after) == template(before)


def test_a_stateful_set_whose_last_applied_was_edited_by_hand_is_rolled_out_all_the_same() -> None:
    scene = scenes.verified()
    metadata = scene.child(STATEFUL_SET)["metadata"]
    place = {"name": metadata["name"], "namespace": "userswarms"}
    edited = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": place}
    metadata["annotations"][scenes.LAST_APPLIED] = json.dumps(edited)
    scene.parent["spec"]["config"] = {"defaultModel": "another"}

    desired = only(scene.sync(), STATEFUL_SET)

    assert template_checksum(desired) != template_checksum(scene.child(STATEFUL_SET))


# --- its Pod is looked at only where it takes long -------------------------------------------------------------------


def objects_needed(scene: Scene) -> list[Json]:
    found: list[Json] = scene.sync().get("needs", {}).get("objects", [])
    return found


def slow(age: float, waited: float) -> Scene:
    """Return a swarm whose StatefulSet is so many seconds old, and whose Pod has not been ready for so many."""
    scene = scenes.created()
    scene.now += timedelta(hours=1)
    stateful_set = scene.child(STATEFUL_SET)
    stateful_set["metadata"]["creationTimestamp"] = written_time(scene.now - timedelta(seconds=age))
    stateful_set["status"] = {"replicas": 1}
    workload = next(each for each in scene.parent["status"]["conditions"] if each["type"] == "WorkloadReady")
    workload["lastTransitionTime"] = written_time(scene.now - timedelta(seconds=waited))
    return scene


@pytest.mark.parametrize(
    ("age", "waited", "looked_at"), [(5, 5, True), (4, 60, False), (60, 4, False), (3600, 3600, True)]
)
def test_a_pod_is_looked_at_once_it_takes_long(age: float, waited: float, looked_at: bool) -> None:
    assert objects_needed(slow(age, waited)) == ([POD_NEED] if looked_at else [])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda scene: scene.parent["spec"].update(suspend=True), id="suspended"),
        pytest.param(
            lambda scene: scene.child(STATEFUL_SET).update(status=scenes.ready().child(STATEFUL_SET)["status"]),
            id="ready",
        ),
        pytest.param(lambda scene: scene.child(STATEFUL_SET).update(status={"replicas": 0}), id="not made yet"),
    ],
)
def test_a_pod_that_is_ready_or_is_not_there_is_not_looked_at(change: Callable[[Scene], Any]) -> None:
    scene = slow(60, 60)
    change(scene)
    assert objects_needed(scene) == []


def test_a_pod_that_cannot_be_looked_at_is_said_to_be_one_and_nothing_changes() -> None:
    scene = slow(60, 60)
    before = scene.sync()["children"]
    scene.unavailable = {POD.group: "the API answers 403"}
    response = scene.sync()
    assert response["children"] == before
    assert "its Pod cannot be looked at: the API answers 403" in condition(response, "WorkloadReady")["message"]


# --- suspended -------------------------------------------------------------------------------------------------------


def suspended() -> Scene:
    scene = scenes.verified()
    edit(scene, suspend=True)
    scene.child(STATEFUL_SET)["spec"]["replicas"] = 0
    scene.child(STATEFUL_SET)["status"] = {"observedGeneration": 1, "replicas": 0}
    return scene


def test_a_suspended_swarm_keeps_everything_but_its_pod() -> None:
    response = suspended().sync()

    names = {(child["kind"], child["metadata"]["name"]) for child in response["children"]}
    assert names == {(child["kind"], child["metadata"]["name"]) for child in scenes.verified().sync()["children"]}
    assert only(response, STATEFUL_SET)["spec"]["replicas"] == 0
    assert condition(response, "Ready")["reason"] == "Suspended"
    assert response["status"]["verifiedChecksum"]
    assert "needs" not in response
    assert "resyncAfterSeconds" not in response


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene.child(STATEFUL_SET)["spec"].update(replicas=1),
        lambda scene: scene.child(STATEFUL_SET)["spec"].pop("replicas"),
        lambda scene: scene.child(STATEFUL_SET)["status"].update(replicas=1),
        lambda scene: scene.child(STATEFUL_SET)["metadata"].update(generation=2),
        lambda scene: scene.drop(STATEFUL_SET),
    ],
)
def test_suspended_is_only_said_once_the_pod_is_gone(change: Callable[[Scene], Any]) -> None:
    scene = suspended()
    assert scene.sync()["status"]["phase"] == "Suspended"
    change(scene)
    assert scene.sync()["status"]["phase"] == "Progressing"


def test_a_swarm_that_is_resumed_is_asked_again() -> None:
    scene = suspended()
    scenes.step(scene)
    scene.now += timedelta(hours=1)
    edit(scene, suspend=False)
    response = scenes.step(scene)
    assert response["status"]["verified"] is False
    assert only(response, STATEFUL_SET)["spec"]["replicas"] == 1

    scene.child(STATEFUL_SET)["spec"]["replicas"] = 1
    scene.child(STATEFUL_SET)["status"] = scenes.ready().child(STATEFUL_SET)["status"]
    assert "http" in scene.sync()["needs"]
    assert scene.ask(http=scenes.HEALTHY)["status"]["verified"] is True
