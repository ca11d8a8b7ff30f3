"""The keys of a hook's request and response."""

from __future__ import annotations

from typing import Any

import pytest

import scenes
from userswarm.errors import RequestError, WrongParentError
from userswarm.wire.envelope import (
    finalize_response,
    parse_hook_request,
    parse_parent,
    sync_response,
)
from userswarm.wire.k8s import CONFIG_MAP, PLATFORM_KINDS, RUNTIME_KINDS, STATEFUL_SET


def request() -> Any:
    return scenes.Scene().request()


def test_a_request_tells_which_kinds_may_be_returned() -> None:
    body = request()
    body["controller"]["spec"]["childResources"] = [
        {"apiVersion": "apps/v1", "resource": "statefulsets", "updateStrategy": {"method": "InPlace"}},
        {"apiVersion": "v1", "resource": "nodes"},
    ]

    assert parse_hook_request(body).managed == {STATEFUL_SET.group}


def test_without_a_controller_the_groups_of_the_children_tell_it() -> None:
    body = request()
    del body["controller"]
    assert parse_hook_request(body).managed == {kind.group for kind in (*RUNTIME_KINDS, *PLATFORM_KINDS)}

    del body["children"][CONFIG_MAP.group]
    assert CONFIG_MAP.group not in parse_hook_request(body).managed


@pytest.mark.parametrize("related", [None, {}])
def test_a_request_without_related_objects_is_one(related: object) -> None:
    body = request()
    body["related"] = related
    assert parse_hook_request(body).related == {}

    del body["related"]
    assert parse_hook_request(body).related == {}


def test_finalizing_is_false_where_it_is_left_out() -> None:
    body = request()
    del body["finalizing"]
    assert parse_hook_request(body).finalizing is False

    body["finalizing"] = True
    assert parse_hook_request(body).finalizing is True


def _set(*path_and_value: Any) -> Any:
    *path, last, value = path_and_value

    def change(body: Any) -> None:
        for key in path:
            body = body[key]
        body[last] = value

    return change


def _drop(*path: Any) -> Any:
    *above, last = path

    def change(body: Any) -> None:
        for key in above:
            body = body[key]
        del body[last]

    return change


