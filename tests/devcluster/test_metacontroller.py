import json
from collections.abc import Callable
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from devcluster.apiserver import AdmissionRequest
from devcluster.errors import ApiError, conflict
from devcluster.hooks import HookResponse
from devcluster.merge import LAST_APPLIED
from devcluster.metacontroller import SERVER_SIDE_APPLY, HookCall, Metacontroller
from fakes import (
    NAMESPACE,
    FakeHooks,
    Workloads,
    config_map,
    controller,
    crd,
    namespace,
    refusal,
    service,
    widget,
)

Json = dict[str, Any]

W = ("example.com/v1", "Widget", None, "w")
C = ("v1", "ConfigMap", NAMESPACE, "c")
CONFIG = ("v1", "configmaps", "InPlace")
FINALIZER = "metacontroller.io/compositecontroller-widgets"

CAPTURED = Path(__file__).resolve().parents[2].parent / "shared" / "metacontroller-requests"


def answer(*children: Json, **fields: Any) -> Json:
    return {"status": {"children": len(children)}, "children": list(children), **fields}


def always(*children: Json, **fields: Any) -> Callable[[Json], Json]:
    return lambda _: json.loads(json.dumps(answer(*children, **fields)))


class Zoo(Workloads):
    """A cluster with Metacontroller and one kind of parent."""

    def __init__(self, hooks: FakeHooks, /, *rules: Any, apply_strategy: str = "dynamic-apply", **spec: Any) -> None:
        super().__init__()
        self.api.register_crd(crd("Widget"))
        self.api.create(namespace("spare"))
        self.hooks = hooks
        spec.setdefault("hooks", tuple(hooks.hooks))
        self.metacontroller = Metacontroller(
            self.api, hooks, controller(*(rules or (CONFIG,)), **spec), apply_strategy=apply_strategy
        )

    def widget(self, name: str = "w") -> Json:
        return self.api.get("example.com/v1", "Widget", None, name)

    def errors(self) -> list[str]:
        return [event["message"] for event in self.api.list("v1", "Event") if event["reason"] == "SyncError"]

    def writes_since(self, since: int) -> list[str]:
        return [f"{write.verb} {write.kind}" for write in self.api.writes[since:] if write.actor == "metacontroller"]


def started(hooks: FakeHooks, *rules: Any, **spec: Any) -> Zoo:
    zoo = Zoo(hooks, *rules, **spec)
    zoo.api.create(widget())
    assert zoo.settle()
    return zoo


# Requests


def test_a_request_has_an_entry_for_every_child_rule_and_the_whole_controller() -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = started(hooks, CONFIG, ("apps/v1", "statefulsets", "InPlace"), ("batch/v1", "jobs", None))
    first, last = hooks.requests[0][1], hooks.last("sync")

    assert list(first) == ["controller", "parent", "children", "related", "finalizing"]
    assert first["children"] == {"ConfigMap.v1": {}, "StatefulSet.apps/v1": {}, "Job.batch/v1": {}}
    assert (first["related"], first["finalizing"]) == ({}, False)
    assert first["parent"]["metadata"]["name"] == "w"
    assert first["controller"]["metadata"]["name"] == "widgets"
    assert first["controller"]["spec"]["childResources"][0]["updateStrategy"] == {
        "method": "InPlace",
        "statusChecks": {},
    }
    assert "updateStrategy" not in first["controller"]["spec"]["childResources"][2]
    assert last["children"]["ConfigMap.v1"] == {"zoo/c": zoo.api.get(*C)}


@pytest.mark.skipif(not CAPTURED.exists(), reason="the captured requests are not part of the repository")
def test_requests_have_the_shape_of_captured_ones() -> None:
    captured = json.loads((CAPTURED / "sync-3-ready.json").read_text())
    hooks = FakeHooks(
        sync=always(config_map(), service("c")),
        customize=lambda _: {
            "relatedResources": [{"apiVersion": "v1", "resource": "namespaces", "names": [NAMESPACE]}]
        },
    )
    started(hooks, CONFIG, ("v1", "services", "InPlace"))
    request = hooks.last("sync")

    assert request.keys() == captured.keys()
    assert request["controller"].keys() == captured["controller"].keys()
    for ours, theirs in (
        (request["children"]["ConfigMap.v1"]["zoo/c"], next(iter(captured["children"]["ConfigMap.v1"].values()))),
        (request["children"]["Service.v1"]["zoo/c"], next(iter(captured["children"]["Service.v1"].values()))),
        (request["related"]["Namespace.v1"]["zoo"], captured["related"]["Namespace.v1"]["userswarms"]),
    ):
        assert ours.keys() == theirs.keys()
        assert ours["metadata"].keys() == theirs["metadata"].keys()
        assert ours["metadata"].get("managedFields", [{}])[0].keys() <= {
            "apiVersion",
            "fieldsType",
            "fieldsV1",
            "manager",
            "operation",
            "time",
            "subresource",
        }
        assert (
            ours["metadata"].get("ownerReferences", [{}])[0].keys()
            == theirs["metadata"].get("ownerReferences", [{}])[0].keys()
        )


def test_a_v1_hook_of_a_namespaced_parent_gets_bare_names() -> None:
    for version, key in (("v1", "c"), ("v2", "zoo/c")):
        hooks = FakeHooks(sync=always({**config_map(), "metadata": {"name": "c"}}))
        cluster = Workloads()
        cluster.api.register_crd(crd("Widget", scope="Namespaced"))
        cluster.api.create(namespace("spare"))
        Metacontroller(cluster.api, hooks, controller(CONFIG, hooks=("sync",), version=version))
        cluster.api.create({**widget(), "metadata": {"name": "w", "namespace": NAMESPACE}})
        assert cluster.settle()

        assert list(hooks.last("sync")["children"]["ConfigMap.v1"]) == [key]


# Children


def test_children_are_created_with_label_annotation_and_owner() -> None:
    zoo = started(FakeHooks(sync=always(config_map())))
    uid = zoo.widget()["metadata"]["uid"]
    child = zoo.api.get(*C)

    assert child["metadata"]["labels"] == {"controller-uid": uid}
    assert child["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "name": "w",
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    applied = json.loads(child["metadata"]["annotations"][LAST_APPLIED])
    assert applied == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": NAMESPACE, "labels": {"controller-uid": uid}},
        "data": {"k": "v"},
    }


@pytest.mark.parametrize("strategy", ["dynamic-apply", SERVER_SIDE_APPLY])
def test_a_settled_parent_costs_no_writes(strategy: str) -> None:
    hooks = FakeHooks(sync=always(config_map(), service("c")))
    zoo = started(hooks, CONFIG, ("v1", "services", "InPlace"), apply_strategy=strategy)
    since, calls = len(zoo.api.writes), zoo.metacontroller.calls["sync"]
    for _ in range(100):
        zoo.metacontroller.resync()
        assert zoo.settle()

    assert zoo.writes_since(since) == []
    assert zoo.metacontroller.calls["sync"] == calls + 100
    assert zoo.metacontroller.sync_errors == 0


