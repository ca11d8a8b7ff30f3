from typing import Any

import pytest

from devcluster.faults import Faults, Trouble
from devcluster.objects import condition
from fakes import (
    NAMESPACE,
    Workloads,
    claim,
    config_map,
    mounting,
    pod,
    secret,
    service,
    stateful_set,
)

Json = dict[str, Any]
P = ("v1", "Pod", NAMESPACE, "p")
INIT = {
    "initContainers": [
        {
            "name": "init",
            "image": "i:1",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ]
}


@pytest.fixture
def cluster() -> Workloads:
    return Workloads()


def state(cluster: Workloads, name: str = "p", field: str = "containerStatuses") -> Json:
    return cluster.get("Pod", name)["status"][field][0]


def is_ready(cluster: Workloads, name: str = "p") -> bool:
    return condition(cluster.get("Pod", name), "Ready").get("status") == "True"


# A pod's way


def test_a_pod_is_scheduled_prepared_started_and_then_ready(cluster: Workloads) -> None:
    cluster.api.create(pod())
    stages = []
    for _ in range(4):
        cluster.clock.advance_to_next()
        found = cluster.get("Pod", "p")
        states = found["status"].get("containerStatuses", [{"state": {}}])
        stages.append((found["status"]["phase"], *states[0]["state"], is_ready(cluster)))

    assert stages == [
        ("Pending", False),
        ("Pending", "waiting", False),
        ("Running", "running", False),
        ("Running", "running", True),
    ]
    found = cluster.get("Pod", "p")
    assert found["spec"]["nodeName"] == "node-1"
    assert found["metadata"]["generation"] == 1
    assert found["status"]["podIP"] == found["status"]["podIPs"][0]["ip"]
    assert [each["type"] for each in found["status"]["conditions"]] == [
        "PodScheduled",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodReadyToStartContainers",
    ]
    assert all(each["lastProbeTime"] is None for each in found["status"]["conditions"])
    assert condition(found, "Ready").keys() == {"type", "status", "lastProbeTime", "lastTransitionTime"}


def test_what_is_not_ready_says_which_containers_are_not(cluster: Workloads) -> None:
    cluster.api.create(pod())
    cluster.clock.advance(1.5)
    ready = condition(cluster.get("Pod", "p"), "Ready")

    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [main]")


def test_init_containers_run_one_after_the_other_before_the_others(cluster: Workloads) -> None:
    second = {**INIT["initContainers"][0], "name": "second"}
    cluster.api.create(pod(initContainers=[*INIT["initContainers"], second]))
    cluster.clock.advance(1.2)
    found = cluster.get("Pod", "p")["status"]
    assert [next(iter(each["state"])) for each in found["initContainerStatuses"]] == ["running", "waiting"]
    assert found["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    initialized = condition({"status": found}, "Initialized")
    assert initialized["message"] == "containers with incomplete status: [init second]"
    assert cluster.settle()
    found = cluster.get("Pod", "p")["status"]
    assert [each["state"]["terminated"]["reason"] for each in found["initContainerStatuses"]] == ["Completed"] * 2
    assert is_ready(cluster)


def test_a_deleted_pod_is_visible_until_its_containers_have_ended(cluster: Workloads) -> None:
    cluster.api.create(pod())
    cluster.settle()
    cluster.api.delete(*P)
    cluster.clock.advance(0.9)
    assert "deletionTimestamp" in cluster.get("Pod", "p")["metadata"]
    cluster.api.patch(*P, {"metadata": {"labels": {"x": "y"}}})
    cluster.faults.inject(Trouble.CRASH_LOOP)
    cluster.clock.advance(0.2)
    assert cluster.names("Pod") == []


def test_a_short_grace_ends_a_pod_sooner(cluster: Workloads) -> None:
    cluster.api.create(pod(terminationGracePeriodSeconds=0))
    cluster.settle()
    cluster.api.delete(*P)

    assert cluster.settle()
    assert cluster.names("Pod") == []


@pytest.mark.parametrize(("seconds", "takes"), [(None, 30), (7, 7)])
def test_a_slow_pod_takes_its_grace_or_what_it_is_told(cluster: Workloads, seconds: float | None, takes: float) -> None:
    cluster.faults.inject(Trouble.SLOW_TERMINATION, "p", seconds=seconds)
    cluster.api.create(pod())
    cluster.settle()
    cluster.api.delete(*P)
    cluster.clock.advance(takes - 0.1)
    assert cluster.names("Pod") == ["p"]
    cluster.clock.advance(0.2)
    assert cluster.names("Pod") == []


def test_a_pod_deleted_on_its_way_does_not_go_on(cluster: Workloads) -> None:
    cluster.api.create(pod())
    cluster.clock.advance(0.2)
    cluster.api.delete(*P)
    assert cluster.settle()
    assert cluster.names("Pod") == []
    cluster.api.create(pod())
    cluster.clock.advance(0.05)
    cluster.api.delete(*P)
    assert cluster.settle()
    assert cluster.names("Pod") == []


# Trouble


def test_never_ready_runs_but_is_not_ready_until_it_is_taken_back(cluster: Workloads) -> None:
    fault = cluster.faults.inject(Trouble.NEVER_READY, "zoo/p")
    cluster.api.create(pod())
    assert cluster.settle()
    assert "running" in state(cluster)["state"]
    assert not is_ready(cluster)
    cluster.faults.clear(fault)
    assert cluster.settle()
    assert is_ready(cluster)
    cluster.faults.inject(Trouble.NEVER_READY, "p")
    assert cluster.settle()
    assert not is_ready(cluster)


def test_a_blip_of_readiness_passes(cluster: Workloads) -> None:
    cluster.api.create(pod())
    cluster.kubelet.blip(NAMESPACE, "p", 5)
    assert cluster.settle()
    cluster.kubelet.blip(NAMESPACE, "p", 5)
    assert not is_ready(cluster)
    cluster.clock.advance(4.9)
    assert not is_ready(cluster)
    cluster.clock.advance(0.2)
    assert is_ready(cluster)


def test_a_crash_loop_counts_its_restarts_and_says_how_it_ended(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.CRASH_LOOP, exit_code=137, reason="OOMKilled")
    cluster.api.create(pod())
    assert cluster.settle()
    found = state(cluster)
    assert found["restartCount"] == 1
    assert found["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert found["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=p_zoo(")
    last = found["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "OOMKilled")
    assert "message" not in last
    assert cluster.get("Pod", "p")["status"]["phase"] == "Running"
    cluster.clock.advance(13)
    assert state(cluster)["restartCount"] == 2
    cluster.clock.advance(3600)
    assert "back-off 5m0s" in state(cluster)["state"]["waiting"]["message"]
    cluster.faults.clear(Trouble.CRASH_LOOP)
    assert cluster.settle()
    assert is_ready(cluster)
    assert state(cluster)["restartCount"] > 5
    assert state(cluster)["lastState"]["terminated"]["exitCode"] == 137


def test_a_pod_that_ran_well_may_begin_to_crash(cluster: Workloads) -> None:
    cluster.api.create(pod())
    cluster.settle()
    cluster.faults.inject(Trouble.CRASH_LOOP, message="out of luck")
    assert cluster.settle()
    assert not is_ready(cluster)
    cluster.faults.inject(Trouble.NEVER_READY, "other")
    assert state(cluster)["restartCount"] == 1


@pytest.mark.parametrize(("policy", "message"), [("File", None), ("FallbackToLogsOnError", "out of luck")])
def test_last_words_are_kept_where_the_container_asks_for_it(
    cluster: Workloads, policy: str, message: str | None
) -> None:
    cluster.faults.inject(Trouble.CRASH_LOOP, message="out of luck")
    cluster.api.create(pod(container={"terminationMessagePolicy": policy}))
    assert cluster.settle()

    assert state(cluster)["lastState"]["terminated"].get("message") == message


def test_a_failing_init_container_keeps_the_pod_from_starting(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.INIT_FAILURE, exit_code=3, message="bad config")
    cluster.api.create(pod(**INIT))
    assert cluster.settle()
    found = state(cluster, field="initContainerStatuses")
    assert found["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert found["lastState"]["terminated"]["exitCode"] == 3
    assert cluster.get("Pod", "p")["status"]["phase"] == "Pending"
    assert condition(cluster.get("Pod", "p"), "Initialized")["reason"] == "ContainersNotInitialized"
    cluster.faults.clear()
    assert cluster.settle()
    assert is_ready(cluster)


def test_a_failing_init_container_fails_a_pod_that_does_not_restart(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.INIT_FAILURE)
    cluster.api.create(pod(restartPolicy="Never", **INIT))
    assert cluster.settle()

    assert cluster.get("Pod", "p")["status"]["phase"] == "Failed"
    cluster.faults.clear()
    assert cluster.settle()
    assert cluster.get("Pod", "p")["status"]["phase"] == "Failed"


@pytest.mark.parametrize(("spec", "field"), [({}, "containerStatuses"), (INIT, "initContainerStatuses")])
def test_an_image_that_cannot_be_pulled_is_named(cluster: Workloads, spec: Json, field: str) -> None:
    cluster.faults.inject(Trouble.IMAGE_PULL)
    cluster.api.create(pod(**spec))
    assert cluster.settle()
    found = state(cluster, field=field)
    assert found["state"]["waiting"] == {
        "reason": "ImagePullBackOff",
        "message": f'Back-off pulling image "{found["image"]}"',
    }
    assert cluster.get("Pod", "p")["status"]["phase"] == "Pending"
    cluster.faults.clear()
    assert cluster.settle()
    assert is_ready(cluster)


def test_an_unschedulable_pod_says_why(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.UNSCHEDULABLE, message="1 node(s) had untolerated taint")
    cluster.api.create(pod())
    assert cluster.settle()
    scheduled = condition(cluster.get("Pod", "p"), "PodScheduled")
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert scheduled["message"] == "0/1 nodes are available: 1 node(s) had untolerated taint"
    cluster.faults.clear()
    cluster.faults.inject(Trouble.UNSCHEDULABLE)
    assert cluster.settle()
    assert "1 Insufficient memory." in condition(cluster.get("Pod", "p"), "PodScheduled")["message"]
    cluster.faults.clear()
    assert cluster.settle()
    assert is_ready(cluster)


MISSING: dict[str, tuple[Json, str]] = {
    "a secret of envFrom": ({"envFrom": [{"secretRef": {"name": "x"}}]}, 'secret "x" not found'),
    "a config map of envFrom": ({"envFrom": [{"configMapRef": {"name": "x"}}]}, 'configmap "x" not found'),
    "a secret of a variable": (
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]},
        'secret "x" not found',
    ),
    "a key of a config map": (
        {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "there", "key": "z"}}}]},
        "couldn't find key z in ConfigMap zoo/there",
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_the_environment_lacks_is_named_until_it_appears(cluster: Workloads, name: str) -> None:
    container, words = MISSING[name]
    cluster.api.create(config_map("there"))
    cluster.api.create(pod(container=container))
    assert cluster.settle()
    assert state(cluster)["state"]["waiting"] == {"reason": "CreateContainerConfigError", "message": words}
    cluster.api.create(secret("x", k="v"))
    cluster.api.create(config_map("x"))
    cluster.api.patch("v1", "ConfigMap", NAMESPACE, "there", {"data": {"z": "v"}})
    assert cluster.settle()
    assert is_ready(cluster)


def test_what_is_optional_may_be_missing(cluster: Workloads) -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "x", "optional": True}}],
        "env": [
            {"name": "A", "value": "plain"},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k", "optional": True}}},
        ],
    }
    volumes = [{"name": "v", "secret": {"secretName": "x", "optional": True}}, {"name": "t", "emptyDir": {}}]
    cluster.api.create(pod(container=container, volumes=volumes))
    assert cluster.settle()
    assert is_ready(cluster)


