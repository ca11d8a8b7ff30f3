from typing import Any

import pytest

from devcluster.faults import Trouble
from fakes import NAMESPACE, Workloads, stateful_set

Json = dict[str, Any]
S = ("apps/v1", "StatefulSet", NAMESPACE, "s")


@pytest.fixture
def cluster() -> Workloads:
    return Workloads()


def change_image(cluster: Workloads, image: str) -> None:
    stored = cluster.get("StatefulSet", "s")
    stored["spec"]["template"]["spec"]["containers"][0]["image"] = image
    cluster.api.update(stored)


def images(cluster: Workloads) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in cluster.list("Pod")]


def test_a_new_set_gets_its_pod_and_counts_it(cluster: Workloads) -> None:
    cluster.api.create(stateful_set())
    cluster.clock.advance(0.01)
    status = cluster.get("StatefulSet", "s")["status"]
    revision = status["updateRevision"]
    assert status == {
        "replicas": 1,
        "availableReplicas": 0,
        "collisionCount": 0,
        "currentReplicas": 1,
        "updatedReplicas": 1,
        "currentRevision": revision,
        "updateRevision": revision,
        "observedGeneration": 1,
    }
    assert cluster.settle()
    status = cluster.get("StatefulSet", "s")["status"]
    assert (status["readyReplicas"], status["availableReplicas"]) == (1, 1)
    pod = cluster.get("Pod", "s-0")
    assert pod["metadata"]["labels"] == {
        "app": "s",
        "apps.kubernetes.io/pod-index": "0",
        "controller-revision-hash": revision,
        "statefulset.kubernetes.io/pod-name": "s-0",
    }
    assert revision.startswith("s-")
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("s-0", "s")
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"


def test_a_set_without_replicas_has_no_pod_and_leaves_zeros_out(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(replicas=0))
    assert cluster.settle()
    status = cluster.get("StatefulSet", "s")["status"]

    assert cluster.names("Pod") == []
    assert (status["replicas"], status["availableReplicas"]) == (0, 0)
    assert not status.keys() & {"readyReplicas", "currentReplicas", "updatedReplicas"}


def test_scaling_to_zero_and_back_ends_and_starts_the_pod(cluster: Workloads) -> None:
    cluster.api.create(stateful_set())
    cluster.settle()
    first = cluster.get("Pod", "s-0")["metadata"]["uid"]
    cluster.api.patch(*S, {"spec": {"replicas": 0}})
    cluster.clock.advance(0.1)
    assert "deletionTimestamp" in cluster.get("Pod", "s-0")["metadata"]
    assert cluster.get("StatefulSet", "s")["status"]["replicas"] == 1
    assert cluster.settle()
    assert cluster.names("Pod") == []
    assert cluster.get("StatefulSet", "s")["status"]["observedGeneration"] == 2
    cluster.api.patch(*S, {"spec": {"replicas": 1}})
    assert cluster.settle()
    assert cluster.get("Pod", "s-0")["metadata"]["uid"] != first


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_new_template_rolls_the_pod_once_the_old_one_is_really_gone(cluster: Workloads, policy: str) -> None:
    cluster.api.create(stateful_set(podManagementPolicy=policy))
    cluster.settle()
    old = cluster.get("StatefulSet", "s")["status"]["currentRevision"]
    change_image(cluster, "registry.example/app:2")
    cluster.clock.advance(0.1)
    status = cluster.get("StatefulSet", "s")["status"]
    assert images(cluster) == ["registry.example/app:1"]
    assert status["currentRevision"] == old != status["updateRevision"]
    assert not status.keys() & {"readyReplicas", "currentReplicas", "updatedReplicas"}
    cluster.clock.advance(1)
    status = cluster.get("StatefulSet", "s")["status"]
    assert images(cluster) == ["registry.example/app:2"]
    assert (status["updatedReplicas"], status["currentRevision"]) == (1, old)
    assert "readyReplicas" not in status
    assert cluster.settle()
    status = cluster.get("StatefulSet", "s")["status"]
    assert status["currentRevision"] == status["updateRevision"] != old
    assert (status["currentReplicas"], status["readyReplicas"]) == (1, 1)


def test_the_same_template_has_the_same_revision_again(cluster: Workloads) -> None:
    cluster.api.create(stateful_set())
    cluster.settle()
    first = cluster.get("StatefulSet", "s")["status"]["updateRevision"]
    change_image(cluster, "registry.example/app:2")
    cluster.settle()
    change_image(cluster, "registry.example/app:1")
    cluster.settle()

    assert cluster.get("StatefulSet", "s")["status"]["currentRevision"] == first


@pytest.mark.parametrize(("policy", "rolled"), [("OrderedReady", False), ("Parallel", True)])
def test_a_broken_pod_blocks_its_own_fix_where_pods_are_ordered(cluster: Workloads, policy: str, rolled: bool) -> None:
    cluster.faults.inject(
        Trouble.NEVER_READY, "s-0", selector=lambda pod: pod["spec"]["containers"][0]["image"].endswith(":1")
    )
    cluster.api.create(stateful_set(podManagementPolicy=policy))
    cluster.settle()
    change_image(cluster, "registry.example/app:2")
    assert cluster.settle()

    assert (images(cluster) == ["registry.example/app:2"]) is rolled
    assert ("readyReplicas" in cluster.get("StatefulSet", "s")["status"]) is rolled


