"""The whole cluster, with the project's own hooks."""

import itertools
from typing import Any

import pytest
import yaml

from devcluster.admission import StorageClass
from devcluster.faults import Trouble
from devcluster.metacontroller import SERVER_SIDE_APPLY
from devcluster.workloads.claims import ClaimTimings
from devcluster.workloads.kubelet import Timings
from fakes import FakeHooks, controller, crd, widget
from userswarm.cli.demo.cluster import Cluster, load_manifests
from userswarm.spec.manifests import manifest_path

KEPT = {"Namespace", "CompositeController", "Event"}


def minimal() -> dict[str, Any]:
    sample: dict[str, Any] = yaml.safe_load(manifest_path("samples/minimal.yaml").read_text(encoding="utf-8"))
    return sample


def leftovers(cluster: Cluster) -> list[str]:
    return [
        f"{kind.kind} {obj['metadata']['name']}"
        for kind in cluster.api.kinds
        if kind.kind not in KEPT
        for obj in cluster.api.list(kind.api_version, kind.kind)
    ]


@pytest.mark.parametrize("strategy", ["dynamic-apply", SERVER_SIDE_APPLY])
def test_a_user_swarm_is_verified_settles_and_goes(strategy: str) -> None:
    cluster = Cluster(apply_strategy=strategy)
    name = cluster.apply(minimal())["metadata"]["name"]
    assert cluster.settle()
    assert cluster.user_swarm(name)["status"]["verified"] is True
    since = len(cluster.api.writes)
    for _ in range(20):
        cluster.metacontroller.resync()
        assert cluster.settle()
    assert [str(write) for write in cluster.api.writes[since:]] == []
    assert cluster.metacontroller.sync_errors == 0
    cluster.delete(name)
    assert cluster.settle()
    assert leftovers(cluster) == []


def test_an_edit_is_a_merge_patch() -> None:
    cluster = Cluster()
    name = cluster.apply(minimal())["metadata"]["name"]
    assert cluster.settle()
    cluster.edit(name, {"spec": {"suspend": True}})
    assert cluster.settle()

    assert cluster.user_swarm(name)["status"]["phase"] == "Suspended"
    assert cluster.api.list("v1", "Pod") == []


def test_two_runs_are_the_same() -> None:
    def story() -> list[str]:
        cluster = Cluster(seed=5)
        name = cluster.apply(minimal())["metadata"]["name"]
        cluster.settle()
        cluster.delete(name)
        cluster.settle()
        return [f"{write.at} {write}" for write in cluster.api.writes] + [
            event.object["metadata"]["uid"] for event in cluster.api.events_since(0)
        ]

    assert story() == story()


def test_applying_a_manifest_again_writes_nothing() -> None:
    cluster = Cluster()
    cluster.apply(minimal())
    version = cluster.api.resource_version
    cluster.apply(minimal())

    assert cluster.api.resource_version == version


def test_settle_gives_up_where_something_always_happens() -> None:
    counter = itertools.count()
    hooks = FakeHooks(sync=lambda _: {"status": {"children": next(counter)}, "children": []})
    cluster = Cluster(hooks=hooks, controller=controller(), crd=crd("Widget"))
    cluster.apply(widget())

    assert not cluster.settle(5)
    assert 4 < cluster.clock.elapsed <= 5


def test_settle_says_so_where_a_failing_hook_is_called_again_and_again() -> None:
    cluster = Cluster(hooks=FakeHooks(sync=lambda _: {"nonsense": 1}), controller=controller(), crd=crd("Widget"))
    cluster.apply(widget())

    assert not cluster.settle(60)


def test_run_lets_time_pass_whatever_happens() -> None:
    cluster = Cluster()
    cluster.run(12.5)

    assert cluster.clock.elapsed == 12.5


def test_timings_and_storage_classes_can_be_chosen() -> None:
    cluster = Cluster(
        timings=Timings(ready=50),
        claim_timings=ClaimTimings(bind=20),
        storage_classes=[StorageClass("slow", immediate=True, expandable=False)],
    )
    cluster.apply(minimal())
    cluster.run(60)
    claim = cluster.api.list("v1", "PersistentVolumeClaim")[0]
    assert claim["spec"]["storageClassName"] == "slow"
    assert cluster.api.list("v1", "Pod")[0]["status"]["phase"] == "Running"
    assert cluster.settle()
    assert 70 < cluster.clock.elapsed < 90


def test_a_pod_that_never_is_ready_is_never_verified() -> None:
    cluster = Cluster()
    cluster.faults.inject(Trouble.NEVER_READY)
    name = cluster.apply(minimal())["metadata"]["name"]
    assert cluster.settle()
    assert cluster.user_swarm(name)["status"]["verified"] is False
    cluster.faults.clear()
    assert cluster.settle()
    assert cluster.user_swarm(name)["status"]["verified"] is True


def test_the_namespaces_of_the_manifests_are_there() -> None:
    cluster = Cluster()
    names = [obj["metadata"]["name"] for obj in cluster.api.list("v1", "Namespace")]

    assert names == ["default", "userswarm-system", "userswarms"]
    assert [obj["kind"] for obj in load_manifests("namespace", "Namespace")] == ["Namespace", "Namespace"]
