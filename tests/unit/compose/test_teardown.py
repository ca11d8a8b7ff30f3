"""A UserSwarm goes away: all at once, from every state, and with nothing lost that should stay."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import scenes
from scenes import Json, Scene, children_of, condition
from userswarm.errors import RequestError
from userswarm.spec.schema import user_swarm_schema
from userswarm.wire.k8s import (
    CLAIM,
    CONFIG_MAP,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    RESOURCE_QUOTA,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)

NAME = "swarm-workspace-a"
GONE = {"deletionTimestamp": "2026-11-20T11:59:59Z"}
RETAIN = {"storage": {"retainPolicy": "Retain"}}


def edit(scene: Scene, **spec: Any) -> Scene:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1
    return scene


def kinds(response: Json) -> list[str]:
    return sorted(child["kind"] for child in response["children"])


def obey(scene: Scene, response: Json) -> None:
    """Let Metacontroller do what an answer asks for."""
    wanted = {(child["kind"], child["metadata"]["name"]): child for child in response["children"]}
    for objects in scene.children.values():
        for key, stored in list(objects.items()):
            answer = wanted.get((stored["kind"], stored["metadata"]["name"]))
            if answer is None:
                del objects[key]
            else:
                # Metacontroller adds its label to what a hook returns; the answer holds it already.
                stored["metadata"]["annotations"] = {scenes.LAST_APPLIED: json.dumps(answer)}
                if "ownerReferences" in answer["metadata"]:
                    stored["metadata"]["ownerReferences"] = answer["metadata"]["ownerReferences"]
                elif "crawbl.ai/released" in answer["metadata"].get("annotations", {}):
                    del objects[key]  # no owner any more: it drops out of the children
                    scene.released.append(stored)
    scene.adopt_status(response)


def tear_down(scene: Scene, *pods: Json) -> list[Json]:
    """Finalize until it is finalized; return every answer. Pods end once they were seen."""
    answers = []
    for _ in range(12):
        answers.append(scene.ask(*pods))
        obey(scene, answers[-1])
        if answers[-1]["finalized"]:
            return answers
        if "Pod" in condition(answers[-1], "Ready")["message"]:
            pods = ()
        scene.now += timedelta(seconds=60)
    raise AssertionError([each["status"]["conditions"][-1]["message"] for each in answers])


def orphaned(scene: Scene) -> Scene:
    for objects in scene.children.values():
        objects.clear()
    return scene


def failed() -> Scene:
    scene = scenes.ready(scenes.user_swarm(verification={"maxAttempts": 1}))
    scene.http = {"status": 500, "body": ""}
    scenes.step(scene)
    return scene


def half_created() -> Scene:
    scene = scenes.created()
    scene.drop(STATEFUL_SET)
    scene.drop(SERVICE, NAME)
    return scene


def suspended() -> Scene:
    scene = edit(scenes.verified(), suspend=True)
    scene.child(STATEFUL_SET)["status"] = {"replicas": 0}
    return scene


def walled(**spec: Any) -> Json:
    parent: Json = scenes.user_swarm(placement={"isolation": "Dedicated"}, **spec)
    return parent


def half_walled() -> Scene:
    scene = Scene(walled())
    for _ in range(2):
        scene.apply(scenes.step(scene))
    return scene


STATES: dict[str, Callable[[], Scene]] = {
    "nothing there": Scene,
    "created": scenes.created,
    "half created": half_created,
    "ready": scenes.ready,
    "verified": scenes.verified,
    "failed": failed,
    "suspended": suspended,
    "invalid": lambda: edit(scenes.verified(), config={"tomlOverrides": "BAD"}),
    "invalid from the start": lambda: Scene(scenes.user_swarm(config={"tomlOverrides": "BAD"})),
    "a spec that is none": lambda: edit(scenes.verified(), storage=None),
    "Dedicated": lambda: scenes.verified(walled()),
    "Dedicated, half created": half_walled,
}


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
@pytest.mark.parametrize("deleted", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_from_every_state_it_ends_and_loses_nothing_that_should_stay(state: str, deleted: bool, policy: str) -> None:
    scene = STATES[state]()
    had = [kind.kind for kind in (CLAIM, NAMESPACE) if scene.children.get(kind.group)]
    if scene.parent["spec"].get("storage", {}) is not None:
        scene.parent["spec"]["storage"] = {"retainPolicy": policy}
    else:
        policy = "Retain"  # what cannot be read keeps the volume
    scene.finalizing = True
    if deleted:
        scene.deleted()

    answers = tear_down(scene)

    # Children only ever get fewer.
    left = [len(answer["children"]) for answer in answers]
    assert left == sorted(left, reverse=True)
    assert not any(scene.children.values())
    stays = had if policy == "Retain" or not deleted else []
    assert sorted(each["kind"] for each in scene.released) == sorted(stays)
    for each in scene.released:
        assert "ownerReferences" not in json.loads(each["metadata"]["annotations"][scenes.LAST_APPLIED])["metadata"]


def test_a_deletion_lets_everything_go_in_one_answer() -> None:
    scene = scenes.verified().deleted()

    first = scene.finalize()
    assert (first["children"], first["finalized"]) == ([], False)
    assert "needs" not in first
    message = scenes.told_of_the_end(scene)
    for waited in ("StatefulSet", "Service", "ServiceAccount"):
        assert f"{waited} userswarms/{NAME}" in message
    assert f"PersistentVolumeClaim userswarms/{NAME}-data" in message

    # What still goes is waited for: Kubernetes keeps a claim until its Pod has ended.
    for kind in (SERVICE, CONFIG_MAP, SERVICE_ACCOUNT, STATEFUL_SET):
        scene.children[kind.group].clear()
    scene.child(CLAIM)["metadata"].update(GONE)
    second = scene.finalize()
    assert (second["children"], second["finalized"]) == ([], False)
    scene.drop(CLAIM)
    last = scene.finalize()
    assert (last["finalized"], last["children"]) == (True, [])


def test_a_teardown_is_told_about_once_and_again_where_it_lasts() -> None:
    scene = scenes.verified().deleted()
    first = scene.finalize()
    scene.adopt_status(first)
    scene.drop(STATEFUL_SET)
    scene.now += timedelta(seconds=59)
    assert scene.finalize()["status"] == first["status"]
    assert first["resyncAfterSeconds"] == 60

    scene.now += timedelta(seconds=1)
    message = condition(scene.finalize(), "Ready")["message"]
    assert "StatefulSet" not in message
    assert "PersistentVolumeClaim" in message


# --- walls, and the namespace behind them ----------------------------------------------------------------------------

BEHIND = ["LimitRange", "Namespace", *["NetworkPolicy"] * 4, "ResourceQuota"]


def pod(name: str = "swarm-workspace-a-0") -> Json:
    labels = {"crawbl.ai/swarm": "workspace-a"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAME, "labels": labels}}


def unwalled() -> Scene:
    """Return a Dedicated swarm of which only the walls are left."""
    scene = scenes.verified(walled()).deleted()
    obey(scene, scene.finalize())
    return scene


def test_walls_stay_as_applied_while_what_they_are_for_is_there() -> None:
    scene = scenes.verified(walled()).deleted()
    applied = [
        json.loads(each["metadata"]["annotations"][scenes.LAST_APPLIED])
        for group in scene.children.values()
        for each in group.values()
        if each["kind"] in BEHIND
    ]
    answer = scene.finalize()
    assert kinds(answer) == BEHIND
    assert sorted(map(json.dumps, answer["children"])) == sorted(map(json.dumps, applied))
    assert "needs" not in answer


def test_the_last_pod_behind_the_walls_is_looked_for_by_its_label() -> None:
    assert unwalled().finalize()["needs"] == {
        "objects": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "resource": "pods",
                "namespace": NAME,
                "labelSelector": {"matchLabels": {"crawbl.ai/swarm": "workspace-a"}},
            }
        ]
    }


def test_walls_and_namespace_stay_until_the_last_pod_is_gone() -> None:
    scene = unwalled()
    scene.now += timedelta(seconds=60)
    # Not known yet is not gone.
    assert kinds(scene.finalize()) == BEHIND

    answer = scene.ask(pod(), pod("web-x"))
    assert kinds(answer) == BEHIND
    assert answer["resyncAfterSeconds"] == 5
    assert f"Pod {NAME}/web-x" in condition(answer, "Ready")["message"]

    answer = scene.ask()
    assert (answer["children"], answer["finalized"]) == ([], False)
    obey(scene, answer)
    assert scene.finalize()["finalized"] is True


def test_walls_are_not_taken_down_for_lack_of_knowledge_and_the_condition_says_why() -> None:
    scene = unwalled()
    scene.now += timedelta(seconds=60)
    scene.unavailable = {POD.group: "the API answers 403"}
    answer = scene.finalize()
    assert kinds(answer) == BEHIND
    assert answer["resyncAfterSeconds"] == 5
    assert "cannot be looked up: the API answers 403" in condition(answer, "Ready")["message"]


def test_walls_that_were_taken_down_by_hand_are_walls_that_are_gone() -> None:
    scene = unwalled()
    scene.children[NETWORK_POLICY.group].clear()
    assert "NetworkPolicy" not in kinds(scene.ask(pod()))
    assert tear_down(scene)[-1]["finalized"] is True


def test_walls_that_go_already_are_looked_behind_no_more() -> None:
    scene = unwalled()
    for kind in (NETWORK_POLICY, RESOURCE_QUOTA, LIMIT_RANGE):
        scene.children[kind.group].clear()
    assert "needs" in scene.finalize()
    scene.child(NAMESPACE)["metadata"].update(GONE)
    assert "needs" not in scene.finalize()
    assert scene.finalize()["finalized"] is False


def test_with_retain_the_claim_and_its_namespace_are_released_at_once_and_the_walls_stay_as_long() -> None:
    scene = scenes.verified(walled(**RETAIN)).deleted()
    first = scene.finalize()
    assert kinds(first) == sorted([*BEHIND, "PersistentVolumeClaim"])
    for each in first["children"]:
        released = each["kind"] in ("Namespace", "PersistentVolumeClaim")
        assert (each["metadata"].get("annotations", {}).get("crawbl.ai/released") == "true") is released
    obey(scene, first)
    assert "NetworkPolicy" in kinds(scene.ask(pod()))
    assert tear_down(scene)[-1]["finalized"] is True


def test_a_lent_namespace_is_left_and_its_walls_go_with_the_last_pod() -> None:
    placement = {"isolation": "Dedicated", "namespaceMode": "operator", "runtimeNamespace": "lent"}
    scene = scenes.verified(scenes.user_swarm(placement=placement)).deleted()
    first = scene.finalize()
    assert kinds(first) == ["NetworkPolicy"] * 4
    obey(scene, first)
    (rule,) = scene.finalize()["needs"]["objects"]
    assert rule["namespace"] == "lent"
    assert scene.ask()["children"] == []


# --- what stays ------------------------------------------------------------------------------------------------------


def test_the_same_question_has_the_same_answer_however_often_it_is_asked() -> None:
    scene = edit(scenes.verified(walled()), **RETAIN).deleted()
    for answer in tear_down(copy.deepcopy(scene)):
        scene.look_up(POD)
        request = scene.request()
        assert scene.finalize() == scene.finalize()
        assert scene.request()["children"] == request["children"]
        obey(scene, answer)


def test_parts_deleted_by_hand_meanwhile_are_parts_that_are_gone() -> None:
    for kind in (STATEFUL_SET, CONFIG_MAP, CLAIM):
        scene = scenes.verified().deleted()
        scene.drop(kind)
        assert tear_down(scene)[-1]["finalized"] is True


def test_with_nothing_left_there_is_nothing_to_wait_for() -> None:
    assert orphaned(scenes.verified().deleted()).finalize()["finalized"] is True


def test_a_child_of_a_kind_from_another_release_goes_too() -> None:
    scene = scenes.verified().deleted()
    scene.children["Ingress.networking.k8s.io/v1"] = {}
    scene.add_child(
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "n"}}
    )
    answer = scene.finalize()
    assert answer["children"] == []
    assert "Ingress n/i" in scenes.told_of_the_end(scene)
    orphaned(scene)
    assert scene.finalize()["finalized"] is True


def test_the_status_of_a_teardown_fits_the_crd_and_keeps_what_was_recorded() -> None:
    scene = scenes.verified().deleted()
    status = scene.finalize()["status"]
    assert user_swarm_schema().status_problems(status) == []
    assert (status["phase"], status["verified"]) == ("Deleting", False)
    assert condition({"status": status}, "Verified")["reason"] == "Terminating"
    assert status["verifiedChecksum"] == scene.parent["status"]["verifiedChecksum"]


# --- the claim -------------------------------------------------------------------------------------------------------


def claims_left(spec: Json, *, deleted: bool = True) -> Scene:
    scene = edit(scenes.verified(), **spec)
    for kind in (SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, STATEFUL_SET):
        scene.children[kind.group].clear()
    return scene.deleted() if deleted else scene


def test_a_retained_claim_is_released_while_all_else_goes() -> None:
    scene = edit(scenes.verified(), **RETAIN).deleted()
    before = json.loads(scene.child(CLAIM)["metadata"]["annotations"][scenes.LAST_APPLIED])
    answer = scene.finalize()
    told = scenes.told_of_the_end(scene)
    assert f"releasing PersistentVolumeClaim userswarms/{NAME}-data; waiting for " in told
    (released,) = answer["children"]
    assert "ownerReferences" not in released["metadata"]
    assert released["metadata"]["annotations"].pop("crawbl.ai/released") == "true"
    del before["metadata"]["ownerReferences"]
    assert released == before
    assert scene.finalize()["finalized"] is False

    scene.drop(CLAIM)
    for kind in (SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, STATEFUL_SET):
        assert scene.finalize()["finalized"] is False
        scene.children[kind.group].clear()
    assert scene.finalize()["finalized"] is True


def test_a_parent_that_only_leaves_its_controller_keeps_its_claim_as_it_is_until_all_else_is_gone() -> None:
    scene = scenes.verified()
    applied = json.loads(scene.child(CLAIM)["metadata"]["annotations"][scenes.LAST_APPLIED])
    first = scene.finalize()
    assert (first["children"], first["finalized"]) == ([applied], False)


def test_without_a_deletion_timestamp_the_claim_is_released_by_the_answer_that_lets_the_parent_go() -> None:
    scene = claims_left({"storage": {"retainPolicy": "Delete"}}, deleted=False)
    answer = scene.finalize()
    (released,) = answer["children"]
    assert answer["finalized"] is True
    assert "ownerReferences" not in released["metadata"]


def test_a_claim_that_was_not_applied_with_its_owner_is_owned_expressly_first() -> None:
    scene = claims_left(RETAIN)
    metadata = scene.child(CLAIM)["metadata"]
    applied = json.loads(metadata["annotations"][scenes.LAST_APPLIED])
    del applied["metadata"]["ownerReferences"]
    metadata["annotations"][scenes.LAST_APPLIED] = json.dumps(applied)

    answer = scene.finalize()
    (owned,) = answer["children"]
    assert owned["metadata"]["ownerReferences"] == scene.child(CLAIM)["metadata"]["ownerReferences"]
    assert answer["finalized"] is False
    metadata["annotations"][scenes.LAST_APPLIED] = json.dumps(owned)
    assert "ownerReferences" not in scene.finalize()["children"][0]["metadata"]


@pytest.mark.parametrize(
    ("storage", "kept"),
    [
        ({"retainPolicy": "Delete"}, False),
        ({}, False),
        ({"retainPolicy": "Retain"}, True),
        ({"retainPolicy": "retain"}, True),
        ({"retainPolicy": None}, True),
        (None, True),
        ("Delete", True),
    ],
)
def test_only_a_plain_delete_deletes(storage: object, kept: bool) -> None:
    scene = claims_left({"storage": storage})
    assert bool(scene.finalize()["children"]) is kept


def test_a_spec_that_is_none_says_delete_no_more_than_one_without_storage() -> None:
    scene = claims_left({})
    scene.parent["spec"] = None
    assert scene.finalize()["children"] == []


def test_a_retained_claim_that_somebody_deletes_is_only_awaited() -> None:
    scene = claims_left(RETAIN)
    scene.child(CLAIM)["metadata"].update(GONE)
    answer = scene.finalize()
    assert answer["children"] == []
    assert "to be gone" in scenes.told_of_the_end(scene)


def test_every_claim_a_swarm_owns_is_released() -> None:
    scene = claims_left(RETAIN)
    older = copy.deepcopy(json.loads(scene.child(CLAIM)["metadata"]["annotations"][scenes.LAST_APPLIED]))
    older["metadata"]["name"] = "older-data"
    scene.add_child(older)
    answer = scene.finalize()
    assert {claim["metadata"]["name"] for claim in answer["children"]} == {f"{NAME}-data", "older-data"}
    assert all("ownerReferences" not in claim["metadata"] for claim in answer["children"])


# --- server-side apply: no child says how it was applied -------------------------------------------------------------


def server_side(scene: Scene) -> Scene:
    for objects in scene.children.values():
        for stored in objects.values():
            del stored["metadata"]["annotations"][scenes.LAST_APPLIED]
    return scene


@pytest.mark.parametrize("deleted", [True, False])
def test_under_server_side_apply_a_retained_claim_waits_and_says_what_to_do(deleted: bool) -> None:
    scene = server_side(claims_left(RETAIN, deleted=deleted))
    stored = scene.child(CLAIM)
    answer = scene.finalize()

    (claim,) = answer["children"]
    assert answer["finalized"] is False
    assert claim["spec"].items() <= stored["spec"].items()
    assert claim["metadata"]["labels"] == stored["metadata"]["labels"]
    assert claim["metadata"]["annotations"] == stored["metadata"]["annotations"]
    message = condition(answer, "Ready")["message"]
    assert "cannot be released" in message
    assert "ownerReference" in message
    assert "--apply-strategy=dynamic-apply" in message

    # What the message says works: without its owner the claim drops out of the children.
    scene.drop(CLAIM)
    assert scene.finalize()["finalized"] is True


def test_under_server_side_apply_a_claim_to_be_deleted_goes() -> None:
    assert server_side(claims_left({})).finalize()["children"] == []


def test_under_server_side_apply_walls_stay_by_being_built_anew() -> None:
    scene = server_side(scenes.verified(walled()).deleted())
    answer = scene.finalize()
    assert kinds(answer) == BEHIND
    built = {each["metadata"]["name"]: each for each in scenes.verified(walled()).sync()["children"]}
    for each in children_of(answer, NETWORK_POLICY):
        assert each == built[each["metadata"]["name"]]


def test_under_server_side_apply_a_spec_that_cannot_be_built_costs_the_walls_but_never_the_claim() -> None:
    scene = server_side(edit(scenes.verified(walled()), config={"tomlOverrides": "BAD"}, **RETAIN).deleted())
    answer = scene.finalize()
    assert kinds(answer) == ["Namespace", "PersistentVolumeClaim"]
    (claim,) = children_of(answer, CLAIM)
    assert claim["spec"]["volumeName"] == "pv-1"


def test_a_claim_with_little_in_it_is_restated_without_adding_to_it() -> None:
    scene = server_side(claims_left(RETAIN))
    scene.child(CLAIM)["spec"] = {}
    scene.child(CLAIM)["metadata"]["annotations"] = {"note": "not ours"}
    del scene.child(CLAIM)["metadata"]["labels"]
    (claim,) = scene.finalize()["children"]
    assert claim["metadata"] == {"name": f"{NAME}-data", "namespace": "userswarms", "labels": {}}
    assert claim["spec"] == {}


def test_a_request_that_is_none_is_refused_here_too() -> None:
    scene = scenes.verified().deleted()
    del scene.parent["metadata"]["name"]
    with pytest.raises(RequestError, match=r"parent\.metadata\.name"):
        scene.finalize()