@pytest.mark.parametrize(
    "data",
    [{"nodeSelector": {}}, {"priority": 0.0}, {"schedulerName": None}],
)
def test_what_the_server_stores_differently_is_written_at_every_sync(data: Json) -> None:
    from fakes import stateful_set

    child = stateful_set(replicas=0, pod_spec_changes=data)
    zoo = Zoo(FakeHooks(sync=always(child)), ("apps/v1", "statefulsets", "InPlace"))
    zoo.api.create(widget())
    zoo.settle(5)
    since = len(zoo.api.writes)
    for _ in range(3):
        zoo.metacontroller.resync()
        zoo.settle(5)

    assert zoo.writes_since(since).count("update StatefulSet") == 3


def test_an_observed_child_that_is_left_out_is_deleted() -> None:
    hooks = FakeHooks(sync=always(config_map(), config_map("other")))
    zoo = started(hooks)
    hooks.hooks["sync"] = always(config_map())
    zoo.metacontroller.resync()
    zoo.settle()

    assert zoo.names("ConfigMap") == ["c"]


def test_a_child_that_is_going_is_neither_deleted_again_nor_updated() -> None:
    hooks = FakeHooks(sync=always(config_map(finalizers=["example.com/hold"])))
    zoo = started(hooks)
    zoo.api.delete(*C)
    since = len(zoo.api.writes)
    hooks.hooks["sync"] = always(config_map(data={"k": "new"}))
    zoo.metacontroller.resync()
    zoo.settle()
    hooks.hooks["sync"] = always()
    zoo.metacontroller.resync()
    zoo.settle()

    assert [write for write in zoo.writes_since(since) if "ConfigMap" in write] == []


def changed_child(method: str | None) -> tuple[Zoo, str]:
    hooks = FakeHooks(sync=always(config_map(data={"k": "1"})))
    zoo = started(hooks, ("v1", "configmaps", method))
    uid = zoo.api.get(*C)["metadata"]["uid"]
    hooks.hooks["sync"] = always(config_map(data={"k": "2"}))
    zoo.metacontroller.resync()
    zoo.settle()
    return zoo, uid


@pytest.mark.parametrize("method", [None, "OnDelete"])
def test_without_a_strategy_or_with_on_delete_a_child_is_never_updated(method: str | None) -> None:
    zoo, uid = changed_child(method)

    assert zoo.api.get(*C)["data"] == {"k": "1"}
    assert zoo.api.get(*C)["metadata"]["uid"] == uid


def test_in_place_updates_a_child() -> None:
    zoo, uid = changed_child("InPlace")

    assert zoo.api.get(*C)["data"] == {"k": "2"}
    assert zoo.api.get(*C)["metadata"]["uid"] == uid


def test_recreate_deletes_a_child_and_makes_it_again() -> None:
    zoo, uid = changed_child("Recreate")

    assert zoo.api.get(*C)["data"] == {"k": "2"}
    assert zoo.api.get(*C)["metadata"]["uid"] != uid


def test_a_kind_that_no_rule_lists_is_created_but_never_seen() -> None:
    zoo = started(FakeHooks(sync=always(service())))

    assert zoo.names("Service") == ["s"]
    assert zoo.metacontroller.sync_errors == 0
    assert "Service.v1" not in zoo.hooks.last("sync")["children"]


def test_rolling_updates_are_refused() -> None:
    with pytest.raises(ValueError, match="RollingInPlace is not modelled"):
        Zoo(FakeHooks(sync=always()), ("v1", "configmaps", "RollingInPlace"))


def test_an_unknown_apply_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown apply strategy"):
        Zoo(FakeHooks(sync=always()), apply_strategy="magic")


def test_a_foreign_object_of_the_childs_name_stays_foreign_and_is_tried_again() -> None:
    zoo = Zoo(FakeHooks(sync=always(config_map(data={"k": "ours"}))))
    zoo.api.create(config_map(data={"k": "theirs"}))
    zoo.api.create(widget())
    zoo.settle()
    since = len(zoo.api.writes)
    zoo.metacontroller.resync()
    zoo.settle()

    assert zoo.hooks.last("sync")["children"]["ConfigMap.v1"] == {}
    assert zoo.api.get(*C)["data"] == {"k": "theirs"}
    assert [str(write) for write in zoo.api.writes[since:]] == [
        "create ConfigMap zoo/c by metacontroller: AlreadyExists"
    ]
    assert zoo.metacontroller.sync_errors == 0


def test_two_desired_children_of_one_name_become_the_later_one() -> None:
    zoo = started(FakeHooks(sync=always(config_map(data={"k": "1"}), config_map(data={"k": "2"}))))

    assert zoo.api.get(*C)["data"] == {"k": "2"}


def test_a_failing_write_does_not_keep_the_others_nor_the_status_from_being_written() -> None:
    zoo = Zoo(FakeHooks(sync=always(config_map("NOT-VALID"), config_map())))
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert zoo.names("ConfigMap") == ["c"]
    assert zoo.widget()["status"] == {"children": 2, "observedGeneration": 1}
    assert any("can't reconcile children for Widget w" in text for text in zoo.errors())


def test_several_failures_are_told_together() -> None:
    zoo = Zoo(FakeHooks(sync=always(config_map("A"), config_map("B"))))
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert zoo.errors()[0].count("is invalid") == 2


@pytest.mark.parametrize(("code", "errors"), [(404, 0), (409, 0), (500, 1)])
def test_a_child_that_vanished_or_changed_meanwhile_is_left_to_the_next_sync(code: int, errors: int) -> None:
    hooks = FakeHooks(sync=always(config_map(data={"k": "1"})))
    zoo = started(hooks)
    failures = [ApiError(code, "Some", "made up")]

    def step(request: AdmissionRequest) -> None:
        if request.operation == "UPDATE" and request.kind.kind == "ConfigMap" and failures:
            raise failures.pop()

    zoo.api.admission.append(step)
    hooks.hooks["sync"] = always(config_map(data={"k": "2"}))
    zoo.metacontroller.resync()
    zoo.settle()

    assert zoo.metacontroller.sync_errors == errors


@pytest.mark.parametrize(("code", "errors"), [(404, 0), (500, 1)])
def test_a_delete_that_comes_too_late_is_no_error(code: int, errors: int) -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = started(hooks)
    failures = [ApiError(code, "Some", "made up")]

    def step(request: AdmissionRequest) -> None:
        if request.operation == "DELETE" and failures:
            raise failures.pop()

    zoo.api.admission.append(step)
    hooks.hooks["sync"] = always()
    zoo.metacontroller.resync()
    zoo.settle()

    assert zoo.metacontroller.sync_errors == errors


