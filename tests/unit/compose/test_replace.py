"""What cannot become as it is wanted by an update goes first, and is then made again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import scenes
import workload_samples as samples
from scenes import Json, Scene, children_of, condition
from userswarm.compose.replace import REPLACEABLE, find_obstacle
from userswarm.wire.k8s import CHILD_KINDS, CLAIM, SERVICE, STATEFUL_SET

NAME = "swarm-workspace-a"


def only(response: Json, kind: scenes.Kind) -> Json:
    (found,) = children_of(response, kind)
    return found


def names(response: Json) -> set[tuple[str, str]]:
    return {(child["kind"], child["metadata"]["name"]) for child in response["children"]}


ALL = names(scenes.verified().sync())


def _field(kind: scenes.Kind, name: str | None, field: str, value: Any) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        spec = scene.child(kind, name)["spec"]
        if value is None:
            spec.pop(field)
        else:
            spec[field] = value

    return change


REPLACED = {
    "another selector": (STATEFUL_SET, NAME, "selector", {"matchLabels": {"app": "old"}}),
    "another headless Service": (STATEFUL_SET, NAME, "serviceName", "old"),
    "ordered Pods": (STATEFUL_SET, NAME, "podManagementPolicy", "OrderedReady"),
    "claims of its own": (STATEFUL_SET, NAME, "volumeClaimTemplates", [{"metadata": {"name": "data"}}]),
    "a headless Service with an address": (SERVICE, f"{NAME}-headless", "clusterIP", "10.0.0.9"),
    "a Service without one": (SERVICE, NAME, "clusterIP", "None"),
}


@pytest.mark.parametrize("case", REPLACED)
def test_a_child_with_a_field_that_cannot_be_changed_goes_first_and_is_then_made_again(case: str) -> None:
    kind, name, field, value = REPLACED[case]
    scene = scenes.verified()
    claim = only(scene.sync(), CLAIM)
    _field(kind, name, field, value)(scene)

    removed = scenes.step(scene)
    assert (kind.kind, name) not in names(removed)
    assert len(removed["children"]) == len(ALL) - 1
    assert only(removed, CLAIM) == claim
    stage = condition(removed, "WorkloadReady" if kind is STATEFUL_SET else "ServiceReady")
    assert stage["reason"] == "RolloutInProgress"
    assert f"{kind.kind} userswarms/{name} differs in spec.{field}" in stage["message"]
    assert removed["status"]["verified"] is False

    scene.drop(kind, name)
    assert names(scene.sync()) == ALL


@pytest.mark.parametrize("defaulted", [{"revisionHistoryLimit": 10}, {"persistentVolumeClaimRetentionPolicy": {}}])
def test_what_can_be_changed_or_was_defaulted_is_no_reason_to_replace(defaulted: Json) -> None:
    scene = scenes.verified()
    scene.child(STATEFUL_SET)["spec"] |= {"volumeClaimTemplates": [], **defaulted}
    scene.child(SERVICE, NAME)["spec"] |= {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "ports": []}
    assert names(scene.sync()) == ALL


def test_no_claim_no_namespace_and_no_configuration_is_ever_replaced() -> None:
    for kind in CHILD_KINDS:
        found = find_obstacle({"kind": kind.kind, "spec": {"selector": 1}}, {"spec": {"selector": 2}})
        assert not found or kind.kind in REPLACEABLE
    assert not {"PersistentVolumeClaim", "Namespace", "ConfigMap", "ServiceAccount"} & set(REPLACEABLE)


# --- order: the merge of a list keeps what is stored in its order, and puts what is new last --------------------------


def job_template(pod: Json) -> Json:
    return samples.cron_job(jobTemplate={"spec": {"template": {"spec": pod}}})


WORKLOADS: dict[str, Callable[[Json], Json]] = {
    "StatefulSet": lambda pod: {"kind": "StatefulSet", "spec": {"template": {"spec": pod}}},
    "Deployment": samples.deployment,
    "CronJob": job_template,
}


def inits(*names: str) -> Json:
    return samples.pod(initContainers=[samples.container(name=name) for name in names])


def env(*variables: str) -> Json:
    """Return a Pod whose container has variables, each NAME or NAME=VALUE."""
    pairs = [each.partition("=") for each in variables]
    return samples.pod(
        containers=[samples.container(env=[{"name": name, "value": value or "x"} for name, _, value in pairs])]
    )


REORDERED: dict[str, tuple[Json, Json]] = {
    "init containers in another order": (inits("b", "a"), inits("a", "b")),
    "an init container before another": (inits("new", "a"), inits("a")),
    "an init container between two": (inits("a", "new", "b"), inits("a", "b")),
    "variables that name one another in another order": (env("A", "B=$(A)"), env("B=$(A)", "A")),
    "a variable before the one that names it": (env("A", "B=$(A)"), env("B=x")),
    "variables of an init container": (
        {"initContainers": env("A", "B=$(A)")["containers"], "containers": []},
        {"initContainers": env("B", "A")["containers"], "containers": []},
    ),
}
AS_STORED: dict[str, tuple[Json, Json]] = {
    "the same": (inits("a", "b"), inits("a", "b")),
    "an init container at the end": (inits("a", "b"), inits("a")),
    "an init container less": (inits("b"), inits("a", "b")),
    "all of them less": (samples.pod(), inits("a", "b")),
    "another in the place of one": (inits("c"), inits("a")),
    "variables that name none in another order": (env("A", "B"), env("B", "A")),
    "a variable that names one at the end": (env("A", "B=$(A)"), env("A")),
    "containers in another order": (
        samples.pod(containers=[samples.container(name="a"), samples.container(name="b")]),
        samples.pod(containers=[samples.container(name="b"), samples.container(name="a")]),
    ),
    "a container that is new": (env("A", "B=$(A)"), samples.pod(containers=[samples.container(name="other")])),
    "nulls": (inits("a"), samples.pod(initContainers=None)),
}


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("case", REORDERED)
def test_what_would_be_stored_in_an_order_that_means_something_else_is_replaced(case: str, workload: str) -> None:
    wanted, stored = map(WORKLOADS[workload], REORDERED[case])
    found = find_obstacle(wanted, stored)
    assert "initContainers" in found or "env of container main" in found


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("case", AS_STORED)
def test_what_is_stored_in_the_order_that_is_wanted_is_updated(case: str, workload: str) -> None:
    wanted, stored = map(WORKLOADS[workload], AS_STORED[case])
    assert find_obstacle(wanted, stored) == ""


def test_a_stateful_set_whose_variables_come_in_another_order_is_made_again() -> None:
    runtime = {"env": [{"name": "B", "value": "x"}, {"name": "A", "value": "y"}]}
    scene = scenes.verified(scenes.user_swarm(runtime=runtime))
    scene.parent["spec"]["runtime"] = {"env": [{"name": "A", "value": "y"}, {"name": "B", "value": "$(A)"}]}
    response = scenes.step(scene)
    assert not children_of(response, STATEFUL_SET)
    assert "differs in spec.template.spec: env of container runtime" in condition(response, "Ready")["message"]

    scene.drop(STATEFUL_SET)
    assert only(scene.sync(), STATEFUL_SET)["spec"]["template"]["spec"]["containers"][0]["env"][1:] == [
        {"name": "A", "value": "y"},
        {"name": "B", "value": "$(A)"},
    ]
