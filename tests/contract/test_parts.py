"""Every part is known wherever it has to be: what was forgotten of a new capability is named here."""

from __future__ import annotations

import copy
import importlib
import pkgutil
import re
from typing import Any

import pytest
import yaml

import devcluster.kinds
import scenes
import template_samples
import workload_samples as samples
from userswarm import parts
from userswarm.compose.plan import compute_plan
from userswarm.parts import PARTS
from userswarm.parts.shape import Part, Sight
from userswarm.spec.manifests import manifest_path
from userswarm.spec.schema import load_crd
from userswarm.wire.conditions import read_conditions
from userswarm.wire.envelope import parse_hook_request
from userswarm.wire.k8s import (
    CHILD_KINDS,
    CLAIM,
    COMPONENT_KINDS,
    CRON_JOB,
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
COMPONENT_RULES: dict[str, list[dict[str, Any]]] = {
    name: [
        patch["value"]
        for patch in yaml.safe_load(
            manifest_path(f"components/{name}/compositecontroller.yaml").read_text(encoding="utf-8")
        )
    ]
    for name in COMPONENT_KINDS
}
ALL_RULES = [*RULES, *(rule for rules in COMPONENT_RULES.values() for rule in rules)]
STATUS = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]

EVERYTHING = scenes.user_swarm(
    placement={"isolation": "Dedicated"},
    quota={"cpu": 9, "memory": "9Gi", "pods": 40},
    access={"role": "edit", "members": [{"kind": "User", "name": "ada", "role": "view"}]},
    workloads=[samples.deployment(), samples.service(), samples.config_map(), samples.job(), samples.cron_job()],
    lifecycle={"idleAfter": "30m", "activityCheck": {"path": "/activity"}, "expireAfter": "720h"},
)
TEMPLATED = scenes.user_swarm(template=template_samples.asked("http-agent", features={"postgres": True}))
SUSPENDED = {**EVERYTHING, "spec": {**EVERYTHING["spec"], "suspend": True}}
"""A swarm that a person put to rest has no lifecycle of its own."""


def resources(kinds: tuple[Kind, ...]) -> list[tuple[str, str]]:
    return [(kind.api_version, kind.resource) for kind in kinds]


def listed(rules: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(rule["apiVersion"], rule["resource"]) for rule in rules]


@pytest.fixture(params=PARTS, ids=lambda part: part.name)
def part(request: pytest.FixtureRequest) -> Part:
    found: Part = request.param
    return found


# --- the controller --------------------------------------------------------------------------------------------------


def test_the_controller_manages_exactly_the_kinds_of_every_swarm() -> None:
    assert listed(RULES) == resources(RUNTIME_KINDS)


@pytest.mark.parametrize("component", COMPONENT_KINDS)
def test_a_component_adds_exactly_its_kinds_to_the_controller(component: str) -> None:
    assert sorted(listed(COMPONENT_RULES[component])) == sorted(resources(COMPONENT_KINDS[component]))


def test_a_kind_has_one_place() -> None:
    assert len(set(CHILD_KINDS)) == len(CHILD_KINDS)


def test_every_kind_of_a_part_is_every_swarms_or_a_components(part: Part) -> None:
    unlisted = [kind.kind for kind in part.kinds if kind not in CHILD_KINDS]
    assert unlisted == [], "name them in RUNTIME_KINDS or COMPONENT_KINDS of wire/k8s.py"


def test_the_dev_cluster_serves_every_kind() -> None:
    served = {(kind.api_version, kind.plural) for kind in devcluster.kinds.BUILT_IN}
    assert set(resources(CHILD_KINDS)) - served == set(), "add it to BUILT_IN of devcluster/kinds.py"


def test_no_kind_is_listed_that_no_part_has() -> None:
    built = {kind for part in PARTS for kind in part.kinds}
    assert [kind.kind for kind in CHILD_KINDS if kind not in built] == [], "is its part in PARTS?"


@pytest.mark.parametrize("sample", sorted(path.stem for path in manifest_path("samples").glob("*.yaml")))
def test_a_sample_needs_no_kind_but_every_swarms_and_those_of_the_component_it_is_named_after(sample: str) -> None:
    parent = yaml.safe_load(manifest_path(f"samples/{sample}.yaml").read_text(encoding="utf-8"))
    known = {kind.kind for kind in (*RUNTIME_KINDS, *COMPONENT_KINDS.get(sample, ()))}
    needed = {child["kind"] for child in compute_plan(parent, template_samples.SETTINGS).children()}
    assert needed - known == set(), "show what is opt-in in a sample named after its component"


def test_every_rule_has_an_update_strategy_and_none_that_loses_data_or_fails_for_ever() -> None:
    methods = {(rule["apiVersion"], rule["resource"]): rule["updateStrategy"]["method"] for rule in ALL_RULES}
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
    body["controller"]["spec"]["childResources"] = ALL_RULES
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


def test_every_part_that_is_written_is_in_the_tuple() -> None:
    found = (importlib.import_module(each.name) for each in pkgutil.walk_packages(parts.__path__, "userswarm.parts."))
    written = {module.__name__: module.PART for module in found if hasattr(module, "PART")}
    assert [name for name, part in written.items() if part not in PARTS] == [], "add it to PARTS"


def test_every_part_has_a_name_of_its_own() -> None:
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)


def test_a_part_builds_what_it_says_and_fresh_each_time(part: Part) -> None:
    swarms = [compute_plan(parent, template_samples.SETTINGS).swarm for parent in (EVERYTHING, SUSPENDED, TEMPLATED)]
    swarm = next((each for each in swarms if part.read(each) is not None), swarms[0])
    config = part.read(swarm)
    assert config is not None, f"EVERYTHING above has to ask for {part.name}"
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
    for scene in (scenes.created(), scenes.ready(), scenes.verified(), scenes.created(copy.deepcopy(EVERYTHING))):
        sight = sight_of(scene)
        swarm = compute_plan(scene.parent, scene.settings).swarm
        config = part.read(swarm)
        if config is not None:
            reported = part.report(config, swarm, sight)
            assert reported.keys() - part.reports.keys() == set(), "name it, with its type, in `reports`"


def sight_of(scene: scenes.Scene) -> Any:
    call = parse_hook_request(scene.request())
    status = scene.parent.get("status", {})
    return Sight(observe(call), status, read_conditions(status), scene.now, call.http)


def test_every_field_of_the_status_is_some_parts_or_the_whole_swarms() -> None:
    whole = {"phase", "verified", "verifiedGeneration", "observedGeneration", "stage", "stageSince", "conditions"}
    known = whole | {field for part in PARTS for field in part.reports}
    assert STATUS.keys() - known == set(), "name it, with its type, in the `reports` of the part that tells it"
    assert known - STATUS.keys() == set(), "describe it in the status of manifests/crd"


def test_every_condition_that_a_part_speaks_in_is_described(part: Part) -> None:
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
