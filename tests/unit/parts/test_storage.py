"""The claim: what it may become, whose it may be, and that no Pod is started before that is known."""

from __future__ import annotations

import copy
import json
from datetime import timedelta

import pytest

import scenes
from scenes import Json, Scene, children_of, condition
from userswarm.errors import CannotFreezeError
from userswarm.wire.k8s import CLAIM, POD, STATEFUL_SET

NAME = "swarm-workspace-a"
GONE = {"deletionTimestamp": "2026-11-20T11:59:59Z"}
ALL = ["ConfigMap", "PersistentVolumeClaim", "Service", "Service", "ServiceAccount", "StatefulSet"]


def edit(scene: Scene, **spec: object) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def only(response: Json, kind: scenes.Kind) -> Json:
    (found,) = children_of(response, kind)
    return found


def kinds(response: Json) -> list[str]:
    return sorted(child["kind"] for child in response["children"])


def needed(response: Json) -> list[str]:
    return [name for rule in response.get("needs", {}).get("objects", ()) for name in rule["names"]]


def test_growth_is_asked_for_and_awaited() -> None:
    scene = scenes.verified()
    edit(scene, storage={"size": "4Gi"})
    response = scene.sync()
    assert only(response, CLAIM)["spec"]["resources"]["requests"]["storage"] == "4Gi"
    assert condition(response, "StorageReady")["reason"] == "ClaimResizing"

    claim = scene.child(CLAIM)
    claim["spec"]["resources"]["requests"]["storage"] = "4Gi"
    assert condition(scene.sync(), "StorageReady")["reason"] == "ClaimResizing"
    claim["status"]["capacity"]["storage"] = "4Gi"
    assert scene.sync()["status"]["verified"] is True


def test_growth_rolls_nothing_and_asks_nobody() -> None:
    scene = scenes.verified()
    before = only(scene.sync(), STATEFUL_SET)
    edit(scene, storage={"size": "4Gi"})
    response = scene.sync()
    assert only(response, STATEFUL_SET) == before
    assert "needs" not in response


