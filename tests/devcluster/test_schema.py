"""What the API server makes of a custom resource by its schema alone."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.schema import Schema, SchemaError


def schema(**properties: Any) -> Schema:
    return Schema({"type": "object", "properties": properties})


STRING = {"type": "string"}
OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("part", "value", "stored"),
    [
        pytest.param({"type": "object"}, {"a": 1}, {}, id="an object without fields keeps none"),
        pytest.param({"type": "object", "properties": {"a": STRING}}, {"a": "", "b": 1}, {"a": ""}, id="pruned"),
        pytest.param(OPEN, {"a": {"b": None}}, {"a": {"b": None}}, id="kept where it says so"),
        pytest.param({"type": "object", "additionalProperties": STRING}, {"a": "", "b": None}, {"a": ""}, id="a map"),
        pytest.param({"type": "object", "additionalProperties": True}, {"a": 1}, {"a": 1}, id="a map of anything"),
        pytest.param(
            {"type": "array", "items": {"type": "object", "properties": {"a": {**STRING, "default": "x"}}}},
            [{"b": 1}],
            [{"a": "x"}],
            id="inside a list",
        ),
        pytest.param({"type": "integer"}, 5.0, 5, id="a whole number"),
        pytest.param({**STRING, "nullable": True}, None, None, id="a null that may be"),
        pytest.param(
            {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}},
            {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {}, "more": 1},
            {"apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "spec": {}},
            id="an object inside an object",
        ),
    ],
)
def test_what_is_stored(part: dict[str, Any], value: Any, stored: Any) -> None:
    assert schema(f=part).complete({"f": value, "unknown": 1}) == {"f": stored}


def test_a_default_stands_for_what_is_absent_or_a_needless_null() -> None:
    found = schema(f={"type": "object", "default": {}, "properties": {"a": {**STRING, "default": "x"}}})

    assert found.complete({}) == found.complete({"f": None}) == {"f": {"a": "x"}}


LIST = {"type": "array", "items": {"type": "object", "properties": {"k": STRING}}, "x-kubernetes-list-type": "map"}


@pytest.mark.parametrize(
    ("part", "wrong", "right"),
    [
        ({"type": "integer"}, True, 1),
        ({"type": "integer", "format": "int32"}, 2**31, 2**31 - 1),
        ({"type": "integer", "format": "int32", "minimum": 0}, -1, 0),
        ({"type": "integer", "format": "int64"}, -(2**63) - 1, -(2**63)),
        ({"x-kubernetes-int-or-string": True}, 1.5, "50%"),
        ({"x-kubernetes-int-or-string": True}, None, 7),
        ({**STRING, "nullable": True}, 1, None),
        ({**STRING, "enum": ["a"], "nullable": True}, "b", None),
        ({**STRING, "pattern": "^a+$"}, "aa\n", "aa"),
        ({**STRING, "pattern": r"^\d$"}, "٣", "3"),
        ({**STRING, "maxLength": 2}, "abc", "ab"),
        ({"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}, ["a", "a"], ["a", "b"]),
        ({**LIST, "x-kubernetes-list-map-keys": ["k"]}, [{"k": "a"}, {"k": "a"}], [{"k": "a"}, {"k": "b"}]),
        ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {}, {"a": ""}),
        ({"type": "object", "properties": {"a": STRING}, "oneOf": [{"required": ["a"]}]}, {}, {"a": ""}),
    ],
)
def test_what_is_refused(part: dict[str, Any], wrong: Any, right: Any) -> None:
    found = schema(f=part)

    assert [path[0] for path, _ in found.problems({"f": wrong})] == ["f"]
    assert list(found.problems({"f": right})) == []


@pytest.mark.parametrize("part", [{**STRING, "format": "ipv4"}, {"type": "object", "patternProperties": {}}])
def test_a_keyword_that_would_be_ignored_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="f: the dev cluster does not understand"):
        schema(f=part)
