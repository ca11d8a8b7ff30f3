from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from devcluster.apiserver import AdmissionRequest, ApiServer, WatchEvent
from devcluster.clock import Clock
from devcluster.errors import forbidden
from devcluster.selectors import from_labels, from_text
from fakes import (
    NAMESPACE,
    claim,
    config_map,
    crd,
    namespace,
    pod,
    refusal,
    secret,
    service,
    stateful_set,
    widget,
)

C = ("v1", "ConfigMap", NAMESPACE, "c")
W = ("example.com/v1", "Widget", None, "w")


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.register_crd(crd("Widget"))
    server.create(namespace())
    return server


# Creating and reading


def test_a_new_object_gets_what_the_server_sets(api: ApiServer) -> None:
    sent = config_map(uid="mine", generation=7, managedFields=[{"manager": "me"}])
    stored = api.create(sent, actor="someone")
    metadata = stored["metadata"]

    assert metadata["uid"] not in {"", "mine"}
    assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert metadata["resourceVersion"] == str(api.resource_version)
    assert "generation" not in metadata
    assert [entry["manager"] for entry in metadata["managedFields"]] == ["someone"]
    assert metadata["managedFields"][0]["fieldsV1"] == {"f:data": {"f:k": {}}}
    assert api.get(*C) == stored


def test_two_servers_of_one_seed_give_the_same_uids() -> None:
    def uid(seed: int) -> str:
        return str(ApiServer(Clock(), seed=seed).create(namespace())["metadata"]["uid"])

    assert uid(1) == uid(1) != uid(2)


def test_a_caller_cannot_change_what_is_stored(api: ApiServer) -> None:
    sent = config_map()
    stored = api.create(sent)
    for reachable in (sent, stored, api.get(*C), api.list("v1", "ConfigMap")[0], api.update(api.get(*C))):
        reachable["data"]["k"] = "changed"
        reachable["metadata"].setdefault("labels", {})["x"] = "changed"

    assert api.get(*C)["data"] == {"k": "v"}
    assert "labels" not in api.get(*C)["metadata"]


def test_a_read_only_mapping_can_be_sent(api: ApiServer) -> None:
    stored = api.create(MappingProxyType({**config_map(), "data": MappingProxyType({"k": "v"})}))

    assert stored["data"] == {"k": "v"}


def test_generate_name_is_completed_and_cut(api: ApiServer) -> None:
    sent = config_map(generateName="x" * 70)
    del sent["metadata"]["name"]
    name = api.create(sent)["metadata"]["name"]

    assert len(name) == 63
    assert name.startswith("x" * 58)


@pytest.mark.parametrize(
    ("obj", "code", "words"),
    [
        ({"kind": "ConfigMap", "metadata": {}}, 400, "Kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, 400, "metadata"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": None}, 400, "metadata"),
        ({**config_map(), "data": {"k": object()}}, 400, "not JSON"),
        ({**config_map(), "data": {"k": 2**70}}, 400, "not JSON"),
        ({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "c"}}, 404, "no matches for kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}, 400, "namespace"),
        ({**namespace("x"), "metadata": {"name": "x", "namespace": "y"}}, 400, "cluster-scoped"),
        (config_map(resourceVersion="3"), 400, "resourceVersion"),
        ({**config_map(), "metadata": {"name": "c", "namespace": "nowhere"}}, 404, 'namespaces "nowhere" not found'),
        (config_map(name=""), 422, "name or generateName is required"),
        (config_map(name="UPPER"), 422, "RFC 1123"),
    ],
)
def test_what_cannot_be_created_is_refused(api: ApiServer, obj: Any, code: int, words: str) -> None:
    error = refusal(lambda: api.create(obj))

    assert error.code == code
    assert words in error.message


def test_a_second_object_of_one_name_is_refused(api: ApiServer) -> None:
    api.create(config_map())
    error = refusal(lambda: api.create(config_map()))

    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.message == 'configmaps "c" already exists'


def test_what_is_not_there_is_404(api: ApiServer) -> None:
    for action in (
        lambda: api.get(*C),
        lambda: api.update(config_map()),
        lambda: api.patch(*C, {}),
        lambda: api.delete(*C),
        lambda: api.list("v1", "Nothing"),
        lambda: api.resource("v1", "nothings"),
    ):
        assert refusal(action).reason == "NotFound"
    assert api.peek(*C) is None


