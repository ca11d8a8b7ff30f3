"""Phase, conditions and times: what a status says, and what it must never lose or churn."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest

import scenes
from scenes import HEALTHY, NOW, Json, Scene, condition
from userswarm.compose.status import CONDITION_TYPES, compute_invalid_status
from userswarm.errors import InvalidParentError, Problem
from userswarm.spec.schema import user_swarm_schema
from userswarm.sync import sync
from userswarm.wire.conditions import MAX_MESSAGE
from userswarm.wire.k8s import CLAIM, SERVICE, STATEFUL_SET, written_time

LATER = timedelta(seconds=300)


def edit(scene: Scene, **spec: Any) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def unready(scene: Scene) -> Scene:
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    return scene


def told(scene: Scene) -> Scene:
    """Let so much time go by that what is merely on its way is told again."""
    scene.now += timedelta(seconds=61)
    return scene


def invalid() -> Scene:
    scene = scenes.verified()
    edit(scene, config={"tomlOverrides": "BAD"})
    return scene


def suspended(*, stopped: bool) -> Scene:
    scene = scenes.verified()
    edit(scene, suspend=True)
    stateful_set = scene.child(STATEFUL_SET)
    stateful_set["spec"]["replicas"] = 0
    if stopped:
        stateful_set["status"] = {"observedGeneration": 1, "replicas": 0}
    return scene


def failed_test() -> Scene:
    scene = scenes.ready(scenes.user_swarm(verification={"maxAttempts": 1}))
    scene.http = {"status": 500, "body": ""}
    scenes.step(scene)
    scene.http = None
    return scene


def overdue(scene: Scene) -> Scene:
    scenes.step(told(scene))
    scene.now += LATER
    return scene


PHASES: dict[str, tuple[Scene, str, str]] = {
    "nothing there": (Scene(), "Pending", ""),
    "created": (told(scenes.created()), "Progressing", "StorageReady"),
    "claim bound": (told(unready(scenes.ready())), "Progressing", "WorkloadReady"),
    "ready, not asked": (told(scenes.ready()), "Verifying", "Verified"),
    "verified": (scenes.verified(), "Ready", ""),
    "a blip": (unready(scenes.verified()), "Progressing", "WorkloadReady"),
    "failed for good": (failed_test(), "Failed", ""),
    "overdue": (overdue(unready(scenes.ready())), "Failed", "WorkloadReady"),
    "stopping": (suspended(stopped=False), "Progressing", ""),
    "stopped": (suspended(stopped=True), "Suspended", ""),
    "invalid": (invalid(), "Invalid", ""),
    "deleted": (scenes.verified().deleted(), "Deleting", ""),
}


def answer(scene: Scene) -> Json:
    return scene.finalize() if scene.finalizing else scene.sync()


@pytest.mark.parametrize("state", PHASES)
def test_the_phase_summarises_the_conditions(state: str) -> None:
    scene, phase, stage = PHASES[state]
    status = answer(scene)["status"]

    assert status["phase"] == phase
    assert status.get("stage", "") == stage
    assert status["verified"] is (phase == "Ready")
    assert status["observedGeneration"] == scene.parent["metadata"]["generation"]


@pytest.mark.parametrize("state", PHASES)
def test_every_status_fits_the_crd_and_says_all_conditions(state: str) -> None:
    status = answer(PHASES[state][0])["status"]

    assert user_swarm_schema().status_problems(status) == []
    assert tuple(each["type"] for each in status["conditions"]) == CONDITION_TYPES
    by_type = {each["type"]: each for each in status["conditions"]}
    assert by_type["Ready"]["status"] == by_type["Verified"]["status"] == str(status["verified"])
    assert all(each["reason"] and each["message"] for each in status["conditions"])


@pytest.mark.parametrize("state", PHASES)
def test_the_same_request_at_the_same_time_has_the_same_answer(state: str) -> None:
    scene = PHASES[state][0]
    request = scene.request()
    kept = copy.deepcopy(request)
    first = answer(scene)

    assert answer(scene) == first
    assert request == kept


@pytest.mark.parametrize("state", PHASES)
def test_an_answer_that_was_written_is_given_again_without_a_change_of_status(state: str) -> None:
    scene = copy.deepcopy(PHASES[state][0])
    first = answer(scene)
    scene.adopt_status(first)
    scene.now += timedelta(seconds=7)

    assert answer(scene)["status"] == first["status"]


@pytest.mark.parametrize("state", ["created", "verified"])
def test_the_time_of_a_transition_is_carried_over_while_the_status_stays(state: str) -> None:
    scene = copy.deepcopy(PHASES[state][0])
    before = [each["lastTransitionTime"] for each in scenes.step(scene)["status"]["conditions"]]
    scene.now += timedelta(days=1)
    assert [each["lastTransitionTime"] for each in scene.sync()["status"]["conditions"]] == before


def test_only_the_conditions_that_changed_get_a_new_time() -> None:
    scene = unready(scenes.verified())
    scene.now += timedelta(minutes=1)
    response = scene.sync()
    changed = {
        each["type"] for each in response["status"]["conditions"] if each["lastTransitionTime"] != written_time(NOW)
    }

    assert changed == {"WorkloadReady", "Verified", "Ready"}
    assert condition(response, "WorkloadReady")["lastTransitionTime"] == "2026-11-20T12:01:00Z"


def test_the_status_says_where_the_swarm_is() -> None:
    status = scenes.verified().sync()["status"]
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "phase": "Ready",
        "verified": True,
        "observedGeneration": 1,
        "verifiedGeneration": 1,
        "verifiedChecksum": status["verifiedChecksum"],
        "verifiedAt": "2026-11-20T12:00:00Z",
        "runtimeNamespace": "userswarms",
        "serviceName": "swarm-workspace-a",
        "endpoint": "http://swarm-workspace-a.userswarms.svc:42617",
        "image": "ghcr.io/zeroclaw-labs/zeroclaw:v0.8.4",
        "claimName": "swarm-workspace-a-data",
        "readyReplicas": 1,
    }


# --- deadlines -------------------------------------------------------------------------------------------------------


def stuck_at(stage: str) -> Scene:
    """Return a swarm of which it was told that it waits there."""
    scene = told(scenes.ready())
    match stage:
        case "StorageReady":
            scene.child(CLAIM)["status"]["phase"] = "Pending"
        case "WorkloadReady":
            unready(scene)
        case "ServiceReady":
            scene.drop(SERVICE, "swarm-workspace-a")
    return scene


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ("StorageReady", "PersistentVolumeClaim userswarms/swarm-workspace-a-data is Pending"),
        ("WorkloadReady", "StatefulSet userswarms/swarm-workspace-a: its one Pod is not ready yet"),
        ("ServiceReady", "Service userswarms/swarm-workspace-a is asked for and not there yet"),
        ("Verified", "attempt 1 of 5: http://swarm-workspace-a.userswarms.svc:42617/health is to be asked"),
    ],
)
def test_no_progress_for_the_deadline_is_failed_naming_stage_and_object(stage: str, named: str) -> None:
    scene = stuck_at(stage)
    first = scenes.step(scene)
    assert first["status"]["stage"] == stage
    known = [each["type"] for each in first["status"]["conditions"]]
    since = max(each["lastTransitionTime"] for each in first["status"]["conditions"][: known.index(stage) + 1])

    scene.now = datetime.fromisoformat(since) + timedelta(seconds=299)
    waiting = scene.sync()
    assert waiting["status"]["phase"] != "Failed"
    assert waiting["resyncAfterSeconds"] == 1
    assert waiting["status"] == first["status"]

    scene.now += timedelta(seconds=1)
    failed = scenes.step(scene)
    assert failed["status"]["phase"] == "Failed"
    message = condition(failed, "Ready")["message"]
    assert message.startswith(f"no progress for 300 s at stage {stage}: ")
    assert named in message
    assert scene.sync()["status"] == failed["status"]


def test_a_stage_that_lasts_is_looked_at_more_and_more_rarely() -> None:
    scene = stuck_at("WorkloadReady")
    waits = []
    for _ in range(9):
        waits.append(scenes.step(scene)["resyncAfterSeconds"])
        scene.now += timedelta(seconds=waits[-1])
    # Four times as long each time, once at the deadline, and every five minutes at the last.
    assert waits == [15, 45, 180, 60, 300, 300, 300, 300, 300]


def test_a_call_that_comes_between_asks_for_no_earlier_look() -> None:
    scene = stuck_at("WorkloadReady")
    scenes.step(scene)
    scene.child(STATEFUL_SET)["metadata"]["creationTimestamp"] = written_time(scene.now)
    for waited, left in ((1, 14), (4.5, 11), (5, 15), (15, 45), (29, 87), (299, 1), (300, 300)):
        later = copy.deepcopy(scene)
        later.now += timedelta(seconds=waited)
        assert later.sync()["resyncAfterSeconds"] == left


def test_a_failed_swarm_recovers_without_help() -> None:
    scene = overdue(unready(scenes.ready()))
    assert scenes.step(scene)["status"]["phase"] == "Failed"

    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 1
    assert scenes.step(scene)["status"]["phase"] == "Verifying"
    scene.http = HEALTHY
    assert scenes.step(scene)["status"]["phase"] == "Ready"


def test_each_stage_has_its_whole_time() -> None:
    scene = stuck_at("StorageReady")
    scenes.step(scene)
    scene.now += timedelta(seconds=260)
    scene.child(CLAIM)["status"]["phase"] = "Bound"
    unready(scene)
    response = scenes.step(scene)
    assert response["status"]["stage"] == "WorkloadReady"
    scene.now += timedelta(seconds=299)
    assert scene.sync()["status"]["phase"] == "Progressing"
    scene.now += timedelta(seconds=1)
    assert scene.sync()["status"]["phase"] == "Failed"


@pytest.mark.parametrize("phase", ["Progressing", "Failed"])
def test_a_newer_spec_gives_the_stage_its_whole_time_again(phase: str) -> None:
    scene = stuck_at("WorkloadReady")
    scenes.step(scene)
    scene.now += timedelta(seconds=200 if phase == "Progressing" else 400)
    assert scenes.step(scene)["status"]["phase"] == phase

    edit(scene, runtime={"image": "other:1"})
    renewed = scenes.step(scene)
    assert renewed["status"]["phase"] == "Progressing"
    assert renewed["status"]["observedGeneration"] == 2
    assert renewed["status"]["stageSince"] == written_time(scene.now)

    scene.now += timedelta(seconds=299)
    again = scenes.step(scene)
    assert again["status"]["phase"] == "Progressing"
    assert again["status"]["stageSince"] == renewed["status"]["stageSince"]
    scene.now += timedelta(seconds=1)
    assert scenes.step(scene)["status"]["phase"] == "Failed"


def test_what_a_newer_spec_gave_is_forgotten_when_the_stage_is_reached() -> None:
    scene = stuck_at("WorkloadReady")
    scenes.step(scene)
    scene.now += timedelta(seconds=10)
    edit(scene, storage={"size": "2Gi"})
    assert "stageSince" in scenes.step(scene)["status"]

    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 1
    scene.drop(SERVICE, "swarm-workspace-a")
    response = scenes.step(told(scene))
    assert response["status"]["stage"] == "ServiceReady"
    assert "stageSince" not in response["status"]


@pytest.mark.parametrize("since", ["yesterday", 7, None, {"a": 1}])
def test_a_restart_that_cannot_be_read_counts_as_none(since: object) -> None:
    scene = stuck_at("WorkloadReady")
    first = scenes.step(scene)
    scene.parent["status"]["stageSince"] = since
    scene.now += timedelta(seconds=61)
    assert scene.sync()["status"] == first["status"]


def test_a_suspended_swarm_is_suspended_whatever_trouble_awaits_it() -> None:
    scene = suspended(stopped=True)
    scene.child(CLAIM)["metadata"]["deletionTimestamp"] = written_time(scene.now)
    response = scene.sync()
    assert condition(response, "StorageReady")["reason"] == "Terminating"
    assert (response["status"]["phase"], condition(response, "Ready")["reason"]) == ("Suspended", "Suspended")


def test_a_suspended_swarm_has_no_deadline() -> None:
    scene = suspended(stopped=False)
    first = scenes.step(scene)
    assert "resyncAfterSeconds" not in first
    scene.now += timedelta(days=1)
    assert scene.sync()["status"]["phase"] == "Progressing"


@pytest.mark.parametrize("seconds", [10, 86_400])
def test_the_deadline_is_a_setting(seconds: int) -> None:
    scene = unready(scenes.verified(settings=scenes.Settings(progress_deadline=seconds)))
    assert scenes.step(scene)["resyncAfterSeconds"] == min(seconds, 15)
    scene.now += timedelta(seconds=seconds - 1)
    assert scene.sync()["status"]["phase"] == "Progressing"
    scene.now += timedelta(seconds=1)
    assert scene.sync()["status"]["phase"] == "Failed"


# --- what is worth a write -------------------------------------------------------------------------------------------


def coming_up() -> Scene:
    """Return a swarm of which was only told that it is asked for; meanwhile everything but its Pod is there."""
    scene = Scene()
    first = scenes.step(scene)
    scene.apply(first)
    scene.apply(scene.sync())
    return scene


def test_a_swarm_that_comes_up_well_is_told_about_twice() -> None:
    writes = []
    scene = Scene()
    for seconds in range(12):
        scene.now = NOW + timedelta(seconds=seconds)
        match seconds:
            case 7:
                grown = scenes.ready()
                scene.child(CLAIM).update(status=grown.child(CLAIM)["status"], spec=grown.child(CLAIM)["spec"])
            case 9:
                scene.child(STATEFUL_SET)["status"] = scenes.ready().child(STATEFUL_SET)["status"]
        response = scene.ask(http=HEALTHY)
        scene.apply(response)
        if response["status"] != scene.parent.get("status"):
            writes.append((seconds, response["status"]["phase"]))
        scene.adopt_status(response)
    assert writes == [(0, "Pending"), (9, "Ready")]


def test_what_is_merely_on_its_way_is_told_again_after_a_minute() -> None:
    scene = coming_up()
    before = scene.parent["status"]
    scene.now += timedelta(seconds=59)
    assert scene.sync()["status"] == before
    scene.now += timedelta(seconds=1)
    after = scenes.step(scene)["status"]
    assert (before["phase"], after["phase"]) == ("Pending", "Progressing")

    # And what is told then is quiet again.
    grown = scenes.ready()
    scene.child(CLAIM).update(status=grown.child(CLAIM)["status"], spec=grown.child(CLAIM)["spec"])
    scene.now += timedelta(seconds=61)
    second = scenes.step(scene)["status"]
    assert second["stage"] == "WorkloadReady"
    scene.child(STATEFUL_SET)["status"] = {"replicas": 1}
    scene.now += timedelta(seconds=59)
    assert scene.sync()["status"] == second


def _trouble(scene: Scene) -> None:
    state = {"waiting": {"reason": "ErrImagePull"}}
    scenes.pod_of(scene)["status"] = {"containerStatuses": [{"name": "runtime", "image": "a", "state": state}]}


def _healthy(scene: Scene) -> None:
    scene.parent, scene.children = scenes.ready().parent, scenes.ready().children
    scene.http = HEALTHY


def _newer_spec(scene: Scene) -> None:
    edit(scene, storage={"size": "3Gi"})


AT_ONCE = {
    "trouble": (_trouble, "Progressing"),
    "verified": (_healthy, "Ready"),
    "a newer spec": (_newer_spec, "Progressing"),
    "a spec that cannot be built": (lambda scene: edit(scene, storage={"size": "0"}), "Invalid"),
    "suspended": (lambda scene: edit(scene, suspend=True), "Progressing"),
    "deleted": (lambda scene: scene.parent["metadata"].update(deletionTimestamp="2026-11-20T12:00:00Z"), "Deleting"),
}


@pytest.mark.parametrize("what", AT_ONCE)
def test_what_matters_is_told_at_once(what: str) -> None:
    change, phase = AT_ONCE[what]
    scene = coming_up()
    change(scene)
    status = scene.sync()["status"]
    assert status != scene.parent["status"]
    assert status["phase"] == phase


@pytest.mark.parametrize(
    "change", [unready, lambda scene: scene.drop(SERVICE, "swarm-workspace-a"), lambda scene: scene.drop(STATEFUL_SET)]
)
def test_that_users_are_no_longer_served_is_told_at_once(change: Any) -> None:
    scene = scenes.verified()
    change(scene)
    status = scene.sync()["status"]
    assert (status["verified"], status["phase"]) == (False, "Progressing")


def test_the_same_status_costs_nothing_however_often_it_is_asked_for() -> None:
    scene = scenes.verified()
    before = scene.parent["status"]
    for _ in range(100):
        scene.now += timedelta(minutes=7)
        assert scene.sync()["status"] == before


# --- what is read of an old status -----------------------------------------------------------------------------------


WHOLE = {"type": "Ready", "status": "False", "observedGeneration": 1, "reason": "R", "message": "m"}

GARBAGE = [
    {},
    {"conditions": None},
    {"conditions": "none"},
    {"conditions": [None, 1, "x", {}, {"type": "Ready"}, {"type": ["Ready"]}]},
    {"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "soon"}]},
    {"conditions": [{"type": "Ready", "status": True, "reason": 1, "message": None, "lastTransitionTime": None}]},
    {"conditions": [{**WHOLE, "lastTransitionTime": 7}]},
    {"conditions": [{**WHOLE, "lastTransitionTime": ""}]},
    {"verified": "yes", "verifiedChecksum": 7, "verifiedAt": [], "readyReplicas": "1", "verifiedGeneration": True},
    {"phase": 3, "stage": {}, "stageSince": 5, "observedGeneration": "1"},
    {"unknownField": {"of": "a newer release"}},
]


@pytest.mark.parametrize("old", GARBAGE, ids=str)
@pytest.mark.parametrize("state", ["created", "ready, not asked", "invalid", "deleted", "a blip"])
def test_a_status_that_makes_no_sense_is_read_without_a_crash_and_written_right(old: Json, state: str) -> None:
    scene = copy.deepcopy(PHASES[state][0])
    scene.parent["status"] = old
    status = answer(scene)["status"]

    assert user_swarm_schema().status_problems(status) == []
    assert status["verified"] is False


@pytest.mark.parametrize("state", ["invalid", "deleted", "a blip", "stopped"])
def test_what_was_recorded_is_never_lost(state: str) -> None:
    scene = copy.deepcopy(PHASES[state][0])
    recorded = scene.parent["status"]
    status = answer(scene)["status"]

    for field in (
        "verifiedChecksum",
        "verifiedAt",
        "verifiedGeneration",
        "endpoint",
        "claimName",
        "image",
        "serviceName",
    ):
        assert status[field] == recorded[field]


def test_a_status_of_an_older_release_is_read_without_loss() -> None:
    scene = scenes.verified()
    checksum = scene.parent["status"]["verifiedChecksum"]
    scene.parent["status"] = {
        "verifiedChecksum": checksum,
        "verifiedAt": "2025-01-01T00:00:00Z",
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "observedGeneration": 1,
                "lastTransitionTime": "2025-01-01T00:00:05Z",
                "reason": "AsItWasCalledThen",
                "message": "",
            },
            {
                "type": "WorkloadReady",
                "status": "True",
                "observedGeneration": 1,
                "lastTransitionTime": "2024-12-31T23:59:00Z",
                "reason": "AsItWasCalledThen",
                "message": "",
            },
            {"type": "OfAnotherTime", "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "x"},
        ],
    }
    response = scene.sync()

    assert response["status"]["verified"] is True
    assert response["status"]["verifiedAt"] == "2025-01-01T00:00:00Z"
    assert condition(response, "Ready")["lastTransitionTime"] == "2025-01-01T00:00:05Z"
    assert "needs" not in response


def test_conditions_not_judged_before_are_unknown() -> None:
    parent = scenes.user_swarm(config={"tomlOverrides": "BAD"})
    response = Scene(parent).sync()
    judged = {each["type"]: each["status"] for each in response["status"]["conditions"]}

    assert judged == {
        "SpecValid": "False",
        "StorageReady": "Unknown",
        "WorkloadReady": "Unknown",
        "ServiceReady": "Unknown",
        "Verified": "False",
        "Ready": "False",
    }


def test_an_invalid_spec_names_every_problem_and_leaves_the_other_conditions() -> None:
    scene = scenes.verified()
    edit(scene, config={"tomlOverrides": "BAD"}, storage={"size": "0"}, runtime={"port": 1})
    response = scene.sync()

    message = condition(response, "SpecValid")["message"]
    assert message.startswith("3 problem(s): ")
    for path in ("spec.config.tomlOverrides", "spec.storage.size", "spec.runtime.port"):
        assert path in message
    assert condition(response, "WorkloadReady") == scene.parent["status"]["conditions"][2]


def test_a_message_longer_than_a_condition_may_have_is_cut() -> None:
    error = InvalidParentError("a", [Problem("spec.x", "y" * (MAX_MESSAGE + 5))])
    status = compute_invalid_status(scenes.user_swarm(), error, NOW)
    assert len(status["conditions"][0]["message"]) == MAX_MESSAGE
    assert user_swarm_schema().status_problems(status) == []


def test_a_deleted_parent_that_is_synced_is_not_verified() -> None:
    scene = scenes.verified()
    scene.parent["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:00Z"
    status = scene.sync()["status"]
    assert (status["phase"], status["verified"]) == ("Deleting", False)


# --- causes ----------------------------------------------------------------------------------------------------------


def test_a_claim_that_waits_for_its_pods_node_tells_the_pods_trouble() -> None:
    scene = unready(scenes.ready())
    scene.child(CLAIM)["status"]["phase"] = "Pending"
    scene = told(scene)
    pod = scenes.pod_of(scene)
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    ]
    response = scene.sync()
    assert response["status"]["stage"] == "WorkloadReady"
    assert condition(response, "Ready")["reason"] == "Unschedulable"

    pod["status"]["conditions"][0]["message"] = "pod has unbound immediate PersistentVolumeClaims"
    response = scene.sync()
    assert response["status"]["stage"] == "StorageReady"
    assert condition(response, "Ready")["reason"] == "ClaimPending"


def moved(*finalizers: str, phase: str = "Deleting") -> Scene:
    """Return a swarm that came from another controller, which has taken its StatefulSet away already."""
    scene = scenes.verified()
    scene.parent["metadata"]["finalizers"] = [
        "example.com/unrelated",
        *(f"metacontroller.io/compositecontroller-{name}" for name in finalizers),
    ]
    scene.parent["status"] |= {"phase": phase, "verified": False}
    scene.drop(STATEFUL_SET)
    return scene


def sync_as(controller: Json, scene: Scene) -> Json:
    request = scene.request()
    request["controller"] |= controller
    return sync(request, scene.settings, scene.now)


def test_a_swarm_that_another_controller_takes_down_is_not_built_anew_meanwhile() -> None:
    scene = moved("userswarm-1", "userswarm-0")
    response = sync_as({"metadata": {"name": "userswarm-1"}}, scene)

    assert response["status"] == scene.parent["status"]
    kept = {child["metadata"]["name"] for child in response["children"]}
    assert kept == {each["metadata"]["name"] for objects in scene.children.values() for each in objects.values()}


@pytest.mark.parametrize(
    ("scene", "controller"),
    [
        (moved("userswarm-1"), {"metadata": {"name": "userswarm-1"}}),  # the other has let go
        # It has taken nothing down: a left-over.
        (moved("userswarm-1", "userswarm-0", phase="Ready"), {"metadata": {"name": "userswarm-1"}}),
        # Nobody says who asks.
        (moved("userswarm-1", "userswarm-0"), {}),
        (moved("userswarm-1", "userswarm-0"), {"metadata": {}}),
    ],
)
def test_a_swarm_that_no_other_controller_takes_down_is_built(scene: Scene, controller: Json) -> None:
    assert scenes.children_of(sync_as(controller, scene), STATEFUL_SET)


def test_the_first_word_is_the_same_until_it_is_seen() -> None:
    scene = scenes.created()
    del scene.parent["status"]
    scene.parent["metadata"]["creationTimestamp"] = "2026-11-20T11:59:58Z"
    first = Scene(scene.parent).sync()["status"]
    scene.now += timedelta(seconds=5)

    assert scene.sync()["status"] == first
    assert {each["lastTransitionTime"] for each in first["conditions"]} == {"2026-11-20T11:59:58Z"}


def test_a_swarm_that_was_created_long_before_it_was_seen_has_its_whole_time() -> None:
    scene = Scene()
    scene.adopt_status(scene.sync())
    scene.now += timedelta(seconds=120)

    assert scene.sync()["status"]["phase"] == "Pending"


def test_the_first_word_of_the_end_is_the_same_until_it_is_seen() -> None:
    scene = scenes.verified().deleted()
    scene.parent["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:58Z"
    first = scene.finalize()["status"]
    scene.children[SERVICE.group].clear()
    scene.now += timedelta(seconds=5)

    assert scene.finalize()["status"] == first
