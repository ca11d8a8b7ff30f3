"""The CRD is read as the apiserver reads it; small CRDs for the rules, the project's own for the whole."""

from __future__ import annotations

import copy
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from userswarm.errors import SchemaError
from userswarm.spec.schema import Schema, load_crd, user_swarm_schema

REQUESTS = Path(__file__).parents[4] / "shared" / "metacontroller-requests"
SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"

ANY_INT = {"type": "integer"}
ANY_STRING = {"type": "string"}


def crd(spec: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a CRD with this schema for spec, and this for status."""
    root = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": ANY_STRING,
            "kind": ANY_STRING,
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status or {"type": "object", "properties": {"phase": ANY_STRING}},
        },
    }
    old = {"name": "v1", "storage": False}
    return {"spec": {"versions": [old, {"name": "v2", "storage": True, "schema": {"openAPIV3Schema": root}}]}}


def of(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def schema_for(field: dict[str, Any]) -> Schema:
    """Return a Schema whose spec has this one field, x."""
    return Schema(crd(of(x=field)))


def accepts(field: dict[str, Any], value: Any) -> bool:
    return not schema_for(field).problems({"spec": {"x": value}})


def completed(field: dict[str, Any], *value: Any) -> Any:
    """Return what becomes of the spec with the field's value, or without one."""
    return schema_for(field).spec_with_defaults({"spec": {"x": value[0]} if value else {}})


def swarm(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": "workspace-1"},
        "spec": {"userId": "u1"} | spec,
    }


def named(problems: list[Any]) -> list[str]:
    return [problem.path for problem in problems]


# --- values ------------------------------------------------------------------------------------------------------

INT_OR_STRING = {"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+m?$", "minimum": 0, "maxLength": 4}


@pytest.mark.parametrize(
    ("field", "value", "fine"),
    [
        (ANY_INT, 1, True),
        (ANY_INT, 1.0, True),
        (ANY_INT, 1.5, False),
        (ANY_INT, True, False),
        (ANY_INT, "1", False),
        ({"type": "integer", "format": "int32"}, 2**31, False),
        ({"type": "integer", "format": "int32"}, 2**31 - 1, True),
        ({"type": "integer", "format": "int64"}, -(2**63), True),
        ({"type": "integer", "format": "int64"}, -(2**63) - 1, False),
        ({"type": "integer", "format": "int32", "minimum": 5}, 4, False),
        ({"type": "integer", "format": "int32", "minimum": 5}, 2**31, False),
        ({"type": "number"}, 1, True),
        ({"type": "number"}, 0.5, True),
        ({"type": "number"}, False, False),
        ({"type": "number", "minimum": 0, "maximum": 2}, 2, True),
        ({"type": "number", "minimum": 0, "maximum": 2}, 2.1, False),
        ({"type": "number", "minimum": 0, "maximum": 2}, -0.1, False),
        ({"type": "boolean"}, True, True),
        ({"type": "boolean"}, 1, False),
        ({"type": "boolean"}, "true", False),
        (ANY_STRING, "", True),
        (ANY_STRING, 1, False),
        ({"type": "string", "format": "date-time"}, "whenever", True),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "a", False),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "äöü", True),
        ({"type": "string", "minLength": 2, "maxLength": 3}, "abcd", False),
        ({"type": "string", "enum": ["a", "b"]}, "b", True),
        ({"type": "string", "enum": ["a", "b"]}, "c", False),
        ({"type": "string", "pattern": "^a+$"}, "aa", True),
        ({"type": "string", "pattern": "^a+$"}, "aa\n", False),
        ({"type": "string", "pattern": "a"}, "bab", True),
        ({"type": "string", "pattern": r"^[$]\$$"}, "$$", True),
        ({"type": "string", "pattern": r"^[\]$]+$"}, "]$", True),
        ({"type": "string", "pattern": r"^[\]$]+$"}, "]\n", False),
        (INT_OR_STRING, 5, True),
        (INT_OR_STRING, "5m", True),
        (INT_OR_STRING, "5k", False),
        (INT_OR_STRING, -1, False),
        (INT_OR_STRING, "12345", False),
        (INT_OR_STRING, 1.5, False),
        (INT_OR_STRING, 5.0, True),
        (INT_OR_STRING, True, False),
        ({"type": "array", "maxItems": 2, "items": ANY_INT}, [1, 2], True),
        ({"type": "array", "maxItems": 2, "items": ANY_INT}, [1, 2, 3], False),
        ({"type": "array", "items": ANY_INT}, [1, "2"], False),
        ({"type": "array", "items": ANY_INT}, [1, None], False),
        ({"type": "array", "items": ANY_INT}, {"0": 1}, False),
        ({"type": "array", "items": {"type": "integer", "nullable": True}}, [1, None], True),
        ({"type": "object", "additionalProperties": ANY_INT, "maxProperties": 1}, {"a": 1}, True),
        ({"type": "object", "additionalProperties": ANY_INT, "maxProperties": 1}, {"a": 1, "b": 2}, False),
        ({"type": "object", "additionalProperties": ANY_INT, "maxProperties": 1}, {"a": 1, "b": None}, True),
        ({"type": "object", "additionalProperties": ANY_INT}, {"a": "1"}, False),
        ({"type": "object", "additionalProperties": ANY_INT}, [], False),
        ({"type": "object", "additionalProperties": {"type": "integer", "nullable": True}}, {"a": None}, True),
        (of(y=ANY_INT), {"z": 1}, True),
        (of(y=ANY_INT), [], False),
        (of(y=ANY_INT) | {"required": ["y"]}, {}, False),
        (of(y=ANY_INT) | {"required": ["y"]}, {"y": None}, False),
        (of(y=ANY_INT | {"nullable": True}) | {"required": ["y"]}, {"y": None}, True),
        (of(y=ANY_INT | {"nullable": True}) | {"required": ["y"]}, {}, False),
        (of(y=ANY_INT | {"default": 1}) | {"required": ["y"]}, {}, True),
        # The apiserver drops a null that is not allowed before it looks, so it can be no problem.
        (ANY_INT, None, True),
        (ANY_INT | {"nullable": True}, None, True),
        ({"type": "string", "enum": ["a"], "nullable": True}, None, True),
        ({"type": "string", "enum": ["a"], "nullable": True}, "b", False),
    ],
)
def test_value_is_accepted_as_by_the_apiserver(field: dict[str, Any], value: Any, fine: bool) -> None:
    assert accepts(field, value) is fine


