"""What users were promised, each as one short story on the dev cluster."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.faults import Trouble
from devcluster.metacontroller import SERVER_SIDE_APPLY
from stories import CLAIM, NAME, NAMESPACE, condition, created, pod_uid, status, writes_while
from userswarm.cli.demo.cluster import Cluster


def count_requests(cluster: Cluster) -> int:
    """How often the swarm's Service was asked."""
    return len(cluster.traffic.requests)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {
            "runtime": {
                "resources": {
                    "requests": {"cpu": "0.5", "memory": "1024Mi"},
                    "limits": {"cpu": "1000m", "memory": "1.5Gi"},
                }
            }
        },
        {"runtime": {"resources": {"limits": {"cpu": 2, "memory": "1e9"}}}, "storage": {"size": "0.5Ti"}},
        {"placement": {"nodeSelector": {}, "tolerations": []}, "config": {"agents": {}, "files": {}}},
        {"placement": {"tolerations": [{"key": "", "operator": "Exists", "value": ""}]}},
        {"config": {"defaultTemperature": 1.0}, "runtime": {"env": [{"name": "EMPTY", "value": ""}], "args": []}},
        {"storage": {"storageClassName": "", "retainPolicy": "Retain"}},
    ],
)
def test_a_settled_swarm_costs_no_write_however_its_spec_is_spelled(spec: dict[str, Any]) -> None:
    cluster = created(**spec)
    assert status(cluster)["verified"] is True, condition(cluster, "Ready")
    before = len(cluster.api.writes)

    for _ in range(100):
        cluster.metacontroller.resync()
        cluster.settle()

    assert [str(write) for write in cluster.api.writes[before:]] == []


def test_a_create_costs_no_more_round_trips_than_it_must() -> None:
    cluster = created()
    of_us = [write for write in cluster.api.writes if write.actor == "metacontroller"]

    assert cluster.metacontroller.calls["sync"] <= 5
    assert sum(write.verb == "update_status" for write in of_us) == 2
    # The finalizer and six children.
    assert sum(write.verb != "update_status" for write in of_us) == 7
    assert count_requests(cluster) == 1
    assert cluster.gatherer.reads == {}


def test_a_broken_spec_touches_no_child_and_the_next_good_one_heals_it() -> None:
    cluster = created()
    pod = pod_uid(cluster)
    broken = {"config": {"tomlOverrides": "a = = b"}, "placement": {"priorityClassName": "system-node-critical"}}

    assert writes_while(cluster, lambda: cluster.edit(NAME, {"spec": broken})) == []
    assert status(cluster)["phase"] == "Invalid"
    assert status(cluster)["verified"] is False
    message = condition(cluster, "SpecValid")["message"]
    assert "spec.config.tomlOverrides" in message
    assert "spec.placement.priorityClassName" in message
    assert pod_uid(cluster) == pod

    good = {"config": {"tomlOverrides": "a = 1"}, "placement": {"priorityClassName": None}}
    cluster.edit(NAME, {"spec": good})
    cluster.settle()
    assert status(cluster)["verified"] is True
    assert pod_uid(cluster) != pod


def test_labels_and_annotations_of_the_swarm_roll_nothing_and_test_nothing() -> None:
    cluster = created()
    asked = count_requests(cluster)
    change = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b", "crawbl.ai/retry-verification": "1"}}}

    assert writes_while(cluster, lambda: cluster.edit(NAME, change)) == []
    assert count_requests(cluster) == asked
    assert status(cluster)["verified"] is True


def test_a_configuration_that_crashes_is_repaired_by_the_next_one() -> None:
    cluster = created()
    fault = cluster.faults.inject(Trouble.CRASH_LOOP, "*", exit_code=3)
    cluster.edit(NAME, {"spec": {"config": {"defaultModel": "broken"}}})
    cluster.run(900)
    assert status(cluster)["phase"] == "Failed"
    assert condition(cluster, "Ready")["reason"] == "CrashLoop"
    assert "exit code 3" in condition(cluster, "Ready")["message"]

    cluster.faults.clear(fault)
    cluster.edit(NAME, {"spec": {"config": {"defaultModel": "mended"}}})
    cluster.run(60)

    assert status(cluster)["verified"] is True