def test_resources_and_kinds_are_found_by_name(api: ApiServer) -> None:
    assert api.resource("apps/v1", "statefulsets") is api.kind("apps/v1", "StatefulSet")
    assert api.kind("apps/v1", "StatefulSet").resource == "statefulsets.apps"
    assert api.kind("apps/v1", "StatefulSet").qualified == "StatefulSet.apps"
    assert api.kind("v1", "Pod").resource == "pods"
    assert [kind.kind for kind in api.kinds][-1] == "Widget"


def test_lists_are_by_namespace_label_and_name(api: ApiServer) -> None:
    api.create(namespace("other"))
    for name, labels in (("b", {"app": "x"}), ("a", {"app": "x", "tier": "1"}), ("d", {"app": "y"}), ("e", {})):
        api.create(config_map(name, labels=labels))
    api.create({**config_map("z", labels={"app": "x"}), "metadata": {"name": "z", "namespace": "other"}})

    def names(where: str | None = None, selector: Any = None) -> list[str]:
        return [obj["metadata"]["name"] for obj in api.list("v1", "ConfigMap", where, selector)]

    assert names() == ["z", "a", "b", "d", "e"]
    assert names(NAMESPACE) == ["a", "b", "d", "e"]
    assert names("nowhere") == []
    assert names(NAMESPACE, "app=x") == ["a", "b"]
    assert names(None, {"app": "x", "tier": "1"}) == ["a"]
    assert names(None, from_text("app!=x")) == ["z", "d", "e"]
    assert names(NAMESPACE, from_labels({"app": "none"})) == []
    assert names("other", {"tier": "1"}) == []


def test_labels_are_looked_up_as_they_are_now(api: ApiServer) -> None:
    stored = api.create(config_map(labels={"app": "x"}))
    stored["metadata"]["labels"] = {"app": "y"}
    api.update(stored)

    assert api.list("v1", "ConfigMap", None, {"app": "x"}) == []
    assert len(api.list("v1", "ConfigMap", None, {"app": "y"})) == 1
    api.delete(*C)
    assert api.list("v1", "ConfigMap", None, {"app": "y"}) == []


def test_dependents_are_found_by_the_uid_of_their_owner(api: ApiServer) -> None:
    owner = api.create(widget())
    reference = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": owner["metadata"]["uid"]}
    owned = api.create(config_map("owned", ownerReferences=[{**reference, "controller": True}]))
    api.create(config_map("named", ownerReferences=[reference]))
    uid = owner["metadata"]["uid"]

    def names() -> list[str]:
        return [obj["metadata"]["name"] for _, obj in api.dependents(uid)]

    assert names() == ["owned", "named"]
    assert [obj["metadata"]["name"] for obj in api.controlled_by("v1", "ConfigMap", uid)] == ["owned"]
    assert [obj["metadata"]["name"] for obj in api.controlled_by("v1", "ConfigMap", "")] == ["named"]
    owned["metadata"]["ownerReferences"] = []
    api.update(owned)
    assert names() == ["named"]
    api.delete("v1", "ConfigMap", NAMESPACE, "named")
    assert names() == []
    assert api.find_uid(uid) == api.get(*W)
    assert api.find_uid("gone") is None


# Changing


def test_an_update_needs_the_newest_version_where_it_names_one(api: ApiServer) -> None:
    first = api.create(config_map())
    api.update({**first, "data": {"k": "2"}})
    error = refusal(lambda: api.update({**first, "data": {"k": "3"}}))

    assert (error.code, error.reason) == (409, "Conflict")
    assert "the object has been modified" in error.message
    api.update(config_map(data={"k": "4"}))
    assert api.get(*C)["data"] == {"k": "4"}


def test_an_update_for_another_uid_is_a_conflict(api: ApiServer) -> None:
    api.create(config_map())

    assert "UID in precondition" in refusal(lambda: api.update(config_map(uid="other"))).message


def test_an_update_of_a_custom_resource_has_to_name_a_version(api: ApiServer) -> None:
    api.create(widget())

    assert "must be specified for an update" in refusal(lambda: api.update(widget(spec={"size": 3}))).message


def test_an_update_that_changes_nothing_is_not_stored(api: ApiServer) -> None:
    stored = api.create(config_map())
    version = api.resource_version
    again = api.update(stored)

    assert again == stored
    assert api.resource_version == version
    assert [(write.code, write.changed) for write in api.writes[-2:]] == [("ok", True), ("ok", False)]


