"""A swarm's life on a real cluster: real API server, real Metacontroller, real kubelet."""

from __future__ import annotations

import time

import pytest

from e2e.cluster import NAMESPACE, Cluster
from e2e.story import Object, Run, condition, describe, is_in_phase, is_verified, versions, writes

pytestmark = pytest.mark.e2e

SETTLE = 15
"""Seconds without a write after which a swarm counts as settled."""


def create_verified(cluster: Cluster, manifest: Object) -> Object:
    cluster.apply(manifest)
    return cluster.wait(manifest["metadata"]["name"], "verified", is_verified)


def settle(cluster: Cluster, name: str) -> Object:
    """Wait until nothing of a swarm is written any more, and return it."""
    swarm: Object = {}
    seen: dict[str, tuple[str, str]] = {}
    quiet_since = time.monotonic()

    def quiet() -> bool:
        nonlocal swarm, seen, quiet_since
        swarm = cluster.get("UserSwarm", name) or {}
        now = versions([swarm, *cluster.children(swarm)])
        if now != seen:
            seen, quiet_since = now, time.monotonic()
        return time.monotonic() - quiet_since > SETTLE

    cluster.until(f"{name} to settle", quiet, lambda: describe(swarm))
    return swarm


def wait_for_no_children(cluster: Cluster, swarm: Object) -> None:
    cluster.until(
        "all children to go", lambda: not cluster.children(swarm), lambda: ", ".join(versions(cluster.children(swarm)))
    )


def test_a_swarm_becomes_verified_and_says_where_it_is(swarms: Cluster, run: Run) -> None:
    swarm = create_verified(swarms, run.swarm("new"))
    status = swarm["status"]
    service = swarms.get("Service", status["serviceName"], NAMESPACE)
    assert service is not None
    assert status["endpoint"] == f"http://{status['serviceName']}.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}"
    assert status["readyReplicas"] == 1
    assert status["phase"] == "Ready"
    assert len(swarms.pods(swarm)) == 1
    kinds = sorted(child["kind"] for child in swarms.children(swarm))
    assert kinds == ["ConfigMap", "PersistentVolumeClaim", "Service", "Service", "ServiceAccount", "StatefulSet"]


def test_a_settled_swarm_is_written_no_more_however_often_it_is_synced(swarms: Cluster, run: Run) -> None:
    # Spellings that the API server stores in another form than they are written in.
    odd = {
        "image": run.image,
        "args": run.args,
        "resources": {"requests": {"cpu": "0.1", "memory": "65536Ki"}, "limits": {"cpu": "1000m", "memory": "0.25Gi"}},
    }
    name = create_verified(swarms, run.swarm("settled", runtime=odd, config={"defaultTemperature": 1.0}))["metadata"][
        "name"
    ]
    swarm = settle(swarms, name)
    children = versions(swarms.children(swarm))
    for number in range(5):
        # An annotation makes Metacontroller sync, and changes nothing that the hooks look at.
        patched = swarms.patch(name, {"metadata": {"annotations": {"example.com/nudge": str(number)}}})
        time.sleep(3)
        now = swarms.get("UserSwarm", name)
        assert now is not None
        assert writes(versions([patched]), versions([now])) == []
    assert writes(children, versions(swarms.children(swarm))) == []


def test_a_changed_configuration_rolls_the_pod_and_is_verified_again(swarms: Cluster, run: Run) -> None:
    before = create_verified(swarms, run.swarm("edited"))
    (old_pod,) = swarms.pods(before)
    name = before["metadata"]["name"]
    swarms.patch(name, {"spec": {"config": {"tomlOverrides": "[e2e]\nedited = true\n"}}})
    after = swarms.wait(name, "verified again", is_verified)
    (new_pod,) = swarms.pods(after)
    assert after["metadata"]["generation"] > before["metadata"]["generation"]
    assert after["status"]["verifiedChecksum"] != before["status"]["verifiedChecksum"]
    assert new_pod["metadata"]["uid"] != old_pod["metadata"]["uid"]
    assert after["status"]["claimName"] == before["status"]["claimName"]


