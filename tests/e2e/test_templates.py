"""Swarms of templates on a real control plane: the reference is verified, a roll-out of a bad revision stops itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from contract.rendered import MANIFESTS
from e2e.cluster import Cluster
from e2e.lab import Lab
from e2e.story import E2E_LABEL, RUN_LABEL, Object, Run, describe, is_verified, versions, writes
from e2e.templates import BAD, SOUND
from userswarm.cli.templates.showing import find_awaited

pytestmark = pytest.mark.e2e

NAMESPACE = "userswarms"
SWARMS = 6


@pytest.fixture(autouse=True)
def _in_a_lab(lab: Lab) -> None:
    """Elsewhere nobody knows which templates are offered, and no image of theirs can be pulled."""


def of_template(run: Run, name: str, template: Object) -> Object:
    made = run.swarm(name)
    made["spec"] = {"userId": made["spec"]["userId"], "template": template}
    return made


@pytest.fixture
def awaited(swarms: Cluster) -> Iterator[list[Object]]:
    """What a test makes besides swarms; removed after it."""
    made: list[Object] = []
    yield made
    for each in made:
        swarms.delete(each["kind"], each["metadata"]["name"], NAMESPACE)


def test_the_reference_is_verified_once_what_it_awaits_is_there(
    swarms: Cluster, run: Run, awaited: list[Object]
) -> None:
    sample = yaml.safe_load((MANIFESTS / "samples" / "claude-code.yaml").read_text(encoding="utf-8"))
    swarm = swarms.apply(of_template(run, "reference", sample["spec"]["template"]))
    name = swarm["metadata"]["name"]
    swarms.until(
        "its StatefulSet",
        lambda: any(each["kind"] == "StatefulSet" for each in swarms.children(swarm)),
        lambda: describe(swarms.get("UserSwarm", name)),
    )
    (stateful_set,) = [each for each in swarms.children(swarm) if each["kind"] == "StatefulSet"]
    for (kind, needed), keys in find_awaited(stateful_set["spec"]["template"]["spec"]).items():
        labels = {RUN_LABEL: run.name, E2E_LABEL: "true"}
        metadata = {"name": needed, "namespace": NAMESPACE, "labels": labels}
        field = "data" if kind == "ConfigMap" else "stringData"
        made = {"apiVersion": "v1", "kind": kind, "metadata": metadata, field: dict.fromkeys(keys, "x")}
        awaited.append(swarms.apply(made))
    assert awaited

    verified = swarms.wait(name, "verified", is_verified)

    assert verified["status"]["template"]["name"] == "claude-code"
    claims = {each["metadata"]["name"].rpartition("-")[2] for each in swarms.children(swarm) if "Claim" in each["kind"]}
    assert claims == {"workspace", "home"}
    pod = swarms.wait_for_pod(swarm)
    assert [each["name"] for each in pod["spec"]["initContainers"]][:3] == ["git", "ssh", "golang"]
    before = versions([*swarms.children(swarm), verified])
    swarms.annotate("UserSwarm", name, {"e2e": "look again"})
    seen = swarms.wait(name, "verified", is_verified)
    changed = writes(before, versions([*swarms.children(swarm), seen]))
    assert changed in ([], [f"UserSwarm/{name} changed"])
    # Its volumes are to be kept; here nobody wants them.
    swarms.delete("UserSwarm", name)
    swarms.wait_gone("UserSwarm", name)
    for each in ("workspace", "home"):
        claim = f"{stateful_set['metadata']['name']}-{each}"
        assert swarms.get("PersistentVolumeClaim", claim, NAMESPACE) is not None
        swarms.delete("PersistentVolumeClaim", claim, NAMESPACE)


def rollout(to: int) -> tuple[int, dict[str, Any]]:
    """Run the command as an operator does, and return its exit code and summary."""
    words = ["rollout", "http-agent", "--to", str(to), "--max-unavailable", "2", "--timeout", "40s"]
    command = [sys.executable, "-c", "import sys; from userswarm.cli import main; sys.exit(main())", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_a_roll_out_of_a_bad_revision_stops_itself_and_is_taken_back(swarms: Cluster, run: Run) -> None:
    template = {"name": "http-agent", "parameters": {"image": run.image}}
    names = [
        swarms.apply(of_template(run, f"rolled-{number}", template))["metadata"]["name"] for number in range(SWARMS)
    ]
    for name in names:
        swarms.wait(name, "verified", is_verified)

    code, summary = rollout(BAD)

    assert (code, summary["result"]) == (1, "stopped")
    assert summary["outcomes"] == {"failed": 2, "not-moved": SWARMS - 2}
    failed = {each["name"] for each in summary["failed"]}
    at = {name: swarms.get("UserSwarm", name) or {} for name in names}
    assert {name for name, each in at.items() if each["status"]["template"]["revision"] == BAD} == failed
    assert {name for name, each in at.items() if not is_verified(each)} == failed

    code, summary = rollout(SOUND)
    assert (code, summary["outcomes"]) == (0, {"skipped": SWARMS - 2, "verified": 2})
    assert all(is_verified(swarms.get("UserSwarm", name) or {}) for name in names)
