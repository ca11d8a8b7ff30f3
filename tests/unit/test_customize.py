"""Which objects besides the children the hooks ask to see."""

from __future__ import annotations

from typing import Any

import pytest

import scenes
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import CLAIM, ENDPOINT_SLICE, POD, STATEFUL_SET


def rules(parent: Any, settings: Settings = scenes.SETTINGS) -> Any:
    return scenes.customized(scenes.Scene(parent, settings))["relatedResources"]


def test_it_asks_for_the_pods_the_endpoint_slices_and_the_claim() -> None:
    assert rules(scenes.user_swarm()) == [
        {
            "apiVersion": "v1",
            "resource": "pods",
            "namespace": "userswarms",
            "labelSelector": {"matchLabels": {"crawbl.ai/swarm": "workspace-a"}},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "resource": "endpointslices",
            "namespace": "userswarms",
            "labelSelector": {"matchLabels": {"kubernetes.io/service-name": "swarm-workspace-a"}},
        },
        {
            "apiVersion": "v1",
            "resource": "persistentvolumeclaims",
            "namespace": "userswarms",
            "names": ["swarm-workspace-a-data"],
        },
    ]


@pytest.mark.parametrize("name", ["workspace-a", "a.b", "x" * 253])
def test_what_it_asks_for_is_what_the_children_are_called(name: str) -> None:
    scene = scenes.verified(scenes.user_swarm(name))
    pods, slices, claims = rules(scene.parent)

    labels = scene.child(STATEFUL_SET)["spec"]["template"]["metadata"]["labels"]
    assert pods["labelSelector"]["matchLabels"].items() <= labels.items()
    assert (
        slices["labelSelector"]["matchLabels"]["kubernetes.io/service-name"]
        == scenes.main_service(scene)["metadata"]["name"]
    )
    assert claims["names"] == [scene.child(CLAIM)["metadata"]["name"]]


@pytest.mark.parametrize(
    ("spec", "namespace"),
    [
        ({"userId": "u", "placement": {"runtimeNamespace": "others"}}, "others"),
        ({"userId": "u", "placement": {"runtimeNamespace": "kube-system"}}, "userswarms"),
        ({"userId": "u", "placement": {"runtimeNamespace": ["x"]}}, "userswarms"),
        ({"userId": "u", "placement": "x"}, "userswarms"),
        ({"userId": "u"}, "userswarms"),
        ({}, "userswarms"),
        (None, "userswarms"),
        ("x", "userswarms"),
    ],
)
def test_it_answers_for_a_spec_that_cannot_be_built_too(spec: object, namespace: str) -> None:
    parent = scenes.user_swarm()
    parent["spec"] = spec
    found = rules(parent, Settings(allowed_namespaces=("userswarms", "others")))
    assert {rule["namespace"] for rule in found} == {namespace}
    assert [rule["resource"] for rule in found] == [kind.resource for kind in (POD, ENDPOINT_SLICE, CLAIM)]


def test_the_answer_depends_on_name_and_spec_alone() -> None:
    parent = scenes.verified().parent
    first = rules(parent)
    parent["metadata"] |= {"labels": {"a": "b"}, "annotations": {"a": "b"}, "uid": "other", "deletionTimestamp": "x"}
    parent["status"] = {"phase": "Failed"}
    assert rules(parent) == first
