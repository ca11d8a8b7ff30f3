"""One request through the Service: when it is due, what passes, how often it is tried, and when it is tried anew."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import scenes
from scenes import HEALTHY, Json, Scene, condition
from userswarm.parts.verification import LONGEST_PAUSE
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import SERVICE, STATEFUL_SET, written_time

NAME = "swarm-workspace-a"
SICK = {"status": 200, "body": '{"status": "degraded"}'}
ASKED = {"service": NAME, "namespace": "userswarms", "port": 42617, "path": "/health", "timeoutSeconds": 2}


def ready(**verification: Any) -> Scene:
    return scenes.ready(scenes.user_swarm(verification=verification))


def asked(response: Json) -> Json | None:
    """Return the request that an answer needs to be made, None for none."""
    http: Json | None = response.get("needs", {}).get("http")
    return http


def answer(scene: Scene, http: Json) -> Json:
    """Let the request that is due be made and answered, and return what the hook makes of it."""
    assert asked(scene.sync()) is not None
    scene.http = http
    response = scenes.step(scene)
    scene.http = None
    return response


def fail(scene: Scene, times: int) -> None:
    """Let attempts fail one after the other, each as soon as it is due."""
    for _ in range(times):
        while asked(response := scenes.step(scene)) is None:
            scene.now += timedelta(seconds=response["resyncAfterSeconds"])
        answer(scene, SICK)


def restart(scene: Scene) -> None:
    """Let the Pod go away and come back."""
    counts = scene.child(STATEFUL_SET)["status"]
    counts["readyReplicas"] = 0
    scene.now += timedelta(seconds=20)
    scenes.step(scene)
    counts["readyReplicas"] = 1
    scene.now += timedelta(seconds=20)


# --- when it is due --------------------------------------------------------------------------------------------------


def test_a_runtime_is_asked_once_its_pod_is_ready() -> None:
    response = scenes.ready().sync()
    assert response["needs"] == {"http": ASKED}
    assert response["status"]["verified"] is False


def test_what_is_asked_is_what_the_spec_says() -> None:
    parent = scenes.user_swarm(runtime={"port": 8080}, verification={"path": "/ok?full=1", "timeoutSeconds": 4})
    assert asked(scenes.ready(parent).sync()) == {**ASKED, "port": 8080, "path": "/ok?full=1", "timeoutSeconds": 4}


@pytest.mark.parametrize(("seconds", "counts"), [(1, 1), (5, 5), (6, 5), (15, 5), (300, 5)])
def test_more_than_five_seconds_count_as_five(seconds: int, counts: int) -> None:
    request = asked(ready(timeoutSeconds=seconds).sync())
    assert request is not None
    assert request["timeoutSeconds"] == counts


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene.child(STATEFUL_SET)["status"].update(readyReplicas=0),
        lambda scene: scene.drop(SERVICE, NAME),
        lambda scene: scene.parent["spec"].update(suspend=True),
        lambda scene: scene.parent["spec"].update(runtime={"image": "other:1"}),
    ],
)
def test_nobody_is_asked_before_all_else_stands(change: Callable[[Scene], None]) -> None:
    scene = scenes.ready()
    change(scene)
    assert asked(scene.sync()) is None


def test_a_request_that_could_not_be_made_is_due_again_soon_and_costs_no_attempt() -> None:
    scene = scenes.ready()
    response = scenes.step(scene)
    assert response["resyncAfterSeconds"] == 5
    assert "attempts" not in response["status"]

    scene.now += timedelta(seconds=5)
    assert asked(scene.sync()) == ASKED


def test_why_nobody_was_asked_is_said() -> None:
    scene = scenes.ready()
    scene.now += timedelta(seconds=61)
    scene.unavailable = {"http": "too much is looked up at once"}
    response = scene.sync()
    told = condition(response, "Verified")["message"]
    assert told.endswith("/health is to be asked; it was not asked: too much is looked up at once")
    assert response["resyncAfterSeconds"] == 5
    assert "attempts" not in response["status"]


def test_without_a_request_a_ready_pod_is_enough() -> None:
    response = ready(mode="Readiness").sync()
    assert response["status"]["verified"] is True
    assert "needs" not in response
    assert condition(response, "Verified")["reason"] == "NotAsked"

    scene = ready(mode="Readiness")
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    assert scene.sync()["status"]["verified"] is False


# --- what passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    ['{"status":"ok"}', '{"status": "ok", "more": [1]}', "", "ok", "<html>", "{}", "[]", '"degraded"', "[" * 100_000],
)
def test_an_answer_as_a_healthy_runtime_gives_passes(body: str) -> None:
    scene = scenes.ready()
    scene.now += timedelta(seconds=7)
    response = answer(scene, {"status": 200, "body": body})

    status = response["status"]
    assert status["verified"] is True
    assert status["phase"] == "Ready"
    assert status["verifiedAt"] == written_time(scene.now)
    assert status["verifiedGeneration"] == 1
    assert condition(response, "Verified")["reason"] == "SmokeTestPassed"
    assert "needs" not in response
    assert "resyncAfterSeconds" not in response
    assert scene.sync() == response


@pytest.mark.parametrize(
    ("http", "told"),
    [
        ({"status": 500, "body": "Traceback\n  in a\n"}, "status 500, not 200: Traceback in a"),
        ({"status": 204, "body": ""}, "status 204, not 200"),
        ({"status": 302, "body": ""}, "status 302, not 200"),
        ({"status": 200, "body": '{"status": "degraded"}'}, '"status" in the body is "degraded", not "ok"'),
        ({"status": 200, "body": '{"status": null}'}, '"status" in the body is null, not "ok"'),
        ({"status": 200, "body": '{"status": ["ok"]}'}, '"status" in the body is ["ok"], not "ok"'),
        ({"error": "no answer within 2 s"}, "no answer within 2 s"),
        ({}, "no answer"),
    ],
)
def test_any_other_answer_is_an_attempt_that_failed_and_says_how(http: Json, told: str) -> None:
    scene = scenes.ready()
    response = answer(scene, http)

    assert response["status"]["verified"] is False
    assert response["status"]["phase"] == "Verifying"
    assert condition(response, "Verified")["reason"] == "SmokeTestFailed"
    assert f"attempt 1 of 5 failed: {told}" in condition(response, "Ready")["message"]
    assert response["status"]["attempts"] == {
        "of": response["status"]["attempts"]["of"],
        "count": 1,
        "at": written_time(scene.now),
        "message": response["status"]["attempts"]["message"],
    }
    assert "needs" not in response


def test_what_a_runtime_says_is_told_in_short() -> None:
    response = answer(scenes.ready(), {"status": 500, "body": "x" * 60_000})
    assert len(condition(response, "Verified")["message"]) < 1000
    response = answer(scenes.ready(), {"error": "x" * 60_000})
    assert len(response["status"]["attempts"]["message"]) <= 300


# --- how often it is tried -------------------------------------------------------------------------------------------


def test_the_pauses_between_attempts_grow() -> None:
    scene = scenes.ready(scenes.user_swarm(verification={"maxAttempts": 10}), Settings(progress_deadline=86_400))
    pauses = []
    for _ in range(9):
        response = answer(scene, SICK)
        (told,) = re.findall(r"the next comes (\d+) s after", condition(response, "Verified")["message"])
        pauses.append(pause := int(told))
        assert response["resyncAfterSeconds"] <= pause
        scene.now += timedelta(seconds=pause - 1)
        early = scenes.step(scene)
        assert (asked(early), early["resyncAfterSeconds"]) == (None, 1)
        assert early["status"] == response["status"]
        scene.now += timedelta(seconds=1)
    assert pauses == [3, 6, 12, 24, 48, 96, 192, LONGEST_PAUSE, LONGEST_PAUSE]


def test_after_its_attempts_a_swarm_is_failed_for_good() -> None:
    scene = ready(maxAttempts=2)
    fail(scene, 2)
    response = scene.sync()

    assert response["status"]["phase"] == "Failed"
    assert response["status"]["attempts"]["count"] == 2
    assert 'attempt 2 of 2 failed: "status" in the body' in condition(response, "Ready")["message"]
    assert "crawbl.ai/retry-verification" in condition(response, "Ready")["message"]
    assert "needs" not in response
    assert "resyncAfterSeconds" not in response
    scene.now += timedelta(days=1)
    assert scene.sync() == response
    # Nobody asked for this answer.
    scene.http = HEALTHY
    assert scene.sync() == response


def test_what_failed_is_forgotten_once_it_passes() -> None:
    scene = scenes.ready()
    fail(scene, 2)
    scene.now += timedelta(seconds=6)
    response = answer(scene, HEALTHY)
    assert response["status"]["verified"] is True
    assert "attempts" not in response["status"]


def _annotate(scene: Scene) -> None:
    scene.parent["metadata"]["annotations"] = {"crawbl.ai/retry-verification": "1"}


def _other_spec(scene: Scene) -> None:
    scene.parent["spec"]["verification"] = {"maxAttempts": 1, "timeoutSeconds": 4}
    scene.parent["metadata"]["generation"] += 1


@pytest.mark.parametrize("change", [_annotate, _other_spec, restart])
def test_a_swarm_that_failed_is_tried_anew(change: Callable[[Scene], None]) -> None:
    scene = ready(maxAttempts=1)
    fail(scene, 1)
    assert scene.sync()["status"]["phase"] == "Failed"

    change(scene)
    response = scenes.step(scene)
    assert asked(response) is not None
    assert "attempt 1 of 1" in scenes.condition(scene.sync(), "Verified")["message"]
    assert answer(scene, HEALTHY)["status"]["verified"] is True


def test_more_attempts_are_the_ones_that_are_left() -> None:
    scene = ready(maxAttempts=1)
    fail(scene, 1)
    scene.parent["spec"]["verification"] = {"maxAttempts": 2}
    scene.now += timedelta(seconds=3)
    assert asked(scene.sync()) is not None
    assert answer(scene, SICK)["status"]["attempts"]["count"] == 2


# --- when it is asked again ------------------------------------------------------------------------------------------


def test_a_pod_that_has_been_away_is_asked_again() -> None:
    scene = scenes.verified()
    restart(scene)
    response = scenes.step(scene)
    assert asked(response) == ASKED
    assert response["status"]["verified"] is False
    assert answer(scene, HEALTHY)["status"]["verifiedAt"] == written_time(scene.now)


def test_a_new_template_is_asked_about_once_its_pod_is_ready() -> None:
    scene = scenes.verified()
    before = scene.parent["status"]["verifiedChecksum"]
    scene.parent["spec"]["runtime"] = {"image": "other:1"}
    scene.parent["metadata"]["generation"] += 1
    scene.now += timedelta(seconds=60)
    response = scenes.step(scene)
    assert "needs" not in response
    assert response["status"]["verifiedChecksum"] == before

    scene.now += timedelta(seconds=60)
    scene.apply(response)
    assert asked(scenes.step(scene)) == ASKED
    after = answer(scene, HEALTHY)["status"]
    assert after["verifiedChecksum"] != before
    assert after["verifiedGeneration"] == 2


def test_going_back_to_a_template_that_was_verified_once_is_no_verification() -> None:
    scene = scenes.verified()
    before = copy.deepcopy(scene.parent["spec"])
    scene.parent["spec"]["runtime"] = {"image": "broken:1"}
    scene.now += timedelta(seconds=60)
    assert scenes.step(scene)["status"]["verified"] is False

    scene.parent["spec"] = before
    scene.now += timedelta(seconds=60)
    assert asked(scenes.step(scene)) == ASKED


@pytest.mark.parametrize(
    "attempts",
    [
        None,
        "many",
        {},
        {"of": "another", "count": 5, "at": "2026-11-20T12:00:00Z", "message": "m"},
        {"count": "5"},
        {"count": True},
        {"at": "soon"},
        {"message": None},
        {"at": "2026-11-20T11:00:00Z"},
    ],
    ids=str,
)
def test_attempts_that_are_not_this_runtimes_or_make_no_sense_count_for_nothing(attempts: Any) -> None:
    scene = ready(maxAttempts=1)
    fail(scene, 1)
    recorded = scene.parent["status"]["attempts"]
    whole = isinstance(attempts, dict) and attempts and "of" not in attempts
    scene.parent["status"]["attempts"] = {**recorded, **attempts} if whole else attempts
    assert asked(scene.sync()) is not None


@pytest.mark.parametrize("field", ["verifiedAt", "verifiedChecksum"])
def test_a_pass_that_is_not_recorded_whole_is_none(field: str) -> None:
    scene = scenes.verified()
    scene.parent["status"][field] = "soon"
    assert asked(scene.sync()) == ASKED
    del scene.parent["status"][field]
    assert asked(scene.sync()) == ASKED