WRONG = {
    "no parent": (_drop("parent"), "parent", "an object, not nothing"),
    "a parent that is a list": (_set("parent", []), "parent", "an object, not a list"),
    "no metadata": (_drop("parent", "metadata"), "parent.metadata", "an object"),
    "no name": (_drop("parent", "metadata", "name"), "parent.metadata.name", "a text, not nothing"),
    "an empty name": (_set("parent", "metadata", "name", ""), "parent.metadata.name", "a text, not ''"),
    "a name that is a number": (_set("parent", "metadata", "name", 7), "parent.metadata.name", "a text, not 7"),
    "a uid that is a number": (_set("parent", "metadata", "uid", 7), "parent.metadata.uid", "a text, not 7"),
    "a generation that is true": (
        _set("parent", "metadata", "generation", True),
        "parent.metadata.generation",
        "a whole number, not true or false",
    ),
    "annotations that are a list": (
        _set("parent", "metadata", "annotations", []),
        "parent.metadata.annotations",
        "an object",
    ),
    "an annotation that is a number": (
        _set("parent", "metadata", "annotations", {"a/b": 1}),
        "parent.metadata.annotations[a/b]",
        "a text, not 1",
    ),
    "a label that is null": (
        _set("parent", "metadata", "labels", {"a": None}),
        "parent.metadata.labels[a]",
        "a text, not nothing",
    ),
    "a status that is a text": (_set("parent", "status", "x" * 61), "parent.status", "an object, not a text"),
    "no children": (_drop("children"), "children", "an object, not nothing"),
    "children that are null": (_set("children", None), "children", "an object, not nothing"),
    "a group that is a list": (_set("children", "Job.batch/v1", []), "children[Job.batch/v1]", "an object"),
    "a child that is null": (
        _set("children", "Job.batch/v1", {"a": None}),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "a child without metadata": (
        _set("children", "Job.batch/v1", {"a": {"kind": "Job"}}),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "a child without a name": (
        _set("children", "Job.batch/v1", {"a": {"metadata": {"name": 1}}}),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "a child without a kind": (
        _set("children", "Job.batch/v1", {"a": {"apiVersion": "batch/v1", "metadata": {"name": "a"}}}),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "a child whose kind is a list": (
        _set("children", "Job.batch/v1", {"a": {"apiVersion": "batch/v1", "kind": [], "metadata": {"name": "a"}}}),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "a child whose annotations are a text": (
        _set(
            "children",
            "Job.batch/v1",
            {"a": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "annotations": "x"}}},
        ),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "a child whose namespace is an object": (
        _set(
            "children",
            "Job.batch/v1",
            {"a": {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": {}}}},
        ),
        "children[Job.batch/v1][a]",
        "a Kubernetes object with a kind, an apiVersion and a metadata.name",
    ),
    "related that is a list": (_set("related", []), "related", "an object, not a list"),
    "unavailable that is a list": (_set("unavailable", ["Pod.v1"]), "unavailable", "an object, not a list"),
    "a reason that is a number": (_set("unavailable", {"Pod.v1": 1}), "unavailable[Pod.v1]", "a text, not 1"),
    "an answer that is a text": (_set("http", "ok"), "http", "an object, not 'ok'"),
    "finalizing that is a text": (_set("finalizing", "yes"), "finalizing", "true or false, not 'yes'"),
    "a controller that is a number": (_set("controller", 1.5), "controller", "an object, not 1.5"),
    "a controller without a spec": (_drop("controller", "spec"), "controller.spec", "an object"),
    "a controller without rules": (
        _drop("controller", "spec", "childResources"),
        "controller.spec.childResources",
        "a list, not nothing",
    ),
    "a rule that is a text": (
        _set("controller", "spec", "childResources", ["jobs"]),
        "controller.spec.childResources[0]",
        "an object, not 'jobs'",
    ),
    "a rule whose apiVersion is a list": (
        _set("controller", "spec", "childResources", [{"apiVersion": [], "resource": "jobs"}]),
        "controller.spec.childResources[0]",
        "apiVersion and resource",
    ),
    "a rule without a resource": (
        _set("controller", "spec", "childResources", [{"apiVersion": "v1"}]),
        "controller.spec.childResources[0]",
        "apiVersion and resource",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_request_is_refused_naming_the_field(case: str) -> None:
    change, field, accepted = WRONG[case]
    body = request()
    change(body)

    with pytest.raises(RequestError) as caught:
        parse_hook_request(body)
    assert caught.value.field == field
    assert accepted in str(caught.value)


@pytest.mark.parametrize("body", [None, [], "x", {"a"}])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(RequestError, match="request body"):
        parse_hook_request(body)
    with pytest.raises(RequestError, match="request body"):
        parse_parent(body)


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "Deployment"), ("kind", None), ("apiVersion", "other.io/v1"), ("apiVersion", None)]
)
def test_a_parent_of_another_kind_is_not_ours(field: str, value: object) -> None:
    body = request()
    body["parent"][field] = value
    with pytest.raises(WrongParentError, match=r"UserSwarm of crawbl\.ai"):
        parse_hook_request(body)
    with pytest.raises(WrongParentError):
        parse_parent(body)


def test_an_answer_holds_no_key_more_than_strict_decoding_takes() -> None:
    assert sync_response({}, [], None) == {"status": {}, "children": []}
    assert sync_response({}, [], 3) == {"status": {}, "children": [], "resyncAfterSeconds": 3}
    assert finalize_response({}, [], None, None, finalized=True) == {"status": {}, "children": [], "finalized": True}


def test_needs_are_in_an_answer_only_where_there_are_any() -> None:
    needs = {"http": {"service": "a"}}
    assert sync_response({}, [], None, needs) == {"status": {}, "children": [], "needs": needs}
    assert "needs" not in sync_response({}, [], None, {})
    assert finalize_response({}, [], 5, needs, finalized=False)["needs"] == needs


def test_what_was_read_for_an_earlier_answer_is_told_apart_from_what_could_not_be() -> None:
    body = request()
    assert (parse_hook_request(body).unavailable, parse_hook_request(body).http) == ({}, None)

    body |= {"unavailable": {"Pod.v1": "403"}, "http": {"error": "no answer within 2 s"}}
    assert parse_hook_request(body).unavailable == {"Pod.v1": "403"}
    assert parse_hook_request(body).http == {"error": "no answer within 2 s"}

    body |= {"unavailable": None, "http": None}
    assert (parse_hook_request(body).unavailable, parse_hook_request(body).http) == ({}, None)
