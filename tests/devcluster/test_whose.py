"""Whose an object under our names may be: an earlier life's, somebody else's, or one that nobody may look at."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.faults import Trouble
from stories import CLAIM, NAME, NAMESPACE, SWARM, Access, ask, condition, created, pod_uid, status, writes_while
from userswarm.cli.demo.cluster import Cluster


def deletions(cluster: Cluster, since: int) -> list[tuple[str, float]]:
    """Return what Metacontroller deleted, and when."""
    return [
        (write.kind, write.at)
        for write in cluster.api.writes[since:]
        if write.actor == "metacontroller" and write.verb == "delete"
    ]


def test_a_volume_that_is_kept_is_released_in_the_answer_that_removes_all_else() -> None:
    cluster = created(storage={"retainPolicy": "Retain"})
    before = len(cluster.api.writes)
    cluster.delete(NAME)
    cluster.settle()

    deleted = deletions(cluster, before)
    assert sorted(kind for kind, _ in deleted) == ["ConfigMap", "Service", "Service", "ServiceAccount", "StatefulSet"]
    (released,) = (
        write.at
        for write in cluster.api.writes[before:]
        if write.actor == "metacontroller" and write.kind == "PersistentVolumeClaim"
    )
    assert {at for _, at in deleted} == {released}


@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_swarm_made_anew_while_its_earlier_life_still_goes_waits_without_an_error(policy: str) -> None:
    cluster = created(storage={"retainPolicy": policy})
    earlier = pod_uid(cluster)
    cluster.faults.inject(Trouble.SLOW_TERMINATION, "*", seconds=20)
    cluster.delete(NAME)
    cluster.run(0.05)
    if cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is not None:
        # Whoever takes the finalizer off by hand does not wait for the volume.
        cluster.edit(NAME, {"metadata": {"finalizers": None}})
    ask(cluster, storage={"retainPolicy": policy})
    cluster.run(19)
    assert pod_uid(cluster) == earlier
    assert cluster.api.peek("apps/v1", "StatefulSet", NAMESPACE, SWARM) is None
    cluster.run(90)

    assert status(cluster)["verified"] is True, condition(cluster, "Ready")
    assert cluster.metacontroller.sync_errors == 0


FOREIGN: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "account": ("v1", "ServiceAccount", SWARM, {}),
    "configuration": ("v1", "ConfigMap", f"{SWARM}-config", {}),
    "claim": (
        "v1",
        "PersistentVolumeClaim",
        CLAIM,
        {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}},
    ),
    "service": ("v1", "Service", SWARM, {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}),
    "headless service": (
        "v1",
        "Service",
        f"{SWARM}-headless",
        {"spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}},
    ),
    "StatefulSet": (
        "apps/v1",
        "StatefulSet",
        SWARM,
        {
            "spec": {
                "replicas": 0,
                "serviceName": "theirs",
                "selector": {"matchLabels": {"app": "theirs"}},
                "template": {
                    "metadata": {"labels": {"app": "theirs"}},
                    "spec": {"containers": [{"name": "main", "image": "theirs"}]},
                },
            }
        },
    ),
}


def occupied(cluster: Cluster, what: str) -> Any:
    """Let somebody else have one of the names that the swarm is going to need; return the object."""
    api_version, kind, name, content = FOREIGN[what]
    metadata = {"name": name, "namespace": NAMESPACE}
    return cluster.api.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, **content})


@pytest.mark.parametrize("what", FOREIGN)
def test_an_object_of_somebody_else_under_our_name_is_told_after_15_s_and_never_touched(what: str) -> None:
    cluster = Cluster()
    theirs = occupied(cluster, what)
    cluster.settle()
    theirs = cluster.api.get(theirs["apiVersion"], theirs["kind"], NAMESPACE, theirs["metadata"]["name"])
    created(cluster=cluster)
    cluster.run(16)

    assert condition(cluster, "Ready")["reason"] == "NameConflict"
    assert theirs["metadata"]["name"] in condition(cluster, "Ready")["message"]
    assert cluster.api.get(theirs["apiVersion"], theirs["kind"], NAMESPACE, theirs["metadata"]["name"]) == theirs
    assert cluster.metacontroller.sync_errors == 0
    if what == "claim":
        assert pod_uid(cluster) is None

    cluster.api.delete(theirs["apiVersion"], theirs["kind"], NAMESPACE, theirs["metadata"]["name"])
    cluster.run(300)
    assert status(cluster)["verified"] is True, condition(cluster, "Ready")


def blind() -> Cluster:
    """A cluster whose webhook may read nothing, but reach its swarms."""
    cluster = Cluster()
    cluster.gatherer = Access(cluster)
    cluster.gatherer.objects = False
    return cluster


def test_a_webhook_that_may_read_nothing_brings_up_and_takes_down_a_swarm_all_the_same() -> None:
    cluster = created(cluster=blind())
    assert status(cluster)["verified"] is True
    cluster.delete(NAME)
    cluster.settle()
    assert cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is None
    assert cluster.api.peek("v1", "PersistentVolumeClaim", NAMESPACE, CLAIM) is None


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "foreign"])
def test_a_webhook_that_may_read_nothing_mounts_no_volume_that_it_does_not_know(kept: bool) -> None:
    cluster = blind()
    if kept:
        created(cluster=cluster, storage={"retainPolicy": "Retain"})
        cluster.delete(NAME)
        cluster.settle()
    else:
        occupied(cluster, "claim")
    created(cluster=cluster)
    cluster.run(600)

    assert pod_uid(cluster) is None
    assert status(cluster)["verified"] is False
    assert "forbidden" in condition(cluster, "Ready")["message"]
    assert cluster.metacontroller.sync_errors == 0


def test_a_webhook_that_may_read_nothing_cannot_tell_why_a_pod_is_not_ready_and_says_so() -> None:
    cluster = blind()
    cluster.faults.inject(Trouble.IMAGE_PULL, "*")
    created(cluster=cluster)
    cluster.run(60)

    assert condition(cluster, "Ready")["reason"] == "RolloutInProgress"
    assert "forbidden" in condition(cluster, "Ready")["message"]


def environment(cluster: Cluster) -> list[tuple[str, str]]:
    (container,) = cluster.api.get("v1", "Pod", NAMESPACE, f"{SWARM}-0")["spec"]["containers"]
    return [(each["name"], each.get("value", "")) for each in container["env"]]


def test_a_variable_is_stored_before_the_one_that_names_it_also_after_a_change() -> None:
    b = {"name": "B", "value": "$(A)/b"}
    cluster = created(runtime={"env": [b]})
    cluster.edit(NAME, {"spec": {"runtime": {"env": [{"name": "A", "value": "a"}, b]}}})
    cluster.run(60)

    assert status(cluster)["verified"] is True
    names = [name for name, _ in environment(cluster)]
    assert names.index("A") < names.index("B")
    assert writes_while(cluster, cluster.metacontroller.resync) == []
