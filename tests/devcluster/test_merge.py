"""Metacontroller's three-way merge, case by case."""

import json
from typing import Any

import pytest

from devcluster.merge import (
    LAST_APPLIED,
    apply_update,
    find_merge_key,
    last_applied_text,
    merge,
    read_last_applied,
)

CASES: dict[str, tuple[Any, Any, Any, Any]] = {
    # name: (observed, last applied, desired, merged)
    "what is desired is set": ({"a": 1}, None, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
    "what others set stays": ({"a": 1, "theirs": 2}, {"a": 1}, {"a": 1}, {"a": 1, "theirs": 2}),
    "what is no longer desired goes": ({"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1}, {"a": 1}),
    "what is gone already is no error": ({"a": 1}, {"b": 2}, {"a": 1}, {"a": 1}),
    "maps are merged inside": (
        {"m": {"x": 1, "theirs": 2}},
        {"m": {"x": 1, "y": 1}},
        {"m": {"x": 3}},
        {"m": {"x": 3, "theirs": 2}},
    ),
    "a plain list is replaced": ({"l": [1, 2]}, {"l": [1]}, {"l": [3]}, {"l": [3]}),
    "a list of objects without a common key is replaced": (
        {"l": [{"to": 1, "added": 1}]},
        {"l": [{"to": 1}]},
        {"l": [{"to": 1}]},
        {"l": [{"to": 1}]},
    ),
    "a mixed list is replaced": ({"l": [{"name": "a"}, 1]}, None, {"l": [{"name": "a"}]}, {"l": [{"name": "a"}]}),
    "a list with names is merged by name": (
        {"l": [{"name": "a", "default": 1}, {"name": "b"}, {"name": "theirs"}]},
        {"l": [{"name": "a"}, {"name": "b"}]},
        {"l": [{"name": "c"}, {"name": "a", "v": 2}]},
        {"l": [{"name": "a", "default": 1, "v": 2}, {"name": "theirs"}, {"name": "c"}]},
    ),
    "a port number is a key": (
        {"l": [{"port": 80, "protocol": "TCP"}]},
        {"l": [{"port": 80}]},
        {"l": [{"port": 80}]},
        {"l": [{"port": 80, "protocol": "TCP"}]},
    ),
    "two ports of one number become one of the two, twice": (
        {"l": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        None,
        {"l": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        {"l": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "TCP"}]},
    ),
    "a new list of two of one number becomes one": (
        {"l": [{"port": 1}]},
        {"l": [{"port": 1}]},
        {"l": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
        {"l": [{"port": 53, "protocol": "TCP"}]},
    ),
    "a null is written": ({"a": {"b": 1}}, None, {"a": {"b": None}}, {"a": {"b": None}}),
    "text for a map changes nothing": ({"m": {"x": 1}}, None, {"m": "text"}, {"m": {"x": 1}}),
    "text for a map takes away what was applied": ({"m": {"x": 1, "y": 2}}, {"m": {"x": 1}}, {"m": 1}, {"m": {"y": 2}}),
    "text for a plain list becomes null": ({"l": [1]}, None, {"l": "text"}, {"l": None}),
    "text for a list with names changes nothing": (
        {"l": [{"name": "a"}]},
        None,
        {"l": "text"},
        {"l": [{"name": "a"}]},
    ),
    "a last applied of another type counts as empty": (
        {"m": {"x": 1}},
        {"m": [1]},
        {"m": {"y": 1}},
        {"m": {"x": 1, "y": 1}},
    ),
    "an empty list is replaced": ({"l": []}, None, {"l": []}, {"l": []}),
    "what was a scalar becomes what is desired": ({"a": 1}, None, {"a": {"b": 1}}, {"a": {"b": 1}}),
}


@pytest.mark.parametrize("name", CASES)
def test_merge(name: str) -> None:
    observed, last_applied, desired, merged = CASES[name]

    assert merge(json.loads(json.dumps(observed)), last_applied, desired) == merged


@pytest.mark.parametrize(
    ("items", "key"),
    [
        ([{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "b"}], "containerPort"),
        ([{"containerPort": 1, "name": "a"}, {"name": "b"}], "name"),
        ([{"mountPath": "/", "name": "a"}], "mountPath"),
        ([{"uid": "1", "name": "a"}], "name"),
        ([{"uid": "1"}], "uid"),
        ([{"ip": "1"}], "ip"),
        ([{"path": "/"}], "path"),
        ([{"key": "k"}], None),
        ([], None),
    ],
)
def test_lists_are_merged_by_the_first_key_they_all_have(items: list[Any], key: str | None) -> None:
    assert find_merge_key(items, items) == key


def observed_config_map(desired: dict[str, Any]) -> dict[str, Any]:
    return {
        **desired,
        "metadata": {
            **desired["metadata"],
            "uid": "u",
            "resourceVersion": "7",
            "creationTimestamp": "t",
            "annotations": {LAST_APPLIED: last_applied_text(desired), "theirs": "x"},
        },
    }


def test_the_same_answer_again_changes_nothing() -> None:
    desired = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "<&>"}}
    observed = observed_config_map(desired)

    assert apply_update(observed, desired) == observed


def test_an_answer_can_neither_change_system_fields_nor_status_nor_the_annotation() -> None:
    desired = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    observed = {**observed_config_map(desired), "status": {"phase": "x"}}
    pushy = {
        **desired,
        "metadata": {
            "name": "c",
            "uid": "mine",
            "generation": 9,
            "creationTimestamp": None,
            "annotations": {LAST_APPLIED: "mine"},
        },
        "status": {"phase": "mine"},
    }

    merged = apply_update(observed, pushy)

    assert merged["metadata"]["uid"] == "u"
    assert merged["metadata"]["creationTimestamp"] == "t"
    assert "generation" not in merged["metadata"]
    assert merged["status"] == {"phase": "x"}
    assert merged["metadata"]["annotations"]["theirs"] == "x"
    assert "mine" in merged["metadata"]["annotations"][LAST_APPLIED]
    assert LAST_APPLIED not in json.loads(merged["metadata"]["annotations"][LAST_APPLIED])["metadata"]["annotations"]


def test_the_annotation_is_written_as_go_writes_json() -> None:
    assert last_applied_text({"b": "<a&b>\u2028", "a": [1.0, 0.5, True], "ü": None}) == (
        '{"a":[1,0.5,true],"b":"\\u003ca\\u0026b\\u003e\\u2028","ü":null}'
    )


def test_an_object_without_the_annotation_has_no_last_applied() -> None:
    assert read_last_applied({"metadata": {}}) is None
    assert read_last_applied({"metadata": {"annotations": {LAST_APPLIED: ""}}}) is None


def test_an_annotation_that_is_no_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        read_last_applied({"metadata": {"annotations": {LAST_APPLIED: "x"}}})