def test_a_broken_last_applied_annotation_is_a_sync_error() -> None:
    zoo = started(FakeHooks(sync=always(config_map())))
    zoo.api.patch(*C, {"metadata": {"annotations": {LAST_APPLIED: "{"}}})
    zoo.settle(0.05)

    assert zoo.metacontroller.sync_errors > 0


# Labels, adoption, release


def test_a_child_with_another_controller_uid_is_an_error() -> None:
    zoo = Zoo(FakeHooks(sync=always(config_map(labels={"controller-uid": "other"}))))
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert "Sync error: labels on desired child ConfigMap zoo/c don't match parent selector" in zoo.errors()
    assert zoo.names("ConfigMap") == []


@pytest.mark.parametrize("labels", [{"a": 5}, ["a"]])
def test_labels_that_are_none_are_an_error(labels: Any) -> None:
    zoo = Zoo(FakeHooks(sync=always(config_map(labels=labels))))
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert "Sync error: invalid labels on desired child ConfigMap zoo/c" in zoo.errors()


def test_an_orphan_that_matches_is_adopted() -> None:
    zoo = started(FakeHooks(sync=always(config_map())))
    zoo.api.patch(*C, {"metadata": {"ownerReferences": None}})
    zoo.settle()

    assert zoo.api.get(*C)["metadata"]["ownerReferences"][0]["uid"] == zoo.widget()["metadata"]["uid"]


def test_a_child_that_no_longer_matches_is_released() -> None:
    hooks = FakeHooks(sync=always())
    zoo = started(hooks)
    uid = zoo.widget()["metadata"]["uid"]
    owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": uid, "controller": True}
    zoo.api.create(config_map(ownerReferences=[owner]))
    zoo.settle()

    assert "ownerReferences" not in zoo.api.get(*C)["metadata"]
    assert zoo.metacontroller.sync_errors == 0


def test_a_deleted_parent_neither_adopts_nor_releases() -> None:
    hooks = FakeHooks(sync=always(config_map()), finalize=always(config_map()))
    zoo = started(hooks)
    uid = zoo.widget()["metadata"]["uid"]
    zoo.api.delete(*W)
    zoo.settle()
    since = len(zoo.api.writes)
    zoo.api.create(config_map("orphan", labels={"controller-uid": uid}))
    zoo.api.patch(*C, {"metadata": {"labels": {"controller-uid": "x"}}})
    zoo.metacontroller.resync()
    zoo.settle(0.1)

    assert "ownerReferences" not in zoo.api.get("v1", "ConfigMap", NAMESPACE, "orphan")["metadata"]
    assert zoo.api.get(*C)["metadata"]["ownerReferences"][0]["uid"] == uid
    assert "update ConfigMap" not in zoo.writes_since(since)


def test_an_orphan_that_is_being_deleted_is_not_adopted() -> None:
    zoo = started(FakeHooks(sync=always()))
    uid = zoo.widget()["metadata"]["uid"]
    zoo.api.create(config_map(labels={"controller-uid": uid}, finalizers=["example.com/hold"]))
    zoo.api.delete(*C)
    zoo.metacontroller.resync()
    zoo.settle()

    assert "ownerReferences" not in zoo.api.get(*C)["metadata"]


def own_selector(name: str) -> Json:
    return widget(name, spec={"selector": {"matchLabels": {"app": name}}})


def test_without_generated_selectors_the_parents_own_selector_counts() -> None:
    hooks = FakeHooks(sync=lambda r: answer(config_map(labels={"app": r["parent"]["metadata"]["name"]})))
    zoo = Zoo(hooks, generateSelector=False)
    zoo.api.create(own_selector("w"))
    zoo.settle()
    assert zoo.api.get(*C)["metadata"]["labels"] == {"app": "w"}
    zoo.api.create(config_map("found", labels={"app": "w"}))
    zoo.api.create(config_map("foreign", labels={"app": "z"}))
    zoo.settle()

    # Adopted, and then deleted: the hook did not ask for it.
    assert zoo.names("ConfigMap") == ["c", "foreign"]


def test_a_parent_without_a_selector_is_an_error_and_adopts_nothing() -> None:
    zoo = Zoo(FakeHooks(sync=always()), generateSelector=False)
    zoo.api.create(widget())
    zoo.api.create(config_map(labels={"app": "w"}))
    zoo.settle(0.05)

    assert ".spec.selector must have either" in zoo.errors()[0]


def test_adoption_looks_at_the_live_parent_and_child() -> None:
    zoo = started(FakeHooks(sync=always()))
    parent, uid = zoo.widget(), zoo.widget()["metadata"]["uid"]
    orphan = zoo.api.create(config_map(labels={"controller-uid": uid}))
    zoo.api.delete(*W)
    zoo.api.create(widget())

    with pytest.raises(ApiError, match="not found"):
        zoo.metacontroller._claims.claim(parent, orphan, zoo.metacontroller._spec.selector(parent))


def test_adoption_by_a_parent_that_has_just_been_deleted_is_refused() -> None:
    zoo = started(FakeHooks(sync=always(), finalize=always()))
    parent, uid = zoo.widget(), zoo.widget()["metadata"]["uid"]
    orphan = zoo.api.create(config_map(labels={"controller-uid": uid}))
    zoo.api.delete(*W)

    with pytest.raises(Exception, match="has just been deleted"):
        zoo.metacontroller._claims.claim(parent, orphan, zoo.metacontroller._spec.selector(parent))


@pytest.mark.parametrize(("code", "errors"), [(404, 0), (409, 1)])
def test_a_claim_that_fails_is_a_sync_error_unless_the_child_is_gone(code: int, errors: int) -> None:
    zoo = started(FakeHooks(sync=always()))
    failures = [ApiError(code, "Some", "made up")]

    def step(request: AdmissionRequest) -> None:
        if request.operation == "UPDATE" and request.kind.kind == "ConfigMap" and failures:
            raise failures.pop()

    zoo.api.admission.append(step)
    zoo.api.create(config_map(labels={"controller-uid": zoo.widget()["metadata"]["uid"]}))
    zoo.settle()

    assert zoo.metacontroller.sync_errors == errors
    assert zoo.names("ConfigMap") == [] if errors else True


def test_a_child_in_another_namespace_than_its_parents_is_not_its_child() -> None:
    cluster = Workloads()
    cluster.api.register_crd(crd("Widget", scope="Namespaced"))
    cluster.api.create(namespace("spare"))
    hooks = FakeHooks(sync=always())
    Metacontroller(cluster.api, hooks, controller(CONFIG))
    parent = cluster.api.create({**widget(), "metadata": {"name": "w", "namespace": "spare"}})
    uid = parent["metadata"]["uid"]
    owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": uid, "controller": True}
    cluster.api.create(config_map(labels={"controller-uid": uid}, ownerReferences=[owner]))
    assert cluster.settle()

    assert hooks.last("sync")["children"] == {"ConfigMap.v1": {}}
    assert cluster.names("ConfigMap") == ["c"]


