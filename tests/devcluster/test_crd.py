"""Custom resources: our own CRD, as the API server reads it."""

import copy
from typing import Any

import pytest

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.crd import CustomResource
from devcluster.schema import SchemaError
from fakes import crd, refusal, widget
from userswarm.cli.demo.rules import RULES
from userswarm.spec.schema import load_crd

U = ("crawbl.ai/v1alpha1", "UserSwarm", None, "a")


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.register_crd(load_crd(), RULES)
    return server


def user_swarm(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": "a"},
        "spec": {"userId": "u", **spec},
    }


def test_the_kind_is_served_as_the_crd_names_it(api: ApiServer) -> None:
    kind = api.resource("crawbl.ai/v1alpha1", "userswarms")

    assert (kind.kind, kind.namespaced, kind.status, kind.generation) == ("UserSwarm", False, True, True)
    assert kind.custom is not None
    assert kind.custom.lists["spec.runtime.env"] == ("name",)


def test_defaults_are_stored_and_unknown_fields_are_not(api: ApiServer) -> None:
    stored = api.create({**user_swarm(nonsense=1), "more": 2})

    assert stored["spec"]["storage"]["size"] == "2Gi"
    assert stored["spec"]["runtime"]["port"] == 42617
    assert "nonsense" not in stored["spec"]
    assert "more" not in stored


def test_a_whole_number_written_as_a_float_is_stored_as_one(api: ApiServer) -> None:
    assert api.create(user_swarm(runtime={"port": 5000.0}))["spec"]["runtime"]["port"] == 5000


def test_what_the_schema_forbids_is_refused_by_its_path(api: ApiServer) -> None:
    error = refusal(lambda: api.create(user_swarm(userId="", runtime={"port": 80})))

    assert error.code == 422
    assert 'UserSwarm.crawbl.ai "a" is invalid' in error.message
    assert "spec.userId" in error.message
    assert "spec.runtime.port" in error.message


def test_a_status_is_pruned_and_validated(api: ApiServer) -> None:
    stored = api.create(user_swarm())
    stored = api.update_status({**stored, "status": {"phase": "Ready", "unknown": 1}})
    assert stored["status"] == {"phase": "Ready"}
    assert "status.phase" in refusal(lambda: api.update_status({**stored, "status": {"phase": "Odd"}})).message


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any] | None, str]] = {
    # name: (first spec, patch of it or None for creation alone, words of the refusal)
    "userId is immutable": ({}, {"userId": "v"}, "spec.userId: Invalid value: userId is immutable"),
    "workspaceId is immutable": ({"workspaceId": "w"}, {"workspaceId": "x"}, "workspaceId is immutable"),
    "workspaceId cannot be added": ({}, {"workspaceId": "x"}, "spec.workspaceId: Invalid value"),
    "workspaceId cannot be removed": ({"workspaceId": "x"}, {"workspaceId": None}, "spec.workspaceId: Invalid value"),
    "the namespace is immutable": (
        {},
        {"placement": {"runtimeNamespace": "other"}},
        "spec.placement.runtimeNamespace: Invalid value",
    ),
    "storage cannot shrink": ({"storage": {"size": "2Gi"}}, {"storage": {"size": "2047Mi"}}, "size can only grow"),
    "storage is more than nothing": ({"storage": {"size": "0"}}, None, "greater than zero"),
    "the class is immutable": (
        {"storage": {"storageClassName": "x"}},
        {"storage": {"storageClassName": "y"}},
        "spec.storage.storageClassName: Invalid value",
    ),
    "the class cannot be added": ({}, {"storage": {"storageClassName": "y"}}, "storageClassName is immutable"),
    "cpu within its limit": ({"runtime": {"resources": {"requests": {"cpu": "2"}}}}, None, ".requests.cpu: Invalid"),
    "memory within its limit": (
        {"runtime": {"resources": {"limits": {"memory": "1Mi"}}}},
        None,
        ".requests.memory: Invalid",
    ),
    "disk within its limit": (
        {"runtime": {"resources": {"limits": {"ephemeral-storage": "1Gi"}, "requests": {"ephemeral-storage": "2Gi"}}}},
        None,
        "requests.ephemeral-storage must not exceed",
    ),
    "agents are named by labels": ({"config": {"agents": {"Not A Label": {}}}}, None, "DNS label"),
    "config.toml is no file of the user": ({"config": {"files": {"config.toml": ""}}}, None, "spec.config.files"),
    "no file is a dot": ({"config": {"files": {".": ""}}}, None, "spec.config.files"),
    "no file begins with two dots": ({"config": {"files": {"..x": ""}}}, None, "spec.config.files"),
    "no file has a slash": ({"config": {"files": {"a/b": ""}}}, None, "spec.config.files"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_rules_of_the_crd_hold(api: ApiServer, name: str) -> None:
    spec, patch, words = BROKEN[name]
    if patch is None:
        error = refusal(lambda: api.create(user_swarm(**spec)))
    else:
        api.create(user_swarm(**spec))
        error = refusal(lambda: api.patch(*U, {"spec": patch}))

    assert error.code == 422
    assert words in error.message


def test_what_the_rules_allow_is_stored(api: ApiServer) -> None:
    api.create(
        user_swarm(
            workspaceId="w",
            storage={"size": "2Gi", "storageClassName": "fast"},
            runtime={"resources": {"requests": {"ephemeral-storage": "1Gi"}}},
            config={"agents": {"main": {}}, "files": {"SOUL.md": "x", ".hidden": "y"}},
        )
    )
    stored = api.patch(*U, {"spec": {"storage": {"size": "2048Mi"}, "suspend": True}})
    assert stored["spec"]["storage"]["size"] == "2048Mi"
    assert api.patch(*U, {"spec": {"storage": {"size": "3Gi"}}})["spec"]["storage"]["size"] == "3Gi"


def test_an_absent_storage_class_is_the_empty_one(api: ApiServer) -> None:
    api.create(user_swarm())

    assert api.patch(*U, {"spec": {"storage": {"storageClassName": ""}}})["spec"]["storage"]["storageClassName"] == ""


def test_what_was_wrong_before_a_newer_crd_may_stay_but_not_get_worse() -> None:
    old = crd(
        "Widget",
        spec={"properties": {"size": {"type": "integer"}, "words": {"type": "array", "items": {"type": "string"}}}},
    )
    new = crd("Widget")
    api = ApiServer(Clock())
    api.register_crd(old)
    api.create(widget(spec={"size": -5, "words": ["a"]}))
    api.register_crd(new)
    w = ("example.com/v1", "Widget", None, "w")

    assert api.patch(*w, {"metadata": {"labels": {"a": "b"}}})["spec"]["size"] == -5
    assert "spec.size" in refusal(lambda: api.patch(*w, {"spec": {"size": -6}})).message
    assert "spec.words[1]" in refusal(lambda: api.patch(*w, {"spec": {"words": ["a", 5]}})).message


def test_a_rule_that_is_not_known_is_refused_by_its_text() -> None:
    changed = copy.deepcopy(load_crd())
    spec = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["x-kubernetes-validations"][0]["rule"] = "self.userId != 'root'"

    with pytest.raises(SchemaError, match=r"self\.userId != 'root'"):
        CustomResource(changed, RULES)


def test_a_rule_inside_a_list_is_refused() -> None:
    items = {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "m"}]}
    with pytest.raises(SchemaError, match="inside lists and maps"):
        CustomResource(crd("Widget", spec={"properties": {"words": {"type": "array", "items": items}}}), RULES)
