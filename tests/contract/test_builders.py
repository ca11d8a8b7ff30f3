"""What the hooks return and what the CompositeController lets them return are one list."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from userswarm.children import BUILDERS

import scenes
from userswarm.spec.manifests import manifest_path
from userswarm.wire.envelope import parse_hook_request
from userswarm.wire.k8s import CHILD_KINDS, CLAIM, JOB, STATEFUL_SET

CONTROLLER: dict[str, Any] = yaml.safe_load(
    manifest_path("controller/compositecontroller.yaml").read_text(encoding="utf-8")
)
RULES = CONTROLLER["spec"]["childResources"]


def test_the_controller_manages_exactly_the_kinds_that_are_built() -> None:
    listed = [(rule["apiVersion"], rule["resource"]) for rule in RULES]
    built = {(builder.kind.api_version, builder.kind.resource) for builder in BUILDERS}
    assert set(listed) == built
    assert len(listed) == len(set(listed))
    assert listed == [(kind.api_version, kind.resource) for kind in CHILD_KINDS]


def test_every_rule_has_an_update_strategy_and_none_that_loses_data_or_fails_for_ever() -> None:
    methods = {(rule["apiVersion"], rule["resource"]): rule["updateStrategy"]["method"] for rule in RULES}
    # Without one a child would never be updated.
    assert set(methods.values()) <= {"InPlace", "OnDelete", "Recreate"}
    assert methods[JOB.api_version, JOB.resource] == "OnDelete"
    for kind in (STATEFUL_SET, CLAIM):
        assert methods[kind.api_version, kind.resource] == "InPlace"


def test_a_request_of_this_controller_may_return_all_that_is_built() -> None:
    body = scenes.Scene().request()
    body["controller"] = copy.deepcopy(CONTROLLER)
    assert parse_hook_request(body).managed == {builder.kind.group for builder in BUILDERS}


def test_the_hooks_are_of_the_version_whose_answers_they_give() -> None:
    hooks = CONTROLLER["spec"]["hooks"]
    assert set(hooks) == {"sync", "finalize", "customize"}
    for name, hook in hooks.items():
        assert hook["version"] == "v2"
        assert hook["webhook"]["url"].endswith(f"/{name}")
        assert hook["webhook"]["timeout"]


def test_children_are_found_by_the_parents_uid_and_settled_swarms_cost_nothing() -> None:
    assert CONTROLLER["spec"]["generateSelector"] is True
    assert "resyncPeriodSeconds" not in CONTROLLER["spec"]


@pytest.mark.parametrize("state", [scenes.created, scenes.ready, scenes.under_test, scenes.verified])
def test_no_child_carries_the_label_that_metacontroller_adds_in_a_selector(state: Any) -> None:
    for child in state().sync()["children"]:
        selector = child.get("spec", {}).get("selector", {})
        assert "controller-uid" not in {**selector, **selector.get("matchLabels", {})}