# --- defaults and pruning ----------------------------------------------------------------------------------------

NESTED = of(a=of(b=ANY_INT | {"default": 1}, c=ANY_STRING | {"default": "x"}) | {"default": {}}) | {"default": {}}


@pytest.mark.parametrize(
    ("field", "value", "stored"),
    [
        (ANY_INT | {"default": 7}, (), {"x": 7}),
        (ANY_INT | {"default": 7}, (None,), {"x": 7}),
        (ANY_INT | {"default": 7}, (3,), {"x": 3}),
        (ANY_INT | {"default": 7, "nullable": True}, (None,), {"x": None}),
        (ANY_INT, (None,), {}),
        (ANY_INT | {"nullable": True}, (None,), {"x": None}),
        (ANY_INT, (), {}),
        (ANY_INT, (1.0,), {"x": 1}),
        (ANY_INT, (1.5,), {"x": 1.5}),
        ({"type": "number"}, (1.0,), {"x": 1.0}),
        (NESTED, (), {"x": {"a": {"b": 1, "c": "x"}}}),
        (NESTED, (None,), {"x": {"a": {"b": 1, "c": "x"}}}),
        (NESTED, ({},), {"x": {"a": {"b": 1, "c": "x"}}}),
        (NESTED, ({"a": None},), {"x": {"a": {"b": 1, "c": "x"}}}),
        (NESTED, ({"a": {"b": 2, "zz": 1}, "zz": {}},), {"x": {"a": {"b": 2, "c": "x"}}}),
        (NESTED, ("wrong",), {"x": "wrong"}),
        (NESTED, (["wrong", {"a": 1}],), {"x": ["wrong", {"a": 1}]}),
        (of(a=ANY_INT | {"default": 1}), (), {}),
        (of(a=ANY_INT | {"default": 1}), ({},), {"x": {"a": 1}}),
        ({"type": "array", "items": of(a=ANY_INT | {"default": 1})}, ([{}, {"zz": 1}],), {"x": [{"a": 1}, {"a": 1}]}),
        ({"type": "array", "items": ANY_INT}, ([None, 1.0, "y"],), {"x": [None, 1, "y"]}),
        ({"type": "array", "items": ANY_INT}, ({"a": 1},), {"x": {"a": 1}}),
        ({"type": "array", "items": ANY_INT, "default": [1, 2]}, (), {"x": [1, 2]}),
        (
            {"type": "object", "additionalProperties": of(a=ANY_INT | {"default": 1})},
            ({"k": {}, "n": None},),
            {"x": {"k": {"a": 1}}},
        ),
        (
            {"type": "object", "additionalProperties": ANY_INT | {"nullable": True}},
            ({"n": None},),
            {"x": {"n": None}},
        ),
        ({"type": "object", "additionalProperties": ANY_INT}, ([{"a": [1]}],), {"x": [{"a": [1]}]}),
        (ANY_STRING, ({"a": [1, {"b": None}]},), {"x": {"a": [1, {"b": None}]}}),
    ],
)
def test_spec_is_completed_as_by_the_apiserver(
    field: dict[str, Any], value: tuple[Any, ...], stored: dict[str, Any]
) -> None:
    result = completed(field, *value)

    assert result == stored
    assert json.dumps(result, sort_keys=True) == json.dumps(stored, sort_keys=True)  # 1 is not 1.0


