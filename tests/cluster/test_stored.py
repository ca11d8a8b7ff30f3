"""Children are stored as they were sent: nothing to write in a swarm that is as wanted, one update for a change.

Metacontroller compares literally what is stored with what is desired, so whatever the server fills in, drops or writes
in another way would be one update at every sync, for ever.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.api import Api, Object
from cluster.life import SAMPLES, Life, sample, swarm
from contract.rendered import of_kind, rendered
from properties.test_workloads import CORPUS
from userswarm.spec.schema import load_crd


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_stored_as_it_was_sent(installed: Api, controller: Object, name: str) -> None:
    with Life(installed, controller, sample(name)) as life:
        written = life.settle()
        assert {each.split()[0] for each in written} == {"create"}
        assert len(written) >= 5
        life.bind_claim()
        assert life.settle() == []


SPEC: Any = load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
FOR_GOOD = {
    "userId",
    "workspaceId",
    "placement.runtimeNamespace",
    "placement.isolation",
    "placement.namespaceMode",
    "storage.storageClassName",
}
NOTHING_IS_MADE_OF = ("exposure.", "template.")
"""Of the first yet; of the second where there are templates: test_templates."""

# What a field becomes, one after the other. An enum becomes each of its values, a number its bounds, a flag both.
CHANGES: dict[str, list[Any]] = {
    "placement.nodeSelector": [{"kubernetes.io/arch": "amd64"}, {"zone": ""}],
    "placement.tolerations": [
        [{"operator": "Exists"}],
        [{"key": "a", "value": "b"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}],
        [{"key": "", "operator": "Exists", "value": ""}],
    ],
    "placement.runtimeClassName": ["gvisor"],
    "placement.priorityClassName": ["userswarm-runtime"],
    "runtime.image": ["ghcr.io/zeroclaw-labs/zeroclaw:latest", "ghcr.io/zeroclaw-labs/zeroclaw"],
    "runtime.args": [["a", ""], []],
    "runtime.dataPath": ["/a/.b"],
    "runtime.imagePullSecretName": ["registry-credentials"],
    "runtime.env": [
        [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}],
        [{"name": "B"}, {"name": "A.b-c", "value": ""}],
    ],
    "runtime.resources.requests.cpu": ["0.05", "0", 0, "0.1"],
    "runtime.resources.requests.memory": ["1e6", 67108864],
    "runtime.resources.requests.ephemeral-storage": ["1024Ki"],
    "runtime.resources.limits.cpu": ["1000m", 1, "0.3"],
    "runtime.resources.limits.memory": ["1.5Gi", "512Mi", "1G"],
    "runtime.resources.limits.ephemeral-storage": ["1024Mi"],
    "storage.size": ["2.5Gi", "3221225472", 4294967296],
    "config.defaultProvider": ["openrouter"],
    "config.defaultModel": ["a/b"],
    "config.defaultTemperature": [0, 1.0, 0.7],
    "config.tomlOverrides": ["a = 1", ""],
    "config.agents": [{"one": {"model": "m", "responseLength": "short", "allowedTools": ["web"]}}, {"two": {}}],
    "config.files": [{"SOUL.md": "be <kind> & \u2028 brief\n", "a": ""}, {"a": "\U0001f41d"}],
    "config.envSecretRef": [{"name": "provider-keys"}],
    "verification.path": ["/healthz?full=1&x=%20"],
    "lifecycle": [
        {"idleAfter": "30m", "idleAfterVisit": "10m", "minAwake": "5m", "activityCheck": {"path": "/activity"}},
        {
            "maxAwake": "24h",
            "expireAfter": "720h",
            "wakeSchedule": {"cron": "0 8 * * 1-5", "timeZone": "Europe/Berlin"},
        },
    ],
}
CHANGES_OF_DEDICATED: dict[str, list[Any]] = {
    "quota.cpu": ["4.5", 5],
    "quota.memory": ["8Gi", "8.5Gi"],
    "quota.storage": ["20Gi", "0.5Ti"],
    "quota.counts": [{"deployments.apps": 9}, {"configmaps": 30, "cronjobs.batch": 5}],
    "limitRange.default.cpu": ["0.2", 1],
    "limitRange.default.memory": ["100e6"],
    "limitRange.max.cpu": ["2", "2500m"],
    "limitRange.max.memory": ["2.5Gi"],
    "access.members": [
        [
            {"kind": "User", "name": "ann@example.com", "role": "view"},
            {"kind": "Group", "name": "ops", "role": "admin"},
        ],
        [{"kind": "User", "name": "ann@example.com", "role": "edit"}],
    ],
    "workloads": [CORPUS[:1], CORPUS[1:], [*CORPUS[2:], *CORPUS[:1]]],
}
# Where the least or the most of a number would leave no room for the swarm itself.
ROOM = {"quota.pods": 30, "quota.persistentVolumeClaims": 5, "quota.services": 20, "quota.secrets": 0}


def leaves(schema: Any = SPEC, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk the fields of a spec that can be changed by themselves."""
    if path in CHANGES | CHANGES_OF_DEDICATED or "properties" not in schema:
        yield path, schema
        return
    for name, below in schema["properties"].items():
        yield from leaves(below, f"{path}.{name}" if path else name)


