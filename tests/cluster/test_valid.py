"""Whatever we call valid the API server takes, and what it refuses we name first.

Everything here is a dry run: the server validates, completes and answers what it would store, and stores nothing. The
children are held against its answer as Metacontroller does: nothing to update.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cluster.api import Api, Object, RefusedError
from cluster.life import swarm
from cluster.metacontroller import as_created
from contract.rendered import named, rendered
from devcluster.merge import apply_update
from properties.specs import SPECS
from properties.test_quantity import quantities
from properties.test_workloads import CORPUS, workloads
from userswarm.cli.rendering import check_user_swarm
from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError
from userswarm.spec.quantity import canonical_amount
from userswarm.spec.settings import Settings

ROOMY = "roomy"
"""A namespace like that of the runtimes, without its quota."""

SETTINGS = Settings(allowed_namespaces=(ROOMY,))
# The server says so, and takes it: 1.1Gi is no whole number of bytes either.
TOLD_ALL_THE_SAME = ("fractional byte value", "SessionAffinity is ignored for headless services")

# Shrinking would ask the server thousands of times.
drawing = settings(phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def api(installed: Api) -> Iterator[Api]:
    namespace = named(rendered("namespace"), "Namespace", "userswarms")
    namespace["metadata"]["name"] = ROOMY
    installed.apply(namespace)
    yield installed
    installed.delete(namespace)


def roomy_swarm(name: str = "ann", **spec: Any) -> Object:
    """Return a UserSwarm in the roomy namespace, or one with a namespace of its own."""
    placement = spec.get("placement", {})
    if placement.get("isolation") != "Dedicated":
        spec["placement"] = {**placement, "runtimeNamespace": ROOMY}
    return swarm(name, **spec)


def problems_of(parent: Object) -> list[str]:
    try:
        check_user_swarm(parent, SETTINGS)
    except InvalidParentError as error:
        return [str(problem) for problem in error.problems]
    return []


def judge(api: Api, parent: Object) -> list[str]:
    """Return the problems that we find, [] for a valid one; fail where the server sees it in another way."""
    api.warnings.clear()
    try:
        stored = api.create(parent, dryRun="All", fieldValidation="Strict")
    except RefusedError as error:
        return problems_of(parent) or pytest.fail(f"refused, and called valid: {error}")
    problems = problems_of(stored)
    if problems:
        return problems
    children = compute_plan(stored, SETTINGS).children()
    assert len(children) >= 6
    for child in children:
        if "namespace" in child["metadata"]:
            # A namespace of its own is not there: nothing is made.
            child["metadata"]["namespace"] = ROOMY
        sent = as_created(child, stored)
        try:
            answered = api.create(sent, dryRun="All", fieldValidation="Strict")
        except RefusedError as error:
            pytest.fail(f"{child['kind']} {child['metadata']['name']} is refused: {error}")
        assert apply_update(answered, child) == answered, child["kind"]
    assert [each for each in api.warnings if not any(told in each for told in TOLD_ALL_THE_SAME)] == []
    return []


LONG_LABEL, LONG_NAME = "v" * 63, ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
LONG_KEY = f"{LONG_NAME}/{'k' * 63}"
AMOUNTS = ("0", 0, "1n", "1u", "1.0000000001", "0.1", ".5", "5.", "1.1Gi", "9Ei", "16Ei", "1e99", 2**63 - 1, "1e-9")
NAMES = ("a" * 46, "a" * 47, "a" * 52, "a" * 53, "a" * 63, LONG_NAME, "a.b", "a-headless", "1", f"a--{'a' * 26}")


def env(count: int, size: int) -> list[Object]:
    return [{"name": f"A{number}", "value": "x" * size} for number in range(count)]


# The most, the least, and the oddest that each field may say; beyond a bound we have to be the first to say so.
BOUNDS: dict[str, list[Any]] = {
    "userId": ["x" * 256, "x" * 257, "\U0001f41d" * 256, "\x00\x01", "\n", " "],
    "workspaceId": ["x" * 253, "\U0001f41d" * 253, "\x00", ""],
    "placement.nodeSelector": [
        {LONG_KEY: LONG_LABEL},
        {f"{LONG_NAME}/{'k' * 64}": ""},
        {f"k{number}": "" for number in range(64)},
        {"a//b": ""},
        {"a": "-"},
    ],
    "placement.tolerations": [
        [{"key": LONG_KEY, "value": LONG_LABEL}],
        [{"key": f"k{number}", "operator": "Exists"} for number in range(64)],
        [{"key": "a", "effect": "NoExecute", "tolerationSeconds": each} for each in (-(2**63), 2**63 - 1)],
        [{"operator": "Exists"}] * 2,
        [{}],
        [{"key": "a", "operator": "Exists", "value": "b"}],
        [{"key": "a", "tolerationSeconds": 1}],
    ],
    "placement.runtimeClassName": [LONG_NAME, f"{LONG_NAME}d", "A"],
    "placement.priorityClassName": [LONG_NAME],
    "runtime.image": ["x" * 512, "[::1]:5000/a@b", "a:", "A..//b", " a"],
    "runtime.port": [1024, 65535, 1023, 65536],
    "runtime.args": [["x" * 4096] * 30, ["x" * 4096] * 64, ["", "\x00"]],
    "runtime.dataPath": ["/" + "x" * 255, "/.a", "/a//b", "/a/..", "/tmp/a"],
    "runtime.imagePullSecretName": [LONG_NAME],
    "runtime.env": [
        env(128, 1000),
        env(128, 1900),
        env(7, 32768),
        env(8, 32768),
        [{"name": "x" * 256}],
        [{"name": ".-"}],
        [{"name": "..a"}],
        [{"name": "A", "value": "\x00$(B)$$(C)"}],
        [{"name": "A"}, {"name": "A"}],
    ],
    **{
        f"runtime.resources.{side}.{name}": list(AMOUNTS)
        for side in ("requests", "limits")
        for name in ("cpu", "memory", "ephemeral-storage")
    },
    "storage.size": list(AMOUNTS),
    "storage.storageClassName": ["", LONG_NAME],
    "config.defaultProvider": ["x" * 256, "\U0001f41d" * 256, "\x00", ""],
    "config.defaultTemperature": [0, 2, 1e-300, -0.0, 2.1],
    "config.tomlOverrides": [f"a='{'x' * size}'" for size in (200_000, 245_000, 262_000)] + ["a = '\U0001f41d'", "a"],
    "config.agents": [{"a" * 63: {"model": "m" * 256}}, {f"a{number}": {} for number in range(64)}, {"a" * 64: {}}],
    "config.files": [
        {"a": "x" * 240_000},
        {"a": "x" * 245_760},
        {"a": "<" * 40_000},
        {"a": "<" * 45_000},
        {"a": '"' * 120_000},
        {"x" * 253: "", "-": "", "_": "", ".a": ""},
        {f"f{number}": "x" for number in range(64)},
        {"a": "\x00"},
        {"..a": ""},
        {"config.toml": ""},
    ],
    "config.envSecretRef": [{"name": LONG_NAME}],
    "verification.path": ["/" + "x" * 255, "/?", "//", "/%", "/#", ""],
}
MEMBER = {"kind": "User", "name": "ann", "role": "view"}
BOUNDS_OF_DEDICATED: dict[str, list[Any]] = {
    **{f"quota.{name}": list(AMOUNTS) for name in ("cpu", "memory", "storage")},
    **{f"quota.{name}": [0, 10_000, 10_001] for name in ("pods", "persistentVolumeClaims", "services", "secrets")},
    "quota.counts": [
        {"a" * 63: 1},
        {"a" * 64: 1},
        {"a..b": 1},
        {"requests.example.com/gpu": 1},
        {f"r{number}.x": 1 for number in range(32)},
        {"pods": 30, "services.loadbalancers": 0},
    ],
    **{f"limitRange.{side}.{name}": list(AMOUNTS) for side in ("default", "max") for name in ("cpu", "memory")},
    "access.role": ["none", "view", "edit"],
    "access.members": [
        [{**MEMBER, "name": "x" * 256}, {**MEMBER, "kind": "Group", "name": "\U0001f41d"}],
        [{**MEMBER, "name": f"u{number}", "role": "admin"} for number in range(50)],
        [{**MEMBER, "name": " "}],
        [MEMBER, MEMBER],
        [{**MEMBER, "name": "system:masters"}],
    ],
    "workloads": [[each] for each in CORPUS],
}
DEDICATED: Object = {
    "placement": {"isolation": "Dedicated"},
    "quota": {"cpu": "90", "memory": "90Gi", "pods": 90},
    "limitRange": {"max": {"cpu": "9", "memory": "9Gi"}},
}


def with_field(spec: Object, path: str, value: Any) -> Object:
    changed = copy.deepcopy(spec)
    *steps, last = path.split(".")
    parent = changed
    for step in steps:
        parent = parent.setdefault(step, {})
    parent[last] = value
    return changed


@pytest.mark.parametrize("path", BOUNDS)
def test_a_field_at_its_bounds_is_taken_or_named(api: Api, path: str) -> None:
    for value in BOUNDS[path]:
        for problem in judge(api, roomy_swarm(**with_field({}, path, value))):
            assert problem.startswith("spec."), problem


@pytest.mark.parametrize("path", BOUNDS_OF_DEDICATED)
def test_a_dedicated_swarms_field_at_its_bounds_is_taken_or_named(api: Api, path: str) -> None:
    for value in BOUNDS_OF_DEDICATED[path]:
        for problem in judge(api, roomy_swarm(**with_field(DEDICATED, path, value))):
            assert problem.startswith("spec."), problem


@pytest.mark.parametrize("name", NAMES)
def test_a_swarm_of_any_name_is_taken(api: Api, name: str) -> None:
    access = {"role": "edit", "members": [MEMBER]}
    assert judge(api, roomy_swarm(name)) == []
    assert judge(api, roomy_swarm(name, **DEDICATED, access=access, workloads=list(CORPUS[1:]))) == []


@settings(drawing, max_examples=100)
@given(SPECS)
def test_a_drawn_swarm_is_taken_as_it_is_sent(api: Api, spec: Object) -> None:
    assert judge(api, roomy_swarm(**copy.deepcopy(spec))) == []


@settings(drawing, max_examples=200)
@given(workloads())
def test_a_drawn_workload_is_taken_as_it_is_sent_or_named(api: Api, workload: Object) -> None:
    for problem in judge(api, roomy_swarm(**DEDICATED, workloads=[workload])):
        assert problem.startswith("spec.workloads"), problem


@settings(drawing, max_examples=200)
@given(quantities())
def test_an_amount_is_stored_as_we_write_it(api: Api, drawn: tuple[str, Any]) -> None:
    text = drawn[0].lstrip("-")
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "amount", "namespace": ROOMY},
        "spec": {"hard": {"requests.cpu": text}},
    }
    assert api.create(quota, dryRun="All")["spec"]["hard"]["requests.cpu"] == canonical_amount(text)