def owned_by(request: Json) -> Json:
    metadata = request["parent"]["metadata"]
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


@pytest.mark.parametrize(("strategy", "survives"), [("dynamic-apply", True), (SERVER_SIDE_APPLY, False)])
def test_an_explicit_owner_reference_that_is_returned_no_longer_releases_a_child_in_finalize(
    strategy: str, survives: bool
) -> None:
    def finalize(request: Json) -> Json:
        return answer(config_map(), finalized=not request["children"]["ConfigMap.v1"])

    hooks = FakeHooks(sync=lambda r: answer(config_map(ownerReferences=[owned_by(r)])), finalize=finalize)
    zoo = started(hooks, apply_strategy=strategy)
    assert zoo.api.get(*C)["metadata"]["ownerReferences"] == [owned_by(hooks.last("sync"))]
    assert zoo.metacontroller.sync_errors == 0
    zoo.api.delete(*W)
    assert zoo.settle()

    # Server-side apply puts the reference back, so such a finalize waits for ever.
    assert (zoo.api.peek(*W) is None) is survives
    assert ("ownerReferences" not in zoo.api.get(*C)["metadata"]) is survives


# Status


def test_status_is_written_with_the_generation_and_only_when_it_differs() -> None:
    hooks = FakeHooks(sync=always())
    zoo = started(hooks)
    assert zoo.widget()["status"] == {"children": 0, "observedGeneration": 1}
    since = len(zoo.api.writes)
    zoo.api.patch(*W, {"spec": {"size": 3}})
    zoo.settle()

    assert zoo.widget()["status"]["observedGeneration"] == 2
    assert zoo.writes_since(since) == ["update_status Widget"]


def test_a_null_status_wipes_it() -> None:
    hooks = FakeHooks(sync=always())
    zoo = started(hooks)
    hooks.hooks["sync"] = lambda _: {"status": None, "children": None}
    zoo.metacontroller.resync()
    zoo.settle()

    assert zoo.widget()["status"] == {"observedGeneration": 1}


def test_a_status_field_that_is_pruned_is_written_at_every_sync() -> None:
    zoo = Zoo(FakeHooks(sync=lambda _: {"status": {"unknown": 1}, "children": []}))
    zoo.api.create(widget())
    zoo.settle(5)
    since = len(zoo.api.writes)
    for _ in range(3):
        zoo.metacontroller.resync()
        zoo.settle(5)

    assert zoo.writes_since(since) == ["update_status Widget"] * 3


def test_a_parent_without_status_subresource_is_updated_whole() -> None:
    cluster = Workloads()
    cluster.api.register_crd(crd("Widget", status=False))
    cluster.api.create(namespace("spare"))
    Metacontroller(cluster.api, FakeHooks(sync=always()), controller(CONFIG))
    cluster.api.create(widget())
    assert cluster.settle()

    assert cluster.api.get(*W)["status"] == {"children": 0, "observedGeneration": 1}


@pytest.mark.parametrize(("code", "errors"), [(404, 0), (409, 0), (422, 1)])
def test_a_status_that_cannot_be_written_is_an_error_unless_the_parent_moved_on(code: int, errors: int) -> None:
    zoo = Zoo(FakeHooks(sync=always()))
    failures = [ApiError(code, "Some", "made up")]

    def step(request: AdmissionRequest) -> None:
        if request.operation == "STATUS" and failures:
            raise failures.pop()

    zoo.api.admission.append(step)
    zoo.api.create(widget())
    zoo.settle()

    assert zoo.metacontroller.sync_errors == errors
    if errors:
        assert "can't update status for Widget w: made up" in zoo.errors()[0]


# Finalizing


def finalizing(*stages: Json) -> tuple[Zoo, FakeHooks]:
    answers = list(stages)
    hooks = FakeHooks(sync=always(config_map()), finalize=lambda _: answers.pop(0) if len(answers) > 1 else answers[0])
    return started(hooks), hooks


def test_the_finalizer_comes_before_anything_else_and_goes_when_finalized() -> None:
    zoo, hooks = finalizing(answer(finalized=False), answer(finalized=True))
    assert zoo.widget()["metadata"]["finalizers"] == [FINALIZER]
    assert FINALIZER in hooks.requests[0][1]["parent"]["metadata"]["finalizers"]
    zoo.api.delete(*W)
    assert zoo.settle()

    assert zoo.api.peek(*W) is None
    assert zoo.names("ConfigMap") == []
    assert hooks.last("finalize")["finalizing"] is True


def test_a_deleted_parents_children_are_let_be_once_the_finalizer_is_off() -> None:
    zoo, _ = finalizing(answer(finalized=True))
    zoo.api.delete(*W)
    zoo.settle(0.02)

    # The garbage collector takes it, not Metacontroller.
    assert zoo.names("ConfigMap") == ["c"]
    zoo.settle()
    assert zoo.names("ConfigMap") == []
    assert zoo.api.writes[-1].actor == "garbage-collector"


def test_a_parent_that_leaves_the_selector_is_finalized_without_being_deleted() -> None:
    hooks = FakeHooks(sync=always(config_map()), finalize=always(finalized=True))
    zoo = Zoo(hooks, parent={"labelSelector": {"matchLabels": {"shard": "1"}}})
    zoo.api.create(widget(labels={"shard": "1"}))
    zoo.api.create(widget("other"))
    zoo.settle()
    assert {request["parent"]["metadata"]["name"] for _, request in hooks.requests} == {"w"}
    zoo.api.patch(*W, {"metadata": {"labels": {"shard": "2"}}})
    assert zoo.settle()

    request = hooks.last("finalize")
    assert request["finalizing"] is True
    assert "deletionTimestamp" not in request["parent"]["metadata"]
    assert "finalizers" not in zoo.widget()["metadata"]
    assert zoo.names("ConfigMap") == []


def test_a_parent_can_move_from_one_shard_to_another() -> None:
    cluster = Workloads()
    cluster.api.register_crd(crd("Widget"))
    cluster.api.create(namespace("spare"))
    hooks = {}
    for shard in ("1", "2"):
        hooks[shard] = FakeHooks(sync=always(config_map()), finalize=always(finalized=True))
        manifest = controller(
            CONFIG,
            name=f"shard-{shard}",
            hooks=("sync", "finalize"),
            parent={"labelSelector": {"matchLabels": {"shard": shard}}},
        )
        Metacontroller(cluster.api, hooks[shard], manifest, actor=f"metacontroller-{shard}")
    cluster.api.create(widget(labels={"shard": "1"}))
    assert cluster.settle()
    assert hooks["2"].requests == []
    cluster.api.patch(*W, {"metadata": {"labels": {"shard": "2"}}})
    assert cluster.settle()

    stored = cluster.api.get(*W)
    assert stored["metadata"]["finalizers"] == ["metacontroller.io/compositecontroller-shard-2"]
    assert cluster.names("ConfigMap") == ["c"]