@pytest.mark.parametrize(
    ("storage", "stored", "told"),
    [
        ({"size": "1Gi"}, {}, "spec.storage.size is 1Gi, but the volume has 2Gi and can only grow"),
        (
            {"storageClassName": "fast"},
            {},
            "spec.storage.storageClassName is fast, but the volume's is standard for good",
        ),
        ({"size": "1Gi", "storageClassName": "fast"}, {}, "can only grow; spec.storage.storageClassName is fast"),
    ],
)
def test_what_a_claim_cannot_become_is_clamped_to_what_it_is_and_reported(
    storage: Json, stored: Json, told: str
) -> None:
    scene = scenes.verified()
    edit(scene, storage=storage)
    response = scene.sync()

    claim = only(response, CLAIM)
    observed = scene.child(CLAIM)["spec"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert claim["spec"].get("storageClassName", "standard") == observed["storageClassName"]
    assert condition(response, "StorageReady")["reason"] == "ClaimClamped"
    assert told in condition(response, "StorageReady")["message"]
    assert response["status"]["verified"] is True


def test_the_size_that_was_granted_not_the_one_asked_for_has_to_be_there() -> None:
    scene = scenes.verified()
    edit(scene, storage={"size": "1Gi"})
    scene.child(CLAIM)["status"]["capacity"]["storage"] = "1Gi"
    assert condition(scene.sync(), "StorageReady")["reason"] == "ClaimResizing"


def test_access_modes_stay_what_they_are() -> None:
    scene = scenes.verified()
    scene.child(CLAIM)["spec"]["accessModes"] = ["ReadWriteOncePod"]
    assert only(scene.sync(), CLAIM)["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_a_claim_that_says_little_of_itself_is_asked_for_as_wished() -> None:
    scene = scenes.verified()
    edit(scene, storage={"size": "3Gi", "storageClassName": "fast"})
    scene.child(CLAIM)["spec"] = {}
    spec = only(scene.sync(), CLAIM)["spec"]
    assert (spec["resources"]["requests"]["storage"], spec["storageClassName"]) == ("3Gi", "fast")


def test_a_claim_that_is_not_bound_is_not_asked_to_grow_yet() -> None:
    for phase in ("Pending", "Lost", None):
        scene = scenes.created()
        claim = scene.child(CLAIM)
        claim["status"] = {"phase": phase} if phase else {}
        scene.parent["spec"]["storage"] = {"size": "5Gi"}

        assert only(scene.sync(), CLAIM)["spec"]["resources"]["requests"]["storage"] == "2Gi"
        claim["status"] = {"phase": "Bound", "capacity": {"storage": "2Gi"}}
        assert only(scene.sync(), CLAIM)["spec"]["resources"]["requests"]["storage"] == "5Gi"


# --- the claim comes first -------------------------------------------------------------------------------------------


def test_no_pod_is_started_before_our_own_claim_is_seen() -> None:
    scene = Scene()
    first = scenes.step(scene)
    assert kinds(first) == [kind for kind in ALL if kind != "StatefulSet"]

    scene.apply(first)
    second = scene.sync()
    assert kinds(second) == ALL
    assert "needs" not in second


def test_all_else_that_is_there_does_not_replace_the_claim() -> None:
    scene = scenes.created()
    scene.drop(CLAIM)
    scene.drop(STATEFUL_SET)
    scene.now += timedelta(seconds=60)
    response = scene.sync()
    assert "StatefulSet" not in kinds(response)
    assert "before the volume is seen to be this swarm's" in condition(response, "WorkloadReady")["message"]


@pytest.mark.parametrize("running", [True, False])
def test_no_pod_is_started_on_a_claim_that_is_being_deleted_and_none_that_runs_is_touched(running: bool) -> None:
    scene = scenes.verified()
    scene.child(CLAIM)["metadata"].update(GONE)
    before = json.loads(scene.child(STATEFUL_SET)["metadata"]["annotations"][scenes.LAST_APPLIED])
    edit(scene, runtime={"image": "newer:1"}, suspend=True)
    if not running:
        scene.drop(STATEFUL_SET)
    response = scene.sync()

    assert children_of(response, STATEFUL_SET) == ([before] if running else [])
    assert children_of(response, CLAIM)
    assert response["status"]["verified"] is False
    assert "that is being deleted" in condition(response, "WorkloadReady")["message"]


def test_under_server_side_apply_a_workload_that_must_stay_cannot_be_answered() -> None:
    scene = scenes.verified()
    scene.child(CLAIM)["metadata"].update(GONE)
    del scene.child(STATEFUL_SET)["metadata"]["annotations"][scenes.LAST_APPLIED]
    with pytest.raises(CannotFreezeError, match=f"StatefulSet userswarms/{NAME}"):
        scene.sync()


# --- a claim under our name that we do not own -----------------------------------------------------------------------


def claim_left(annotations: Json | None = None, owners: list[Json] | None = None) -> Json:
    """Return a claim under our name that this swarm does not own."""
    claim = copy.deepcopy(scenes.verified().child(CLAIM))
    del claim["metadata"]["ownerReferences"]
    del claim["metadata"]["annotations"][scenes.LAST_APPLIED]
    claim["metadata"]["labels"]["controller-uid"] = "an-earlier-life"
    claim["metadata"]["annotations"]["crawbl.ai/released"] = "true"
    claim["metadata"]["annotations"] |= annotations or {}
    if owners is not None:
        claim["metadata"]["ownerReferences"] = owners
    return claim


def pod_left() -> Json:
    owner = {"kind": "StatefulSet", "name": NAME, "uid": "an-earlier-life"}
    metadata = {"name": f"{NAME}-0", "namespace": "userswarms", "uid": "earlier", "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def blocked() -> Scene:
    """Return a swarm whose claim cannot be made, long enough for it to be looked up."""
    scene = Scene()
    scene.apply(scenes.step(scene))
    scene.drop(CLAIM)
    scene.now += timedelta(seconds=5)
    return scene


def test_a_claim_that_does_not_come_about_is_looked_up_with_the_pod_that_may_use_it() -> None:
    scene = blocked()
    scene.now -= timedelta(seconds=1)
    assert needed(scene.sync()) == []
    scene.now += timedelta(seconds=1)
    assert needed(scene.sync()) == [f"{NAME}-data", f"{NAME}-0"]


def test_a_claim_of_an_earlier_life_is_mounted_reported_and_never_returned() -> None:
    response = blocked().ask(claim_left())

    assert kinds(response) == [kind for kind in ALL if kind != "PersistentVolumeClaim"]
    volumes = only(response, STATEFUL_SET)["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": f"{NAME}-data"}} in volumes


def retained() -> Scene:
    """Return a verified swarm that uses the claim of its earlier life."""
    scene = blocked()
    scene.apply(scene.ask(claim_left()))
    scene.child(STATEFUL_SET)["status"] = scenes.ready().child(STATEFUL_SET)["status"]
    # That it was found is told at once: the next call asks for nothing but the runtime's answer.
    scene.adopt_status(scene.ask(claim_left()))
    scene.adopt_status(scene.ask(http=scenes.HEALTHY))
    return scene


def test_a_retained_claim_is_recorded_and_not_looked_up_while_its_pod_is_there() -> None:
    scene = retained()
    response = scene.sync()
    assert response["status"]["verified"] is True
    assert condition(response, "StorageReady")["reason"] == "ClaimRetained"
    assert not children_of(response, CLAIM)
    assert "needs" not in response
    assert "resyncAfterSeconds" not in response

    # Nothing more is known of it than that it was there: no Pod is made anew without another look.
    scene.drop(STATEFUL_SET)
    assert not children_of(scene.sync(), STATEFUL_SET)
    assert needed(scene.sync()) == [f"{NAME}-data", f"{NAME}-0"]
    assert children_of(scene.ask(claim_left()), STATEFUL_SET)
    assert not children_of(scene.ask(claim_left(), pod_left()), STATEFUL_SET)


def test_the_pod_of_an_earlier_life_that_still_uses_the_claim_is_waited_for() -> None:
    scene = blocked()
    scene.now += timedelta(seconds=60)
    response = scene.ask(claim_left(), pod_left())
    assert not children_of(response, STATEFUL_SET)
    assert not children_of(response, CLAIM)
    assert condition(response, "StorageReady")["reason"] == "ClaimRetained"
    assert f"waiting for the earlier Pod {NAME}-0 to be gone" in condition(response, "WorkloadReady")["message"]

    scene.adopt_status(response)
    scene.now += timedelta(seconds=response["resyncAfterSeconds"])
    assert children_of(scene.ask(claim_left()), STATEFUL_SET)


def test_what_cannot_be_looked_up_is_never_mounted_and_the_condition_says_why() -> None:
    scene = blocked()
    scene.now += timedelta(seconds=60)
    scene.unavailable = {CLAIM.group: "the API answers 403", POD.group: "the API answers 403"}
    response = scene.sync()
    assert not children_of(response, STATEFUL_SET)
    assert "cannot be looked up: the API answers 403" in condition(response, "StorageReady")["message"]

    scene.unavailable = {POD.group: "the API answers 403"}
    scene.relate(claim_left())
    response = scene.sync()
    assert not children_of(response, STATEFUL_SET)
    assert "is not known: the API answers 403" in condition(response, "WorkloadReady")["message"]


def test_a_retained_claim_that_is_too_small_is_told_and_left_alone() -> None:
    scene = blocked()
    edit(scene, storage={"size": "9Gi"})
    response = scene.ask(claim_left())
    found = condition(response, "StorageReady")
    assert found["reason"] == "ClaimResizing"
    assert "do it by hand" in found["message"]
    assert not children_of(response, CLAIM)


CONFLICTS = {
    "another user": claim_left({"crawbl.ai/user-id": "another-user"}),
    "another workspace": claim_left({"crawbl.ai/workspace-id": "another"}),
    "another swarm": claim_left({"crawbl.ai/name": "another"}),
    "owned by another": claim_left(owners=[{"kind": "UserSwarm", "name": "b", "uid": "b"}]),
    "an earlier life's, and still going": claim_left(owners=[{"kind": "UserSwarm", "name": "workspace-a", "uid": "b"}]),
}


@pytest.mark.parametrize("whose", CONFLICTS)
def test_a_claim_that_is_not_this_users_is_never_mounted(whose: str) -> None:
    scene = blocked()
    response = scene.ask(CONFLICTS[whose])

    assert condition(response, "StorageReady")["reason"] == "NameConflict"
    assert not children_of(response, STATEFUL_SET)
    assert not children_of(response, CLAIM)
    assert "not this swarm's" in condition(response, "WorkloadReady")["message"]
    assert response["status"]["verified"] is False

    # Gone, it is made anew.
    scene.adopt_status(response)
    assert children_of(scene.ask(), CLAIM)


def test_a_claim_that_says_nothing_of_itself_is_nobodys_to_mount() -> None:
    claim = claim_left()
    del claim["metadata"]["annotations"]
    assert condition(blocked().ask(claim), "StorageReady")["reason"] == "NameConflict"


def test_a_claim_of_ours_that_is_not_among_the_children_yet_is_awaited() -> None:
    claim = claim_left(owners=[{"kind": "UserSwarm", "name": "workspace-a", "uid": "uid-of-workspace-a"}])
    response = blocked().ask(claim)
    assert condition(response, "StorageReady")["reason"] == "ChildMissing"
    assert children_of(response, CLAIM)

    # One that was never stored owns nothing.
    scene = blocked()
    del scene.parent["metadata"]["uid"]
    assert condition(scene.ask(claim), "StorageReady")["reason"] == "NameConflict"


def test_a_running_pod_is_not_restarted_when_its_claim_becomes_anothers() -> None:
    scene = scenes.verified()
    claim = copy.deepcopy(scene.child(CLAIM))
    before = json.loads(scene.child(STATEFUL_SET)["metadata"]["annotations"][scenes.LAST_APPLIED])
    scene.drop(CLAIM)
    claim["metadata"]["ownerReferences"] = [{"kind": "Backup", "name": "b", "uid": "b"}]
    edit(scene, runtime={"image": "newer:1"})
    # Neither before it is known nor after.
    assert only(scene.sync(), STATEFUL_SET) == before
    scene.relate(claim)
    assert only(scene.sync(), STATEFUL_SET) == before


def test_a_retained_claim_that_is_being_deleted_is_awaited() -> None:
    claim = claim_left()
    claim["metadata"].update(GONE)
    response = blocked().ask(claim)
    assert condition(response, "StorageReady")["reason"] == "Terminating"
    assert not children_of(response, STATEFUL_SET)
    assert not children_of(response, CLAIM)