def test_ordered_pods_come_one_after_the_other_and_go_from_the_end(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(replicas=3))
    cluster.clock.advance(1)
    assert cluster.names("Pod") == ["s-0"]
    cluster.settle()
    assert cluster.names("Pod") == ["s-0", "s-1", "s-2"]
    cluster.api.patch(*S, {"spec": {"replicas": 1}})
    cluster.clock.advance(0.5)
    assert ["deletionTimestamp" in pod["metadata"] for pod in cluster.list("Pod")] == [False, False, True]
    cluster.settle()
    assert cluster.names("Pod") == ["s-0"]


def test_parallel_pods_come_and_go_together(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(replicas=3, podManagementPolicy="Parallel"))
    cluster.clock.advance(0.1)
    assert cluster.names("Pod") == ["s-0", "s-1", "s-2"]
    cluster.settle()
    cluster.api.patch(*S, {"spec": {"replicas": 0}})
    cluster.clock.advance(0.1)
    assert all("deletionTimestamp" in pod["metadata"] for pod in cluster.list("Pod"))


def test_parallel_pods_are_rolled_one_by_one_from_the_end(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(replicas=2, podManagementPolicy="Parallel"))
    cluster.settle()
    change_image(cluster, "registry.example/app:2")
    cluster.clock.advance(2)
    assert images(cluster) == ["registry.example/app:1", "registry.example/app:2"]
    cluster.settle()
    assert images(cluster) == ["registry.example/app:2"] * 2


def test_a_partition_keeps_the_lower_ordinals_as_they_are(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(updateStrategy={"rollingUpdate": {"partition": 1}}))
    cluster.settle()
    change_image(cluster, "registry.example/app:2")
    cluster.settle()

    assert images(cluster) == ["registry.example/app:1"]


def test_on_delete_waits_for_somebody_to_delete_the_pod(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(updateStrategy={"type": "OnDelete"}))
    cluster.settle()
    change_image(cluster, "registry.example/app:2")
    cluster.settle()
    assert images(cluster) == ["registry.example/app:1"]
    cluster.api.delete("v1", "Pod", NAMESPACE, "s-0")
    cluster.settle()
    assert images(cluster) == ["registry.example/app:2"]


def test_a_pod_that_ended_is_replaced(cluster: Workloads) -> None:
    cluster.api.create(stateful_set())
    cluster.settle()
    pod = cluster.get("Pod", "s-0")
    pod["status"]["phase"] = "Failed"
    cluster.api.update_status(pod)
    assert cluster.settle()

    assert cluster.get("Pod", "s-0")["metadata"]["uid"] != pod["metadata"]["uid"]


def test_a_pod_that_cannot_be_made_is_told_and_made_once_it_can(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(pod_spec_changes={"serviceAccountName": "robot"}))
    cluster.clock.advance(1)
    assert cluster.names("Pod") == []
    assert any('FailedCreate: pods "s-0" is forbidden' in text for text in cluster.event_texts())
    assert cluster.get("StatefulSet", "s")["status"]["replicas"] == 0
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": NAMESPACE}}
    cluster.api.create(account)
    assert cluster.settle()
    cluster.clock.advance(10)
    assert cluster.names("Pod") == ["s-0"]


def test_what_violates_pod_security_fails_in_the_background(cluster: Workloads) -> None:
    cluster.api.create(stateful_set(pod_spec_changes={"hostNetwork": True}))

    assert cluster.settle()
    assert cluster.names("Pod") == []
    assert any("violates PodSecurity" in text for text in cluster.event_texts())


def test_a_deleted_sets_pods_go_after_it(cluster: Workloads) -> None:
    cluster.api.create(stateful_set())
    cluster.settle()
    cluster.api.delete(*S)
    cluster.clock.advance(0.5)
    assert cluster.names("StatefulSet") == []
    assert "deletionTimestamp" in cluster.get("Pod", "s-0")["metadata"]
    assert cluster.settle()
    assert cluster.names("Pod") == []


def test_a_new_set_of_the_same_name_waits_for_the_old_ones_pod(cluster: Workloads) -> None:
    cluster.faults.inject(Trouble.SLOW_TERMINATION, "s-0", seconds=5)
    cluster.api.create(stateful_set())
    cluster.settle()
    old = cluster.get("Pod", "s-0")["metadata"]["uid"]
    cluster.api.delete(*S)
    cluster.clock.advance(0.1)
    cluster.api.create(stateful_set())
    cluster.clock.advance(4)
    assert cluster.get("Pod", "s-0")["metadata"]["uid"] == old
    assert cluster.settle()
    assert cluster.get("Pod", "s-0")["metadata"]["uid"] != old


def test_a_set_that_is_going_makes_no_pods(cluster: Workloads) -> None:
    held = stateful_set()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.api.create(held)
    cluster.api.delete(*S)
    assert cluster.settle()

    assert cluster.names("Pod") == []