def test_foreground_deletion_skips_the_children() -> None:
    zoo, hooks = finalizing(answer(config_map("late"), finalized=False))
    zoo.api.delete(*W, propagation="Foreground")
    zoo.settle(0.03)

    assert "late" not in zoo.names("ConfigMap")
    assert hooks.last("finalize")["finalizing"] is True


def test_without_a_finalize_hook_a_deleted_parent_is_just_gone() -> None:
    zoo = started(FakeHooks(sync=always(config_map())))
    assert "finalizers" not in zoo.widget()["metadata"]
    zoo.api.delete(*W)
    assert zoo.settle()
    assert zoo.names("ConfigMap") == []


def test_a_finalizer_of_a_hook_that_was_taken_away_is_removed() -> None:
    zoo = Zoo(FakeHooks(sync=always()))
    zoo.api.create(widget(finalizers=[FINALIZER]))
    assert zoo.settle()

    assert "finalizers" not in zoo.widget()["metadata"]


def test_a_finalizer_is_not_added_to_what_is_being_deleted() -> None:
    hooks = FakeHooks(sync=always(), finalize=always())
    zoo = Zoo(hooks)
    zoo.api.create(widget(finalizers=["example.com/other"]))
    zoo.api.delete(*W)
    assert zoo.settle()

    assert zoo.widget()["metadata"]["finalizers"] == ["example.com/other"]


def test_a_parent_that_lost_the_finalizer_and_the_selector_is_no_longer_cared_for() -> None:
    hooks = FakeHooks(sync=always())
    zoo = Zoo(hooks, parent={"labelSelector": {"matchLabels": {"shard": "1"}}})
    zoo.api.create(widget(labels={"shard": "2"}, finalizers=[FINALIZER]))
    assert zoo.settle()

    assert hooks.requests == []
    assert "finalizers" not in zoo.widget()["metadata"]


def test_a_parent_that_leaves_between_the_change_and_the_sync_is_left_alone() -> None:
    hooks = FakeHooks(sync=always())
    zoo = Zoo(hooks, parent={"labelSelector": {"matchLabels": {"shard": "1"}}})
    zoo.api.create(widget(labels={"shard": "1"}))
    zoo.api.patch(*W, {"metadata": {"labels": {"shard": "2"}}})
    assert zoo.settle()

    assert hooks.requests == []


def test_a_finalizer_that_is_as_wanted_already_is_not_written() -> None:
    zoo, _ = finalizing(answer(finalized=False))
    stale = zoo.widget()
    stale["metadata"]["finalizers"] = []
    since = len(zoo.api.writes)
    zoo.metacontroller._parents.edit_finalizers(stale, add=True)

    assert zoo.writes_since(since) == []


# Errors, retries, timers


def test_an_error_is_told_as_an_event_and_tried_again_with_back_off() -> None:
    hooks = FakeHooks(sync=lambda _: HookResponse(500, b"boom"))
    zoo = Zoo(hooks)
    zoo.api.create(widget())
    zoo.clock.advance(1)

    # 10 ms latency each; 5, 10, 20, 40, 80, 160, 320 ms back-off.
    assert len(hooks.requests) == 8
    event = next(event for event in zoo.api.list("v1", "Event") if event["reason"] == "SyncError")
    assert event["message"] == "Sync error: sync hook failed: unsupported status code: 500 body: boom"
    assert (event["type"], event["count"], event["metadata"]["namespace"]) == ("Warning", 8, "default")
    assert zoo.names("ConfigMap") == []
    assert "status" not in zoo.widget()
    hooks.hooks["sync"] = always()
    assert zoo.settle()
    assert zoo.widget()["status"]["children"] == 0


def test_the_back_off_ends_at_a_thousand_seconds_and_starts_anew_after_success() -> None:
    hooks = FakeHooks(sync=lambda _: HookResponse(500, b""))
    zoo = Zoo(hooks)
    zoo.api.create(widget())
    zoo.clock.advance(6000)
    before = len(hooks.requests)
    zoo.clock.advance(2500)
    assert len(hooks.requests) - before in {2, 3}
    hooks.hooks["sync"] = always()
    zoo.metacontroller.resync()
    zoo.clock.advance(2000)
    hooks.hooks["sync"] = lambda _: HookResponse(500, b"")
    before = len(hooks.requests)
    zoo.metacontroller.resync()
    zoo.clock.advance(0.1)
    assert len(hooks.requests) - before == 4


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("", 0), ("soon", 0), (None, 0), ("DATE", 20), ("OLD", 0), ("NAIVE", 20)],
)
def test_429_waits_as_long_as_it_says_and_is_no_error(header: str | None, seconds: int) -> None:
    zoo = Zoo(FakeHooks(sync=always()))
    dates = {"DATE": (20, "GMT"), "OLD": (-20, "GMT"), "NAIVE": (20, "-0000")}
    if header in dates:
        from datetime import timedelta

        ahead, zone = dates[header]
        header = format_datetime(zoo.clock.now() + timedelta(seconds=ahead, milliseconds=10)).replace("+0000", zone)
    headers = {} if header is None else {"retry-after": header}
    answers = [HookResponse(429, b"", headers)]
    calls: list[float] = []

    def sync(_: Json) -> Any:
        calls.append(zoo.clock.elapsed)
        return answers.pop() if answers else answer()

    zoo.hooks.hooks["sync"] = sync
    zoo.api.create(widget())
    assert zoo.settle()

    assert round(calls[1] - calls[0] - 0.01, 2) in {seconds, seconds - 0.01}
    assert zoo.metacontroller.sync_errors == 0


