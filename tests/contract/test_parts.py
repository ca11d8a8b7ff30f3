"""Every part is known wherever it has to be: what was forgotten of a new capability is named here."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml

import scenes
import workload_samples as samples
from userswarm.compose.plan import compute_plan
from userswarm.compose.status import CONDITION_TYPES, OPTIONAL_CONDITION_TYPES
from userswarm.parts import PARTS
from userswarm.parts.shape import Part, Sight
from userswarm.spec.manifests import manifest_path
from userswarm.spec.schema import load_crd
from userswarm.wire.conditions import read_conditions
from userswarm.wire.envelope import parse_hook_request
from userswarm.wire.k8s import (
    CHILD_KINDS,
    CLAIM,
    CRON_JOB,
    DEDICATED_KINDS,
    JOB,
    NAMESPACE,
    RUNTIME_KINDS,
    STATEFUL_SET,
    Kind,
)
from userswarm.wire.observe import observe

CONTROLLER: dict[str, Any] = yaml.safe_load(
    manifest_path("controller/compositecontroller.yaml").read_text(encoding="utf-8")
)
RULES = CONTROLLER["spec"]["childResources"]
PATCHES = yaml.safe_load(manifest_path("components/dedicated/compositecontroller.yaml").read_text(encoding="utf-8"))
DEDICATED_RULES = [patch["value"] for patch in PATCHES]
STATUS = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]

EVERYTHING = scenes.user_swarm(
    placement={"isolation": "Dedicated"},
    quota={"cpu": 9, "memory": "9Gi", "pods": 40},
    access={"role": "edit", "members": [{"kind": "User", "name": "ada", "role": "view"}]},
    workloads=[samples.deployment(), samples.service(), samples.config_map(), samples.job(), samples.cron_job()],
    suspend=True,
)


def resources(kinds: tuple[Kind, ...]) -> list[tuple[str, str]]:
    return [(kind.api_version, kind.resource) for kind in kinds]


def listed(rules: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(rule["apiVersion"], rule["resource"]) for rule in rules]


@pytest.fixture(params=PARTS, ids=lambda part: part.name)
def part(request: pytest.FixtureRequest) -> Part:
    found: Part = request.param
    return found


# --- the controller --------------------------------------------------------------------------------------------------


def test_the_controller_manages_exactly_the_kinds_of_every_swarm_and_the_component_all_others() -> None:
    assert listed(RULES) == resources(RUNTIME_KINDS)
    assert sorted(listed(DEDICATED_RULES)) == sorted(resources(DEDICATED_KINDS))


def test_every_kind_of_a_part_is_among_the_kinds_that_a_controller_is_told_of(part: Part) -> None:
    assert set(part.kinds) <= set(CHILD_KINDS)


def test_no_kind_is_listed_that_no_part_has() -> None:
    assert {kind for part in PARTS for kind in part.kinds} == set(CHILD_KINDS)


def test_a_swarm_without_what_is_opt_in_needs_no_other_kind() -> None:
    for name in ("minimal", "full", "original"):
        parent = yaml.safe_load(manifest_path(f"samples/{name}.yaml").read_text(encoding="utf-8"))
        kinds = {child["kind"] for child in compute_plan(parent, scenes.SETTINGS).children()}
        assert kinds <= {kind.kind for kind in RUNTIME_KINDS}


def test_every_rule_has_an_update_strategy_and_none_that_loses_data_or_fails_for_ever() -> None:
    methods = {(rule["apiVersion"], rule["resource"]): rule["updateStrategy"]["method"] for rule in RULES}
    methods |= {(rule["apiVersion"], rule["resource"]): rule["updateStrategy"]["method"] for rule in DEDICATED_RULES}
    # Without one a child would never be updated.
    assert set(methods.values()) <= {"InPlace", "OnDelete", "Recreate"}
    # A Job's template cannot be changed.
    assert methods[JOB.api_version, JOB.resource] == "OnDelete"
    for kind in (STATEFUL_SET, CLAIM, NAMESPACE, CRON_JOB):
        assert methods[kind.api_version, kind.resource] == "InPlace"


def test_a_request_of_this_controller_may_return_all_that_is_built() -> None:
    body = scenes.Scene().request()
    body["controller"] = copy.deepcopy(CONTROLLER)
    assert parse_hook_request(body).managed == {kind.group for kind in RUNTIME_KINDS}
    body["controller"]["spec"]["childResources"] += DEDICATED_RULES
    assert parse_hook_request(body).managed == {kind.group for kind in CHILD_KINDS}


def test_the_hooks_are_of_the_version_whose_answers_they_give() -> None:
    hooks = CONTROLLER["spec"]["hooks"]
    assert set(hooks) == {"sync", "finalize"}
    for name, hook in hooks.items():
        assert hook["version"] == "v2"
        assert hook["webhook"]["url"].endswith(f"/{name}")
        assert hook["webhook"]["timeout"]


def test_children_are_found_by_the_parents_uid_and_settled_swarms_cost_nothing() -> None:
    assert CONTROLLER["spec"]["generateSelector"] is True
    assert "resyncPeriodSeconds" not in CONTROLLER["spec"]
    assert CONTROLLER["spec"]["parentResource"]["ignoreStatusChanges"] is True


# --- what a part says of itself --------------------------------------------------------------------------------------


def test_every_part_has_a_name_of_its_own() -> None:
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)


def test_a_part_builds_what_it_says_and_fresh_each_time(part: Part) -> None:
    swarm = compute_plan(EVERYTHING, scenes.SETTINGS).swarm
    config = part.read(swarm)
    assert config is not None
    children = part.build(config, swarm)
    known = {(kind.api_version, kind.kind) for kind in part.kinds}
    assert {(child["apiVersion"], child["kind"]) for child in children} == known
    again = part.build(config, swarm)
    assert again == children
    assert all(child is not other for child, other in zip(children, again, strict=True))


def test_no_two_parts_build_the_same_object() -> None:
    children = compute_plan(EVERYTHING, scenes.SETTINGS).children()
    keys = [(child["kind"], child["metadata"].get("namespace"), child["metadata"]["name"]) for child in children]
    assert len(set(keys)) == len(keys)


def test_what_goes_last_and_what_a_gate_stands_for_come_first(part: Part) -> None:
    position = PARTS.index(part)
    if part.gate:
        assert not any(other.kinds and not other.gate for other in PARTS[:position])
        assert all(other.gate <= part.gate for other in PARTS[:position] if other.gate)
    if part.stage:
        assert part.gate
        # A kind has one place in the order of going.
        assert all(other.stage == part.stage for other in PARTS if set(other.kinds) & set(part.kinds))


TYPES: dict[type, str] = {str: "string", int: "integer", bool: "boolean", dict: "object"}


def test_every_field_that_a_part_reports_is_one_of_the_crds_status(part: Part) -> None:
    for field, kind in part.reports.items():
        assert STATUS[field]["type"] == TYPES[kind]


def test_a_field_of_the_status_belongs_to_one_part_and_a_part_reports_no_other(part: Part) -> None:
    others = {field for other in PARTS if other is not part for field in other.reports}
    assert not others & part.reports.keys()
    for state in (scenes.created, scenes.ready, scenes.verified):
        sight = sight_of(scene := state())
        swarm = compute_plan(scene.parent, scene.settings).swarm
        config = part.read(swarm)
        if config is not None:
            assert part.report(config, swarm, sight).keys() <= part.reports.keys()


def sight_of(scene: scenes.Scene) -> Any:
    call = parse_hook_request(scene.request())
    status = scene.parent.get("status", {})
    return Sight(observe(call), status, read_conditions(status), scene.now, call.http)


def test_every_field_of_the_status_is_some_parts_or_the_whole_swarms() -> None:
    whole = {"phase", "verified", "verifiedGeneration", "observedGeneration", "stage", "stageSince", "conditions"}
    assert STATUS.keys() == whole | {field for part in PARTS for field in part.reports}


def test_every_condition_that_a_part_speaks_in_is_known_and_described(part: Part) -> None:
    assert part.condition in (*CONDITION_TYPES, *OPTIONAL_CONDITION_TYPES)
    assert re.search(rf"\b{part.condition}\b", STATUS["conditions"]["description"])


def test_every_path_that_a_check_looks_at_is_a_field_of_the_spec(part: Part) -> None:
    spec = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for check in part.checks:
        for path in check.paths:
            found = spec
            for step in path.split(".")[1:]:
                found = found["properties"][step]


@pytest.mark.parametrize("state", [scenes.created, scenes.ready, scenes.verified])
def test_no_child_carries_the_label_that_metacontroller_adds_in_a_selector(state: Any) -> None:
    for child in state().sync()["children"]:
        selector = child.get("spec", {}).get("selector", {})
        assert "controller-uid" not in {**selector, **selector.get("matchLabels", {})}
