"""Deployments: one ReplicaSet for each template, and the way from one to the next."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.apiserver import WatchEvent
from devcluster.faults import Trouble
from devcluster.objects import labels_of
from devcluster.workloads.deployments import HASH_LABEL, REVISION
from fakes import NAMESPACE, Json
from tenants import Tenants, deployment, quota

NEW = "registry.example/web:2"


@pytest.fixture
def cluster() -> Tenants:
    return Tenants()


def change(cluster: Tenants, **spec: Any) -> Json:
    return cluster.api.patch("apps/v1", "Deployment", NAMESPACE, "web", {"spec": spec})


def roll(cluster: Tenants, image: str = NEW) -> None:
    template = cluster.get("Deployment", "web")["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    change(cluster, template=template)


def images(cluster: Tenants) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in cluster.list("Pod")]


def status(cluster: Tenants) -> Json:
    found: Json = cluster.get("Deployment", "web")["status"]
    return found


def conditions(cluster: Tenants) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status(cluster)["conditions"]}


def test_a_deployment_becomes_ready_pods_behind_a_replica_set(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=2))
    assert cluster.settle()

    (found,) = cluster.list("ReplicaSet")
    template_hash = labels_of(found)[HASH_LABEL]
    assert found["metadata"]["name"] == f"web-{template_hash}"
    assert found["spec"]["selector"] == {"matchLabels": {"app": "web", HASH_LABEL: template_hash}}
    assert found["status"] == {
        "replicas": 2,
        "fullyLabeledReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "observedGeneration": 1,
    }
    for pod in cluster.list("Pod"):
        assert labels_of(pod) == {"app": "web", HASH_LABEL: template_hash}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    told = status(cluster)
    assert {name: told[name] for name in told if name != "conditions"} == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }
    assert conditions(cluster) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


def test_a_settled_deployment_is_written_by_nobody(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=2))
    assert cluster.settle()
    before = len(cluster.api.writes)
    for kind in ("Deployment", "ReplicaSet"):
        for found in cluster.list(kind):
            controller = cluster.deployments if kind == "Deployment" else cluster.replica_sets
            controller.enqueue((NAMESPACE, found["metadata"]["name"]))
    assert cluster.settle()
    assert cluster.api.writes[before:] == []


def test_a_roll_out_never_has_too_few_or_too_many_pods(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=4))
    assert cluster.settle()
    seen: list[Json] = []

    def watch(event: WatchEvent) -> None:
        if event.kind.kind == "Deployment":
            seen.append(dict(event.object["status"]))

    cluster.api.subscribe(watch)
    roll(cluster)
    assert cluster.settle()

    assert images(cluster) == [NEW] * 4
    # 25 % of 4: one more, or one less, and never less than that is available.
    assert max(each["replicas"] for each in seen) == 5
    assert min(each["availableReplicas"] for each in seen) == 3
    revisions = {
        each["metadata"]["annotations"][REVISION]: each["spec"]["replicas"] for each in cluster.list("ReplicaSet")
    }
    assert revisions == {"1": 0, "2": 4}
    assert cluster.get("Deployment", "web")["metadata"]["annotations"][REVISION] == "2"


def test_a_template_that_comes_back_gets_its_replica_set_again_as_the_newest(cluster: Tenants) -> None:
    cluster.api.create(deployment())
    assert cluster.settle()
    for image in (NEW, "registry.example/web:1"):
        roll(cluster, image)
        assert cluster.settle()

    found = {each["metadata"]["annotations"][REVISION]: each["spec"]["replicas"] for each in cluster.list("ReplicaSet")}
    assert found == {"2": 0, "3": 1}
    assert cluster.get("Deployment", "web")["metadata"]["annotations"][REVISION] == "3"


def test_broken_pods_are_the_first_to_be_replaced(cluster: Tenants) -> None:
    cluster.faults.inject(Trouble.NEVER_READY, selector=lambda pod: pod["spec"]["containers"][0]["image"] != NEW)
    cluster.api.create(deployment(replicas=2, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}))
    assert cluster.settle()
    assert conditions(cluster)["Available"] == ("False", "MinimumReplicasUnavailable")
    assert status(cluster)["unavailableReplicas"] == 2

    roll(cluster)
    assert cluster.settle()
    assert images(cluster) == [NEW] * 2
    assert conditions(cluster)["Available"][0] == "True"


def test_a_new_template_that_does_not_work_leaves_the_old_one_running(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=4))
    assert cluster.settle()
    cluster.faults.inject(Trouble.NEVER_READY, selector=lambda pod: pod["spec"]["containers"][0]["image"] == NEW)
    roll(cluster)
    assert cluster.settle()

    assert images(cluster).count("registry.example/web:1") == 3
    assert images(cluster).count(NEW) == 2
    assert conditions(cluster)["Progressing"] == ("True", "ReplicaSetUpdated")
    assert conditions(cluster)["Available"][0] == "True"


def test_without_any_leeway_one_pod_may_be_missing(cluster: Tenants) -> None:
    leeway = {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}
    cluster.api.create(deployment(replicas=1, strategy=leeway))
    assert cluster.settle()
    roll(cluster)
    assert cluster.settle()
    assert images(cluster) == [NEW]


def test_recreate_ends_the_old_pods_before_the_first_new_one(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=2, strategy={"type": "Recreate"}))
    assert cluster.settle()
    most: list[int] = []
    cluster.api.subscribe(lambda event: most.append(len(set(images(cluster)))))
    roll(cluster)
    assert cluster.settle()

    assert max(most) == 1
    assert images(cluster) == [NEW] * 2


def test_scaling_makes_and_deletes_pods_those_not_ready_first(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=3))
    assert cluster.settle()
    broken = cluster.list("Pod")[1]["metadata"]["name"]
    cluster.faults.inject(Trouble.NEVER_READY, broken)
    cluster.kubelet.blip(NAMESPACE, broken, 5)
    assert cluster.settle()
    change(cluster, replicas=2)
    assert cluster.settle()
    left = {pod["metadata"]["name"] for pod in cluster.list("Pod")}
    assert len(left) == 2
    assert broken not in left
    change(cluster, replicas=0)
    assert cluster.settle()
    assert cluster.list("Pod") == []
    assert status(cluster).keys() == {"observedGeneration", "conditions"}


def test_a_pod_that_is_deleted_is_made_again(cluster: Tenants) -> None:
    cluster.api.create(deployment())
    assert cluster.settle()
    (old,) = cluster.names("Pod")
    cluster.api.delete("v1", "Pod", NAMESPACE, old)
    assert cluster.settle()
    (new,) = cluster.names("Pod")
    assert new != old


def test_only_so_many_old_replica_sets_are_kept(cluster: Tenants) -> None:
    cluster.api.create(deployment(revisionHistoryLimit=1))
    for number in range(2, 6):
        assert cluster.settle()
        roll(cluster, f"registry.example/web:{number}")
    assert cluster.settle()

    kept = sorted(each["metadata"]["annotations"][REVISION] for each in cluster.list("ReplicaSet"))
    assert kept == ["4", "5"]


def test_what_a_quota_refuses_is_told_and_made_once_there_is_room(cluster: Tenants) -> None:
    cluster.api.create(quota(hard={"pods": "1"}))
    cluster.settle()
    cluster.api.create(deployment(replicas=2))
    cluster.settle()
    assert len(cluster.list("Pod")) == 1
    assert any("FailedCreate" in text and "exceeded quota: q" in text for text in cluster.event_texts())
    assert status(cluster)["unavailableReplicas"] == 1

    cluster.api.patch("v1", "ResourceQuota", NAMESPACE, "q", {"spec": {"hard": {"pods": "2"}}})
    cluster.clock.advance(1000)
    assert cluster.settle()
    assert status(cluster)["availableReplicas"] == 2


def test_everything_goes_with_its_deployment(cluster: Tenants) -> None:
    cluster.api.create(deployment(replicas=2))
    assert cluster.settle()
    cluster.api.delete("apps/v1", "Deployment", NAMESPACE, "web", propagation="Foreground")
    assert cluster.settle()
    for kind in ("Deployment", "ReplicaSet", "Pod"):
        assert cluster.list(kind) == []


def test_pods_and_replica_sets_of_others_are_let_be(cluster: Tenants) -> None:
    cluster.api.create(deployment())
    assert cluster.settle()
    (own,) = cluster.list("ReplicaSet")
    stray = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "stray", "namespace": NAMESPACE},
        "spec": {"replicas": 1, "selector": own["spec"]["selector"], "template": own["spec"]["template"]},
    }
    cluster.api.create(stray)
    assert cluster.settle()
    assert cluster.get("ReplicaSet", "stray")["status"]["readyReplicas"] == 1
    assert status(cluster)["replicas"] == 1


def test_every_namespace_gets_its_account_and_the_clusters_certificate(cluster: Tenants) -> None:
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
    assert cluster.settle()

    def contents() -> list[tuple[str, str]]:
        return [(kind.kind, obj["metadata"]["name"]) for kind, obj in cluster.api.everything_in("new")]

    wanted = [("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")]
    assert contents() == wanted
    cluster.api.delete("v1", "ConfigMap", "new", "kube-root-ca.crt")
    assert cluster.settle()
    assert contents() == wanted
    cluster.api.delete("v1", "Namespace", None, "new")
    assert cluster.settle()
    assert cluster.api.peek("v1", "Namespace", None, "new") is None
    assert contents() == []


def test_a_replica_set_that_goes_makes_no_more_pods(cluster: Tenants) -> None:
    cluster.api.create(deployment())
    assert cluster.settle()
    (found,) = cluster.list("ReplicaSet")
    (old,) = cluster.list("Pod")
    cluster.api.delete("apps/v1", "ReplicaSet", NAMESPACE, found["metadata"]["name"], propagation="Foreground")
    cluster.clock.advance(0.5)
    # Its pod ends, and nothing takes its place yet.
    assert [pod["metadata"]["uid"] for pod in cluster.list("Pod")] == [old["metadata"]["uid"]]
    assert cluster.settle()
    (new,) = cluster.list("ReplicaSet")
    assert new["metadata"]["uid"] != found["metadata"]["uid"]
    assert len(cluster.list("Pod")) == 1