def test_completing_makes_whole_numbers_whole() -> None:
    assert type(completed(ANY_INT, 1.0)["x"]) is int
    assert type(completed({"x-kubernetes-int-or-string": True}, 5.0)["x"]) is int


def test_pruning_drops_unknown_fields_and_needless_nulls_and_fills_in_nothing() -> None:
    schema = Schema(crd(of(a=ANY_INT | {"default": 1}, b=NESTED, c=ANY_INT | {"nullable": True})))
    obj = {"metadata": {"name": "n", "odd": None}, "spec": {"a": None, "b": {"zz": 1}, "c": None}, "zz": 1}

    assert schema.prune(obj) == {"metadata": {"name": "n", "odd": None}, "spec": {"b": {}, "c": None}}


def test_whole_object_is_completed_and_metadata_kept_as_it_is() -> None:
    obj = {"kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}, "odd": [None]}, "spec": {}, "zz": 1}
    schema = Schema(crd(of(a=ANY_INT | {"default": 1}), of(phase=ANY_STRING)))

    assert schema.with_defaults(obj | {"status": {"phase": "Ready", "zz": 1}}) == {
        "kind": "K",
        "metadata": {"name": "n", "labels": {"a": "b"}, "odd": [None]},
        "spec": {"a": 1},
        "status": {"phase": "Ready"},
    }
    assert schema.spec_with_defaults(obj) == {"a": 1}
    assert schema.spec_with_defaults({"metadata": {}}) is None


def containers(value: Any) -> set[int]:
    """Return the identity of every dict and list in a value."""
    if isinstance(value, dict):
        return {id(value)}.union(*map(containers, value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*map(containers, value))
    return set()


def test_results_share_nothing_with_the_input_or_with_each_other() -> None:
    schema = user_swarm_schema()
    obj = swarm(
        runtime={"env": [{"name": "A"}], "args": ["a"], "image": {"not": ["a", "string"]}, "port": {"odd": []}},
        placement={"tolerations": [{"key": "k"}], "nodeSelector": {"a": "b"}},
        config={"agents": {"a": {"allowedTools": ["t"]}}, "files": {"A.md": "text"}},
        storage=["wrong"],
    ) | {"status": {"conditions": [{"type": "Ready"}]}}
    obj["metadata"]["labels"] = {"a": "b"}
    before = copy.deepcopy(obj)

    first, second, pruned = schema.with_defaults(obj), schema.with_defaults(obj), schema.prune(obj)
    third, fourth = schema.with_defaults({"spec": {}}), schema.with_defaults({"spec": {}})

    results = [obj, first, second, pruned, third, fourth]
    found = [containers(result) for result in results]
    assert len(set().union(*found)) == sum(map(len, found))
    assert obj == before
    assert third == fourth
    assert len(containers(third)) == 10


# --- problems ----------------------------------------------------------------------------------------------------


def test_all_problems_are_named_together_each_with_path_value_and_what_would_be_accepted() -> None:
    problems = user_swarm_schema().problems(
        {
            "spec": {
                "workspaceId": "w" * 300,
                "placement": {"runtimeNamespace": "x\n", "nodeSelector": {"a/b": 1}},
                "runtime": {
                    "port": 80,
                    "mode": "robot",
                    "image": "a b",
                    "env": [{"name": "A"}, {"name": "1"}, {"value": "x"}],
                    "resources": {"limits": {"cpu": -1, "memory": "1K"}},
                },
                "storage": {"size": True},
                "config": {"agents": {"a.b": {"model": 3}}, "defaultTemperature": 2.5},
                "suspend": "no",
            }
        }
    )

    quantity = "a quantity, not negative, such as 500m, 0.5, 2, 512Mi or 2Gi"
    assert [str(problem) for problem in problems] == [
        "spec.config.agents[a.b].model: is 3; must be a string of at most 256 characters",
        "spec.config.defaultTemperature: is 2.5; must be a number from 0 to 2",
        (
            "spec.placement.nodeSelector[a/b]: is 1; must be a string of at most 63 characters that matches "
            "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
        ),
        (
            'spec.placement.runtimeNamespace: is "x\\n"; must be a string of 1 to 63 characters that matches '
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
        ),
        (
            'spec.runtime.env[1].name: is "1"; must be a string of 1 to 256 characters that matches '
            r"^([-_A-Za-z]|\.[-_A-Za-z0-9])[-._A-Za-z0-9]*$"
        ),
        (
            "spec.runtime.env[2].name: is missing; must be a string of 1 to 256 characters that matches "
            r"^([-_A-Za-z]|\.[-_A-Za-z0-9])[-._A-Za-z0-9]*$"
        ),
        (
            'spec.runtime.image: is "a b"; must be a string of 1 to 512 characters that matches '
            r"^[A-Za-z0-9\[][-A-Za-z0-9._/:@+\[\]]*$"
        ),
        'spec.runtime.mode: is "robot"; must be one of daemon, gateway',
        "spec.runtime.port: is 80; must be a whole number from 1024 to 65535",
        f"spec.runtime.resources.limits.cpu: is -1; must be {quantity}",
        f'spec.runtime.resources.limits.memory: is "1K"; must be {quantity}',
        f"spec.storage.size: is true; must be {quantity}",
        'spec.suspend: is "no"; must be true or false',
        "spec.userId: is missing; must be a string of 1 to 256 characters",
        f'spec.workspaceId: is "{"w" * 80}"… (300 characters); must be a string of 1 to 253 characters',
    ]


@pytest.mark.parametrize("obj", [{}, {"spec": None}])
def test_missing_spec_is_a_problem(obj: dict[str, Any]) -> None:
    assert [str(problem) for problem in user_swarm_schema().problems(obj)] == ["spec: is missing; must be an object"]


def test_spec_of_another_type_is_a_problem() -> None:
    assert [str(each) for each in user_swarm_schema().problems({"spec": [1]})] == ["spec: is [1]; must be an object"]


def test_each_path_has_one_problem() -> None:
    problems = user_swarm_schema().problems(swarm(runtime={"image": " " * 600}))

    assert named(problems) == ["spec.runtime.image"]


def test_first_problem_of_a_path_is_the_one_that_is_named() -> None:
    problems = user_swarm_schema().problems(swarm(runtime={"env": [{"value": "x"}, {"value": "y"}]}))

    assert [(problem.path, problem.message.split(";")[0]) for problem in problems] == [
        ("spec.runtime.env[0].name", "is missing"),
        ("spec.runtime.env[1].name", "is missing"),  # and not: there twice
    ]


def test_list_entries_are_sorted_by_number() -> None:
    env = [{"name": "A", "value": 1} if index in {2, 10} else {"name": f"V{index}"} for index in range(12)]

    paths = named(user_swarm_schema().problems(swarm(runtime={"env": env})))

    assert paths == ["spec.runtime.env[2].value", "spec.runtime.env[10].name", "spec.runtime.env[10].value"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (ANY_INT | {"minimum": 3}, 1, "is 1; must be a whole number of at least 3"),
        (ANY_INT | {"minimum": 0}, -1, "is -1; must be a whole number of at least 0"),
        (ANY_INT | {"maximum": 3}, 4, "is 4; must be a whole number of at most 3"),
        (ANY_STRING | {"minLength": 1}, "", 'is ""; must be a string of at least 1 characters'),
        (ANY_STRING | {"nullable": True}, 1, "is 1; must be a string or null"),
        (ANY_STRING, datetime.date(2026, 1, 2), 'is "2026-01-02"; must be a string'),
        ({"type": "array", "maxItems": 1, "items": ANY_INT}, [1, 2], "has 2 entries; must have at most 1"),
        ({"type": "array", "maxItems": 1, "items": ANY_INT}, "a", 'is "a"; must be a list of at most 1 entries'),
        ({"type": "array", "items": ANY_INT}, {"ä": 1}, 'is {"ä": 1}; must be a list'),
        (
            {"type": "object", "additionalProperties": ANY_INT, "maxProperties": 1},
            {"a": 1, "b": 2},
            "has 2 entries; must have at most 1",
        ),
        (ANY_INT, list(range(100)), f"is {json.dumps(list(range(100)))[:80]}…; must be a whole number"),
    ],
)
def test_message_says_what_was_found_and_what_would_be_accepted(
    field: dict[str, Any], value: Any, message: str
) -> None:
    assert [str(problem) for problem in schema_for(field).problems({"spec": {"x": value}})] == [f"spec.x: {message}"]


def test_same_key_twice_in_a_map_list_is_a_problem() -> None:
    env = [{"name": "A"}, {"name": "B"}, {"name": "A", "value": "other"}]

    problems = user_swarm_schema().problems(swarm(runtime={"env": env}))

    assert [str(problem) for problem in problems] == ['spec.runtime.env[2].name: is "A", as [0] is; must be there once']


def test_keys_of_a_map_list_count_together() -> None:
    items = of(a=ANY_STRING, b=ANY_INT)
    field = {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"]}

    assert accepts(field, [{"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y", "b": 1}])
    assert not accepts(field, [{"a": "x", "b": 1}, {"a": "x", "b": 1}])
    assert named(schema_for(field).problems({"spec": {"x": [1, "a", {"a": "x"}]}})) == ["spec.x[0]", "spec.x[1]"]
    assert not accepts(field, "text")
    # Without keys a list may repeat itself.
    assert accepts({"type": "array", "items": items}, [{"a": "x"}, {"a": "x"}])


def test_status_and_metadata_never_make_a_parent_invalid() -> None:
    obj = swarm() | {"metadata": {"name": 5, "odd": None}, "status": {"phase": 5, "conditions": "none", "odd": 1}}

    assert user_swarm_schema().problems(obj) == []


def test_judging_edits_nothing() -> None:
    obj = swarm(runtime={"port": None, "odd": 1}, storage={"size": None})
    before = copy.deepcopy(obj)

    assert user_swarm_schema().problems(obj) == []
    user_swarm_schema().unknown_fields(obj)

    assert obj == before


def test_status_that_fits_the_crd_has_no_problem() -> None:
    status = {
        "observedGeneration": 3,
        "phase": "Ready",
        "verified": True,
        "verifiedAt": "2026-11-20T10:34:15Z",
        "readyReplicas": 1,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-11-20T10:34:15Z",
                "reason": "Verified",
                "message": "",
            }
        ],
    }

    assert user_swarm_schema().status_problems(status) == []


