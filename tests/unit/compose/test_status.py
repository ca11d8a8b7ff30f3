"""Phase, conditions and times: what a status says, and what it must never lose or churn."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest

import scenes
from scenes import NOW, Json, Scene, condition
from userswarm.compose.status import CONDITION_TYPES, MAX_MESSAGE, compute_invalid_status
from userswarm.errors import InvalidParentError, Problem
from userswarm.spec.schema import user_swarm_schema
from userswarm.sync import sync
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, JOB, POD, SERVICE, STATEFUL_SET, written_time

LATER = timedelta(seconds=300)


def edit(scene: Scene, **spec: Any) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def unready(scene: Scene) -> Scene:
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
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
        scene.related[POD.group].clear()
    return scene


def failed_test() -> Scene:
    scene = scenes.under_test(scenes.user_swarm(verification={"maxAttempts": 1}))
    scenes.fail_smoke_test(scene)
    return scene


def overdue(scene: Scene) -> Scene:
    scenes.step(scene)
    scene.now += LATER
    return scene


PHASES: dict[str, tuple[Scene, str, str]] = {
    "nothing there": (Scene(), "Pending", "Storage"),
    "created": (scenes.created(), "Progressing", "Storage"),
    "claim bound": (unready(scenes.ready()), "Progressing", "Workload"),
    "ready, not tested": (scenes.ready(), "Verifying", "SmokeTest"),
    "under test": (scenes.under_test(), "Verifying", "SmokeTest"),
    "verified": (scenes.verified(), "Ready", ""),
    "a blip": (unready(scenes.verified()), "Progressing", "Workload"),
    "test failed for good": (failed_test(), "Failed", "SmokeTest"),
    "overdue": (overdue(unready(scenes.ready())), "Failed", "Workload"),
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


@pytest.mark.parametrize(
    ("state", "since"),
    [("created", "2026-11-20T12:00:00Z"), ("verified", "2026-11-20T12:00:00Z")],
)
def test_the_time_of_a_transition_is_carried_over_while_the_status_stays(state: str, since: str) -> None:
    scene = copy.deepcopy(PHASES[state][0])
    scene.now += timedelta(days=1)
    assert {each["lastTransitionTime"] for each in scene.sync()["status"]["conditions"]} == {since}


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
        "verifiedAt": "2026-11-20T11:59:30Z",
        "runtimeNamespace": "userswarms",
        "serviceName": "swarm-workspace-a",
        "endpoint": "http://swarm-workspace-a.userswarms.svc:42617",
        "image": "ghcr.io/zeroclaw-labs/zeroclaw:v0.8.4",
        "claimName": "swarm-workspace-a-data",
        "readyReplicas": 1,
    }


# --- deadlines -------------------------------------------------------------------------------------------------------


def stuck_at(stage: str) -> Scene:
    scene = scenes.ready()
    match stage:
        case "Storage":
            scene.child(CLAIM)["status"]["phase"] = "Pending"
        case "Workload":
            unready(scene)
        case _:
            scene.drop(SERVICE, "swarm-workspace-a")
    return scene


@pytest.mark.parametrize(
    ("stage", "named"),
    [
        ("Storage", "PersistentVolumeClaim userswarms/swarm-workspace-a-data is Pending"),
        ("Workload", "StatefulSet userswarms/swarm-workspace-a: its one Pod is not ready yet"),
        ("Service", "Service userswarms/swarm-workspace-a is asked for and not there yet"),
    ],
)
def test_no_progress_for_the_deadline_is_failed_naming_stage_and_object(stage: str, named: str) -> None:
    scene = stuck_at(stage)
    first = scenes.step(scene)
    assert first["resyncAfterSeconds"] == 300
    assert first["status"]["stage"] == stage

    scene.now += timedelta(seconds=299)
    waiting = scene.sync()
    assert waiting["status"]["phase"] == "Progressing"
    assert waiting["resyncAfterSeconds"] == 1
    assert waiting["status"] == first["status"]

    scene.now += timedelta(seconds=1)
    failed = scenes.step(scene)
    assert failed["status"]["phase"] == "Failed"
    message = condition(failed, "Ready")["message"]
    assert message.startswith(f"no progress for 300 s at stage {stage}: ")
    assert named in message
    # Nothing that is watched tells when the name of a missing child is free; all else wakes the hook by itself.
    assert failed.get("resyncAfterSeconds") == (60 if stage == "Service" else None)
    assert scene.sync()["status"] == failed["status"]


def test_a_failed_swarm_recovers_without_help() -> None:
    scene = overdue(unready(scenes.ready()))
    assert scenes.step(scene)["status"]["phase"] == "Failed"

    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 1
    assert scenes.step(scene)["status"]["phase"] == "Verifying"
    scenes.pass_smoke_test(scene)
    assert scenes.step(scene)["status"]["phase"] == "Ready"


def test_each_stage_has_its_whole_time() -> None:
    scene = stuck_at("Storage")
    scenes.step(scene)
    scene.now += timedelta(seconds=290)
    scene.child(CLAIM)["status"]["phase"] = "Bound"
    unready(scene)
    response = scenes.step(scene)
    assert response["status"]["stage"] == "Workload"
    assert response["resyncAfterSeconds"] == 300


@pytest.mark.parametrize("phase", ["Progressing", "Failed"])
def test_a_newer_spec_gives_the_stage_its_whole_time_again(phase: str) -> None:
    scene = unready(scenes.ready())
    scenes.step(scene)
    scene.now += timedelta(seconds=200 if phase == "Progressing" else 400)
    assert scenes.step(scene)["status"]["phase"] == phase

    edit(scene, runtime={"image": "other:1"})
    renewed = scenes.step(scene)
    assert renewed["status"]["phase"] == "Progressing"
    assert renewed["status"]["stageSince"] == written_time(scene.now)
    assert renewed["resyncAfterSeconds"] == 300

    scene.now += timedelta(seconds=100)
    again = scenes.step(scene)
    assert again["status"]["stageSince"] == renewed["status"]["stageSince"]
    assert again["resyncAfterSeconds"] == 200
    scene.now += timedelta(seconds=200)
    assert scenes.step(scene)["status"]["phase"] == "Failed"


def test_what_a_newer_spec_gave_is_forgotten_when_the_stage_is_reached() -> None:
    scene = unready(scenes.ready())
    scenes.step(scene)
    scene.now += timedelta(seconds=10)
    edit(scene, storage={"size": "2Gi"})
    assert "stageSince" in scenes.step(scene)["status"]

    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 1
    scene.now += timedelta(seconds=10)
    scene.drop(SERVICE, "swarm-workspace-a")
    response = scenes.step(scene)
    assert response["status"]["stage"] == "Service"
    assert "stageSince" not in response["status"]


@pytest.mark.parametrize("since", ["yesterday", 7, None, {"a": 1}])
def test_a_restart_that_cannot_be_read_counts_as_none(since: object) -> None:
    scene = unready(scenes.ready())
    first = scenes.step(scene)
    scene.parent["status"]["stageSince"] = since
    assert scene.sync()["status"] == first["status"]


def test_the_smoke_tests_own_attempts_are_its_deadline_once_its_job_runs() -> None:
    scene = scenes.under_test()
    first = scene.sync()
    assert "resyncAfterSeconds" not in first
    scene.now += timedelta(days=1)
    assert scene.sync()["status"] == first["status"]


def test_a_smoke_tests_job_that_appears_writes_no_status() -> None:
    scene = scenes.ready()
    asked = scenes.step(scene)
    scene.now += timedelta(seconds=3)
    assert scenes.children_of(asked, JOB)
    assert scene.sync()["status"] == asked["status"]


def test_a_job_that_was_there_when_its_time_was_not_known_gets_none_until_it_is_asked_for() -> None:
    scene = scenes.under_test()
    del scene.parent["status"]
    response = scenes.step(scene)
    assert "stageSince" not in response["status"]
    scene.drop(JOB)
    assert scene.sync()["status"]["stageSince"] == written_time(scene.now)


def test_a_smoke_test_that_cannot_be_made_is_overdue_like_any_other_child() -> None:
    scene = scenes.ready()
    first = scene.sync()
    (job,) = scenes.children_of(first, JOB)
    assert first["resyncAfterSeconds"] == 300
    scene.adopt_status(first)  # the status is written, the Job is not: no quota for it, say
    scene.now += timedelta(seconds=299)
    assert scene.sync()["status"] == first["status"]

    scene.now += timedelta(seconds=1)
    failed = scene.sync()
    assert failed["status"]["phase"] == "Failed"
    message = condition(failed, "Ready")["message"]
    assert message.startswith("no progress for 300 s at stage SmokeTest: attempt 1 of 5: Job")
    assert job["metadata"]["name"] in message
    assert message.endswith("asked for, and not there")
    assert scenes.children_of(failed, JOB) == [job]  # it is still asked for
    assert failed["resyncAfterSeconds"] == 60
    scene.adopt_status(failed)
    assert scene.sync() == failed

    scene.add_child(job)
    assert scene.sync()["status"]["phase"] == "Verifying"


@pytest.mark.parametrize("since", ["a new spec", "a lost status", "an unreadable time", "another stage"])
def test_a_smoke_test_asked_for_anew_has_its_whole_time(since: str) -> None:
    scene = scenes.ready()
    scene.adopt_status(scene.sync())
    scene.now += timedelta(seconds=200)
    match since:
        case "a new spec":
            edit(scene, verification={"timeoutSeconds": 60})
        case "a lost status":
            del scene.parent["status"]
        case "an unreadable time":
            scene.parent["status"]["stageSince"] = "soon"
        case _:
            scene.parent["status"]["stage"] = "Service"
    assert scene.sync()["status"]["stageSince"] == written_time(scene.now)


def test_a_later_attempt_that_cannot_be_made_is_overdue_too() -> None:
    scene = scenes.under_test()
    scenes.fail_smoke_test(scene, written_time(scene.now - timedelta(hours=1)))
    second = scene.sync()
    assert second["status"]["phase"] == "Verifying"
    scene.adopt_status(second)
    scene.now += LATER
    assert scene.sync()["status"]["phase"] == "Failed"


def test_a_suspended_swarm_has_no_deadline() -> None:
    scene = suspended(stopped=False)
    first = scenes.step(scene)
    assert "resyncAfterSeconds" not in first
    scene.now += timedelta(days=1)
    assert scene.sync()["status"]["phase"] == "Progressing"


def test_a_suspended_swarm_that_lacks_a_child_asks_for_it_again() -> None:
    scene = suspended(stopped=True)
    assert "resyncAfterSeconds" not in scene.sync()
    scene.drop(SERVICE, "swarm-workspace-a")
    assert scene.sync()["resyncAfterSeconds"] == 60


@pytest.mark.parametrize("seconds", [10, 86_400])
def test_the_deadline_is_a_setting(seconds: int) -> None:
    scene = unready(scenes.ready(settings=scenes.Settings(progress_deadline=seconds)))
    assert scenes.step(scene)["resyncAfterSeconds"] == seconds
    scene.now += timedelta(seconds=seconds)
    assert scene.sync()["status"]["phase"] == "Failed"


# --- suspend and resume ----------------------------------------------------------------------------------------------


def test_a_suspended_swarm_keeps_everything_but_its_pod() -> None:
    scene = suspended(stopped=True)
    response = scene.sync()

    names = {(child["kind"], child["metadata"]["name"]) for child in response["children"]}
    assert names == {(child["kind"], child["metadata"]["name"]) for child in scenes.verified().sync()["children"]}
    (stateful_set,) = scenes.children_of(response, STATEFUL_SET)
    assert stateful_set["spec"]["replicas"] == 0
    assert condition(response, "Ready")["reason"] == "Suspended"
    assert response["status"]["verifiedChecksum"]


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene.child(STATEFUL_SET)["spec"].update(replicas=1),
        lambda scene: scene.child(STATEFUL_SET)["status"].update(replicas=1),
        lambda scene: scene.child(STATEFUL_SET)["metadata"].update(generation=2),
        lambda scene: scene.relate(scenes.verified().pod),
        lambda scene: scene.drop(STATEFUL_SET),
    ],
)
def test_suspended_is_only_said_once_the_pod_is_gone(change: Any) -> None:
    scene = suspended(stopped=True)
    assert scene.sync()["status"]["phase"] == "Suspended"
    change(scene)
    assert scene.sync()["status"]["phase"] == "Progressing"


def test_without_pods_to_be_seen_the_stateful_sets_count_decides() -> None:
    scene = suspended(stopped=True)
    scene.related.clear()
    assert scene.sync()["status"]["phase"] == "Suspended"


@pytest.mark.parametrize(("spec", "tested_again"), [({}, False), ({"runtime": {"image": "newer:1"}}, True)])
def test_resume_verifies_again_only_if_the_checksum_changed_meanwhile(spec: Json, tested_again: bool) -> None:
    scene = suspended(stopped=True)
    scenes.step(scene)
    edit(scene, suspend=False, **spec)
    response = scene.sync()
    assert response["status"]["verified"] is False

    running = scenes.ready(copy.deepcopy(scene.parent))
    running.parent["status"] = scene.parent["status"]
    response = running.sync()
    assert response["status"]["verified"] is not tested_again
    assert bool(scenes.children_of(response, JOB)) is tested_again


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
@pytest.mark.parametrize("state", ["created", "under test", "invalid", "deleted", "a blip"])
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
            {"type": "OfAnotherTime", "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "x"},
        ],
    }
    response = scene.sync()

    assert response["status"]["verified"] is True
    assert response["status"]["verifiedAt"] == "2025-01-01T00:00:00Z"
    assert condition(response, "Ready")["lastTransitionTime"] == "2025-01-01T00:00:05Z"
    assert not scenes.children_of(response, JOB)


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
    scene.pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    ]
    response = scene.sync()
    assert response["status"]["stage"] == "Workload"
    assert condition(response, "Ready")["reason"] == "Unschedulable"

    scene.pod["status"]["conditions"][0]["message"] = "pod has unbound immediate PersistentVolumeClaims"
    response = scene.sync()
    assert response["status"]["stage"] == "Storage"
    assert condition(response, "Ready")["reason"] == "ClaimPending"


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        (CLAIM, "StorageReady"),
        (STATEFUL_SET, "WorkloadReady"),
        (CONFIG_MAP, "WorkloadReady"),
        (SERVICE, "ServiceReady"),
    ],
)
def test_a_kind_the_controller_does_not_manage_is_never_returned_and_named(kind: scenes.Kind, stage: str) -> None:
    scene = Scene()
    scene.resources = [each for each in scene.resources if each["resource"] != kind.resource]
    del scene.children[kind.group]
    response = scene.sync()

    assert not scenes.children_of(response, kind)
    assert condition(response, stage)["reason"] == "KindNotManaged"
    assert f"{kind.resource} ({kind.api_version})" in condition(response, stage)["message"]


def test_a_claim_of_an_earlier_life_serves_though_claims_are_not_managed() -> None:
    scene = scenes.verified()
    scene.resources = [each for each in scene.resources if each["resource"] != CLAIM.resource]
    del scene.children[CLAIM.group]
    response = scene.sync()
    assert condition(response, "StorageReady")["status"] == "True"
    assert not scenes.children_of(response, CLAIM)


def test_without_jobs_to_manage_nothing_is_ever_verified_and_the_condition_says_why() -> None:
    scene = scenes.ready()
    scene.resources = [each for each in scene.resources if each["resource"] != JOB.resource]
    response = scene.sync()
    assert condition(response, "Verified")["reason"] == "KindNotManaged"
    assert not scenes.children_of(response, JOB)


def moved(*finalizers: str, phase: str = "Deleting") -> Scene:
    """Return a swarm that came from another controller, which has taken its StatefulSet away already."""
    scene = scenes.verified()
    scene.parent["metadata"]["finalizers"] = [
        "example.com/unrelated",
        *(f"metacontroller.io/compositecontroller-{name}" for name in finalizers),
    ]
    scene.parent["status"] |= {"phase": phase, "verified": False}
    scene.drop(STATEFUL_SET)
    scene.related[POD.group].clear()
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
