"""The helpers of the end-to-end tests, without a cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from contract.rendered import MANIFESTS, ROOT
from e2e.story import (
    E2E_LABEL,
    RUN_LABEL,
    RUNTIME_IMAGE,
    RUNTIME_SCRIPT,
    condition,
    controller_for_run,
    controllers_that_take,
    describe,
    finalizers_left,
    is_in_phase,
    is_verified,
    path_of,
    user_swarm,
    versions,
    writes,
)
from e2e.test_sleep import SLEEPS
from e2e.troubles import STORIES
from userswarm.cli.explaining import ADVICE
from userswarm.reaper import swarm as reaper
from userswarm.spec.schema import user_swarm_schema

BASE = yaml.safe_load((MANIFESTS / "controller/compositecontroller.yaml").read_text(encoding="utf-8"))


def swarm(**status: Any) -> dict[str, Any]:
    made = user_swarm("abc123", "one", RUNTIME_IMAGE, ["python", "-c", RUNTIME_SCRIPT])
    made["metadata"]["generation"] = 3
    return {**made, "status": status}


def test_the_swarms_it_makes_fit_the_crd() -> None:
    schema = user_swarm_schema()
    made = user_swarm("abc123", "one", RUNTIME_IMAGE, ["python", "-c", RUNTIME_SCRIPT], suspend=True)
    assert schema.problems(schema.with_defaults(made)) == []
    assert schema.unknown_fields(made) == []
    assert made["metadata"]["labels"] == {RUN_LABEL: "abc123", reaper.E2E_LABEL: "true"}
    assert reaper.E2E_LABEL == E2E_LABEL


def test_the_runtime_it_uses_is_the_one_that_the_image_is_built_on() -> None:
    base = re.search(r"^FROM (\S+?)@", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert base
    assert base[1] == RUNTIME_IMAGE
    compile(RUNTIME_SCRIPT, "runtime", "exec")


def test_paths_are_the_apis() -> None:
    assert path_of("UserSwarm", name="a") == "/apis/crawbl.ai/v1alpha1/userswarms/a"
    assert path_of("Pod", "userswarms") == "/api/v1/namespaces/userswarms/pods"
    assert path_of("StatefulSet", "n", "s") == "/apis/apps/v1/namespaces/n/statefulsets/s"
    assert path_of("Namespace", "ignored", "n") == "/api/v1/namespaces/n"
    assert path_of("RoleBinding", "n") == "/apis/rbac.authorization.k8s.io/v1/namespaces/n/rolebindings"


def test_a_runs_controller_takes_the_runs_swarms_and_calls_the_given_address() -> None:
    controller = controller_for_run(BASE, "abc123", "http://10.0.0.1:8080/")
    assert controller["spec"]["hooks"]["sync"]["webhook"]["url"] == "http://10.0.0.1:8080/sync"
    assert controller["spec"]["childResources"] == BASE["spec"]["childResources"]
    assert controller["metadata"]["name"] == "userswarm-e2e-abc123"
    assert BASE["metadata"]["name"] == "userswarm"
    assert controllers_that_take([controller], {RUN_LABEL: "abc123"}) == ["userswarm-e2e-abc123"]
    assert controllers_that_take([controller], {RUN_LABEL: "other"}) == []
    assert controllers_that_take([BASE, controller], {RUN_LABEL: "abc123"}) == ["userswarm", "userswarm-e2e-abc123"]
    foreign = controller_for_run(BASE, "abc123", "http://x")
    foreign["spec"]["parentResource"] = {"apiVersion": "example.com/v1", "resource": "userswarms"}
    assert controllers_that_take([foreign], {}) == []


def test_writes_are_told_apart() -> None:
    def item(name: str, uid: str, version: str) -> dict[str, Any]:
        return {"kind": "Service", "metadata": {"name": name, "uid": uid, "resourceVersion": version}}

    before = versions([item("a", "1", "1"), item("b", "2", "2"), item("c", "3", "3"), item("d", "4", "4")])
    after = versions([item("a", "1", "1"), item("b", "2", "9"), item("c", "8", "8"), item("e", "5", "5")])
    assert writes(before, after) == [
        "Service/b changed",
        "Service/c made anew",
        "Service/d deleted",
        "Service/e created",
    ]
    assert writes(before, before) == []


@pytest.mark.parametrize(
    ("status", "verified"),
    [
        ({"verified": True, "verifiedGeneration": 3}, True),
        ({"verified": True, "verifiedGeneration": 2}, False),
        ({"verified": False, "verifiedGeneration": 3}, False),
        ({}, False),
    ],
)
def test_verified_is_about_the_present_generation(status: dict[str, Any], verified: bool) -> None:
    assert is_verified(swarm(**status)) is verified


def test_a_phase_counts_once_it_is_about_the_present_generation() -> None:
    assert is_in_phase(swarm(observedGeneration=3, phase="Invalid"), "Invalid")
    assert not is_in_phase(swarm(observedGeneration=2, phase="Invalid"), "Invalid")
    assert not is_in_phase(swarm(observedGeneration=3, phase="Ready"), "Invalid")
    assert not is_in_phase(swarm(), "Invalid")


def test_a_swarm_is_described_by_what_is_in_its_way() -> None:
    bad = {"type": "WorkloadReady", "status": "False", "reason": "ImagePull", "message": "no such image"}
    good = {"type": "SpecValid", "status": "True", "reason": "Valid", "message": ""}
    stuck = swarm(phase="Failed", conditions=[good, bad])
    assert describe(stuck) == "e2e-abc123-one is Failed; WorkloadReady=False ImagePull: no such image"
    assert condition(stuck, "WorkloadReady") is bad
    assert condition(stuck, "Ready") == {}
    stuck["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert describe({**stuck, "status": {}}) == "e2e-abc123-one deleting is no status; nothing is awaited"
    assert describe(None) == "not there"


def test_breaking_the_glass_takes_off_metacontrollers_finalizers_only() -> None:
    hanging = swarm()
    hanging["metadata"]["finalizers"] = ["metacontroller.io/compositecontroller-userswarm", "example.com/keep"]
    assert finalizers_left(hanging) == ["example.com/keep"]
    assert finalizers_left(swarm()) == []


def test_every_reason_that_a_swarm_gives_is_brought_about_on_a_cluster() -> None:
    # KindNotManaged has a test of its own; a database is refused by CloudNativePG, which no test's cluster has.
    assert {*STORIES, *SLEEPS, "KindNotManaged", "DatabaseRefused"} == ADVICE.keys()