def test_status_with_an_unknown_field_a_null_or_a_wrong_value_has_problems() -> None:
    condition = {"type": "Ready", "status": True, "lastTransitionTime": None, "reason": "", "message": "", "odd": 1}

    problems = user_swarm_schema().status_problems({"phaze": "Ready", "image": None, "conditions": [condition]})

    reason = "must be a string of 1 to 1024 characters that matches ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
    assert [str(problem) for problem in problems] == [
        "status.conditions[0].lastTransitionTime: is missing; must be a string",
        "status.conditions[0].lastTransitionTime: is null and would be pruned; leave it out",
        (
            "status.conditions[0].odd: is not a field of a UserSwarm; known here are lastTransitionTime, message, "
            "observedGeneration, reason, status, type"
        ),
        f'status.conditions[0].reason: is ""; {reason}',
        "status.conditions[0].status: is true; must be one of True, False, Unknown",
        "status.image: is null and would be pruned; leave it out",
        "status.phaze: is not a field of a UserSwarm; did you mean phase?",
    ]
    assert named(user_swarm_schema().status_problems(None)) == ["status"]


def test_null_that_the_crd_allows_is_no_problem_in_a_status() -> None:
    schema = Schema(crd(of(a=ANY_INT), of(phase=ANY_STRING | {"nullable": True})))

    assert schema.status_problems({"phase": None}) == []