VOLUMES: dict[str, tuple[Json, str]] = {
    "a config map": ({"configMap": {"name": "x"}}, 'configmap "x" not found'),
    "a secret": ({"secret": {"secretName": "x"}}, 'secret "x" not found'),
    "a projected secret": ({"projected": {"sources": [{"secret": {"name": "x"}}]}}, 'secret "x" not found'),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_volume_that_lacks_something_is_told_by_an_event_until_it_appears(cluster: Workloads, name: str) -> None:
    volume, words = VOLUMES[name]
    cluster.api.create(pod(volumes=[{"name": "v", **volume}]))
    assert cluster.settle()
    assert state(cluster)["state"]["waiting"]["reason"] == "ContainerCreating"
    assert f'FailedMount: MountVolume.SetUp failed for volume "v" : {words}' in cluster.event_texts()
    cluster.api.create(secret("x", k="v"))
    cluster.api.create(config_map("x"))
    assert cluster.settle()
    assert is_ready(cluster)


def test_a_pod_that_goes_while_it_waits_is_no_trouble_for_what_appears_later(cluster: Workloads) -> None:
    cluster.api.create(pod(container={"envFrom": [{"secretRef": {"name": "x"}}]}))
    assert cluster.settle()
    cluster.api.delete(*P)
    assert cluster.settle()
    cluster.api.create(secret("x", k="v"))
    assert cluster.settle()
    assert cluster.names("Pod") == []


def test_a_pod_on_its_way_again_is_not_disturbed_by_what_appears(cluster: Workloads) -> None:
    cluster.api.create(pod(container={"envFrom": [{"secretRef": {"name": "x"}}, {"configMapRef": {"name": "x"}}]}))
    assert cluster.settle()
    cluster.api.create(secret("x", k="v"))
    cluster.api.create(config_map("x"))
    assert cluster.settle()
    assert is_ready(cluster)


# Claims


def test_a_pod_waits_for_its_claim(cluster: Workloads) -> None:
    cluster.api.create(pod(**mounting("d")))
    assert cluster.settle()
    assert 'persistentvolumeclaim "d" not found' in condition(cluster.get("Pod", "p"), "PodScheduled")["message"]
    cluster.api.create(claim())
    cluster.clock.advance(0.1)
    assert "unbound immediate" in condition(cluster.get("Pod", "p"), "PodScheduled")["message"]
    assert cluster.settle()
    assert is_ready(cluster)


def test_a_pod_does_not_start_with_a_claim_that_goes(cluster: Workloads) -> None:
    held = claim()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.api.create(held)
    cluster.api.delete("v1", "PersistentVolumeClaim", NAMESPACE, "d")
    cluster.api.create(pod(**mounting("d")))
    assert cluster.settle()

    assert '"d" is being deleted' in condition(cluster.get("Pod", "p"), "PodScheduled")["message"]


def test_a_claim_that_waits_for_its_first_consumer_is_bound_for_a_pod(cluster: Workloads) -> None:
    cluster.api.create(claim(storageClassName="first-consumer"))
    assert cluster.settle()
    assert cluster.get("PersistentVolumeClaim", "d")["status"] == {"phase": "Pending"}
    cluster.api.create(pod(**mounting("d")))
    cluster.clock.advance(0.2)
    assert condition(cluster.get("Pod", "p"), "PodScheduled") == {}
    assert cluster.settle()
    found = cluster.get("PersistentVolumeClaim", "d")
    assert found["status"]["phase"] == "Bound"
    assert found["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "node-1"
    assert is_ready(cluster)


# Faults


def test_the_fault_injected_last_wins_and_can_be_taken_back_one_by_one() -> None:
    faults = Faults()
    told: list[int] = []
    faults.listeners.append(lambda: told.append(1))
    target = pod()
    first = faults.inject(Trouble.CRASH_LOOP, "p*", exit_code=1)
    second = faults.inject(Trouble.CRASH_LOOP, "zoo/*", exit_code=2)
    faults.inject(Trouble.CRASH_LOOP, "other", exit_code=3)
    faults.inject(Trouble.IMAGE_PULL, selector=lambda obj: False)

    assert faults.find(Trouble.CRASH_LOOP, target) is second
    assert faults.find(Trouble.IMAGE_PULL, target) is None
    faults.clear(second)
    assert faults.find(Trouble.CRASH_LOOP, target) is first
    faults.clear(Trouble.CRASH_LOOP)
    assert faults.find(Trouble.CRASH_LOOP, target) is None
    faults.clear()
    assert len(told) == 7


def test_events_are_counted_instead_of_repeated_and_lost_where_they_cannot_be_written(cluster: Workloads) -> None:
    for _ in range(2):
        cluster.api.create(pod(volumes=[{"name": "v", "secret": {"secretName": "x"}}]))
        assert cluster.settle()
        cluster.faults.inject(Trouble.NEVER_READY, "nobody")
        assert cluster.settle()
        cluster.api.delete(*P)
        cluster.settle()
    events = [event for event in cluster.api.list("v1", "Event") if event["reason"] == "FailedMount"]
    assert [event["count"] for event in events] == [2, 2]
    assert events[0]["involvedObject"]["namespace"] == NAMESPACE
    cluster.api.create(pod(volumes=[{"name": "v", "secret": {"secretName": "x"}}]))
    cluster.clock.advance(0.2)
    cluster.api.delete("v1", "Namespace", None, NAMESPACE)
    assert cluster.settle()
    assert cluster.api.peek("v1", "Namespace", None, NAMESPACE) is None


# Services


def slice_of(cluster: Workloads, name: str = "s") -> Json:
    found = cluster.api.list("discovery.k8s.io/v1", "EndpointSlice", NAMESPACE, {"kubernetes.io/service-name": name})
    assert len(found) == 1
    return found[0]


def test_a_service_has_a_slice_of_the_pods_it_selects(cluster: Workloads) -> None:
    cluster.api.create(service())
    assert cluster.settle()
    empty = slice_of(cluster)
    assert (empty["endpoints"], empty["ports"]) == (None, None)
    assert empty["metadata"]["name"].startswith("s-")
    assert empty["metadata"]["ownerReferences"][0]["kind"] == "Service"
    cluster.api.create(stateful_set())
    cluster.clock.advance(1.5)
    found = slice_of(cluster)
    assert found["endpoints"][0]["conditions"] == {"ready": False, "serving": False, "terminating": False}
    assert cluster.settle()
    found = slice_of(cluster)
    running = cluster.get("Pod", "s-0")
    assert found["endpoints"] == [
        {
            "addresses": [running["status"]["podIP"]],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "node-1",
            "targetRef": {
                "kind": "Pod",
                "name": "s-0",
                "namespace": NAMESPACE,
                "uid": running["metadata"]["uid"],
            },
            "zone": "zone-a",
        }
    ]
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    cluster.api.delete("v1", "Pod", NAMESPACE, "s-0")
    cluster.clock.advance(0.1)
    assert slice_of(cluster)["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}


def test_a_headless_service_may_publish_what_is_not_ready(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.NEVER_READY)
    cluster.api.create(service(clusterIP="None", publishNotReadyAddresses=True))
    cluster.api.create(stateful_set())
    assert cluster.settle()
    found = slice_of(cluster)

    assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert found["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}
    assert found["endpoints"][0]["hostname"] == "s-0"


def test_a_slice_follows_labels_ports_and_the_selector(cluster: Workloads) -> None:
    cluster.api.create(service())
    cluster.api.create(stateful_set())
    assert cluster.settle()
    s = ("v1", "Service", NAMESPACE, "s")
    cluster.api.patch(*s, {"metadata": {"labels": {"l": "1"}}, "spec": {"ports": [{"port": 80, "targetPort": 9}]}})
    assert cluster.settle()
    assert slice_of(cluster)["metadata"]["labels"]["l"] == "1"
    assert slice_of(cluster)["ports"] == [{"port": 9, "protocol": "TCP"}]
    cluster.api.patch(*s, {"spec": {"ports": [{"port": 80, "targetPort": "nothing"}]}})
    assert cluster.settle()
    assert slice_of(cluster)["ports"] == [{"protocol": "TCP"}]
    cluster.api.patch(*s, {"spec": {"selector": {"app": "other"}}})
    assert cluster.settle()
    assert slice_of(cluster)["endpoints"] is None


def test_a_pod_that_leaves_the_selector_leaves_the_slice(cluster: Workloads) -> None:
    cluster.api.create(service())
    cluster.api.create(stateful_set())
    assert cluster.settle()
    cluster.api.patch("v1", "Pod", NAMESPACE, "s-0", {"metadata": {"labels": {"app": "x"}}})
    assert cluster.settle()

    assert slice_of(cluster)["endpoints"] is None


def test_a_slice_that_somebody_deletes_comes_back_and_goes_with_its_service(cluster: Workloads) -> None:
    cluster.api.create(service())
    assert cluster.settle()
    first = slice_of(cluster)["metadata"]["name"]
    cluster.api.delete("discovery.k8s.io/v1", "EndpointSlice", NAMESPACE, first)
    assert cluster.settle()
    assert slice_of(cluster)["metadata"]["name"] != first
    cluster.api.delete("v1", "Service", NAMESPACE, "s")
    assert cluster.settle()
    assert cluster.names("EndpointSlice") == []


def test_a_service_without_a_selector_has_no_slice(cluster: Workloads) -> None:
    cluster.api.create(service(selector={}))
    assert cluster.settle()

    assert cluster.names("EndpointSlice") == []


def test_a_pod_that_ended_is_not_behind_a_service(cluster: Workloads) -> None:
    cluster.api.create(service("p"))
    cluster.api.create(pod(restartPolicy="Never"))
    assert cluster.settle()

    assert cluster.get("Pod", "p")["status"]["phase"] == "Succeeded"
    assert slice_of(cluster, "p")["endpoints"] is None