def test_a_suspended_swarm_keeps_its_volume_and_resumes(swarms: Cluster, run: Run) -> None:
    swarm = create_verified(swarms, run.swarm("suspended"))
    name = swarm["metadata"]["name"]
    claim = swarms.get("PersistentVolumeClaim", swarm["status"]["claimName"], NAMESPACE)
    swarms.patch(name, {"spec": {"suspend": True}})
    asleep = swarms.wait(name, "Suspended", lambda each: is_in_phase(each, "Suspended"))
    assert asleep["status"]["verified"] is False
    swarms.until("the Pod to stop", lambda: not swarms.pods(asleep), lambda: "still there")
    swarms.patch(name, {"spec": {"suspend": False}})
    awake = swarms.wait(name, "verified after resume", is_verified)
    again = swarms.get("PersistentVolumeClaim", awake["status"]["claimName"], NAMESPACE)
    assert claim is not None
    assert again is not None
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]


def test_broken_input_changes_no_child_and_is_recovered_from(swarms: Cluster, run: Run) -> None:
    name = create_verified(swarms, run.swarm("broken"))["metadata"]["name"]
    before = versions(swarms.children(settle(swarms, name)))
    swarms.patch(name, {"spec": {"config": {"tomlOverrides": "this is = = not TOML"}}})
    invalid = swarms.wait(name, "Invalid", lambda each: is_in_phase(each, "Invalid"))
    assert condition(invalid, "SpecValid")["status"] == "False"
    assert "spec.config.tomlOverrides" in condition(invalid, "SpecValid")["message"]
    assert invalid["status"]["verified"] is False
    time.sleep(SETTLE)
    assert writes(before, versions(swarms.children(invalid))) == []
    swarms.patch(name, {"spec": {"config": {"tomlOverrides": ""}}})
    swarms.wait(name, "verified after the repair", is_verified)


def test_deleting_with_delete_leaves_nothing(swarms: Cluster, run: Run) -> None:
    swarm = create_verified(swarms, run.swarm("deleted"))
    swarms.delete("UserSwarm", swarm["metadata"]["name"])
    swarms.wait_gone("UserSwarm", swarm["metadata"]["name"])
    assert swarms.pods(swarm) == []
    swarms.until(
        "all children to go", lambda: not swarms.children(swarm), lambda: str(versions(swarms.children(swarm)))
    )
    swarms.wait_gone("PersistentVolumeClaim", swarm["status"]["claimName"], NAMESPACE)


def test_deleting_with_retain_leaves_the_volume_and_a_new_swarm_mounts_it(swarms: Cluster, run: Run) -> None:
    manifest = run.swarm("retained", storage={"size": "64Mi", "retainPolicy": "Retain"})
    swarm = create_verified(swarms, manifest)
    claim = swarms.get("PersistentVolumeClaim", swarm["status"]["claimName"], NAMESPACE)
    assert claim is not None
    swarms.delete("UserSwarm", swarm["metadata"]["name"])
    swarms.wait_gone("UserSwarm", swarm["metadata"]["name"])
    swarms.until(
        "all children to go", lambda: not swarms.children(swarm), lambda: str(versions(swarms.children(swarm)))
    )
    time.sleep(SETTLE)
    kept = swarms.get("PersistentVolumeClaim", swarm["status"]["claimName"], NAMESPACE)
    assert kept is not None
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    assert not kept["metadata"].get("ownerReferences")
    assert "deletionTimestamp" not in kept["metadata"]

    again = create_verified(swarms, manifest)
    assert again["metadata"]["uid"] != swarm["metadata"]["uid"]
    mounted = swarms.get("PersistentVolumeClaim", again["status"]["claimName"], NAMESPACE)
    assert mounted is not None
    assert mounted["metadata"]["uid"] == claim["metadata"]["uid"]