# --- unknown fields ----------------------------------------------------------------------------------------------


def test_unknown_fields_are_named_with_the_nearest_known_name() -> None:
    obj = swarm(
        suspned=True,
        storage={"storageclassname": "fast"},
        runtime={"env": [{"name": "A"}, {"name": "B", "valueFrom": {}}], "command": ["x"]},
        config={"agents": {"a": {"modle": "m"}}, "files": {"A.md": "text"}},
    ) | {"specs": {}, "status": {"odd": 1}}
    obj["metadata"]["odd"] = 1

    assert [str(problem) for problem in user_swarm_schema().unknown_fields(obj)] == [
        "spec.config.agents[a].modle: is not a field of a UserSwarm; did you mean model?",
        (
            "spec.runtime.command: is not a field of a UserSwarm; known here are args, dataPath, env, image, "
            "imagePullPolicy, imagePullSecretName, mode, port, resources"
        ),
        "spec.runtime.env[1].valueFrom: is not a field of a UserSwarm; did you mean value?",
        "spec.storage.storageclassname: is not a field of a UserSwarm; did you mean storageClassName?",
        "spec.suspned: is not a field of a UserSwarm; did you mean suspend?",
        "specs: is not a field of a UserSwarm; did you mean spec?",
    ]


def test_case_does_not_hide_the_nearest_name() -> None:
    problems = user_swarm_schema().unknown_fields(swarm(SUSPEND=True))

    assert [str(each) for each in problems] == ["spec.SUSPEND: is not a field of a UserSwarm; did you mean suspend?"]