BAD_ANSWERS: dict[str, tuple[Any, str]] = {
    "no JSON": (HookResponse(200, b"<html>"), "can't unmarshal"),
    "no object": (HookResponse(200, b"[]"), "it is no object"),
    "an unknown field": ({"children": [], "requeue": 5}, 'unknown field "requeue"'),
    "a status that is no object": ({"status": "Ready"}, "status has the wrong type"),
    "children that are no list": ({"children": {}}, "children has the wrong type"),
    "a child that is no object": ({"children": ["x"]}, "Object 'Kind' is missing"),
    "a child without a kind": ({"children": [{"apiVersion": "v1"}]}, "Object 'Kind' is missing"),
    "a child whose metadata is no object": (
        {"children": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": "x"}]},
        "metadata has the wrong type",
    ),
    "a child without a name": (
        {"children": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": NAMESPACE}}]},
        "name or generateName is required",
    ),
    "a child of an unknown kind": (
        {"children": [{"apiVersion": "v9", "kind": "ConfigMap", "metadata": {"name": "c"}}]},
        "no matches for kind",
    ),
    "a resync that is no number": ({"resyncAfterSeconds": "5"}, "resyncAfterSeconds has the wrong type"),
    "a resync that is a truth": ({"resyncAfterSeconds": True}, "resyncAfterSeconds has the wrong type"),
    "a finalized that is no truth": ({"finalized": "yes"}, "finalized has the wrong type"),
    "a client error": (HookResponse(400, b"bad"), "unsupported status code: 400 body: bad"),
    "nothing new": (HookResponse(304, b""), "unsupported status code: 304"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_changes_nothing(name: str) -> None:
    bad, words = BAD_ANSWERS[name]
    hooks = FakeHooks(sync=always(config_map()))
    zoo = started(hooks)
    hooks.hooks["sync"] = lambda _: bad
    zoo.metacontroller.resync()
    zoo.settle(0.05)

    assert words in zoo.errors()[0]
    if "children" not in words and "name" not in words and "kind" not in words:
        assert zoo.names("ConfigMap") == ["c"]


def test_a_v1_hook_may_send_more_than_is_known() -> None:
    zoo = started(FakeHooks(sync=always(config_map(), requeue=5)), version="v1")

    assert zoo.names("ConfigMap") == ["c"]
    assert zoo.metacontroller.sync_errors == 0


def test_without_a_sync_hook_nothing_can_be_done() -> None:
    zoo = Zoo(FakeHooks(), hooks=())
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert "sync hook not defined for Widget w" in zoo.errors()[0]


def test_hooks_that_cannot_be_reached_are_an_error() -> None:
    hooks = FakeHooks(sync=always())
    hooks.unreachable = True
    zoo = Zoo(hooks)
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert "sync hook failed: http error: connection refused" in zoo.errors()[0]


def test_calls_can_be_dropped_lost_and_repeated() -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = Zoo(hooks)
    zoo.metacontroller.drop_next()
    zoo.metacontroller.lose_next("sync")
    zoo.metacontroller.repeat_next("sync")
    zoo.metacontroller.drop_next("finalize")
    zoo.api.create(widget())
    zoo.settle(0.012)
    assert (len(hooks.requests), zoo.names("ConfigMap")) == (0, [])
    zoo.settle(0.02)
    assert (len(hooks.requests), zoo.names("ConfigMap")) == (1, [])
    assert zoo.settle()
    assert zoo.names("ConfigMap") == ["c"]
    assert hooks.requests[0] == hooks.requests[1] == hooks.requests[2]
    assert zoo.metacontroller.sync_errors == 2


def test_resync_after_seconds_may_be_fractions_and_does_not_keep_it_from_settling() -> None:
    calls: list[float] = []

    def sync(_: Json) -> Json:
        calls.append(zoo.clock.elapsed)
        return answer(resyncAfterSeconds=2.5) if len(calls) < 4 else answer()

    zoo = Zoo(FakeHooks(sync=sync))
    zoo.api.create(widget())
    assert zoo.settle()
    assert zoo.clock.elapsed < 1
    zoo.clock.advance(60)

    assert [round(call, 2) for call in calls] == [0.01, 0.02, 2.52, 5.03]


def test_of_two_wishes_for_a_resync_the_earlier_one_counts() -> None:
    wishes = [10, 5, 30]
    calls: list[float] = []

    def sync(_: Json) -> Json:
        calls.append(zoo.clock.elapsed)
        return answer(resyncAfterSeconds=wishes.pop(0) if wishes else 0)

    zoo = Zoo(FakeHooks(sync=sync))
    zoo.api.create(widget())
    zoo.settle()
    zoo.metacontroller.resync()
    zoo.clock.advance(100)

    assert [round(call) for call in calls] == [0, 0, 0, 5]


def test_a_resync_period_syncs_every_parent_again_and_again() -> None:
    hooks = FakeHooks(sync=always())
    zoo = Zoo(hooks, resyncPeriodSeconds=10)
    zoo.api.create(widget("a"))
    zoo.api.create(widget("b"))
    assert zoo.settle()
    before = len(hooks.requests)
    zoo.clock.advance(31)

    assert len(hooks.requests) - before == 6
    zoo.metacontroller.restart()
    zoo.clock.advance(10.5)
    assert len(hooks.requests) - before == 6 + 2 + 2


def test_several_changes_at_once_are_one_sync() -> None:
    hooks = FakeHooks(sync=always())
    zoo = started(hooks)
    before = len(hooks.requests)
    for size in range(5, 10):
        zoo.api.patch(*W, {"spec": {"size": size}})
    zoo.clock.advance(0.015)

    assert len(hooks.requests) - before == 1


def test_changes_of_the_status_can_be_ignored() -> None:
    hooks = FakeHooks(sync=always())
    zoo = Zoo(hooks, parent={"ignoreStatusChanges": True})
    zoo.api.create(widget())
    zoo.settle()
    assert len(hooks.requests) == 1
    zoo.api.patch(*W, {"metadata": {"labels": {"a": "b"}}})
    zoo.settle()
    assert len(hooks.requests) == 2


def test_its_own_status_write_is_a_reason_for_another_sync() -> None:
    hooks = FakeHooks(sync=always())
    started(hooks)

    assert len(hooks.requests) == 2
    assert hooks.requests[1][1]["parent"]["status"] == {"children": 0, "observedGeneration": 1}


def test_a_child_that_changes_or_goes_is_a_reason_for_a_sync() -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = started(hooks)
    zoo.api.patch(*C, {"data": {"k": "by hand"}})
    zoo.settle()
    assert zoo.api.get(*C)["data"] == {"k": "v"}
    zoo.api.delete(*C)
    zoo.settle()
    assert zoo.api.get(*C)["data"] == {"k": "v"}


def test_children_of_others_are_no_reason_for_a_sync() -> None:
    hooks = FakeHooks(sync=always())
    zoo = started(hooks)
    uid = zoo.widget()["metadata"]["uid"]
    before = len(hooks.requests)
    owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": uid, "controller": True}
    for index, change in enumerate(
        ({"kind": "Gadget"}, {"apiVersion": "other.com/v1"}, {"uid": "old"}, {"name": "nobody"})
    ):
        zoo.api.create(config_map(f"c{index}", ownerReferences=[{**owner, **change}]))
    zoo.api.create(config_map("orphan"))
    zoo.api.delete("v1", "ConfigMap", NAMESPACE, "orphan")
    zoo.api.create(
        config_map(
            "impostor", labels={"controller-uid": zoo.api.get("v1", "Namespace", None, NAMESPACE)["metadata"]["uid"]}
        )
    )
    zoo.clock.advance(0.02)

    assert len(hooks.requests) == before


def test_a_restart_syncs_everything_and_asks_customize_again() -> None:
    hooks = FakeHooks(sync=always(resyncAfterSeconds=500), customize=lambda _: {"relatedResources": []})
    zoo = started(hooks)
    calls = dict(zoo.metacontroller.calls)
    zoo.metacontroller.restart()
    assert zoo.settle()

    assert zoo.metacontroller.calls["sync"] == calls["sync"] + 1
    assert zoo.metacontroller.calls["customize"] == calls["customize"] + 1


def test_while_it_is_stopped_nothing_happens() -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = Zoo(hooks)
    zoo.metacontroller.start()
    zoo.metacontroller.stop()
    zoo.metacontroller.stop()
    zoo.api.create(widget())
    assert zoo.settle()
    assert hooks.requests == []
    zoo.metacontroller.start()
    assert zoo.settle()
    assert zoo.names("ConfigMap") == ["c"]


def test_a_parent_that_is_gone_is_forgotten() -> None:
    hooks = FakeHooks(sync=lambda _: HookResponse(500, b""))
    zoo = Zoo(hooks)
    zoo.api.create(widget())
    zoo.clock.advance(1)
    zoo.api.delete(*W)

    assert zoo.settle()


def test_observers_see_every_call_with_request_and_answer() -> None:
    zoo = Zoo(FakeHooks(sync=always()))
    seen: list[HookCall] = []
    zoo.metacontroller.observers.append(seen.append)
    zoo.api.create(widget())
    zoo.settle()

    assert [(call.hook, call.parent, call.response.status) for call in seen] == [("sync", "w", 200)] * 2
    assert json.loads(seen[0].request)["parent"]["metadata"]["name"] == "w"
    assert seen[0].at == 0.01
    assert zoo.metacontroller.response_bytes == sum(len(call.response.body) for call in seen)
    assert zoo.metacontroller.request_bytes == sum(len(call.request) for call in seen)


def test_a_controller_that_is_stored_already_is_used_as_it_is() -> None:
    cluster = Workloads()
    cluster.api.register_crd(crd("Widget"))
    manifest = controller(CONFIG)
    cluster.api.create(manifest)
    since = len(cluster.api.writes)
    Metacontroller(cluster.api, FakeHooks(sync=always()), manifest)

    assert len(cluster.api.writes) == since


# Related objects


def customizing(*rules: Any) -> tuple[Zoo, FakeHooks]:
    hooks = FakeHooks(sync=always(), customize=lambda _: {"relatedResources": list(rules)})
    zoo = Zoo(hooks)
    zoo.api.create(config_map("by-label", labels={"app": "x", "tier": "1"}))
    zoo.api.create(config_map("by-name"))
    other = config_map("by-name")
    other["metadata"]["namespace"] = "spare"
    zoo.api.create(other)
    zoo.api.create(widget())
    zoo.settle(1)
    return zoo, hooks


RELATED: dict[str, tuple[Json, list[str]]] = {
    "by label": ({"labelSelector": {"matchLabels": {"app": "x"}}}, ["zoo/by-label"]),
    "by label in a namespace": ({"namespace": "spare", "labelSelector": {"matchLabels": {"app": "x"}}}, []),
    "by expression": (
        {"labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
        ["zoo/by-label"],
    ),
    "by name": ({"names": ["by-name", "nothing"]}, ["spare/by-name", "zoo/by-name"]),
    "by name in a namespace": ({"namespace": "zoo", "names": ["by-name", "nothing"]}, ["zoo/by-name"]),
    "by namespace": ({"namespace": "zoo"}, ["zoo/by-label", "zoo/by-name"]),
    "by the namespace's labels": (
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "spare"}}},
        ["spare/by-name"],
    ),
    "all": ({}, ["spare/by-name", "zoo/by-label", "zoo/by-name"]),
}


@pytest.mark.parametrize("name", RELATED)
def test_related_objects_are_sent_as_asked_for(name: str) -> None:
    rule, keys = RELATED[name]
    _, hooks = customizing({"apiVersion": "v1", "resource": "configmaps", **rule})

    assert list(hooks.last("sync")["related"]) == ["ConfigMap.v1"]
    assert sorted(hooks.last("sync")["related"]["ConfigMap.v1"]) == keys


def test_cluster_scoped_related_objects_are_found_whatever_namespace_the_rule_says() -> None:
    _, hooks = customizing({"apiVersion": "v1", "resource": "namespaces", "namespace": "x", "names": [NAMESPACE]})

    assert list(hooks.last("sync")["related"]["Namespace.v1"]) == [NAMESPACE]


BAD_RULES: dict[str, tuple[Any, str]] = {
    "an unknown resource": ({"apiVersion": "v1", "resource": "dragons"}, "can't find resource dragons"),
    "names and labels": (
        {"apiVersion": "v1", "resource": "pods", "names": ["a"], "labelSelector": {}},
        "cannot have both names and labelSelector",
    ),
    "two kinds of namespace": (
        {"apiVersion": "v1", "resource": "pods", "namespace": "a", "namespaceSelector": {}},
        "cannot have both namespace and namespaceSelector",
    ),
    "namespaces of what has none": (
        {"apiVersion": "v1", "resource": "namespaces", "namespaceSelector": {}},
        "only supported for namespaced",
    ),
    "no object": ("x", "is no object"),
    "an unknown field": ({"apiVersion": "v1", "resource": "pods", "selector": {}}, 'unknown field "selector"'),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_a_bad_rule_is_a_sync_error(name: str) -> None:
    rule, words = BAD_RULES[name]
    zoo, _ = customizing(rule)

    assert words in zoo.errors()[0]


def test_a_customize_answer_without_a_list_is_a_sync_error() -> None:
    hooks = FakeHooks(sync=always(), customize=lambda _: {"relatedResources": {}})
    zoo = Zoo(hooks)
    zoo.api.create(widget())
    zoo.settle(0.05)

    assert "relatedResources has the wrong type" in zoo.errors()[0]


def test_customize_is_asked_once_per_generation_and_again_after_twenty_minutes() -> None:
    zoo, hooks = customizing()
    assert zoo.metacontroller.calls["customize"] == 1
    assert set(hooks.last("customize")) == {"controller", "parent"}
    zoo.metacontroller.resync()
    zoo.settle()
    assert zoo.metacontroller.calls["customize"] == 1
    zoo.api.patch(*W, {"spec": {"size": 7}})
    zoo.settle()
    assert zoo.metacontroller.calls["customize"] == 2
    zoo.clock.advance(20 * 60)
    zoo.metacontroller.resync()
    zoo.settle()
    assert zoo.metacontroller.calls["customize"] == 3


def test_a_related_object_that_changes_or_comes_or_goes_is_a_reason_for_a_sync() -> None:
    zoo, hooks = customizing(
        {"apiVersion": "v1", "resource": "configmaps", "labelSelector": {"matchLabels": {"app": "x", "tier": "1"}}}
    )

    def synced_by(action: Callable[[], object]) -> bool:
        before = len(hooks.requests)
        action()
        zoo.settle()
        return len(hooks.requests) > before

    label = ("v1", "ConfigMap", NAMESPACE, "by-label")
    assert synced_by(lambda: zoo.api.patch(*label, {"data": {"k": "2"}}))
    assert not synced_by(lambda: zoo.api.patch("v1", "ConfigMap", NAMESPACE, "by-name", {"data": {"k": "2"}}))
    assert not synced_by(lambda: zoo.api.create(config_map("half", labels={"app": "x"})))
    assert synced_by(lambda: zoo.api.create(config_map("new", labels={"app": "x", "tier": "1"})))
    assert synced_by(lambda: zoo.api.patch(*label, {"metadata": {"labels": {"app": "y"}}}))
    assert not synced_by(lambda: zoo.api.delete(*label))
    assert synced_by(lambda: zoo.api.delete("v1", "ConfigMap", NAMESPACE, "new"))
    zoo.api.delete(*W)
    zoo.settle()
    assert not synced_by(lambda: zoo.api.create(config_map("late", labels={"app": "x", "tier": "1"})))


def test_a_related_object_concerns_only_the_parents_that_asked_for_it() -> None:
    hooks = FakeHooks(
        sync=always(),
        customize=lambda r: {
            "relatedResources": [
                {
                    "apiVersion": "v1",
                    "resource": "configmaps",
                    "labelSelector": {"matchLabels": {"app": "all", "of": r["parent"]["metadata"]["name"]}},
                }
            ]
        },
    )
    zoo = Zoo(hooks)
    for name in "abc":
        zoo.api.create(widget(name))
    zoo.settle()
    before = len(hooks.requests)
    zoo.api.create(config_map(labels={"app": "all", "of": "b"}))
    zoo.settle()

    assert [request["parent"]["metadata"]["name"] for _, request in hooks.requests[before:]] == ["b"]


def test_an_object_of_the_right_name_in_another_namespace_concerns_nobody() -> None:
    zoo, hooks = customizing({"apiVersion": "v1", "resource": "configmaps", "namespace": "zoo", "names": ["late"]})
    zoo.api.create(widget("second"))
    zoo.settle()
    before = len(hooks.requests)
    late = config_map("late")
    late["metadata"]["namespace"] = "spare"
    zoo.api.create(late)
    zoo.settle()
    assert len(hooks.requests) == before
    zoo.api.delete("example.com/v1", "Widget", None, "second")
    zoo.api.create(config_map("late"))
    zoo.settle()
    assert {request["parent"]["metadata"]["name"] for _, request in hooks.requests[before:]} == {"w"}


# Server-side apply


def server_side(hooks: FakeHooks, *rules: Any) -> Zoo:
    return started(hooks, *rules, apply_strategy=SERVER_SIDE_APPLY)


def test_server_side_apply_leaves_no_annotation_and_owns_what_it_applied() -> None:
    zoo = server_side(FakeHooks(sync=always(config_map())))
    child = zoo.api.get(*C)

    assert "annotations" not in child["metadata"]
    assert child["metadata"]["ownerReferences"][0]["name"] == "w"
    assert [(entry["manager"], entry["operation"]) for entry in child["metadata"]["managedFields"]] == [
        ("metacontroller", "Apply")
    ]


def test_under_server_side_apply_what_is_no_longer_returned_goes() -> None:
    hooks = FakeHooks(sync=always(config_map(data={"a": "1", "b": "2"})))
    zoo = server_side(hooks)
    zoo.api.patch(*C, {"data": {"theirs": "3"}})
    hooks.hooks["sync"] = always(config_map(data={"a": "1"}))
    zoo.metacontroller.resync()
    assert zoo.settle()

    assert zoo.api.get(*C)["data"] == {"a": "1", "theirs": "3"}


def test_under_server_side_apply_the_owner_reference_comes_back() -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = server_side(hooks)
    zoo.api.patch(*C, {"metadata": {"ownerReferences": None}})
    assert zoo.settle()

    assert zoo.api.get(*C)["metadata"]["ownerReferences"][0]["name"] == "w"
    without = config_map(ownerReferences=[])
    hooks.hooks["sync"] = always(without)
    zoo.metacontroller.resync()
    zoo.settle()
    assert zoo.api.get(*C)["metadata"]["ownerReferences"][0]["name"] == "w"


def test_under_server_side_apply_an_old_annotation_is_taken_away() -> None:
    zoo = server_side(FakeHooks(sync=always(config_map())))
    zoo.api.patch(*C, {"metadata": {"annotations": {LAST_APPLIED: "{}"}}})
    assert zoo.settle()

    assert "annotations" not in zoo.api.get(*C)["metadata"]


def test_under_server_side_apply_a_status_in_the_answer_is_ignored() -> None:
    child = {**service(), "status": {"loadBalancer": {"ingress": []}}}
    zoo = server_side(FakeHooks(sync=always(child)), ("v1", "services", "InPlace"))

    assert zoo.get("Service", "s")["status"] == {"loadBalancer": {}}


def test_under_server_side_apply_on_delete_never_updates() -> None:
    hooks = FakeHooks(sync=always(config_map(data={"k": "1"})))
    zoo = server_side(hooks, ("v1", "configmaps", "OnDelete"))
    hooks.hooks["sync"] = always(config_map(data={"k": "2"}))
    for _ in range(2):
        zoo.metacontroller.resync()
        assert zoo.settle()

    assert zoo.api.get(*C)["data"] == {"k": "1"}


def test_under_server_side_apply_a_child_that_is_going_is_let_be() -> None:
    hooks = FakeHooks(sync=always(config_map(finalizers=["example.com/hold"])))
    zoo = server_side(hooks)
    zoo.api.delete(*C)
    since = len(zoo.api.writes)
    hooks.hooks["sync"] = always(config_map(data={"k": "2"}))
    zoo.metacontroller.resync()
    assert zoo.settle()

    assert zoo.writes_since(since) == []


@pytest.mark.parametrize(("code", "errors"), [(409, 0), (500, 1)])
def test_under_server_side_apply_a_conflict_is_left_to_the_next_sync(code: int, errors: int) -> None:
    hooks = FakeHooks(sync=always(config_map()))
    zoo = Zoo(hooks, apply_strategy=SERVER_SIDE_APPLY)
    failures = [ApiError(code, "Some", "made up")]

    def step(request: AdmissionRequest) -> None:
        if request.kind.kind == "ConfigMap" and failures:
            raise failures.pop()

    zoo.api.admission.append(step)
    zoo.api.create(widget())
    assert zoo.settle()

    assert zoo.metacontroller.sync_errors == errors
    assert zoo.names("ConfigMap") == ["c"]


def test_recreate_is_not_modelled_under_server_side_apply() -> None:
    with pytest.raises(ValueError, match="Recreate is not modelled"):
        Zoo(FakeHooks(sync=always()), ("v1", "configmaps", "Recreate"), apply_strategy=SERVER_SIDE_APPLY)


def test_the_names_of_errors_are_the_api_servers() -> None:
    assert conflict("widgets", "w", "x").reason == "Conflict"
    assert refusal(lambda: started(FakeHooks(sync=always())).api.get("v1", "Pod", NAMESPACE, "x")).code == 404