def test_the_generation_counts_changes_of_the_spec_only(api: ApiServer) -> None:
    stored = api.create(widget())
    assert stored["metadata"]["generation"] == 1
    stored["metadata"]["labels"] = {"a": "b"}
    stored = api.update(stored)
    assert stored["metadata"]["generation"] == 1
    stored["spec"]["size"] = 5
    assert api.update(stored)["metadata"]["generation"] == 2


def test_binding_a_pod_to_a_node_is_no_new_generation(api: ApiServer) -> None:
    stored = api.create(pod())
    stored["spec"]["nodeName"] = "n"

    assert api.update(stored)["metadata"]["generation"] == 1


def test_status_is_written_by_its_subresource_only(api: ApiServer) -> None:
    stored = api.create({**widget(), "status": {"phase": "sent"}})
    assert "status" not in stored
    stored = api.update_status({**stored, "spec": {"size": 9}, "status": {"phase": "x"}})
    assert (stored["spec"]["size"], stored["status"]["phase"]) == (1, "x")
    stored = api.update({**stored, "spec": {"size": 9}, "status": {"phase": "y"}})
    assert (stored["spec"]["size"], stored["status"]["phase"]) == (9, "x")
    assert stored["metadata"]["generation"] == 2
    managers = [(entry["manager"], entry.get("subresource")) for entry in stored["metadata"]["managedFields"]]
    assert managers == [("kubectl", "status"), ("kubectl", None)]


def test_a_kind_without_status_subresource_has_status_like_any_field(api: ApiServer) -> None:
    api.register_crd(crd("Plain", status=False))
    plain = {"apiVersion": "example.com/v1", "kind": "Plain", "metadata": {"name": "p"}, "spec": {}}
    stored = api.create({**plain, "status": {"phase": "x"}})

    assert stored["status"] == {"phase": "x"}
    assert refusal(lambda: api.update_status(stored)).code == 404
    assert refusal(lambda: api.update_status(api.create(config_map()))).code == 404


def test_a_merge_patch_sets_and_removes(api: ApiServer) -> None:
    api.create(config_map(data={"a": "1", "b": "2"}, labels={"x": "y"}))
    patched = api.patch(*C, {"data": {"a": None, "c": "3"}, "metadata": {"labels": None, "annotations": {"n": "v"}}})

    assert patched["data"] == {"b": "2", "c": "3"}
    assert "labels" not in patched["metadata"]
    assert patched["metadata"]["annotations"] == {"n": "v"}


def test_a_patch_may_name_the_version_it_is_for(api: ApiServer) -> None:
    api.create(config_map())

    assert refusal(lambda: api.patch(*C, {"metadata": {"resourceVersion": "1"}})).code == 409
    assert refusal(lambda: api.patch(*C, {"metadata": {"uid": "other"}})).code == 409


def test_a_patch_of_the_status_leaves_the_spec(api: ApiServer) -> None:
    api.create(widget())
    patched = api.patch(*W, {"status": {"phase": "x"}, "spec": {"size": 7}}, subresource="status")

    assert (patched["status"], patched["spec"]["size"]) == ({"phase": "x"}, 1)
    assert api.writes[-1].verb == "patch_status"