def test_unknown_fields_are_no_problems_and_are_pruned() -> None:
    obj = swarm(suspned=True, runtime={"odd": 1})

    assert user_swarm_schema().problems(obj) == []
    assert user_swarm_schema().with_defaults(obj) == user_swarm_schema().with_defaults(swarm())


def test_key_that_is_no_text_is_an_unknown_field() -> None:
    # YAML allows it, and a file may be rendered before any apiserver saw it.
    assert named(user_swarm_schema().unknown_fields({"spec": {"userId": "u", 1: 2}})) == ["spec.1"]


# --- what the module refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "named_keyword"),
    [
        ({"type": "string", "oneOf": []}, "oneOf"),
        ({"type": "string", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "x-kubernetes-embedded-resource": True}, "x-kubernetes-embedded-resource"),
        ({"type": "string", "format": "ipv4"}, "format"),
        ({"type": "text"}, "type"),
        ({}, "type"),
        ({"type": "object"}, "properties"),
        ({"type": "array", "items": ANY_INT, "x-kubernetes-list-type": "set"}, "x-kubernetes-list-type"),
        ({"type": "array", "items": ANY_INT | {"default": 1}}, "items"),
        ({"type": "object", "additionalProperties": ANY_INT | {"default": 1}}, "additionalProperties"),
        ({"type": "object", "additionalProperties": True}, "additionalProperties"),
    ],
)
def test_keyword_that_would_be_ignored_is_refused_at_start(field: dict[str, Any], named_keyword: str) -> None:
    with pytest.raises(SchemaError, match=rf"^spec\.x: the CRD says more with {named_keyword} than"):
        schema_for(field)


def test_refusal_finds_keywords_below_lists_and_maps_and_at_the_root() -> None:
    with pytest.raises(SchemaError, match=r"^spec\.x\[\]\.y: .*anyOf, oneOf"):
        schema_for({"type": "array", "items": of(y={"type": "string", "oneOf": [], "anyOf": []})})
    with pytest.raises(SchemaError, match=r"^spec\.x\[\*\]: .*oneOf"):
        schema_for({"type": "object", "additionalProperties": {"type": "string", "oneOf": []}})
    broken = crd(of(x=ANY_INT))
    broken["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["not"] = {}
    with pytest.raises(SchemaError, match=r"^the root: .*not"):
        Schema(broken)


@pytest.mark.parametrize("pattern", [r"^\s+$", r"\d", r"\bx", "(?i)x", "a(?=b)", "[[:alpha:]]", r"\Z", r"(a)\1"])
def test_pattern_that_python_and_go_read_differently_is_refused(pattern: str) -> None:
    with pytest.raises(SchemaError, match=r"^spec\.x: the pattern .* does not mean the same"):
        schema_for({"type": "string", "pattern": pattern})


# --- the project's own CRD ---------------------------------------------------------------------------------------


def test_empty_spec_gets_every_default_of_the_design() -> None:
    assert user_swarm_schema().with_defaults(swarm())["spec"] == {
        "userId": "u1",
        "placement": {"isolation": "Shared", "namespaceMode": "managed", "runtimeNamespace": "userswarms"},
        "runtime": {
            "mode": "daemon",
            "port": 42617,
            "dataPath": "/zeroclaw-data",
            "resources": {
                "requests": {"cpu": "100m", "memory": "256Mi"},
                "limits": {"cpu": "500m", "memory": "512Mi"},
            },
        },
        "storage": {"size": "2Gi", "retainPolicy": "Delete"},
        "config": {},
        "verification": {"mode": "Request", "path": "/health", "timeoutSeconds": 2, "maxAttempts": 5},
        "suspend": False,
    }


def test_defaults_fill_in_what_is_missing_beside_what_is_written() -> None:
    spec = user_swarm_schema().spec_with_defaults(
        swarm(runtime={"resources": {"limits": {"cpu": 2}}}, exposure={"httpRoute": {}}, storage={"size": "5Gi"})
    )

    assert spec["runtime"]["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": 2, "memory": "512Mi"},
    }
    assert spec["exposure"] == {"httpRoute": {"enabled": False}}
    assert spec["storage"] == {"size": "5Gi", "retainPolicy": "Delete"}


