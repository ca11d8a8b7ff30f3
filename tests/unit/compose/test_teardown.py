"""A UserSwarm goes away: in order, from every state, and with nothing lost that should stay."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

import scenes
from scenes import Json, Scene, condition
from userswarm.compose.teardown import TEARDOWN_STAGES
from userswarm.errors import RequestError
from userswarm.spec.schema import user_swarm_schema
from userswarm.wire.k8s import CHILD_KINDS, CLAIM, CONFIG_MAP, JOB, POD, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET

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
    """Let Metacontroller do what an answer asks for; Pods end when their owner is gone."""
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
                    scene.related.setdefault(CLAIM.group, {})[key] = stored
    if not scene.children[STATEFUL_SET.group]:
        scene.related.get(POD.group, {}).clear()
    scene.adopt_status(response)


def tear_down(scene: Scene) -> list[Json]:
    """Finalize until it is finalized; return every answer."""
    answers = []
    for _ in range(12):
        answers.append(scene.finalize())
        obey(scene, answers[-1])
        if answers[-1]["finalized"]:
            return answers
    raise AssertionError([each["status"]["conditions"][-1]["message"] for each in answers])


def orphaned(scene: Scene) -> Scene:
    for kind in CHILD_KINDS:
        scene.children[kind.group].clear()
    return scene


def failed() -> Scene:
    scene = scenes.under_test(scenes.user_swarm(verification={"maxAttempts": 1}))
    scenes.fail_smoke_test(scene)
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
    scene.related[POD.group].clear()
    return scene


STATES: dict[str, Callable[[], Scene]] = {
    "nothing there": Scene,
    "created": scenes.created,
    "half created": half_created,
    "ready": scenes.ready,
    "smoke test running": scenes.under_test,
    "verified": scenes.verified,
    "failed": failed,
    "suspended": suspended,
    "invalid": lambda: edit(scenes.verified(), config={"tomlOverrides": "BAD"}),
    "invalid from the start": lambda: Scene(scenes.user_swarm(config={"tomlOverrides": "BAD"})),
    "a spec that is none": lambda: edit(scenes.verified(), storage=None),
}


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
@pytest.mark.parametrize("deleted", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_from_every_state_it_ends_in_order_and_loses_nothing_that_should_stay(
    state: str, deleted: bool, policy: str
) -> None:
    scene = STATES[state]()
    had_claim = bool(scene.children[CLAIM.group])
    if scene.parent["spec"].get("storage", {}) is not None:
        scene.parent["spec"]["storage"] = {"retainPolicy": policy}
    else:
        policy = "Retain"  # what cannot be read keeps the volume
    if deleted:
        scene.deleted()

    answers = tear_down(scene)

    # Children only ever get fewer, stage by stage.
    left = [len(answer["children"]) for answer in answers]
    assert left == sorted(left, reverse=True)
    for answer in answers:
        present = {child["kind"] for child in answer["children"]}
        if present & {kind.kind for kind in TEARDOWN_STAGES[1]}:
            assert CLAIM.kind in present or not had_claim
    assert not any(scene.children.values())
    kept = [claim for claim in scene.related.get(CLAIM.group, {}).values() if claim["metadata"].get("annotations")]
    released = [json.loads(claim["metadata"]["annotations"][scenes.LAST_APPLIED]) for claim in kept]
    stays = had_claim and (policy == "Retain" or not deleted)
    assert [each["metadata"].get("ownerReferences") for each in released if _is_released(each)] == [None] * stays


def _is_released(claim: Json) -> bool:
    return bool(claim["metadata"].get("annotations", {}).get("crawbl.ai/released") == "true")


def test_the_stages_of_a_deletion() -> None:
    scene = scenes.under_test().deleted()

    first = scene.finalize()
    assert kinds(first) == ["ConfigMap", "PersistentVolumeClaim", "Service", "Service", "ServiceAccount"]
    assert first["finalized"] is False
    message = condition(first, "Ready")["message"]
    assert message.startswith("stage 1 of ")
    for waited in (f"StatefulSet userswarms/{NAME}", "Job userswarms/verify-", f"Pod userswarms/{NAME}-0"):
        assert waited in message

    # The StatefulSet is gone, its Pod still ends: nothing more goes.
    scene.drop(STATEFUL_SET)
    scene.drop(JOB)
    scene.pod["metadata"].update(GONE)
    assert kinds(scene.finalize()) == kinds(first)

    scene.related[POD.group].clear()
    second = scene.finalize()
    assert kinds(second) == ["PersistentVolumeClaim"]
    assert "stage 2 of " in condition(second, "Ready")["message"]
    assert f"ServiceAccount userswarms/{NAME}" in condition(second, "Ready")["message"]

    for kind in (SERVICE, CONFIG_MAP, SERVICE_ACCOUNT):
        scene.children[kind.group].clear()
    third = scene.finalize()
    assert third["children"] == []
    assert third["finalized"] is False
    assert (
        f"waiting for PersistentVolumeClaim userswarms/{NAME}-data to be deleted"
        in condition(third, "Ready")["message"]
    )

    scene.child(CLAIM)["metadata"].update(GONE)
    assert scene.finalize()["finalized"] is False
    scene.drop(CLAIM)
    last = scene.finalize()
    assert (last["finalized"], last["children"]) == (True, [])


def test_what_stays_for_now_stays_as_it_was_applied() -> None:
    scene = scenes.verified().deleted()
    applied = [
        json.loads(stored["metadata"]["annotations"][scenes.LAST_APPLIED])
        for kind in (SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, CLAIM)
        for stored in scene.children[kind.group].values()
    ]
    assert sorted(map(json.dumps, scene.finalize()["children"])) == sorted(map(json.dumps, applied))


def test_a_smoke_test_that_never_ends_is_not_waited_for_but_its_pod_is() -> None:
    scene = scenes.under_test().deleted()
    scene.drop(STATEFUL_SET)
    scene.related[POD.group].clear()
    assert not scenes.children_of(scene.finalize(), JOB)

    scene.drop(JOB)
    scene.relate({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "verify-x", "namespace": "userswarms"}})
    assert (
        "Pod userswarms/verify-x (owned by nobody: delete it by hand)"
        in condition(scene.finalize(), "Ready")["message"]
    )
    scene.pod["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "verify", "uid": "u"}]
    assert "by hand" not in condition(scene.finalize(), "Ready")["message"]
    scene.pod["metadata"].update(GONE)
    del scene.pod["metadata"]["ownerReferences"]
    assert "by hand" not in condition(scene.finalize(), "Ready")["message"]


def test_the_same_question_has_the_same_answer_however_often_it_is_asked() -> None:
    scene = edit(scenes.verified(), **RETAIN).deleted()
    for answer in tear_down(copy.deepcopy(scene)):
        request = scene.request()
        assert scene.finalize() == scene.finalize()
        assert scene.request()["children"] == request["children"]
        obey(scene, answer)


def test_parts_deleted_by_hand_meanwhile_are_parts_that_are_gone() -> None:
    for kind in (STATEFUL_SET, CONFIG_MAP, CLAIM):
        scene = scenes.verified().deleted()
        scene.drop(kind)
        assert tear_down(scene)[-1]["finalized"] is True


def test_a_namespace_that_is_gone_leaves_nothing_to_wait_for() -> None:
    scene = orphaned(scenes.verified().deleted())
    scene.related.clear()
    assert scene.finalize()["finalized"] is True


def test_a_child_of_a_kind_from_another_release_goes_with_the_second_stage() -> None:
    scene = scenes.verified().deleted()
    scene.children["Ingress.networking.k8s.io/v1"] = {}
    scene.add_child(
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "n"}}
    )
    assert "Ingress" in kinds(scene.finalize())
    scene.drop(STATEFUL_SET)
    scene.related[POD.group].clear()
    answer = scene.finalize()
    assert "Ingress" not in kinds(answer)
    assert "Ingress n/i" in condition(answer, "Ready")["message"]


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
    scene.related[POD.group].clear()
    return scene.deleted() if deleted else scene


def test_a_retained_claim_is_released_then_let_go() -> None:
    scene = claims_left(RETAIN)
    before = json.loads(scene.child(CLAIM)["metadata"]["annotations"][scenes.LAST_APPLIED])
    (released,) = scene.finalize()["children"]

    assert "ownerReferences" not in released["metadata"]
    assert released["metadata"]["annotations"].pop("crawbl.ai/released") == "true"
    del before["metadata"]["ownerReferences"]
    assert released == before
    assert scene.finalize()["finalized"] is False

    scene.drop(CLAIM)
    assert scene.finalize()["finalized"] is True


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
    assert "to be deleted" in condition(answer, "Ready")["message"]


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


def test_under_server_side_apply_the_order_is_kept_by_building_anew() -> None:
    scene = server_side(scenes.verified().deleted())
    answer = scene.finalize()
    assert kinds(answer) == ["ConfigMap", "PersistentVolumeClaim", "Service", "Service", "ServiceAccount"]
    (claim,) = scenes.children_of(answer, CLAIM)
    assert claim["spec"]["volumeName"] == "pv-1"


def test_under_server_side_apply_a_spec_that_cannot_be_built_costs_the_order_but_never_the_claim() -> None:
    scene = server_side(edit(scenes.verified(), config={"tomlOverrides": "BAD"}, **RETAIN).deleted())
    assert kinds(scene.finalize()) == ["PersistentVolumeClaim"]


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
