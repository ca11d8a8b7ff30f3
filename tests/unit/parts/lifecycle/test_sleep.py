"""A swarm that falls asleep and wakes: its children, its status, its needs, and when its hooks want to be called."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

import scenes
from scenes import HEALTHY, NOW, Json, Scene, condition, step
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import STATEFUL_SET, written_time

CHECK = {"activityCheck": {"path": "/activity"}}
FREE = {"status": 200, "body": '{"busy": false}'}
BUSY = {"status": 200, "body": '{"busy": true}'}
NO_SPREAD = Settings(lifecycle_spread=0)


def awake(settings: Settings = NO_SPREAD, **lifecycle: Any) -> Scene:
    """Return a verified swarm that has just been told to sleep when nobody uses it for half an hour."""
    scene = scenes.verified(scenes.user_swarm(lifecycle={"idleAfter": "30m", **lifecycle}), settings)
    step(scene)
    return scene


def later(scene: Scene, seconds: float) -> Scene:
    scene.now += timedelta(seconds=seconds)
    return scene


def touch(scene: Scene, at: str | None = None) -> None:
    annotations = scene.parent["metadata"].setdefault("annotations", {})
    annotations["crawbl.ai/last-activity"] = at or written_time(scene.now)


def put_to_sleep(scene: Scene) -> Json:
    """Return the answer of the first call that knows that the swarm sleeps: the one before has written it down."""
    falling = step(scene)
    assert replicas(falling) == 1
    assert falling["resyncAfterSeconds"] == 1
    assert not falling["status"]["verified"]
    return step(scene)


def stopped(scene: Scene) -> Json:
    """Apply an answer that puts the swarm to sleep, let its Pod go, and return the next answer."""
    scene.apply(put_to_sleep(scene))
    scene.child(STATEFUL_SET)["status"] = {"observedGeneration": 1, "replicas": 0}
    return step(scene)


def asleep(settings: Settings = NO_SPREAD, **lifecycle: Any) -> Scene:
    scene = later(awake(settings, **lifecycle), 1800)
    assert stopped(scene)["status"]["phase"] == "Asleep"
    return scene


def replicas(response: Json) -> int:
    (found,) = [child["spec"]["replicas"] for child in response["children"] if child["kind"] == "StatefulSet"]
    return int(found)


def told(response: Json) -> tuple[str, str]:
    found = condition(response, "Awake")
    return found["status"], found["reason"]


def test_a_swarm_that_says_nothing_of_it_never_sleeps_and_has_nothing_of_it() -> None:
    response = later(scenes.verified(), 10**8).sync()
    assert replicas(response) == 1
    assert "resyncAfterSeconds" not in response
    assert "lifecycle" not in response["status"]
    assert "Awake" not in {each["type"] for each in response["status"]["conditions"]}


def test_it_is_looked_at_when_it_may_sleep_and_not_before() -> None:
    scene = awake()
    assert scene.sync()["resyncAfterSeconds"] == 1800
    assert replicas(later(scene, 1799).sync()) == 1
    assert scene.sync()["resyncAfterSeconds"] == 1
    assert replicas(put_to_sleep(later(scene, 1))) == 0


def test_only_a_call_that_sees_it_written_stops_the_pod() -> None:
    scene = later(awake(**CHECK), 1800)
    before = scene.parent["status"]
    scene.http = {"status": 200, "body": '{"busy": false, "wakeAt": "2026-11-20T20:00:00Z"}'}
    assert replicas(step(scene)) == 1
    # The next call comes before that word: its runtime is there, and is asked once more.
    scene.parent["status"] = before
    scene.http = None
    assert "http" in later(scene, 1).sync()["needs"]
    scene.http = {"status": 200, "body": '{"busy": false, "wakeAt": "2026-11-20T20:00:00Z"}'}
    response = put_to_sleep(scene)
    assert replicas(response) == 0
    assert response["status"]["lifecycle"]["wakeAt"] == "2026-11-20T20:00:00Z"


def test_one_that_is_used_before_its_pod_is_stopped_goes_on() -> None:
    scene = later(awake(), 1800)
    assert told(step(scene)) == ("False", "Idle")
    touch(later(scene, 1))
    response = step(scene)
    assert (replicas(response), told(response)) == (1, ("True", "InUse"))


def test_it_sleeps_without_a_pod_unverified_and_says_since_when_and_why() -> None:
    scene = later(awake(expireAfter="720h"), 1800)
    falling = put_to_sleep(scene)
    assert (replicas(falling), falling["status"]["phase"], falling["status"]["verified"]) == (0, "Progressing", False)
    scene.apply(falling)
    scene.child(STATEFUL_SET)["status"] = {"observedGeneration": 1, "replicas": 0}
    response = step(scene)
    assert (response["status"]["phase"], told(response)) == ("Asleep", ("False", "Idle"))
    assert response["status"]["lifecycle"] == {
        "asleepSince": "2026-11-20T12:30:00Z",
        "reason": "Idle",
        "unusedSince": "2026-11-20T12:30:00Z",
        "expiresAt": "2026-12-20T12:30:00Z",
        "touchEverySeconds": 300,
    }
    assert condition(response, "Ready")["reason"] == "Idle"
    assert "needs" not in response


def test_a_pod_that_takes_long_to_stop_is_not_looked_at() -> None:
    scene = later(awake(), 1800)
    scene.apply(put_to_sleep(scene))
    scene.child(STATEFUL_SET)["status"] = {"observedGeneration": 2, "replicas": 1}
    for _ in range(3):
        assert "needs" not in step(later(scene, 60))


def test_a_sleeping_swarm_wants_nothing_and_changes_nothing() -> None:
    scene = asleep()
    for _ in range(3):
        response = later(scene, 10**6).sync()
        assert "resyncAfterSeconds" not in response
        assert "needs" not in response
        assert response["status"] == scene.parent["status"]


def test_a_touch_puts_it_off_without_a_word_in_the_status() -> None:
    scene = awake()
    touch(later(scene, 600))
    response = scene.sync()
    assert response["resyncAfterSeconds"] == 1800
    assert response["status"] == scene.parent["status"]


@pytest.mark.parametrize("clock", ["2026-11-20T12:31:00Z", "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"])
def test_a_touch_wakes_it_whatever_its_clock_says_and_it_is_verified_anew(clock: str) -> None:
    scene = later(asleep(), 3600)
    touch(scene, clock)
    response = step(scene)
    assert (replicas(response), told(response)) == (1, ("True", "InUse"))
    assert response["status"]["lifecycle"]["reason"] == "Activity"
    assert (response["status"]["phase"], response["status"]["verified"]) == ("Progressing", False)
    scene.apply(response)
    name = scene.child(STATEFUL_SET)["metadata"]["name"]
    scene.child(STATEFUL_SET)["status"] = {
        "observedGeneration": 1,
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "currentRevision": f"{name}-1",
        "updateRevision": f"{name}-1",
    }
    later(scene, 3)
    assert scene.sync()["needs"]["http"]["path"] == "/health"
    scene.http = HEALTHY
    assert step(scene)["status"]["verified"] is True


def test_one_that_wakes_has_its_whole_time_to_come_up() -> None:
    scene = later(asleep(), 86_400)
    touch(scene)
    response = step(scene)
    scene.apply(response)
    response = later(scene, 2).sync()
    assert response["status"]["phase"] == "Progressing"
    assert "needs" not in response, "its Pod is not looked at yet"
    assert later(scene, 300).sync()["status"]["phase"] == "Failed"


def test_suspend_wins_and_a_resumed_swarm_is_awake() -> None:
    scene = asleep()
    scene.parent["spec"]["suspend"] = True
    scene.parent["metadata"]["generation"] += 1
    response = step(scene)
    assert response["status"]["phase"] == "Suspended"
    assert "lifecycle" not in response["status"]
    scene.parent["spec"]["suspend"] = False
    scene.parent["metadata"]["generation"] += 1
    assert replicas(step(later(scene, 60))) == 1


def test_one_that_may_no_longer_sleep_wakes() -> None:
    scene = asleep()
    del scene.parent["spec"]["lifecycle"]
    response = step(scene)
    assert replicas(response) == 1
    assert "lifecycle" not in response["status"]


def test_its_runtime_is_asked_just_before_and_a_good_answer_puts_it_to_sleep() -> None:
    scene = awake(**CHECK)
    assert "needs" not in later(scene, 1799).sync()
    response = later(scene, 1).sync()
    assert response["needs"]["http"] == {
        "service": "swarm-workspace-a",
        "namespace": "userswarms",
        "port": 42617,
        "path": "/activity",
        "timeoutSeconds": 2,
    }
    assert replicas(response) == 1
    scene.http = FREE
    assert replicas(put_to_sleep(scene)) == 0


def test_a_busy_one_stays_and_is_asked_again_until_it_was_busy_for_too_long() -> None:
    scene = later(awake(activityCheck={"path": "/activity", "maxBusy": "8m"}), 1800)
    scene.http = BUSY
    response = step(scene)
    assert (replicas(response), told(response), response["resyncAfterSeconds"]) == (1, ("True", "Busy"), 300)
    scene.http = None
    assert "needs" not in later(scene, 299).sync()
    assert "http" in later(scene, 1).sync()["needs"]
    scene.http = BUSY
    assert step(scene)["resyncAfterSeconds"] == 180
    scene.http = None
    response = put_to_sleep(later(scene, 180))
    assert (replicas(response), told(response)) == (0, ("False", "MaxBusy"))


@pytest.mark.parametrize(
    ("http", "word"),
    [
        ({"error": "no answer within 2 s"}, "no answer within 2 s"),
        ({"status": 503, "body": "{}"}, "status 503"),
        ({"status": 200, "body": "yes"}, "no JSON"),
        ({"status": 200, "body": '{"busy": "no"}'}, '"busy"'),
        ({"status": 200, "body": '{"busy": false, "wakeAt": "tomorrow"}'}, "wakeAt"),
        ({"status": 200, "body": "[" * 100_000}, "no JSON"),
    ],
)
def test_no_good_answer_keeps_it_awake_and_is_told(http: Json, word: str) -> None:
    scene = later(awake(**CHECK), 1800)
    scene.http = http
    response = step(scene)
    assert (replicas(response), told(response)) == (1, ("True", "ActivityUnknown"))
    assert word in condition(response, "Awake")["message"]
    assert response["status"]["verified"] is True
    assert response["resyncAfterSeconds"] == 300


def test_one_that_could_not_be_asked_stays_awake_and_is_asked_soon() -> None:
    scene = later(awake(**CHECK), 1800)
    scene.unavailable["http"] = "too much is looked up at once"
    response = step(scene)
    assert (replicas(response), response["resyncAfterSeconds"]) == (1, 10)
    assert "too much is looked up" in condition(response, "Awake")["message"]


def test_one_that_is_not_verified_is_not_asked_and_stays_awake() -> None:
    scene = scenes.ready(scenes.user_swarm(lifecycle={"idleAfter": "30m", **CHECK}), NO_SPREAD)
    scene.http = {"status": 500, "body": ""}
    step(scene)
    scene.http = None
    response = later(scene, 1800).sync()
    assert response["needs"]["http"]["path"] == "/health"
    assert (replicas(response), told(response)) == (1, ("True", "NotVerified"))


def test_an_answer_is_heard_by_the_part_that_asked_and_by_no_other() -> None:
    # Its Pod was away just as it would fall asleep: both want to ask, and /activity says nothing about its health.
    scene = later(awake(**CHECK), 1800)
    ready = next(each for each in scene.parent["status"]["conditions"] if each["type"] == "WorkloadReady")
    ready["lastTransitionTime"] = written_time(scene.now)
    assert scene.sync()["needs"]["http"]["path"] == "/activity"
    scene.http = BUSY
    response = scene.sync()
    assert told(response) == ("True", "Busy")
    assert response["status"]["verified"] is False


def test_a_lease_keeps_it_awake_and_wakes_it() -> None:
    scene = awake()
    annotations = scene.parent["metadata"].setdefault("annotations", {})
    annotations["crawbl.ai/busy-until"] = written_time(NOW + timedelta(seconds=2000))
    assert scene.sync()["resyncAfterSeconds"] == 2000
    assert replicas(later(scene, 1900).sync()) == 1
    assert replicas(put_to_sleep(later(scene, 100))) == 0
    scene = asleep()
    annotations = scene.parent["metadata"].setdefault("annotations", {})
    annotations["crawbl.ai/busy-until"] = written_time(scene.now + timedelta(seconds=1))
    assert replicas(scene.sync()) == 1


def test_a_lone_visit_counts_for_less_than_steady_use() -> None:
    scene = later(awake(idleAfterVisit="5m"), 100)
    touch(scene)
    assert scene.sync()["resyncAfterSeconds"] == 300
    scene.parent["metadata"]["annotations"]["crawbl.ai/previous-activity"] = written_time(NOW)
    assert scene.sync()["resyncAfterSeconds"] == 1800


def test_it_wakes_for_its_schedule_in_time_and_sleeps_again() -> None:
    scene = asleep(wakeSchedule={"cron": "0 8 * * *", "timeZone": "Europe/Berlin"}, lead="90s", minAwake="10m")
    status = scene.parent["status"]["lifecycle"]
    assert status["wakesAt"] == "2026-11-21T06:58:30Z"
    response = scene.sync()
    scene.now += timedelta(seconds=response["resyncAfterSeconds"])
    assert written_time(scene.now) == status["wakesAt"]
    response = step(scene)
    assert (replicas(response), response["status"]["lifecycle"]["reason"]) == (1, "Schedule")
    assert response["status"]["lifecycle"]["unusedSince"] == status["unusedSince"]


def test_it_wakes_for_the_appointment_that_its_runtime_named() -> None:
    scene = later(awake(**CHECK), 1800)
    scene.http = {"status": 200, "body": '{"busy": false, "wakeAt": "2026-11-20T20:00:00Z"}'}
    response = put_to_sleep(scene)
    assert response["status"]["lifecycle"]["wakesAt"] == "2026-11-20T19:59:00Z"
    scene.http = None
    scene.now += timedelta(seconds=response["resyncAfterSeconds"])
    assert step(scene)["status"]["lifecycle"]["reason"] == "Appointment"


def test_it_is_not_awake_for_longer_than_the_platform_allows() -> None:
    settings = Settings(lifecycle_spread=0, lifecycle_ceilings=(("maxAwake", 3600),))
    scene = scenes.verified(settings=settings)
    step(scene)
    touch(later(scene, 3590))
    assert replicas(scene.sync()) == 1
    response = put_to_sleep(later(scene, 10))
    assert (replicas(response), told(response)) == (0, ("False", "MaxAwake"))


def test_one_that_nobody_came_back_to_is_said_to_expire_and_then_to_be_expired() -> None:
    scene = asleep(expireAfter="100h")
    response = scene.sync()
    assert "ExpiresSoon" not in {each["type"] for each in response["status"]["conditions"]}
    assert response["resyncAfterSeconds"] == 90 * 3600
    response = step(later(scene, 90 * 3600))
    assert condition(response, "ExpiresSoon")["reason"] == "ExpiresSoon"
    assert response["resyncAfterSeconds"] == 10 * 3600
    response = step(later(scene, 10 * 3600))
    assert condition(response, "ExpiresSoon")["reason"] == "Expired"
    assert "resyncAfterSeconds" not in response
    touch(scene)
    assert "ExpiresSoon" not in {each["type"] for each in step(scene)["status"]["conditions"]}


def test_a_clock_that_is_off_is_told_of() -> None:
    scene = awake()
    touch(scene, "2026-11-20T10:00:00Z")
    scene.parent["metadata"]["managedFields"] = [
        {
            "time": written_time(scene.now),
            "fieldsV1": {"f:metadata": {"f:annotations": {"f:crawbl.ai/last-activity": {}}}},
        }
    ]
    response = scene.sync()
    assert response["resyncAfterSeconds"] == 1800
    assert "behind by more than 60 s" in condition(response, "Awake")["message"]


def test_those_that_would_wake_at_once_are_spread() -> None:
    settings = Settings(lifecycle_spread=120)
    offsets = set()
    for number in range(40):
        name = f"workspace-{number}"
        lifecycle = {"idleAfter": "30m", "wakeSchedule": {"cron": "0 8 * * *"}}
        scene = scenes.verified(scenes.user_swarm(name, lifecycle=lifecycle), settings)
        response = step(scene)
        scene.now += timedelta(seconds=response["resyncAfterSeconds"])
        assert 1800 <= response["resyncAfterSeconds"] <= 1920
        response = step(scene)
        offsets.add(response["status"]["lifecycle"]["wakesAt"])
    assert len(offsets) > 25
    assert min(offsets) >= "2026-11-21T07:57:00Z"
    assert max(offsets) <= "2026-11-21T07:59:00Z"


INVALID: list[tuple[Json, Json, str]] = [
    ({"idleAfter": "1m"}, {}, "idleAfter"),
    ({"idleAfter": "5m", "idleAfterVisit": "6m"}, {}, "idleAfterVisit"),
    ({"idleAfter": "2h"}, {"lifecycle_ceilings": (("idleAfter", 3600),)}, "idleAfter"),
    ({"idleAfter": "0s"}, {"lifecycle_ceilings": (("idleAfter", 3600),)}, "idleAfter"),
    ({"maxAwake": "5m", "minAwake": "6m"}, {}, "minAwake"),
    ({"expireAfter": "59m"}, {}, "expireAfter"),
    (
        {"activityCheck": {"path": "/a", "maxBusy": "2h"}},
        {"lifecycle_ceilings": (("maxBusy", 60),)},
        "activityCheck.maxBusy",
    ),
    ({"wakeSchedule": {"cron": "0 25 * * *"}}, {}, "wakeSchedule.cron"),
    ({"wakeSchedule": {"cron": "0 0 1 * * *"}}, {}, "wakeSchedule.cron"),
    ({"wakeSchedule": {"cron": "* * * * *"}}, {}, "wakeSchedule.cron"),
    ({"wakeSchedule": {"cron": "0 8 * * *"}, "lead": "24h"}, {}, "wakeSchedule.cron"),
    ({"wakeSchedule": {"cron": "0 8 * * *", "timeZone": "Mars/Olympus"}}, {}, "wakeSchedule.timeZone"),
    ({"idleAfter": "1d"}, {}, "idleAfter"),
]


@pytest.mark.parametrize(("lifecycle", "settings", "field"), INVALID)
def test_what_makes_no_sense_is_named_with_its_field(lifecycle: Json, settings: Json, field: str) -> None:
    response = Scene(scenes.user_swarm(lifecycle=lifecycle), Settings(**settings)).sync()
    assert response["status"]["phase"] == "Invalid"
    assert f"spec.lifecycle.{field}" in condition(response, "SpecValid")["message"]


def test_the_platform_says_what_a_spec_leaves_out() -> None:
    scene = scenes.verified(settings=Settings(lifecycle_spread=0, lifecycle_defaults=(("idleAfter", 600),)))
    assert step(scene)["resyncAfterSeconds"] == 600
    scene.parent["spec"]["lifecycle"] = {"idleAfter": "0s"}
    assert "lifecycle" not in scene.sync()["status"]


def test_a_call_is_asked_for_in_whole_seconds() -> None:
    scene = awake()
    scene.now += timedelta(seconds=0.4)
    assert scene.sync()["resyncAfterSeconds"] == math.ceil(1799.6)