def test_system_fields_cannot_be_changed(api: ApiServer) -> None:
    stored = api.create(widget())
    metadata = {**stored["metadata"], "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 9}
    metadata["deletionTimestamp"] = "2000-01-01T00:00:00Z"

    assert api.update({**stored, "metadata": metadata}) == stored


@pytest.mark.parametrize(
    ("obj", "change", "words"),
    [
        (stateful_set(), lambda o: o["spec"].update(serviceName="x"), "updates to statefulset spec"),
        (stateful_set(), lambda o: o["spec"].update(podManagementPolicy="Parallel"), "updates to statefulset spec"),
        (claim(), lambda o: o["spec"].update(storageClassName="x"), "spec is immutable after creation"),
        (service(), lambda o: o["spec"].update(clusterIP="None", clusterIPs=["None"]), "may not change once set"),
        (pod(), lambda o: o["spec"]["containers"][0].update(args=["x"]), "pod updates may not change"),
        (pod(), lambda o: o["spec"].update(hostname="x"), "pod updates may not change"),
        ({**config_map(), "immutable": True}, lambda o: o["data"].update(k="x"), "field is immutable"),
        ({**secret("s", a="b"), "immutable": True}, lambda o: o["data"].update(k="eA=="), "field is immutable"),
    ],
)
def test_what_is_immutable_cannot_be_updated(
    api: ApiServer, obj: dict[str, Any], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    stored = api.create(obj)
    change(stored)
    error = refusal(lambda: api.update(stored))

    assert (error.code, error.reason) == (422, "Invalid")
    assert words in error.message


@pytest.mark.parametrize(
    ("obj", "change"),
    [
        (stateful_set(), lambda o: o["spec"].update(replicas=0, minReadySeconds=3, revisionHistoryLimit=2)),
        (stateful_set(), lambda o: o["spec"]["template"]["spec"].update(hostname="x")),
        (service(), lambda o: o["spec"]["ports"].append({"name": "more", "port": 81})),
        (pod(), lambda o: o["spec"]["containers"][0].update(image="registry.example/app:2")),
        ({**config_map(), "immutable": True}, lambda o: o["metadata"].update(labels={"a": "b"})),
        (config_map(), lambda o: o["data"].update(k="x")),
    ],
)
def test_what_is_mutable_can_be_updated(
    api: ApiServer, obj: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    stored = api.create(obj)
    change(stored)

    assert api.update(stored)["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"]


# Deleting


def test_a_deleted_object_is_gone_and_its_last_version_is_new(api: ApiServer) -> None:
    stored = api.create(config_map())
    last = api.delete(*C)

    assert int(last["metadata"]["resourceVersion"]) > int(stored["metadata"]["resourceVersion"])
    assert api.peek(*C) is None


@pytest.mark.parametrize("precondition", [{"uid": "other"}, {"resource_version": "1"}])
def test_a_delete_with_preconditions_spares_another_object(api: ApiServer, precondition: Mapping[str, str]) -> None:
    api.create(config_map())
    error = refusal(lambda: api.delete(*C, **precondition))

    assert error.code == 409
    assert "Precondition failed" in error.message
    stored = api.get(*C)["metadata"]
    api.delete(*C, uid=stored["uid"], resource_version=stored["resourceVersion"])
    assert api.peek(*C) is None


def test_finalizers_hold_an_object_until_the_last_is_gone(api: ApiServer) -> None:
    api.create(widget(finalizers=["example.com/a", "example.com/b"]))
    api.clock.advance(5)
    marked = api.delete(*W)

    assert marked["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert marked["metadata"]["generation"] == 2
    assert api.delete(*W) == marked
    assert (
        "no new finalizers" in refusal(lambda: api.patch(*W, {"metadata": {"finalizers": ["example.com/c"]}})).message
    )
    api.patch(*W, {"metadata": {"finalizers": ["example.com/b"]}})
    assert api.peek(*W) is not None
    api.patch(*W, {"metadata": {"finalizers": None}})
    assert api.peek(*W) is None


@pytest.mark.parametrize(("propagation", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")])
def test_orphan_and_foreground_deletion_are_finalizers(api: ApiServer, propagation: str, finalizer: str) -> None:
    api.create(widget())

    assert api.delete(*W, propagation=propagation)["metadata"]["finalizers"] == [finalizer]


def test_a_running_pod_is_given_its_grace(api: ApiServer) -> None:
    stored = api.create(pod())
    stored["spec"]["nodeName"] = "n"
    api.update(stored)
    marked = api.delete("v1", "Pod", NAMESPACE, "p")["metadata"]

    assert (marked["deletionTimestamp"], marked["deletionGracePeriodSeconds"]) == ("2026-01-01T00:00:30Z", 30)
    assert marked["generation"] == 2
    api.delete("v1", "Pod", NAMESPACE, "p", grace_period=0)
    assert api.peek("v1", "Pod", NAMESPACE, "p") is None


def test_a_pod_without_a_node_and_a_finished_one_have_no_grace(api: ApiServer) -> None:
    api.create(pod("unscheduled"))
    api.delete("v1", "Pod", NAMESPACE, "unscheduled")
    finished = api.create(pod("finished"))
    finished["spec"]["nodeName"] = "n"
    finished = api.update(finished)
    api.update_status({**finished, "status": {"phase": "Succeeded"}})
    api.delete("v1", "Pod", NAMESPACE, "finished")

    assert api.list("v1", "Pod") == []


def test_a_pod_in_grace_is_not_removed_by_losing_its_finalizers(api: ApiServer) -> None:
    held = pod()
    held["metadata"]["finalizers"] = ["example.com/a"]
    stored = api.create(held)
    stored["spec"]["nodeName"] = "n"
    api.update(stored)
    api.delete("v1", "Pod", NAMESPACE, "p")
    api.patch("v1", "Pod", NAMESPACE, "p", {"metadata": {"finalizers": None}})
    assert api.peek("v1", "Pod", NAMESPACE, "p") is not None
    api.delete("v1", "Pod", NAMESPACE, "p", grace_period=0)
    assert api.peek("v1", "Pod", NAMESPACE, "p") is None


def test_nothing_is_created_in_a_namespace_that_goes(api: ApiServer) -> None:
    api.create(config_map())
    marked = api.delete("v1", "Namespace", None, NAMESPACE)
    error = refusal(lambda: api.create(config_map("new")))

    assert marked["status"]["phase"] == "Terminating"
    assert "deletionGracePeriodSeconds" not in marked["metadata"]
    assert (error.code, error.reason) == (403, "Forbidden")
    assert "because it is being terminated" in error.message
    assert refusal(lambda: api.finalize_namespace(NAMESPACE, actor="x")).code == 409
    api.delete(*C)
    api.finalize_namespace(NAMESPACE, actor="x")
    assert api.peek("v1", "Namespace", None, NAMESPACE) is None


# Watching, admission, the log


def test_watchers_see_every_change_in_order(api: ApiServer) -> None:
    start = api.resource_version
    told: list[WatchEvent] = []
    unsubscribe = api.subscribe(told.append)
    stored = api.create(config_map())
    api.update({**stored, "data": {}})
    api.delete(*C)
    unsubscribe()
    api.create(config_map("unseen"))

    assert [event.type for event in told] == ["ADDED", "MODIFIED", "DELETED"]
    assert told[1].old == told[0].object == stored
    assert api.events_since(start)[:3] == told
    assert [event.resource_version for event in told] == [start + 1, start + 2, start + 3]
    assert api.events_since(start + 2)[0].type == "DELETED"
    assert api.events_since(api.resource_version) == []


def test_a_watch_from_too_long_ago_is_410(api: ApiServer) -> None:
    start = api.resource_version
    api.create(config_map())
    api.compact()
    error = refusal(lambda: api.events_since(start))

    assert (error.code, error.reason) == (410, "Expired")
    assert api.events_since(api.resource_version) == []


def test_only_the_newest_events_are_kept() -> None:
    api = ApiServer(Clock(), history=2)
    api.create(namespace())
    for name in "abc":
        api.create(config_map(name))

    assert [event.object["metadata"]["name"] for event in api.events_since(2)] == ["b", "c"]
    assert refusal(lambda: api.events_since(1)).code == 410


def test_admission_may_edit_and_refuse(api: ApiServer) -> None:
    seen: list[str] = []

    def step(request: AdmissionRequest) -> None:
        seen.append(request.operation)
        if request.operation == "CREATE":
            request.object["data"] = {"edited": "yes"}
        if request.operation == "DELETE":
            raise forbidden("configmaps", "c", "not today")

    api.admission.append(step)
    stored = api.create(config_map())
    assert stored["data"] == {"edited": "yes"}
    api.update({**stored, "data": {}})
    assert refusal(lambda: api.delete(*C)).message == 'configmaps "c" is forbidden: not today'
    assert seen == ["CREATE", "UPDATE", "DELETE"]


def test_every_write_is_logged_with_who_and_how_it_ended(api: ApiServer) -> None:
    since = len(api.writes)
    api.create(config_map(), actor="a")
    refusal(lambda: api.create(config_map(), actor="b"))
    api.create(widget(), actor="a")

    assert [str(write) for write in api.writes[since:]] == [
        "create ConfigMap zoo/c by a: ok",
        "create ConfigMap zoo/c by b: AlreadyExists",
        "create Widget w by a: ok",
    ]
    assert api.count_writes("a", since) == 2
    assert api.count_writes(since=since) == 3


def test_a_broken_admission_step_is_logged_by_its_exception(api: ApiServer) -> None:
    def step(_: AdmissionRequest) -> None:
        raise ZeroDivisionError

    api.admission.append(step)
    with pytest.raises(ZeroDivisionError):
        api.create(config_map())
    assert api.writes[-1].code == "ZeroDivisionError"


def test_events_can_be_left_out_of_a_count(api: ApiServer) -> None:
    since = len(api.writes)
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": NAMESPACE}}
    api.create(event)

    assert api.count_writes(since=since) == 1
    assert api.count_writes(since=since, events=False) == 0
