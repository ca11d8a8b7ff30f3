"""A parent becomes a UserSwarm, or everything that is wrong with it is said at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

import scenes
from userswarm.errors import InvalidParentError, Problem
from userswarm.parts import PARTS
from userswarm.spec.manifests import manifest_path
from userswarm.spec.parent import parse_parent
from userswarm.spec.settings import Settings
from userswarm.spec.swarm import Swarm

CHECKS = tuple(check for part in PARTS for check in part.checks)


def parse(parent: Any, settings: Settings = scenes.SETTINGS) -> Swarm:
    return parse_parent(parent, settings, CHECKS)


def parsed(settings: Settings = scenes.SETTINGS, **spec: Any) -> Swarm:
    return parse(scenes.user_swarm(**spec), settings)


def problems_of(parent: Any, settings: Settings = scenes.SETTINGS) -> tuple[Problem, ...]:
    with pytest.raises(InvalidParentError) as caught:
        parse(parent, settings)
    return caught.value.problems


@pytest.mark.parametrize("sample", ["minimal", "full", "original"])
def test_every_sample_is_valid_as_it_is(sample: str) -> None:
    parent = yaml.safe_load(manifest_path(f"samples/{sample}.yaml").read_text(encoding="utf-8"))
    kept = copy.deepcopy(parent)
    assert parse(parent).asked.name == parent["metadata"]["name"]
    assert parent == kept


def test_the_least_a_backend_writes_is_filled_up() -> None:
    assert parsed().spec == {
        "userId": "user-1",
        "placement": {"runtimeNamespace": "userswarms", "isolation": "Shared", "namespaceMode": "managed"},
        "runtime": {
            "mode": "daemon",
            "port": 42617,
            "dataPath": "/zeroclaw-data",
            "resources": {
                "requests": {"cpu": "100m", "memory": "256Mi"},
                "limits": {"cpu": "500m", "memory": "512Mi"},
            },
        },
        "storage": {"size": "2Gi", "retainPolicy": "Delete"},
        "config": {},
        "verification": {"mode": "Request", "path": "/health", "timeoutSeconds": 2, "maxAttempts": 5},
        "suspend": False,
    }


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("workspace-a", None, "a"),
        ("workspace-workspace-a", None, "workspace-a"),
        ("other-a", None, "other-a"),
        ("workspace-a", "w", "w"),
    ],
)
def test_the_workspace_is_the_name_less_its_prefix_unless_given(name: str, given: str | None, expected: str) -> None:
    spec = {"workspaceId": given} if given else {}
    identity = parse(scenes.user_swarm(name, **spec)).identity
    assert identity.metadata("x")["annotations"]["crawbl.ai/workspace-id"] == expected


def test_a_parent_that_was_never_stored_owns_nothing_and_asks_for_no_retry() -> None:
    parent = scenes.user_swarm()
    del parent["metadata"]["uid"]
    assert parse(parent).identity.owner is None
    assert parse(parent).retry == ""
    parent["metadata"]["annotations"] = {"crawbl.ai/retry-verification": "now"}
    assert parse(parent).retry == "now"


# --- what a schema cannot check --------------------------------------------------------------------------------------

ALLOWED = Settings(
    allowed_namespaces=("userswarms", "others"), allowed_image_prefixes=("ghcr.io/zeroclaw-labs/", "registry.example/")
)

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a namespace that is not allowed": (
        {"placement": {"runtimeNamespace": "kube-system"}},
        "spec.placement.runtimeNamespace",
        "allowed are userswarms, others",
    ),
    "an image that is not allowed": (
        {"runtime": {"image": "docker.io/miner:1"}},
        "spec.runtime.image",
        "must start with ghcr.io/zeroclaw-labs/ or registry.example/",
    ),
    "a system priority": (
        {"placement": {"priorityClassName": "system-node-critical"}},
        "spec.placement.priorityClassName",
        "for the cluster's own Pods",
    ),
    "the configuration's directory": ({"runtime": {"dataPath": "/etc/userswarm"}}, "spec.runtime.dataPath", "/etc/"),
    "below the configuration": ({"runtime": {"dataPath": "/etc/userswarm/x"}}, "spec.runtime.dataPath", "is taken"),
    "above the configuration": ({"runtime": {"dataPath": "/etc"}}, "spec.runtime.dataPath", "such as /data"),
    "the directory of temporary files": ({"runtime": {"dataPath": "/tmp/x"}}, "spec.runtime.dataPath", "/tmp"),
    "a request over its limit": (
        {"runtime": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}},
        "spec.runtime.resources.requests.cpu",
        "2 is more than the limit, 1500m; set limits.cpu to at least 2",
    ),
    "a request over the default limit": (
        {"runtime": {"resources": {"requests": {"memory": "1Gi"}}}},
        "spec.runtime.resources.requests.memory",
        "512Mi",
    ),
    "a volume of nothing": ({"storage": {"size": "0"}}, "spec.storage.size", "must be more than 0"),
    "a volume of nothing, in other words": ({"storage": {"size": "0e9"}}, "spec.storage.size", "must be more than 0"),
    "overrides that do not parse": ({"config": {"tomlOverrides": "BAD"}}, "spec.config.tomlOverrides", "is not TOML"),
    "overrides nested too deeply": (
        {"config": {"tomlOverrides": "a." * 40 + "b = 1"}},
        "spec.config.tomlOverrides",
        "nested too deeply",
    ),
    "an agent in capitals": ({"config": {"agents": {"Bob": {}}}}, "spec.config.agents[Bob]", "DNS label"),
    "an agent with a newline": ({"config": {"agents": {"bob\n": {}}}}, "spec.config.agents[bob\n]", "DNS label"),
    "an agent of 64": ({"config": {"agents": {"a" * 64: {}}}}, f"spec.config.agents[{'a' * 64}]", "at most 63"),
    "a file with a slash": ({"config": {"files": {"a/b": ""}}}, "spec.config.files[a/b]", "letters, digits"),
    "a file above": ({"config": {"files": {"..": ""}}}, "spec.config.files[..]", "not start with '..'"),
    "a hidden file above": ({"config": {"files": {"..data": ""}}}, "spec.config.files[..data]", "not start"),
    "the directory itself": ({"config": {"files": {".": ""}}}, "spec.config.files[.]", "is no name for a file"),
    "config.toml itself": ({"config": {"files": {"config.toml": ""}}}, "spec.config.files[config.toml]", "made from"),
    "a file with a newline": ({"config": {"files": {"a\n": ""}}}, "spec.config.files[a\n]", "letters, digits"),
    "files too large": ({"config": {"files": {"a": "x" * 125_000, "b": "x" * 125_000}}}, "spec.config.files", "245760"),
    "files too large once Go has written them": (
        {"config": {"files": {"a": "<" * 50_000}}},
        "spec.config.files",
        "3000",
    ),
    "a route": ({"exposure": {"httpRoute": {"enabled": True}}}, "spec.exposure.httpRoute.enabled", "set it to false"),
    "a node label that is none": (
        {"placement": {"nodeSelector": {"not a label": "x"}}},
        "spec.placement.nodeSelector[not a label]",
        "example.com/kind",
    ),
    "a node label too long": (
        {"placement": {"nodeSelector": {"a" * 64: "x"}}},
        f"spec.placement.nodeSelector[{'a' * 64}]",
        "at most 63",
    ),
    "a node label with a domain too long": (
        {"placement": {"nodeSelector": {"a." * 127 + "a/b": "x"}}},
        f"spec.placement.nodeSelector[{'a.' * 127}a/b]",
        "no label's name",
    ),
    "a taint too long": (
        {"placement": {"tolerations": [{"key": "a" * 64, "operator": "Exists"}]}},
        "spec.placement.tolerations[0].key",
        "no taint's name",
    ),
    "a toleration of nothing": (
        {"placement": {"tolerations": [{}]}},
        "spec.placement.tolerations[0].operator",
        "Exists",
    ),
    "a toleration without key": (
        {"placement": {"tolerations": [{"operator": "Exists"}, {"operator": "Equal", "value": "a"}]}},
        "spec.placement.tolerations[1].operator",
        "must be Exists where key is empty",
    ),
    "a value that is not compared": (
        {"placement": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        "spec.placement.tolerations[0].value",
        "leave it out",
    ),
    "seconds without an end": (
        {"placement": {"tolerations": [{"key": "a", "tolerationSeconds": 0, "effect": "NoSchedule"}]}},
        "spec.placement.tolerations[0].effect",
        "NoExecute",
    ),
    # one of the CRD's own, for its words
    "a port below 1024": ({"runtime": {"port": 80}}, "spec.runtime.port", "from 1024 to 65535"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_crd_cannot_refuse_is_refused_with_its_path_and_what_would_be_accepted(case: str) -> None:
    spec, path, accepted = WRONG[case]
    (problem,) = problems_of(scenes.user_swarm(**spec), ALLOWED)
    assert problem.path == path
    assert accepted in problem.message


RIGHT: tuple[dict[str, Any], ...] = (
    {"placement": {"runtimeNamespace": "others"}},
    {"runtime": {"image": "registry.example/x"}},
    {"runtime": {"dataPath": "/tmpfs"}},
    {"runtime": {"dataPath": "/data/etc"}},
    {"runtime": {"resources": {"requests": {"cpu": "500m"}}}},
    {"runtime": {"resources": {"requests": {"cpu": "0", "ephemeral-storage": "9Gi"}}}},
    {"runtime": {"resources": {"limits": {"ephemeral-storage": "1Gi"}}}},
    {"storage": {"size": 1}},
    {"config": {"agents": {"a" * 63: {}, "0": {}}}},
    {"config": {"files": {".env": "x", "a..b": "", "A_b-c.9": ""}}},
    {"exposure": {"httpRoute": {"enabled": False, "host": "a.example"}}},
    {"exposure": {}},
    {"placement": {"nodeSelector": {"kubernetes.io/arch": "amd64", "plain": "", "a.b.example/X_y.z": "v"}}},
    {
        "placement": {
            "tolerations": [{"operator": "Exists"}, {"key": "a.example/b", "value": "c", "effect": "NoExecute"}]
        }
    },
    {"placement": {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}]}},
    {"placement": {"tolerations": [{"key": "a", "operator": "Exists", "value": ""}]}},
    {"placement": {"priorityClassName": "system"}},
)


@pytest.mark.parametrize("spec", RIGHT, ids=str)
def test_what_lies_just_inside_is_accepted(spec: dict[str, Any]) -> None:
    parse(scenes.user_swarm(**spec), ALLOWED)


def test_without_prefixes_any_image_may_run() -> None:
    parsed(runtime={"image": "anything/at-all"})


def test_the_default_image_has_to_be_allowed_too() -> None:
    settings = Settings(allowed_image_prefixes=("registry.example/",))
    assert problems_of(scenes.user_swarm(), settings)[0].path == "spec.runtime.image"


def test_all_problems_are_reported_together_with_their_paths() -> None:
    parent = scenes.user_swarm(
        userId="",
        placement={"runtimeNamespace": "kube-system"},
        runtime={"port": 80, "image": "docker.io/x", "resources": {"requests": {"cpu": "2"}}},
        storage={"size": "0", "retainPolicy": "Perhaps"},
        config={"tomlOverrides": "BAD", "agents": {"Bob": {}}, "files": {"..": ""}, "defaultTemperature": 3},
        verification={"maxAttempts": 0},
        exposure={"httpRoute": {"enabled": True}},
        suspend="no",
    )
    paths = [problem.path for problem in problems_of(parent, ALLOWED)]
    assert paths == sorted(
        [
            "spec.userId",
            "spec.placement.runtimeNamespace",
            "spec.runtime.port",
            "spec.runtime.image",
            "spec.runtime.resources.requests.cpu",
            "spec.storage.size",
            "spec.storage.retainPolicy",
            "spec.config.tomlOverrides",
            "spec.config.agents[Bob]",
            "spec.config.files[..]",
            "spec.config.defaultTemperature",
            "spec.verification.maxAttempts",
            "spec.exposure.httpRoute.enabled",
            "spec.suspend",
        ]
    )


@pytest.mark.parametrize("spec", [None, [], "x", 1, {}, {"userId": None}])
def test_a_spec_that_is_none_is_a_problem_like_any_other(spec: object) -> None:
    parent = scenes.user_swarm()
    parent["spec"] = spec
    assert problems_of(parent)
    del parent["spec"]
    assert problems_of(parent)[0].path == "spec"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"runtime": {"resources": {"requests": {"cpu": "many"}}}}, "spec.runtime.resources.requests.cpu"),
        ({"config": {"files": {"..": 7}}}, "spec.config.files[..]"),
        ({"config": 7}, "spec.config"),
        ({"placement": {"runtimeNamespace": 7}}, "spec.placement.runtimeNamespace"),
    ],
)
def test_a_field_that_the_schema_refuses_is_not_looked_at_again(spec: dict[str, Any], path: str) -> None:
    assert [problem.path for problem in problems_of(scenes.user_swarm(**spec))] == [path]


def test_unknown_fields_of_a_newer_crd_are_ignored() -> None:
    parent = scenes.user_swarm(runtime={"newField": 1}, newer={"a": 1})
    swarm = parse(parent)
    assert swarm.identity == parsed().identity


@pytest.mark.parametrize(
    ("field", "own"), [("envSecretRef", "swarm-workspace-a-env"), ("imagePullSecretName", "swarm-workspace-a-pull")]
)
@pytest.mark.parametrize("shared", [(), ("registry-credentials",)])
def test_a_swarm_names_no_other_swarms_secret(field: str, own: str, shared: tuple[str, ...]) -> None:
    settings = Settings(allowed_secrets=shared)

    def spec(name: str) -> dict[str, Any]:
        if field == "envSecretRef":
            return {"config": {"envSecretRef": {"name": name}}}
        return {"runtime": {"imagePullSecretName": name}}

    parse(scenes.user_swarm(**spec(own)), settings)
    parse(scenes.user_swarm(**spec("registry-credentials")), settings)
    (problem,) = problems_of(scenes.user_swarm(**spec("swarm-workspace-b-env")), settings)
    assert field in problem.path
    assert repr(own) in problem.message

    if shared:
        (problem,) = problems_of(scenes.user_swarm(**spec("another")), settings)
        assert f"allowed are {own}, registry-credentials" in problem.message
    else:
        parse(scenes.user_swarm(**spec("another")), settings)


def test_a_secret_below_a_field_that_is_wrong_is_not_looked_at() -> None:
    parent = scenes.user_swarm(config={"envSecretRef": {"name": 7}}, runtime=7)
    assert {problem.path for problem in problems_of(parent)} == {"spec.config.envSecretRef.name", "spec.runtime"}
