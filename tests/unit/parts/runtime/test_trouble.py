"""What keeps a Pod from running, in the words of whoever has to repair it."""

from __future__ import annotations

import pytest

import scenes
from scenes import Json, condition
from userswarm.parts.runtime.trouble import REASONS, find_pod_trouble
from userswarm.wire.k8s import POD, STATEFUL_SET


def waiting(reason: str, message: str = "", **more: object) -> Json:
    state = {"reason": reason, "message": message} if message else {"reason": reason}
    return {"name": "runtime", "image": "registry.example/a:1", "state": {"waiting": state}, **more}


def ended(code: int, reason: str = "Error", message: str = "") -> Json:
    return {"exitCode": code, "reason": reason, "message": message}


def scheduled(status: str, reason: str, message: str = "") -> Json:
    return {"type": "PodScheduled", "status": status, "reason": reason, "message": message}


TABLE: dict[str, tuple[Json, str, str]] = {
    "no node fits": (
        {"conditions": [scheduled("False", "Unschedulable", "0/3 nodes are available: 3 Insufficient memory")]},
        "Unschedulable",
        "0/3 nodes are available: 3 Insufficient memory",
    ),
    "no node fits, unexplained": (
        {"conditions": [scheduled("False", "Unschedulable")]},
        "Unschedulable",
        "no node fits",
    ),
    "the image cannot be pulled": (
        {"containerStatuses": [waiting("ImagePullBackOff", "Back-off pulling image")]},
        "ImagePull",
        "container runtime cannot pull registry.example/a:1: Back-off pulling image",
    ),
    "the image is not there": (
        {"containerStatuses": [waiting("ErrImagePull")]},
        "ImagePull",
        "container runtime cannot pull registry.example/a:1: ErrImagePull",
    ),
    "the image of the init container": (
        {"initContainerStatuses": [waiting("InvalidImageName")], "containerStatuses": [waiting("PodInitializing")]},
        "ImagePull",
        "InvalidImageName",
    ),
    "a Secret is missing": (
        {"containerStatuses": [waiting("CreateContainerConfigError", 'secret "provider-keys" not found')]},
        "ConfigError",
        "container runtime cannot start: Secret provider-keys is missing",
    ),
    "another configuration error": (
        {"containerStatuses": [waiting("CreateContainerConfigError", "runAsNonRoot and image will run as root")]},
        "ConfigError",
        "runAsNonRoot and image will run as root",
    ),
    "a configuration error, unexplained": (
        {"containerStatuses": [waiting("RunContainerError")]},
        "ConfigError",
        "RunContainerError",
    ),
    "crashing": (
        {
            "containerStatuses": [
                waiting("CrashLoopBackOff", "back-off", restartCount=4, lastState={"terminated": ended(3)}, ready=False)
            ]
        },
        "CrashLoop",
        "container runtime has restarted 4 times, last exit code 3",
    ),
    "crashing, with a last word": (
        {"containerStatuses": [waiting("CrashLoopBackOff", lastState={"terminated": ended(1, message="no key\n")})]},
        "CrashLoop",
        "has restarted 0 times, last exit code 1: no key",
    ),
    "crashing with success": (
        {"containerStatuses": [waiting("CrashLoopBackOff", restartCount=2, lastState={"terminated": ended(0)})]},
        "CrashLoop",
        "last exit code 0",
    ),
    "crashing, nothing known": (
        {"containerStatuses": [waiting("CrashLoopBackOff", restartCount=2)]},
        "CrashLoop",
        "last exit code unknown",
    ),
    "starting again after a crash": (
        {
            "containerStatuses": [
                {"name": "runtime", "state": {"running": {}}, "ready": False, "lastState": {"terminated": ended(137)}}
            ]
        },
        "CrashLoop",
        "last exit code 137",
    ),
    "just crashed": (
        {"containerStatuses": [{"name": "runtime", "state": {"terminated": ended(2)}, "ready": False}]},
        "CrashLoop",
        "last exit code 2",
    ),
    "crashed once more": (
        {
            "containerStatuses": [
                {"name": "runtime", "state": {"terminated": ended(2)}, "lastState": {"terminated": ended(1)}}
            ]
        },
        "CrashLoop",
        "last exit code 2",
    ),
    "out of memory": (
        {
            "containerStatuses": [
                waiting("CrashLoopBackOff", restartCount=7, lastState={"terminated": ended(137, "OOMKilled")})
            ]
        },
        "OOMKilled",
        "has restarted 7 times, last exit code 137: it used more memory than its limit",
    ),
    "the bootstrap fails": (
        {
            "initContainerStatuses": [
                {"name": "bootstrap", "state": {"terminated": ended(1, message="cannot write")}, "restartCount": 1}
            ],
            "containerStatuses": [waiting("PodInitializing")],
        },
        "CrashLoop",
        "container bootstrap has restarted 1 times, last exit code 1: cannot write",
    ),
}