def test_completed_object_is_complete() -> None:
    schema = user_swarm_schema()
    once = schema.with_defaults(swarm(runtime={"env": [{"name": "A"}]}, exposure={"httpRoute": {"enabled": False}}))

    assert schema.with_defaults(once) == once
    assert schema.prune(once) == once
    assert schema.problems(once) == []
    assert schema.unknown_fields(once) == []


VALID = [
    {"userId": "ü" * 256},
    {"userId": " "},
    {"workspaceId": "w" * 253},
    {"runtime": {"image": "ghcr.io/zeroclaw-labs/zeroclaw:v0.8.4@sha256:" + "0" * 64}},
    {"runtime": {"image": "[::1]:5000/zeroclaw"}},
    {"runtime": {"args": []}},
    {"runtime": {"args": ["--flag", ""]}},
    {"runtime": {"port": 1024}},
    {"runtime": {"port": 65535}},
    {"runtime": {"dataPath": "/var/lib/.agent/data-1_x.y"}},
    {"runtime": {"env": [{"name": ".a"}, {"name": "_"}, {"name": "A.b-c_1", "value": ""}]}},
    {"runtime": {"resources": {"limits": {"cpu": 2, "memory": "1e9", "ephemeral-storage": "1.5Gi"}}}},
    {"storage": {"size": 2147483648, "storageClassName": ""}},
    {"storage": {"storageClassName": "fast.ssd"}},
    {"placement": {"tolerations": [{"operator": "Exists"}, {"key": "", "value": "", "tolerationSeconds": -1}]}},
    {"placement": {"tolerations": [{"key": "example.com/gpu", "effect": "NoExecute", "operator": "Equal"}]}},
    {"placement": {"nodeSelector": {"kubernetes.io/os": "linux", "empty": ""}}},
    {"placement": {"runtimeClassName": "gvisor", "priorityClassName": "system-low"}},
    {"config": {"defaultTemperature": 0}},
    {"config": {"defaultTemperature": 1.25, "defaultProvider": "", "defaultModel": "a/b:c"}},
    {"config": {"tomlOverrides": "x" * 262144}},
    {"config": {"agents": {"a": {}}, "files": {"SOUL.md": ""}, "envSecretRef": {"name": "keys"}}},
    {"verification": {"path": "/", "timeoutSeconds": 300, "maxAttempts": 20}},
    {"verification": {"path": "/health?deep=1&x=%20"}},
    {"verification": {"mode": "Readiness"}},
    {"exposure": {"httpRoute": {"enabled": False, "host": "*.example.com", "path": "/a", "pathMatch": "Exact"}}},
    {"exposure": {"httpRoute": {"host": "", "gatewayName": "g", "gatewayNamespace": "n", "parentSectionName": "s"}}},
]

