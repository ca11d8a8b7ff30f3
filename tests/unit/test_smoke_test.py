"""The smoke test: attempts, pauses, failure, and never once more than needed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

import scenes
from scenes import Json, Scene, condition
from userswarm.smoke_test import FIRST_PAUSE, LONGEST_PAUSE
from userswarm.wire.k8s import JOB, POD, STATEFUL_SET, written_time


def job_of(response: Json) -> Json:
    (job,) = scenes.children_of(response, JOB)
    return job


def attempt_of(response: Json) -> str:
    attempt: str = job_of(response)["metadata"]["annotations"]["crawbl.ai/attempt"]
    return attempt


def edit(scene: Scene, **spec: Any) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def fail(scene: Scene, at: datetime | None = None) -> None:
    scenes.fail_smoke_test(scene, written_time(at or scene.now))


def failed_for_good(attempts: int = 1) -> Scene:
    scene = scenes.under_test(scenes.user_swarm(verification={"maxAttempts": attempts}))
    for _ in range(attempts - 1):
        fail(scene)
        scene.now += timedelta(hours=1)
        scenes.step(scene)
    fail(scene)
    assert scenes.step(scene)["status"]["phase"] == "Failed"
    return scene


def test_nothing_is_tested_before_the_swarm_is_ready() -> None:
    response = scenes.created().sync()

    assert not scenes.children_of(response, JOB)
    assert condition(response, "Verified")["reason"] == "ClaimPending"


def test_the_first_attempt_starts_when_all_else_is_ready() -> None:
    response = scenes.ready().sync()

    assert attempt_of(response) == "1"
    assert response["status"]["phase"] == "Verifying"
    assert response["status"]["stage"] == "SmokeTest"
    assert condition(response, "Verified")["reason"] == "SmokeTestRunning"
    assert response["status"]["verified"] is False


def test_a_running_job_is_returned_as_it_was_applied() -> None:
    scene = scenes.under_test()
    scene.child(JOB)["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    first, second = scene.sync(), scene.sync()

    assert first == second
    applied = job_of(first)
    assert applied["metadata"]["labels"]["controller-uid"] == scene.parent["metadata"]["uid"]
    assert "dnsPolicy" not in applied["spec"]["template"]["spec"]
    name = applied["metadata"]["name"]
    assert condition(first, "Verified")["message"] == f"attempt 1 of 5: Job userswarms/{name} has not ended yet"


def test_a_job_runs_on_while_the_runtime_has_a_blip() -> None:
    scene = scenes.under_test()
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    response = scene.sync()

    assert attempt_of(response) == "1"
    assert condition(response, "Verified")["reason"] == "RolloutInProgress"


def test_a_passed_job_is_kept_until_its_pass_is_in_the_observed_status() -> None:
    scene = scenes.under_test()
    scenes.pass_smoke_test(scene)
    answered = scene.sync()
    assert answered["status"]["verified"] is True
    assert answered["status"]["verifiedAt"] == "2026-11-20T11:59:30Z"
    assert attempt_of(answered) == "1"
    # The status was not written: the Job is still the only record.
    assert scene.sync() == answered

    scene.adopt_status(answered)
    settled = scene.sync()
    assert not scenes.children_of(settled, JOB)
    assert settled["status"] == answered["status"]


def test_a_pass_that_has_no_completion_time_is_dated_by_its_condition() -> None:
    scene = scenes.under_test()
    scenes.pass_smoke_test(scene)
    del scene.child(JOB)["status"]["completionTime"]
    assert scene.sync()["status"]["verifiedAt"] == "2026-11-20T11:59:30Z"


def test_a_pass_while_the_pod_is_down_counts_but_verifies_nothing_yet() -> None:
    scene = scenes.under_test()
    scenes.pass_smoke_test(scene)
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    response = scene.sync()

    assert response["status"]["verified"] is False
    assert response["status"]["verifiedChecksum"]
    assert "verifiedGeneration" not in response["status"]


def test_a_recorded_test_never_runs_again() -> None:
    scene = scenes.verified()
    scene.now += timedelta(days=365)
    for _ in range(3):
        response = scenes.step(scene)
        assert response["status"]["verified"] is True
        assert not scenes.children_of(response, JOB)
        assert "resyncAfterSeconds" not in response


@pytest.mark.parametrize("lost", ["status", "verifiedChecksum"])
def test_a_lost_record_heals_by_a_new_test(lost: str) -> None:
    scene = scenes.verified()
    if lost == "status":
        del scene.parent["status"]
    else:
        del scene.parent["status"][lost]
    response = scenes.step(scene)
    assert response["status"]["verified"] is False
    assert attempt_of(response) == "1"

    scenes.pass_smoke_test(scene)
    assert scenes.step(scene)["status"]["verified"] is True


def test_pauses_grow_and_are_asked_for() -> None:
    scene = scenes.under_test(scenes.user_swarm(verification={"maxAttempts": 9}))
    pauses = []
    for attempt in range(1, 9):
        fail(scene)
        waiting = scenes.step(scene)
        assert attempt_of(waiting) == str(attempt)  # the failed Job stays: its log is the evidence
        pauses.append(waiting["resyncAfterSeconds"])
        scene.now += timedelta(seconds=waiting["resyncAfterSeconds"] - 1)
        assert attempt_of(scene.sync()) == str(attempt)
        scene.now += timedelta(seconds=1)
        assert attempt_of(scenes.step(scene)) == str(attempt + 1)

    assert pauses == [FIRST_PAUSE * 2**n for n in range(5)] + [LONGEST_PAUSE] * 3


def test_a_failed_attempt_is_told_with_what_the_job_saw() -> None:
    scene = scenes.under_test()
    fail(scene)
    response = scene.sync()

    told = condition(response, "Verified")
    assert told["reason"] == "SmokeTestFailed"
    assert told["message"] == (
        "attempt 1 of 5 failed: BackoffLimitExceeded: Job has reached its limit; "
        "the next starts at 2026-11-20T12:00:10Z"
    )
    assert response["status"]["phase"] == "Verifying"
    assert response["status"]["verified"] is False


def _test_pod(scene: Scene, containers: list[Json] | None, uid: str | None = None) -> Json:
    job = scene.child(JOB)
    return scene.relate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": job["metadata"]["name"] + "-x7k2p",
                "namespace": "userswarms",
                "ownerReferences": [{"kind": "Job", "uid": uid or job["metadata"]["uid"]}],
            },
            "status": {"containerStatuses": containers} if containers is not None else {},
        }
    )


SAID = {"state": {"terminated": {"exitCode": 1, "message": "GET /health: 502 Bad Gateway\n"}}}


@pytest.mark.parametrize(
    ("containers", "uid", "told"),
    [
        ([SAID], None, "BackoffLimitExceeded: GET /health: 502 Bad Gateway"),
        ([{"state": {"running": {}}}, SAID], None, "BackoffLimitExceeded: GET /health: 502 Bad Gateway"),
        ([{"state": {"terminated": {"exitCode": 1}}}], None, "BackoffLimitExceeded: Job has reached its limit"),
        ([{"state": {"running": {}}}], None, "BackoffLimitExceeded: Job has reached its limit"),
        ([{}], None, "BackoffLimitExceeded: Job has reached its limit"),
        (None, None, "BackoffLimitExceeded: Job has reached its limit"),
        ([SAID], "another Job", "BackoffLimitExceeded: Job has reached its limit"),
    ],
)
def test_the_message_of_the_tests_own_pod_is_the_best_reason(
    containers: list[Json] | None, uid: str | None, told: str
) -> None:
    scene = scenes.under_test()
    fail(scene)
    _test_pod(scene, containers, uid)
    assert told in condition(scene.sync(), "Verified")["message"]


def test_a_pod_without_an_owner_is_nobodys_test() -> None:
    scene = scenes.under_test()
    fail(scene)
    del _test_pod(scene, [SAID])["metadata"]["ownerReferences"]
    assert "502" not in condition(scene.sync(), "Verified")["message"]


def test_after_the_last_attempt_the_swarm_is_failed_and_its_job_stays() -> None:
    scene = failed_for_good(3)
    response = scene.sync()

    assert attempt_of(response) == "3"
    told = condition(response, "Verified")
    assert told["reason"] == "SmokeTestFailed"
    assert "attempt 3 of 3 failed" in told["message"]
    assert "crawbl.ai/retry-verification" in told["message"]
    assert "resyncAfterSeconds" not in response
    scene.adopt_status(response)
    scene.now += timedelta(days=30)
    assert scene.sync() == response


def test_the_retry_annotation_starts_anew_for_each_new_value() -> None:
    scene = failed_for_good()
    spent = scene.child(JOB)["metadata"]["name"]
    names = {spent}
    for value in ("1", "2"):
        scene.parent["metadata"]["annotations"] = {"crawbl.ai/retry-verification": value}
        response = scenes.step(scene)
        assert attempt_of(response) == "1"
        assert response["status"]["phase"] == "Verifying"
        names.add(job_of(response)["metadata"]["name"])
    assert len(names) == 3


@pytest.mark.parametrize(
    "spec",
    [
        {"runtime": {"image": "repaired:1"}},
        {"verification": {"maxAttempts": 1, "timeoutSeconds": 60}},
        {"verification": {"maxAttempts": 1, "path": "/ok"}},
    ],
)
def test_a_new_spec_drops_the_old_series_and_starts_anew(spec: Json) -> None:
    scene = failed_for_good()
    spent = scene.child(JOB)["metadata"]["name"]
    edit(scene, **spec)
    response = scenes.step(scene)
    assert response["status"]["phase"] != "Failed"
    assert spent not in [job["metadata"]["name"] for job in scenes.children_of(response, JOB)]


def test_more_attempts_allowed_go_on_where_the_last_ended() -> None:
    scene = failed_for_good(2)
    scene.now += timedelta(hours=1)
    edit(scene, verification={"maxAttempts": 3})
    assert attempt_of(scenes.step(scene)) == "3"


def test_a_test_in_flight_for_an_older_checksum_is_dropped() -> None:
    scene = scenes.under_test()
    edit(scene, runtime={"image": "newer:1"})
    response = scene.sync()

    assert not scenes.children_of(response, JOB)
    # And a late pass of it says nothing about what runs now.
    scenes.pass_smoke_test(scene)
    assert "verifiedChecksum" not in scene.sync()["status"]


def test_a_job_deleted_by_somebody_is_made_again() -> None:
    scene = scenes.under_test()
    scene.drop(JOB)
    assert attempt_of(scene.sync()) == "1"

    scene = failed_for_good(2)
    scene.drop(JOB)
    response = scene.sync()
    assert attempt_of(response) == "1"
    assert response["status"]["phase"] == "Verifying"


def test_a_job_that_is_being_deleted_is_awaited() -> None:
    scene = scenes.under_test()
    scene.child(JOB)["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:00Z"
    response = scene.sync()

    assert not scenes.children_of(response, JOB)
    assert "is being deleted" in condition(response, "Verified")["message"]


def test_no_attempt_is_spent_while_something_else_is_in_the_way() -> None:
    scene = scenes.under_test()
    fail(scene)
    scene.now += timedelta(hours=1)
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    response = scene.sync()

    assert attempt_of(response) == "1"
    assert condition(response, "Verified")["reason"] == "RolloutInProgress"


def test_a_pause_is_not_asked_for_while_something_else_is_in_the_way() -> None:
    scene = scenes.under_test()
    fail(scene)
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    response = scenes.step(scene)
    # Only the deadline of the roll-out is.
    assert response["resyncAfterSeconds"] == scene.settings.progress_deadline


@pytest.mark.parametrize("dated", ["", "not a time", None, "2026-11-20"])
def test_a_failure_that_is_not_dated_waits_for_nothing_and_answers_the_same_at_any_time(dated: str | None) -> None:
    scene = scenes.under_test()
    fail(scene)
    scene.child(JOB)["status"]["conditions"][0]["lastTransitionTime"] = dated
    first = scene.sync()
    assert attempt_of(first) == "2"

    scene.now += timedelta(seconds=1)
    assert condition(scene.sync(), "Verified")["message"] == condition(first, "Verified")["message"]


@pytest.mark.parametrize(
    "conditions", [[{"type": "Suspended", "status": "True"}], [{"type": "Failed", "status": "False"}], None]
)
def test_only_a_condition_that_holds_ends_a_job(conditions: list[Json] | None) -> None:
    scene = scenes.under_test()
    scene.child(JOB)["status"] = {"conditions": conditions}
    assert "has not ended yet" in condition(scene.sync(), "Verified")["message"]


def test_nothing_is_tested_while_suspended_and_a_job_in_flight_goes() -> None:
    scene = scenes.under_test()
    edit(scene, suspend=True)
    assert not scenes.children_of(scene.sync(), JOB)


def test_under_server_side_apply_a_running_job_is_returned_as_it_is_stored() -> None:
    scene = scenes.under_test()
    job = scene.child(JOB)
    del job["metadata"]["annotations"][scenes.LAST_APPLIED]
    job["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    assert attempt_of(scene.sync()) == "1"

    # One that is not what it should be cannot be changed: it goes, and is made again.
    job["spec"]["template"]["spec"]["containers"][0]["args"].append("--more")
    assert not scenes.children_of(scene.sync(), JOB)
    scene.drop(JOB)
    assert attempt_of(scene.sync()) == "1"


def test_the_job_is_no_endpoint_of_the_service_and_gets_no_token() -> None:
    scene = scenes.under_test()
    spec = scene.child(JOB)["spec"]
    selector = scenes.main_service(scene)["spec"]["selector"]

    assert not selector.items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["template"]["spec"]["automountServiceAccountToken"] is False
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["backoffLimit"] == 0
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["template"]["spec"]["containers"][0]["args"] == [
        "http://swarm-workspace-a.userswarms.svc:42617/health",
        "--timeout",
        "15",
        "--expect-json",
        "status=ok",
    ]


def test_the_pods_of_the_runtime_and_of_the_test_are_both_asked_for() -> None:
    scene = scenes.under_test()
    runtime = scene.child(STATEFUL_SET)["spec"]["template"]["metadata"]["labels"]
    test = scene.child(JOB)["spec"]["template"]["metadata"]["labels"]
    rule = next(r for r in scenes.customized(scene)["relatedResources"] if r["resource"] == POD.resource)

    for labels in (runtime, test):
        assert rule["labelSelector"]["matchLabels"].items() <= labels.items()