def values(path: str, schema: Any) -> list[Any]:
    table = CHANGES | CHANGES_OF_DEDICATED
    if path in table:
        return table[path]
    if path in ROOM:
        return [ROOM[path], schema["maximum"]]
    if "enum" in schema:
        return list(schema["enum"])
    return {"boolean": [True, False], "integer": [schema.get("minimum"), schema.get("maximum")]}[schema["type"]]


def fields(*, dedicated: bool) -> list[str]:
    """Return the fields that only a Dedicated swarm has, or all others; those that are for good left out."""
    ours = [path for path, _ in leaves() if path not in FOR_GOOD and not path.startswith(NOTHING_IS_MADE_OF)]
    return [path for path in ours if path.startswith(("quota", "limitRange", "access", "workloads")) is dedicated]


def with_field(spec: Object, path: str, value: Any) -> Object:
    changed = copy.deepcopy(spec)
    *steps, last = path.split(".")
    parent = changed
    for step in steps:
        parent = parent.setdefault(step, {})
    parent[last] = copy.deepcopy(value)
    return changed


def go_through(life: Life, spec: Object, paths: list[str]) -> None:
    """Change each field to each of its values and back: one update for each child, then quiet."""
    schemas = dict(leaves())
    for path in paths:
        steps = [with_field(spec, path, value) for value in values(path, schemas[path])]
        # A volume cannot shrink.
        for step in steps if path == "storage.size" else [*steps, spec]:
            most = Counter(each for each in life.change(step) if each.startswith("update")).most_common(1)
            assert not most or most[0][1] == 1, (path, most)
        if path == "storage.size":
            spec["storage"] = steps[-1]["storage"]


def test_each_field_of_a_shared_swarm_costs_one_update(installed: Api) -> None:
    parent = swarm("changing", storage={"size": "2Gi"})
    (controller,) = of_kind(rendered("controller"), "CompositeController")
    with Life(installed, controller, parent) as life:
        life.settle()
        life.bind_claim()
        go_through(life, parent["spec"], fields(dedicated=False))


def test_each_field_of_a_dedicated_swarm_costs_one_update(installed: Api, controller: Object) -> None:
    room = {"cpu": "4", "memory": "4Gi", "pods": 20, "persistentVolumeClaims": 3}
    limits = {"max": {"cpu": "2", "memory": "2Gi"}}
    parent = swarm("changing-too", placement={"isolation": "Dedicated"}, quota=room, limitRange=limits)
    with Life(installed, controller, parent) as life:
        life.settle()
        life.bind_claim()
        go_through(life, parent["spec"], fields(dedicated=True))