INVALID = [
    ("userId", {"userId": ""}),
    ("userId", {"userId": "u" * 257}),
    ("workspaceId", {"workspaceId": ""}),
    ("runtime.image", {"runtime": {"image": ""}}),
    ("runtime.image", {"runtime": {"image": "a\n"}}),
    ("runtime.image", {"runtime": {"image": "-a"}}),
    ("runtime.args[0]", {"runtime": {"args": [1]}}),
    ("runtime.args", {"runtime": {"args": ["a"] * 65}}),
    ("runtime.port", {"runtime": {"port": 1023}}),
    ("runtime.port", {"runtime": {"port": 65536}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "/"}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "data"}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "/a/../b"}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "/.."}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "/a/."}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "/a:b"}}),
    ("runtime.dataPath", {"runtime": {"dataPath": "/" + "a" * 256}}),
    ("runtime.imagePullSecretName", {"runtime": {"imagePullSecretName": "Secret"}}),
    ("runtime.imagePullPolicy", {"runtime": {"imagePullPolicy": "always"}}),
    ("runtime.env[0].name", {"runtime": {"env": [{"name": "1A"}]}}),
    ("runtime.env[0].name", {"runtime": {"env": [{"name": "."}]}}),
    ("runtime.env[0].name", {"runtime": {"env": [{"name": "..A"}]}}),
    ("runtime.env[0].name", {"runtime": {"env": [{"name": "A=B"}]}}),
    ("runtime.resources.limits.cpu", {"runtime": {"resources": {"limits": {"cpu": "-1"}}}}),
    ("runtime.resources.limits.cpu", {"runtime": {"resources": {"limits": {"cpu": "+1"}}}}),
    ("runtime.resources.limits.cpu", {"runtime": {"resources": {"limits": {"cpu": 0.5}}}}),
    ("runtime.resources.limits.memory", {"runtime": {"resources": {"limits": {"memory": "1e100"}}}}),
    ("storage.size", {"storage": {"size": "2gi"}}),
    ("storage.size", {"storage": {"size": "2Gi\n"}}),
    ("storage.size", {"storage": {"size": ""}}),
    ("storage.size", {"storage": {"size": "0" * 65}}),
    ("storage.storageClassName", {"storage": {"storageClassName": "Fast"}}),
    ("storage.retainPolicy", {"storage": {"retainPolicy": "Keep"}}),
    ("placement.runtimeNamespace", {"placement": {"runtimeNamespace": "a.b"}}),
    ("placement.runtimeNamespace", {"placement": {"runtimeNamespace": ""}}),
    ("placement.nodeSelector[a]", {"placement": {"nodeSelector": {"a": "b c"}}}),
    ("placement.tolerations[0].operator", {"placement": {"tolerations": [{"operator": "exists"}]}}),
    ("placement.tolerations[0].tolerationSeconds", {"placement": {"tolerations": [{"tolerationSeconds": 2**63}]}}),
    ("placement.tolerations[0].key", {"placement": {"tolerations": [{"key": "a/b/c"}]}}),
    ("placement.runtimeClassName", {"placement": {"runtimeClassName": "g_visor"}}),
    ("config.defaultTemperature", {"config": {"defaultTemperature": "1"}}),
    ("config.tomlOverrides", {"config": {"tomlOverrides": "x" * 262145}}),
    ("config.agents", {"config": {"agents": {f"a{number}": {} for number in range(65)}}}),
    ("config.agents[a].allowedTools[0]", {"config": {"agents": {"a": {"allowedTools": [""]}}}}),
    ("config.files[A.md]", {"config": {"files": {"A.md": "x" * 921601}}}),
    ("config.envSecretRef.name", {"config": {"envSecretRef": {}}}),
    ("verification.path", {"verification": {"path": "health"}}),
    ("verification.path", {"verification": {"path": '/a"b'}}),
    ("verification.path", {"verification": {"path": "/a b"}}),
    ("verification.path", {"verification": {"path": "/a#b"}}),
    ("verification.timeoutSeconds", {"verification": {"timeoutSeconds": 0}}),
    ("verification.maxAttempts", {"verification": {"maxAttempts": 21}}),
    ("verification.mode", {"verification": {"mode": "Job"}}),
    ("exposure.httpRoute.pathMatch", {"exposure": {"httpRoute": {"pathMatch": "Prefix"}}}),
    ("suspend", {"suspend": 0}),
]


@pytest.mark.parametrize("spec", VALID)
def test_what_the_design_allows_is_accepted(spec: dict[str, Any]) -> None:
    assert user_swarm_schema().problems(swarm(**spec)) == []
    assert user_swarm_schema().unknown_fields(swarm(**spec)) == []


@pytest.mark.parametrize(("path", "spec"), INVALID)
def test_what_the_design_does_not_allow_is_named(path: str, spec: dict[str, Any]) -> None:
    assert named(user_swarm_schema().problems(swarm(**spec))) == [f"spec.{path}"]


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_sample_is_valid_and_has_no_unknown_field(sample: Path) -> None:
    for obj in yaml.safe_load_all(sample.read_text(encoding="utf-8")):
        if obj["kind"] == "UserSwarm":
            assert user_swarm_schema().problems(obj) == []
            assert user_swarm_schema().unknown_fields(obj) == []


def test_captured_parents_are_valid() -> None:
    if not REQUESTS.exists():
        pytest.skip(f"{REQUESTS} is not there")
    parents = [json.loads(path.read_text(encoding="utf-8"))["parent"] for path in sorted(REQUESTS.glob("*.json"))]

    assert len(parents) > 10
    assert [user_swarm_schema().problems(parent) for parent in parents] == [[]] * len(parents)


def test_schema_is_built_once() -> None:
    assert user_swarm_schema() is user_swarm_schema()


def test_crd_is_read_from_the_path_that_is_given(tmp_path: Path) -> None:
    path = tmp_path / "crd.yaml"
    path.write_text(yaml.safe_dump(crd(of(a=ANY_INT))), encoding="utf-8")

    assert load_crd(path) == crd(of(a=ANY_INT))
    assert load_crd()["metadata"]["name"] == "userswarms.crawbl.ai"


def test_import_brings_no_kubernetes_client_and_no_network() -> None:
    heavy = "{'kubernetes', 'requests', 'urllib3', 'aiohttp', 'flask'}"
    code = f"import sys, userswarm.spec.schema; print(sorted({heavy} & set(sys.modules)))"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout == "[]\n"
