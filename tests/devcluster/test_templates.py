"""Swarms of templates on the dev cluster: what a user of one is promised."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

import scenes
import template_samples as samples
from stories import NAME, NAMESPACE, SWARM, condition, created, pod_uid, status, writes_while
from userswarm.cli.demo.cluster import Cluster, composite_controller
from userswarm.compose.plan import compute_plan
from userswarm.spec.manifests import manifest_path
from userswarm.wire.k8s import PLATFORM_KINDS

NAMES = sorted(samples.OFFERED.names())


def of(name: str, **template: Any) -> Cluster:
    asked = samples.asked(name, **template)
    cluster = Cluster(samples.SETTINGS, controller=controller())
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "databases"}})
    parent = {**scenes.user_swarm(NAME), "spec": {"userId": "user-1", "template": asked}}
    for each in sorted(mounted(compute_plan(parent, samples.SETTINGS).children())):
        make(cluster, *each)
    created(cluster=cluster, template=asked)
    apply_databases(cluster)
    assert status(cluster)["verified"] is True, condition(cluster, "Ready")
    return cluster


def controller() -> Any:
    """Return our CompositeController with the kinds of swarms that have a database."""
    found = composite_controller()
    patch = manifest_path("components/cnpg/compositecontroller.yaml").read_text(encoding="utf-8")
    found["spec"]["childResources"] += [step["value"] for step in yaml.safe_load(patch)]
    return found


def databases(cluster: Cluster) -> list[Any]:
    return [each for kind in PLATFORM_KINDS for each in cluster.api.list(kind.api_version, kind.kind, "databases")]


def apply_databases(cluster: Cluster, **status: Any) -> None:
    """Say of each database what CloudNativePG would."""
    for each in databases(cluster):
        seen = {"observedGeneration": each["metadata"]["generation"], "applied": True}
        cluster.api.update_status({**each, "status": {**seen, **status}}, actor="cnpg")
    cluster.settle()


def mounted(children: list[Any]) -> set[tuple[str, str, str]]:
    """Return the kind, name and a key of every Secret and ConfigMap that the Pod among some children needs."""
    (pod,) = (each["spec"]["template"]["spec"] for each in children if each["kind"] == "StatefulSet")
    found = set()
    for volume in pod.get("volumes", ()):
        for kind, field, source in (("Secret", "secretName", "secret"), ("ConfigMap", "name", "configMap")):
            if source in volume and volume[source][field] != f"{SWARM}-config":
                keys = [each["key"] for each in volume[source].get("items", ())] or ["key"]
                found |= {(kind, volume[source][field], key) for key in keys}
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        asked = [each.get("valueFrom", {}).get("secretKeyRef", {}) for each in container.get("env", ())]
        found |= {("Secret", each["name"], each["key"]) for each in asked if each}
    return found


def make(cluster: Cluster, kind: str, name: str, key: str) -> None:
    """Make what somebody else makes on a real cluster."""
    there = cluster.api.peek("v1", kind, NAMESPACE, name)
    data = {**(there or {}).get("data", {}), key: "eA=="}
    metadata = {"name": name, "namespace": NAMESPACE}
    if there is None:
        cluster.api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data})
    else:
        cluster.api.patch("v1", kind, NAMESPACE, name, {"data": data})


def claims(cluster: Cluster) -> list[str]:
    return sorted(each["metadata"]["name"] for each in cluster.api.list("v1", "PersistentVolumeClaim", NAMESPACE))


@pytest.mark.parametrize("name", NAMES)
def test_a_swarm_of_every_template_comes_up_and_costs_nothing_once_it_has(name: str) -> None:
    for features in ({}, samples.all_features(name)):
        cluster = of(name, features=features)
        before = len(cluster.api.writes)
        for _ in range(5):
            cluster.metacontroller.resync()
            cluster.settle()
        assert [str(write) for write in cluster.api.writes[before:]] == []
        assert cluster.gatherer.reads == {}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_it_is_left_but_what_is_to_be_kept(name: str) -> None:
    cluster = of(name, features=samples.all_features(name))
    made = cluster.api.list("v1", "PersistentVolumeClaim", NAMESPACE)
    kept = [each["metadata"]["name"] for each in made if "crawbl.ai/retain" in each["metadata"]["annotations"]]
    cluster.delete(NAME)
    cluster.settle()
    assert cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is None
    assert claims(cluster) == sorted(kept)
    for kind in (("apps/v1", "StatefulSet"), ("v1", "Service"), ("v1", "Pod")):
        assert cluster.api.list(*kind, NAMESPACE) == []


def test_a_feature_that_is_switched_off_restarts_the_pod_once_and_keeps_its_volume() -> None:
    cluster = of("everything", features={"golang": True})
    pod = pod_uid(cluster)
    cluster.edit(NAME, {"spec": {"template": {"features": {"golang": False}}}})
    cluster.run(60)
    assert status(cluster)["verified"] is True
    assert pod_uid(cluster) != pod
    assert f"{SWARM}-gocache" in claims(cluster)
    assert f"{SWARM}-gocache" in condition(cluster, "StorageReady")["message"]
    # On again, it is the same volume.
    cluster.edit(NAME, {"spec": {"template": {"features": {"golang": True}}}})
    cluster.run(60)
    assert status(cluster)["verified"] is True
    assert "also kept" not in condition(cluster, "StorageReady")["message"]


def test_a_volume_grows_by_its_parameter() -> None:
    cluster = of("everything", parameters={"size": "10Gi"})
    cluster.edit(NAME, {"spec": {"template": {"parameters": {"size": "20Gi"}}}})
    cluster.run(60)
    claim = cluster.api.get("v1", "PersistentVolumeClaim", NAMESPACE, f"{SWARM}-workspace")
    assert claim["status"]["capacity"]["storage"] == "20Gi"
    assert status(cluster)["verified"] is True


def test_a_new_revision_restarts_nobody_and_a_note_of_a_roll_out_moves_the_swarm() -> None:
    cluster = of("small")
    newer = samples.changed(samples.SMALL, revision=2, terminationGracePeriodSeconds=5)
    cluster.settings = samples.swarm("small", samples.read(samples.SMALL, newer))[1]
    pod = pod_uid(cluster)
    assert writes_while(cluster, cluster.metacontroller.resync) == []
    assert pod_uid(cluster) == pod

    cluster.edit(NAME, {"metadata": {"annotations": {"crawbl.ai/template-revision": "small/2"}}})
    cluster.run(60)
    assert status(cluster)["template"]["revision"] == 2
    assert status(cluster)["verified"] is True
    assert pod_uid(cluster) != pod


def test_a_revision_that_is_gone_or_changed_touches_no_child_and_heals_when_it_is_back() -> None:
    cluster = of("small")
    pod, good = pod_uid(cluster), cluster.settings
    for texts in ([samples.changed(samples.SMALL, revision=2)], [samples.changed(samples.SMALL, config=False)]):
        cluster.settings = samples.swarm("small", samples.read(*texts))[1]
        assert writes_while(cluster, cluster.metacontroller.resync) == []
        assert status(cluster)["phase"] == "Invalid"
        assert "spec.template" in condition(cluster, "SpecValid")["message"]
        cluster.settings = good
        # Nobody has to touch it.
        cluster.run(90)
        assert status(cluster)["verified"] is True
        assert pod_uid(cluster) == pod


# --- a database ------------------------------------------------------------------------------------------------------


def test_a_swarm_with_a_database_waits_for_it_and_says_what_is_in_the_way() -> None:
    cluster = of("http-agent", features={"postgres": True})
    role, database = sorted(databases(cluster), key=lambda each: str(each["kind"]), reverse=True)
    assert (role["kind"], database["kind"]) == ("DatabaseRole", "Database")
    assert database["spec"] == {
        "cluster": {"name": "pg"},
        "databaseReclaimPolicy": "retain",
        "ensure": "present",
        "name": "swarm_workspace_story",
        "owner": "swarm_workspace_story",
        "extensions": [{"ensure": "present", "name": "vector"}],
    }
    assert role["spec"]["passwordSecret"] == {"name": f"{SWARM}-role"}
    assert condition(cluster, "DatabaseReady")["status"] == "True"

    apply_databases(cluster, applied=False, message='role "x" does not exist')
    assert status(cluster)["verified"] is False
    told = condition(cluster, "DatabaseReady")
    assert told["reason"] == "DatabaseRefused"
    assert told["message"].endswith('is refused: role "x" does not exist')
    apply_databases(cluster)
    assert status(cluster)["verified"] is True


def test_a_database_is_never_dropped_because_its_feature_is_switched_off() -> None:
    cluster = of("http-agent", features={"postgres": True})
    before = databases(cluster)
    cluster.edit(NAME, {"spec": {"template": {"features": {"postgres": False}}}})
    cluster.run(60)
    assert databases(cluster) == before
    told = condition(cluster, "DatabaseReady")["message"]
    assert told == f"kept, though not used: Database databases/{SWARM}, DatabaseRole databases/{SWARM}"
    assert status(cluster)["verified"] is True
    cluster.delete(NAME)
    cluster.settle()
    assert databases(cluster) == []


def test_without_the_component_a_swarm_with_a_database_says_so_and_gets_all_else() -> None:
    asked = samples.asked("http-agent", features={"postgres": True})
    cluster = created(cluster=Cluster(samples.SETTINGS), template=asked)
    told = condition(cluster, "DatabaseReady")
    assert told["reason"] == "KindNotManaged"
    assert "manifests/components/cnpg" in told["message"]
    assert status(cluster)["verified"] is False
    assert pod_uid(cluster)
