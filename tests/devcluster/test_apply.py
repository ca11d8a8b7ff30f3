"""Server-side apply, and who owns what."""

from typing import Any

import pytest

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.ownership import field_name
from fakes import NAMESPACE, claim, config_map, crd, namespace, pod_spec, refusal, stateful_set, widget

S = ("apps/v1", "StatefulSet", NAMESPACE, "s")


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.register_crd(crd("Widget"))
    server.create(namespace())
    return server


def owners(obj: dict[str, Any]) -> dict[str, Any]:
    return {f"{entry['manager']} {entry['operation']}": entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_apply_creates_and_then_writes_nothing_more(api: ApiServer) -> None:
    wanted = widget(spec={"words": ["a"]}, labels={"l": "1"})
    stored = api.apply(wanted, "backend")
    version = api.resource_version
    api.clock.advance(60)

    assert stored["spec"] == {"size": 1, "words": ["a"]}
    assert owners(stored) == {"backend Apply": {"f:spec": {"f:words": {}}, "f:metadata": {"f:labels": {"f:l": {}}}}}
    assert api.apply(wanted, "backend") == stored
    assert api.resource_version == version
    assert api.writes[-1].changed is False


def test_what_is_applied_no_longer_goes(api: ApiServer) -> None:
    api.apply(widget(spec={"size": 3, "words": ["a"]}, labels={"l": "1"}), "backend")
    stored = api.apply(widget(spec={"words": ["b"]}), "backend")

    assert stored["spec"] == {"size": 1, "words": ["b"]}
    assert "labels" not in stored["metadata"]


def test_what_others_set_stays(api: ApiServer) -> None:
    api.apply(widget(spec={"size": 3}, labels={"mine": "1"}), "backend")
    api.patch("example.com/v1", "Widget", None, "w", {"metadata": {"labels": {"theirs": "2"}}}, actor="someone")
    stored = api.apply(widget(spec={"size": 4}), "backend")

    assert stored["metadata"]["labels"] == {"theirs": "2"}
    assert stored["spec"]["size"] == 4


def test_another_managers_field_is_a_conflict_that_names_them(api: ApiServer) -> None:
    api.apply(widget(spec={"size": 3}), "backend")
    error = refusal(lambda: api.apply(widget(spec={"size": 4, "words": ["a"]}), "intruder"))

    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == 'Apply failed with 1 conflicts: conflict with "backend": .spec.size'


def test_force_takes_a_field_over(api: ApiServer) -> None:
    api.apply(widget(spec={"size": 3, "words": ["a"]}), "backend")
    stored = api.apply(widget(spec={"size": 4}), "intruder", force=True)

    assert stored["spec"] == {"size": 4, "words": ["a"]}
    assert owners(stored) == {
        "backend Apply": {"f:spec": {"f:words": {}}},
        "intruder Apply": {"f:spec": {"f:size": {}}},
    }


def test_two_managers_may_own_one_value_together(api: ApiServer) -> None:
    api.apply(widget(spec={"size": 3}), "one")
    api.apply(widget(spec={"size": 3}), "two")
    stored = api.apply(widget(), "one")

    assert stored["spec"]["size"] == 3
    assert owners(stored) == {"two Apply": {"f:spec": {"f:size": {}}}, "one Apply": {"f:spec": {}}}


def test_a_plain_write_takes_what_it_changes(api: ApiServer) -> None:
    stored = api.apply(widget(spec={"size": 3}), "backend")
    stored["spec"]["size"] = 5
    stored = api.update(stored, actor="editor")

    assert owners(stored) == {"editor Update": {"f:spec": {"f:size": {}}}}
    assert refusal(lambda: api.apply(widget(spec={"size": 3}), "backend")).code == 409


def test_a_plain_write_that_removes_a_field_ends_its_ownership(api: ApiServer) -> None:
    stored = api.apply(widget(spec={"words": ["a"]}), "backend")
    del stored["spec"]["words"]
    stored = api.update(stored, actor="editor")

    assert owners(stored) == {}
    assert api.apply(widget(spec={"words": ["b"]}), "backend")["spec"]["words"] == ["b"]


def test_lists_with_keys_are_merged_by_item(api: ApiServer) -> None:
    api.apply(widget(spec={"parts": [{"name": "a", "color": "red"}, {"name": "b"}]}), "one")
    stored = api.apply(widget(spec={"parts": [{"name": "c"}]}), "two")
    assert [part["name"] for part in stored["spec"]["parts"]] == ["a", "b", "c"]
    stored = api.apply(widget(spec={"parts": [{"name": "b", "color": "blue"}]}), "one")
    assert stored["spec"]["parts"] == [{"name": "b", "color": "blue"}, {"name": "c"}]
    stored = api.apply(widget(), "one")
    assert stored["spec"]["parts"] == [{"name": "c"}]
    stored = api.apply(widget(), "two")
    assert "parts" not in stored["spec"]


def test_finalizers_are_a_set(api: ApiServer) -> None:
    api.apply(widget(finalizers=["example.com/a"]), "one")
    stored = api.apply(widget(finalizers=["example.com/b", "example.com/a"]), "two")
    assert stored["metadata"]["finalizers"] == ["example.com/a", "example.com/b"]
    stored = api.apply(widget(), "two")
    assert stored["metadata"]["finalizers"] == ["example.com/a"]


def test_server_defaults_inside_lists_survive_an_apply(api: ApiServer) -> None:
    api.apply(stateful_set(), "metacontroller")
    version = api.resource_version
    stored = api.apply(stateful_set(), "metacontroller")
    container = stored["spec"]["template"]["spec"]["containers"][0]

    assert api.resource_version == version
    assert container["terminationMessagePolicy"] == "File"
    assert container["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]


def test_a_container_that_is_no_longer_applied_goes_with_all_its_defaults(api: ApiServer) -> None:
    both = stateful_set()
    both["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "i:1", "env": [{"name": "A"}]})
    api.apply(both, "metacontroller")
    stored = api.apply(stateful_set(), "metacontroller")

    assert [each["name"] for each in stored["spec"]["template"]["spec"]["containers"]] == ["main"]
    assert pod_spec()["containers"][0]["name"] == "main"


def test_a_quantity_in_another_spelling_is_the_same_value(api: ApiServer) -> None:
    api.apply(claim(size="1024Mi"), "metacontroller")
    version = api.resource_version

    assert api.apply(claim(size="1024Mi"), "metacontroller")["spec"]["resources"]["requests"] == {"storage": "1Gi"}
    assert api.apply(claim(size="1Gi"), "other")["spec"]["resources"]["requests"] == {"storage": "1Gi"}
    assert api.resource_version == version + 1  # the new owner


def test_managed_fields_cannot_be_applied(api: ApiServer) -> None:
    assert refusal(lambda: api.apply(config_map(managedFields=[{"manager": "x"}]), "x")).code == 400


def test_an_apply_may_be_done_by_another_actor(api: ApiServer) -> None:
    api.apply(config_map(), "manager", actor="somebody")

    assert api.writes[-1].actor == "somebody"


def test_an_apply_for_another_uid_is_a_conflict(api: ApiServer) -> None:
    api.apply(config_map(), "x")

    assert refusal(lambda: api.apply(config_map(uid="other"), "x")).code == 409
    assert api.get(*("v1", "ConfigMap", NAMESPACE, "c"))["data"] == {"k": "v"}


def test_conflicts_spell_items_by_their_key() -> None:
    assert field_name(("f:spec", "f:parts", 'k:{"name":"a"}', "f:color")) == '.spec.parts[{"name":"a"}].color'


def test_a_field_that_somebody_took_away_meanwhile_is_no_error(api: ApiServer) -> None:
    stored = api.apply(widget(spec={"parts": [{"name": "a", "color": "red"}], "words": ["x"]}), "one")
    api.apply(widget(spec={"parts": [{"name": "a"}]}), "two")
    stored["spec"] = {"parts": [{"name": "b"}]}
    api.update({**api.get("example.com/v1", "Widget", None, "w"), "spec": stored["spec"]}, actor="editor")
    stored = api.apply(widget(), "one")

    assert stored["spec"] == {"size": 1, "parts": [{"name": "b"}]}


def test_an_item_of_which_somebody_owns_a_field_stays(api: ApiServer) -> None:
    stored = api.apply(widget(spec={"parts": [{"name": "a"}]}), "one")
    stored["spec"]["parts"][0]["color"] = "red"
    api.update(stored, actor="editor")
    stored = api.apply(widget(), "one")

    assert stored["spec"]["parts"] == [{"name": "a", "color": "red"}]


def test_an_item_without_any_key_is_an_item_still(api: ApiServer) -> None:
    stored = api.apply(widget(spec={"parts": [{}]}), "one")

    assert stored["spec"]["parts"] == [{}]
    assert "parts" not in api.apply(widget(), "one")["spec"]


def test_a_field_of_an_item_that_is_applied_no_longer_goes_and_the_item_stays(api: ApiServer) -> None:
    api.apply(widget(spec={"parts": [{"name": "a", "color": "red"}]}), "one")
    stored = api.apply(widget(spec={"parts": [{"name": "a"}]}), "one")

    assert stored["spec"]["parts"] == [{"name": "a"}]
