"""What follows from a spec alone, and is remembered."""

from __future__ import annotations

import dataclasses
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import scenes
from userswarm.compose.plan import REMEMBERED_BYTES, Plan, compute_plan
from userswarm.errors import InvalidParentError
from userswarm.wire.k8s import CONFIG_MAP, STATEFUL_SET


def test_the_same_spec_is_rendered_once() -> None:
    assert compute_plan(scenes.user_swarm(), scenes.SETTINGS) is compute_plan(scenes.user_swarm(), scenes.SETTINGS)


def large(number: int) -> scenes.Json:
    return scenes.user_swarm(f"large-{number}", config={"files": {"NOTES.md": "x" * 230_000}})


def test_large_specs_are_forgotten_before_they_fill_the_memory() -> None:
    first = compute_plan(large(0), scenes.SETTINGS)
    kept = compute_plan(scenes.user_swarm("kept"), scenes.SETTINGS)
    tracemalloc.start()
    try:
        for number in range(1, 25):
            compute_plan(large(number), scenes.SETTINGS)
            assert compute_plan(scenes.user_swarm("kept"), scenes.SETTINGS) is kept
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 1.5 * REMEMBERED_BYTES
    assert compute_plan(large(24), scenes.SETTINGS) is compute_plan(large(24), scenes.SETTINGS)
    assert compute_plan(large(0), scenes.SETTINGS) is not first


def test_a_plan_is_the_same_for_threads_that_ask_at_once() -> None:
    parents = [scenes.user_swarm(f"at-once-{number % 4}") for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        plans = list(pool.map(lambda parent: compute_plan(parent, scenes.SETTINGS), parents))

    assert {plan.swarm.asked.name for plan in plans} == {f"at-once-{number}" for number in range(4)}
    assert all(plan.swarm.asked.name == parent["metadata"]["name"] for plan, parent in zip(plans, parents, strict=True))


@pytest.mark.parametrize("field", ["name", "uid", "spec", "settings", "retry", "apiVersion"])
def test_what_a_plan_depends_on_makes_another_plan(field: str) -> None:
    parent, settings = scenes.user_swarm(), scenes.SETTINGS
    before = compute_plan(parent, settings)
    match field:
        case "name" | "uid":
            parent["metadata"][field] = "other"
        case "spec":
            parent["spec"]["userId"] = "other"
        case "settings":
            settings = dataclasses.replace(settings, default_image="other:1")
        case "retry":
            parent["metadata"]["annotations"] = {"crawbl.ai/retry-verification": "1"}
        case _:
            parent["apiVersion"] = "crawbl.ai/v1"
    after = compute_plan(parent, settings)

    assert before.swarm != after.swarm


def test_generation_labels_other_annotations_and_status_make_no_other_plan() -> None:
    parent = scenes.user_swarm()
    before = compute_plan(parent, scenes.SETTINGS)
    parent["metadata"] |= {"generation": 9, "labels": {"a": "b"}, "annotations": {"a": "b"}}
    parent["status"] = {"phase": "Ready"}

    assert compute_plan(parent, scenes.SETTINGS) is before


def test_a_plan_gives_out_fresh_children_every_time() -> None:
    plan = compute_plan(scenes.user_swarm(), scenes.SETTINGS)
    first = plan.children()
    first[0]["metadata"]["labels"].clear()
    first.pop()

    second = plan.children()
    assert len(second) == len(first) + 1
    assert second[0]["metadata"]["labels"]


def test_problems_are_told_again_without_keeping_what_was_called_before() -> None:
    parent = scenes.user_swarm(storage={"size": "0"})
    depths = []
    for _ in range(5):
        with pytest.raises(InvalidParentError, match=r"spec\.storage\.size") as caught:
            compute_plan(parent, scenes.SETTINGS)
        depths.append(len(caught.traceback))
    assert len(set(depths[1:])) == 1


@pytest.mark.parametrize(
    ("spec", "field", "kind"),
    [
        ({"config": {"files": {"a": "x" * 239_000}}}, "spec.config", CONFIG_MAP.kind),
        (
            {"runtime": {"env": [{"name": f"N{n}", "value": "x" * 32_000} for n in range(8)]}},
            "spec.runtime",
            "Stateful",
        ),
    ],
)
def test_a_child_too_large_for_the_annotation_that_copies_it_is_refused(
    spec: scenes.Json, field: str, kind: str
) -> None:
    spec = dict(spec)
    if "config" in spec:
        spec["config"] = {**spec["config"], "tomlOverrides": 'a = "' + "y" * 8_000 + '"'}
    with pytest.raises(InvalidParentError) as caught:
        compute_plan(scenes.user_swarm(**spec), scenes.SETTINGS)

    (problem,) = caught.value.problems
    assert problem.path == field
    assert kind in problem.message
    assert "245760" in problem.message


def config_of(made: Plan, name: str) -> Any:
    """Return the configuration of one part."""
    (found,) = (config for part, config, _ in made.parts if part.name == name)
    return found


def test_the_checksum_is_the_one_in_the_template() -> None:
    plan = compute_plan(scenes.user_swarm(), scenes.SETTINGS)
    stateful_set = next(child for child in plan.children() if child["kind"] == STATEFUL_SET.kind)

    checksum = config_of(plan, "runtime").checksum
    assert stateful_set["spec"]["template"]["metadata"]["annotations"] == {"crawbl.ai/checksum": checksum}


@pytest.mark.parametrize(
    ("spec", "same_checksum", "same_series"),
    [
        ({"runtime": {"image": "other:1"}}, False, False),
        ({"config": {"defaultModel": "m"}}, False, False),
        ({"config": {"files": {"SOUL.md": "kind"}}}, False, False),
        ({"verification": {"path": "/ok"}}, False, False),
        # The secret is read when a Pod is made: one that cannot pull its image has to be made again.
        ({"runtime": {"imagePullSecretName": "s"}}, False, False),
        ({"verification": {"timeoutSeconds": 4}}, True, False),
        ({"verification": {"maxAttempts": 9}}, True, True),
        ({"verification": {"mode": "Readiness"}}, True, True),
        # The port is the Service's too, and config.toml's.
        ({"runtime": {"port": 8080}}, False, False),
        ({"storage": {"size": "9Gi"}}, True, True),
        ({"storage": {"retainPolicy": "Retain"}}, True, True),
        ({"suspend": True}, True, True),
    ],
)
def test_the_checksum_covers_image_configuration_and_pod_and_the_series_the_test_too(
    spec: scenes.Json, same_checksum: bool, same_series: bool
) -> None:
    before, after = (
        config_of(compute_plan(scenes.user_swarm(**each), scenes.SETTINGS), "verification") for each in ({}, spec)
    )

    assert (before.checksum == after.checksum, before.series == after.series) == (same_checksum, same_series)


def test_parts_of_one_room_read_the_spec_once() -> None:
    plan = compute_plan(scenes.user_swarm(placement={"isolation": "Dedicated"}), scenes.SETTINGS)
    rooms = [config for part, config, _ in plan.parts if part.name in ("namespace", "limits", "network", "access")]
    assert len(rooms) == 4
    assert all(each is rooms[0] for each in rooms)


def test_a_part_that_a_swarm_does_not_have_is_not_in_its_plan() -> None:
    names = [part.name for part, *_ in compute_plan(scenes.user_swarm(), scenes.SETTINGS).parts]
    assert names == ["storage", "account", "configuration", "service", "runtime", "verification"]