FINE: dict[str, Json] = {
    "nothing known": {},
    "nulls": {"conditions": None, "containerStatuses": None, "initContainerStatuses": None},
    "not scheduled yet": {"conditions": [scheduled("False", "SchedulingGated")]},
    "scheduled": {"conditions": [scheduled("True", "")]},
    "another condition": {"conditions": [{"type": "Ready", "status": "False", "reason": "Unschedulable"}]},
    "waiting for its claim": {
        "conditions": [scheduled("False", "Unschedulable", "pod has unbound immediate PersistentVolumeClaims.")]
    },
    "being made": {"containerStatuses": [waiting("ContainerCreating")]},
    "initialised": {
        "initContainerStatuses": [{"name": "bootstrap", "state": {"terminated": ended(0, "Completed")}, "ready": True}]
    },
    "running": {"containerStatuses": [{"name": "runtime", "state": {"running": {}}, "ready": False}]},
    "recovered from a crash": {
        "containerStatuses": [
            {"name": "runtime", "state": {"running": {}}, "ready": True, "lastState": {"terminated": ended(1)}}
        ]
    },
    "states that are null": {"containerStatuses": [{"name": "runtime", "state": None, "lastState": None}]},
}


@pytest.mark.parametrize("case", TABLE)
def test_trouble_is_named(case: str) -> None:
    status, reason, message = TABLE[case]
    trouble = find_pod_trouble({"status": status})
    assert trouble is not None
    assert trouble.reason == reason
    assert reason in REASONS
    assert message in trouble.message


@pytest.mark.parametrize("case", FINE)
def test_what_only_takes_time_is_no_trouble(case: str) -> None:
    assert find_pod_trouble({"status": FINE[case]}) is None


def test_a_pod_without_status_has_no_trouble() -> None:
    assert find_pod_trouble({}) is None


def test_the_reason_of_a_roll_out_that_does_not_come_on_is_the_pods() -> None:
    scene = scenes.ready()
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    scenes.pod_of(scene)["status"] = TABLE["a Secret is missing"][0]
    found = condition(scene.sync(), "WorkloadReady")
    assert found["reason"] == "ConfigError"
    assert found["message"] == (
        "Pod userswarms/swarm-workspace-a-0: container runtime cannot start: Secret provider-keys is missing"
    )


@pytest.mark.parametrize("seen", ["no Pod looked up", "no Pod there", "a Pod without trouble"])
def test_without_a_pod_to_blame_the_roll_out_is_in_progress(seen: str) -> None:
    scene = scenes.verified()
    scene.child(STATEFUL_SET)["status"]["readyReplicas"] = 0
    if seen == "no Pod there":
        scene.look_up(POD)
    elif seen == "a Pod without trouble":
        scenes.pod_of(scene)
    found = condition(scene.sync(), "WorkloadReady")
    assert found["reason"] == "RolloutInProgress"
    assert found["message"].startswith("StatefulSet userswarms/swarm-workspace-a: its one Pod is not ready yet")


def test_the_trouble_of_a_pod_that_is_ready_enough_is_no_trouble() -> None:
    scene = scenes.verified()
    scenes.pod_of(scene)["status"] = TABLE["crashing"][0]
    assert scene.sync()["status"]["verified"] is True