@pytest.mark.parametrize(
    ("health", "told"), [("500", "status 500, not 200"), ("degraded", '"degraded", not "ok"'), ("hang", "no answer")]
)
def test_a_runtime_that_keeps_answering_badly_is_failed_and_asked_again_when_wanted(health: str, told: str) -> None:
    cluster = Cluster()
    fault = cluster.faults.inject(Trouble.UNHEALTHY, message=health)
    created(cluster=cluster, verification={"maxAttempts": 2})
    cluster.run(900)
    assert status(cluster)["phase"] == "Failed"
    assert condition(cluster, "Ready")["reason"] == "SmokeTestFailed"
    assert told in condition(cluster, "Ready")["message"]
    assert count_requests(cluster) == 2

    cluster.faults.clear(fault)
    cluster.edit(NAME, {"metadata": {"annotations": {"crawbl.ai/retry-verification": "now"}}})
    cluster.run(60)

    assert status(cluster)["verified"] is True


def test_a_kept_volume_is_used_again_by_its_user_and_refused_to_another() -> None:
    cluster = created(storage={"retainPolicy": "Retain"})
    claim = cluster.api.get("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM)["metadata"]["uid"]
    cluster.delete(NAME)
    cluster.settle()
    kept = cluster.api.get("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM)["metadata"]
    assert kept["uid"] == claim
    assert "ownerReferences" not in kept

    created(cluster=cluster)
    cluster.run(60)
    assert status(cluster)["verified"] is True
    assert condition(cluster, "StorageReady")["reason"] == "ClaimRetained"
    cluster.delete(NAME)
    cluster.settle()
    assert cluster.api.get("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM)["metadata"]["uid"] == claim

    created(cluster=cluster, userId="user-2")
    cluster.run(60)
    assert condition(cluster, "Ready")["reason"] == "NameConflict"
    assert pod_uid(cluster) is None


def test_a_teardown_is_one_round_and_ends_when_all_is_gone() -> None:
    cluster = created()
    cluster.faults.inject(Trouble.SLOW_TERMINATION, "*", seconds=20)
    before = len(cluster.api.writes)
    cluster.delete(NAME)
    cluster.settle()

    written = [each for each in cluster.api.writes[before:] if each.actor == "metacontroller"]
    deleted = [each for each in written if each.verb == "delete"]
    assert len(deleted) == 6
    assert len({each.at for each in deleted}) == 1
    # The finalizer comes off only when the Pod, and the volume that it used, are gone.
    assert written[-1].kind == "UserSwarm"
    assert written[-1].at - deleted[0].at >= 20
    assert cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is None
    assert cluster.api.peek("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM) is None


def test_under_server_side_apply_a_volume_that_is_to_be_kept_holds_the_deletion_and_says_why() -> None:
    cluster = created(cluster=Cluster(apply_strategy=SERVER_SIDE_APPLY), storage={"retainPolicy": "Retain"})
    assert status(cluster)["verified"] is True
    cluster.delete(NAME)
    cluster.run(120)
    assert status(cluster)["phase"] == "Deleting"
    assert "ownerReference" in condition(cluster, "Ready")["message"]

    cluster.api.patch("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM, {"metadata": {"ownerReferences": None}})
    cluster.run(60)

    assert cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is None
    assert cluster.api.peek("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM) is not None


def test_a_volume_that_somebody_grew_while_the_spec_was_broken_is_neither_shrunk_nor_stuck() -> None:
    cluster = created(storage={"retainPolicy": "Retain"})
    cluster.edit(NAME, {"spec": {"config": {"tomlOverrides": "= broken"}}})
    cluster.settle()
    grown = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    cluster.api.patch("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM, grown)
    cluster.run(60)
    assert cluster.metacontroller.sync_errors == 0
    assert writes_while(cluster, cluster.metacontroller.resync) == []

    cluster.delete(NAME)
    cluster.run(60)
    assert cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is None
    assert cluster.api.get("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM)["spec"]["resources"] == {
        "requests": {"storage": "3Gi"}
    }
