from typing import Any

import pytest

from devcluster.apiserver import AdmissionRequest
from devcluster.errors import forbidden
from fakes import NAMESPACE, Workloads, config_map, crd, namespace, stateful_set, widget

Json = dict[str, Any]
W = ("example.com/v1", "Widget", None, "w")


@pytest.fixture
def cluster() -> Workloads:
    made = Workloads()
    made.api.register_crd(crd("Widget"))
    return made


def reference(owner: Json) -> Json:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


def test_dependents_go_when_their_last_owner_is_gone(cluster: Workloads) -> None:
    owners = [cluster.api.create(widget(name)) for name in ("w", "x")]
    cluster.api.create(config_map(ownerReferences=[reference(owner) for owner in owners]))
    cluster.api.delete(*W)
    assert cluster.settle()
    left = cluster.get("ConfigMap", "c")
    assert [each["name"] for each in left["metadata"]["ownerReferences"]] == ["x"]
    cluster.api.delete("example.com/v1", "Widget", None, "x")
    assert cluster.settle()
    assert cluster.names("ConfigMap") == []


def test_chains_of_owners_go_link_by_link(cluster: Workloads) -> None:
    top = cluster.api.create(widget())
    middle = cluster.api.create(config_map("middle", ownerReferences=[reference(top)]))
    cluster.api.create(config_map("leaf", ownerReferences=[reference(middle)]))
    cluster.api.delete(*W)
    assert cluster.settle()

    assert cluster.names("ConfigMap") == []


def test_an_owner_that_never_was_or_is_another_by_now_does_not_count(cluster: Workloads) -> None:
    owner = cluster.api.create(widget())
    cluster.api.create(config_map("stale", ownerReferences=[{**reference(owner), "uid": "old"}]))
    cluster.api.create(config_map("kept", ownerReferences=[reference(owner)]))
    cluster.api.create(config_map("free"))
    assert cluster.settle()

    assert cluster.names("ConfigMap") == ["free", "kept"]


def test_a_dependent_that_is_going_already_is_left_to_its_finalizers(cluster: Workloads) -> None:
    owner = cluster.api.create(widget())
    cluster.api.create(config_map(ownerReferences=[reference(owner)], finalizers=["example.com/hold"]))
    cluster.api.delete("v1", "ConfigMap", NAMESPACE, "c")
    since = len(cluster.api.writes)
    cluster.api.delete(*W)
    assert cluster.settle()

    assert cluster.api.count_writes("garbage-collector", since) == 0
    assert cluster.names("ConfigMap") == ["c"]


def test_foreground_deletion_waits_for_the_dependents(cluster: Workloads) -> None:
    owner = cluster.api.create(widget(finalizers=["example.com/hold"]))
    cluster.api.create(config_map("held", ownerReferences=[reference(owner)], finalizers=["example.com/hold"]))
    cluster.api.create(config_map("free", ownerReferences=[reference(owner)]))
    cluster.api.delete(*W, propagation="Foreground")
    assert cluster.settle()
    assert cluster.names("ConfigMap") == ["held"]
    assert cluster.api.get(*W)["metadata"]["finalizers"] == ["example.com/hold", "foregroundDeletion"]
    cluster.api.patch("v1", "ConfigMap", NAMESPACE, "held", {"metadata": {"finalizers": None}})
    assert cluster.settle()
    assert cluster.api.get(*W)["metadata"]["finalizers"] == ["example.com/hold"]


def test_orphaning_takes_the_references_off(cluster: Workloads) -> None:
    owner = cluster.api.create(widget())
    cluster.api.create(config_map(ownerReferences=[reference(owner)]))
    cluster.api.delete(*W, propagation="Orphan")
    assert cluster.settle()

    assert cluster.api.peek(*W) is None
    assert "ownerReferences" not in cluster.get("ConfigMap", "c")["metadata"]


def test_a_deletion_that_others_hold_up_is_not_the_collectors(cluster: Workloads) -> None:
    owner = cluster.api.create(config_map("owner"))
    cluster.api.create(widget(finalizers=["example.com/hold"], ownerReferences=[reference(owner)]))
    cluster.api.delete(*W)
    assert cluster.settle()

    assert cluster.api.get(*W)["metadata"]["finalizers"] == ["example.com/hold"]


def test_an_object_that_goes_before_the_collector_looks_is_no_error(cluster: Workloads) -> None:
    cluster.api.create(config_map(ownerReferences=[{**reference(cluster.api.create(widget())), "uid": "old"}]))
    cluster.api.delete("v1", "ConfigMap", NAMESPACE, "c")

    assert cluster.settle()


def test_a_namespace_goes_after_everything_in_it(cluster: Workloads) -> None:
    cluster.api.create(namespace("doomed"))
    held = config_map(finalizers=["example.com/hold"])
    held["metadata"]["namespace"] = "doomed"
    cluster.api.create(held)
    running = stateful_set()
    running["metadata"]["namespace"] = "doomed"
    cluster.api.create(running)
    assert cluster.settle()
    cluster.api.delete("v1", "Namespace", None, "doomed")
    assert not cluster.settle(60)
    assert cluster.api.get("v1", "Namespace", None, "doomed")["status"]["phase"] == "Terminating"
    assert [obj["metadata"]["name"] for _, obj in cluster.api.everything_in("doomed")] == ["c"]
    cluster.api.patch("v1", "ConfigMap", "doomed", "c", {"metadata": {"finalizers": None}})
    assert cluster.settle()
    assert cluster.api.peek("v1", "Namespace", None, "doomed") is None


def test_an_empty_namespace_takes_about_five_seconds(cluster: Workloads) -> None:
    cluster.api.create(namespace("doomed"))
    cluster.api.delete("v1", "Namespace", None, "doomed")
    assert cluster.settle()

    assert cluster.clock.elapsed == 5


def test_what_may_not_be_deleted_now_is_tried_again(cluster: Workloads) -> None:
    refusals = [forbidden("configmaps", "c", "not now")]

    def step(request: AdmissionRequest) -> None:
        if request.operation == "DELETE" and request.kind.kind == "ConfigMap" and refusals:
            raise refusals.pop()

    cluster.api.admission.append(step)
    cluster.api.create(config_map())
    cluster.api.delete("v1", "Namespace", None, NAMESPACE)
    cluster.api.patch("v1", "Namespace", None, NAMESPACE, {"metadata": {"labels": {"a": "b"}}})
    assert cluster.settle()

    assert refusals == []
    assert cluster.api.peek("v1", "Namespace", None, NAMESPACE) is None
