"""What the CRD's rules and the admission policies let pass and what they refuse, judged by the server itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.api import Api, Object, RefusedError
from cluster.life import swarm
from cluster.waiting import until_nothing
from contract.rendered import named, production_with, rendered
from userswarm.spec.schema import load_crd

LENT = {"crawbl.ai/allow-userswarms": "true"}


def config_map(namespace: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any", "namespace": namespace}}


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def refusal(ask: Callable[[], Any]) -> str:
    """Return why something is refused, an empty text where it is not."""
    try:
        ask()
    except RefusedError as error:
        return error.message
    return ""


@dataclass(frozen=True, slots=True)
class Row:
    """Something that is asked, and the message by which it is refused; empty where it is allowed."""

    what: str
    told: str = ""
    obj: Object = field(default_factory=dict)


def asked(what: str, told: str = "", /, name: str = "ann", **spec: Any) -> Row:
    return Row(what, told, swarm(name, **spec))


FORBIDDEN_IMAGE = {"image": "docker.io/a/b:1"}
CREATED = [
    asked("nothing but a user"),
    asked("the shared namespace", placement={"runtimeNamespace": "userswarms"}),
    asked(
        "another namespace",
        "spec.placement.runtimeNamespace: kube-system is not allowed; allowed: userswarms",
        placement={"runtimeNamespace": "kube-system"},
    ),
    asked("a namespace of its own", placement={"isolation": "Dedicated", "runtimeNamespace": "swarm-ann"}),
    asked("an image that is allowed", runtime={"image": "ghcr.io/zeroclaw-labs/zeroclaw:v1"}),
    asked(
        "an image from elsewhere",
        "spec.runtime.image: docker.io/a/b:1 is not allowed; it must start with one of: ghcr.io/zeroclaw-labs/",
        runtime=FORBIDDEN_IMAGE,
    ),
    asked("a priority that is allowed", placement={"priorityClassName": "userswarm-runtime"}),
    asked(
        "another priority",
        "spec.placement.priorityClassName: userswarm-system is not allowed; allowed: userswarm-runtime",
        placement={"priorityClassName": "userswarm-system"},
    ),
    asked("a Secret that all share", config={"envSecretRef": {"name": "provider-keys"}}),
    asked(
        "the swarm's own Secrets",
        config={"envSecretRef": {"name": "swarm-ann-env"}},
        runtime={"imagePullSecretName": "swarm-ann-pull"},
    ),
    asked("a Secret beside a name that is hashed", name="ann.b", config={"envSecretRef": {"name": "swarm-anything"}}),
    asked(
        "somebody else's keys",
        "name: swarm-bob-env is not allowed; allowed: swarm-ann-env, registry-credentials,provider-keys",
        config={"envSecretRef": {"name": "swarm-bob-env"}},
    ),
    asked(
        "keys of the platform",
        "spec.config.envSecretRef.name: root is not allowed; allowed: swarm-ann-env",
        config={"envSecretRef": {"name": "root"}},
    ),
    asked(
        "somebody else's registry",
        "spec.runtime.imagePullSecretName: swarm-bob-pull is not allowed; allowed: swarm-ann-pull",
        runtime={"imagePullSecretName": "swarm-bob-pull"},
    ),
    asked("the largest volume", storage={"size": "50Gi"}),
    asked("a volume in bytes", storage={"size": 50 * 2**30}),
    asked("a larger volume", "spec.storage.size: must be at most 50Gi", storage={"size": 50 * 2**30 + 1}),
    asked("the most CPU", runtime={"resources": {"limits": {"cpu": 4}}}),
    asked(
        "more CPU",
        "spec.runtime.resources.limits.cpu: must be at most 4",
        runtime={"resources": {"limits": {"cpu": "4001m"}}},
    ),
    asked("the most memory", runtime={"resources": {"limits": {"memory": "8Gi"}}}),
    asked(
        "more memory",
        "spec.runtime.resources.limits.memory: must be at most 8Gi",
        runtime={"resources": {"limits": {"memory": "8.1Gi"}}},
    ),
    asked(
        "more requested than the default limit",
        "spec.runtime.resources.requests.cpu: Invalid value: requests.cpu must not exceed limits.cpu (500m",
        runtime={"resources": {"requests": {"cpu": "501m"}}},
    ),
    asked(
        "more memory requested",
        "requests.memory must not exceed limits.memory (512Mi where it is not set)",
        runtime={"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}},
    ),
    asked(
        "more disk requested",
        "requests.ephemeral-storage must not exceed limits.ephemeral-storage",
        runtime={"resources": {"requests": {"ephemeral-storage": 2}, "limits": {"ephemeral-storage": "1"}}},
    ),
    asked("a sleep of its own", lifecycle={"idleAfter": "30m", "idleAfterVisit": "10m", "expireAfter": "720h"}),
    asked("no sleep for idleness", lifecycle={"idleAfter": "0s", "idleAfterVisit": "10m", "maxAwake": "24h"}),
    asked("an idleness too short", "idleAfter must be at least 2m, or 0s for none", lifecycle={"idleAfter": "90s"}),
    asked(
        "a visit too short",
        "idleAfterVisit must be at least 2m, or 0s for none",
        lifecycle={"idleAfter": "30m", "idleAfterVisit": "90s"},
    ),
    asked(
        "a visit longer than a stay",
        "idleAfterVisit must not exceed idleAfter",
        lifecycle={"idleAfter": "30m", "idleAfterVisit": "31m"},
    ),
    asked("a run too short", "maxAwake must be at least 2m, or 0s for none", lifecycle={"maxAwake": "90s"}),
    asked(
        "awake for longer than it may",
        "minAwake must not exceed maxAwake",
        lifecycle={"maxAwake": "1h", "minAwake": "2h"},
    ),
    asked(
        "an end too soon",
        "expireAfter must be at least 1h, or 0s for none",
        lifecycle={"idleAfter": "30m", "expireAfter": "59m"},
    ),
    asked(
        "a schedule with seconds",
        "cron must have five fields, as in 0 8 * * 1-5",
        lifecycle={"idleAfter": "30m", "wakeSchedule": {"cron": "0 0 8 * * 1-5"}},
    ),
    asked("a template", template={"name": "assistant"}),
    asked(
        "arguments beside those of a template",
        "the template says the arguments; leave args out",
        template={"name": "assistant"},
        runtime={"args": ["--verbose"]},
    ),
    asked("disk without a limit", runtime={"resources": {"requests": {"ephemeral-storage": "1Gi"}}}),
    asked(
        "a volume of nothing",
        "size must be greater than zero",
        storage={"size": "0Ki"},
    ),
    asked("an agent by a slug", config={"agents": {"a-1": {}}}),
    asked("an agent by another name", "an agent's slug is a DNS label", config={"agents": {"A_1": {}}}),
    asked("files", config={"files": {"SOUL.md": "x", ".env": "y"}}),
    asked(
        "a file that is made from other fields",
        "a file's name is at most 253 letters",
        config={"files": {"config.toml": ""}},
    ),
    asked("a file elsewhere", "a file's name is at most 253 letters", config={"files": {"..a": ""}}),
    asked("counted resources", placement={"isolation": "Dedicated"}, quota={"counts": {"jobs.batch": 1}}),
    asked(
        "counted nonsense",
        "counts must name resources such as deployments.apps",
        placement={"isolation": "Dedicated"},
        quota={"counts": {"A/b": 1}},
    ),
]

STORED = swarm(
    "stored",
    workspaceId="w",
    storage={"size": "2Gi", "storageClassName": "standard"},
    placement={"runtimeNamespace": "userswarms"},
)
CHANGED = [
    ("spec.suspend", True, ""),
    ("spec.storage.size", "3Gi", ""),
    ("spec.storage.size", "2048Mi", ""),
    ("spec.storage.size", "1Gi", "size can only grow; a volume cannot shrink"),
    ("spec.storage.storageClassName", "other", "storageClassName is immutable; a volume cannot change its class"),
    ("spec.storage.storageClassName", None, "storageClassName is immutable; a volume cannot change its class"),
    ("spec.userId", "v", "userId is immutable; make a new UserSwarm for another user"),
    ("spec.workspaceId", "x", "workspaceId is immutable; make a new UserSwarm for another workspace"),
    ("spec.workspaceId", None, "workspaceId is immutable; it can be neither added nor removed later"),
    ("spec.placement.runtimeNamespace", "other", "runtimeNamespace is immutable"),
    ("spec.placement.isolation", "Dedicated", "isolation is immutable"),
    ("spec.placement.namespaceMode", "operator", "namespaceMode is immutable"),
    ("spec.runtime.image", "docker.io/a/b:1", "spec.runtime.image: docker.io/a/b:1 is not allowed"),
]

OLDER = swarm("older", runtime=FORBIDDEN_IMAGE)
"""Admitted before the policy was, or under another one."""


def patch_of(path: str, value: Any) -> Object:
    patch: Any = value
    for step in reversed(path.split(".")):
        patch = {step: patch}
    return patch


@pytest.fixture(scope="module")
def api(installed: Api) -> Iterator[Api]:
    """The API with the policies at work: platform.yaml is what they wait for."""
    made = [STORED, OLDER, namespace("swarm-mine"), namespace("lent", **LENT), namespace("strangers")]
    platform = named(production_with(), "ConfigMap", "userswarm-platform")

    def denied() -> bool:
        theirs = config_map("strangers")
        return bool(
            refusal(lambda: installed.create(OLDER | {"metadata": {"name": "new"}}, dryRun="All"))
            and refusal(lambda: metacontroller(installed).create(theirs, dryRun="All"))
        )

    for item in (*made, platform):
        installed.create(item)
    until_nothing("admitted before the policies are at work", lambda: "" if denied() else "both")
    yield installed
    for item in (platform, *made):
        installed.delete(item)
    until_nothing("refused after the policies", lambda: "both" if denied() else "")


def metacontroller(api: Api) -> Api:
    return api.acting_as_account("metacontroller", "metacontroller")


@pytest.mark.parametrize("row", CREATED, ids=lambda row: row.what)
def test_a_new_userswarm_is_let_in_or_told_why_not(api: Api, row: Row) -> None:
    told = refusal(lambda: api.create(row.obj, dryRun="All"))
    assert row.told in told
    assert bool(told) is bool(row.told), told


@pytest.mark.parametrize(("path", "value", "expected"), CHANGED, ids=[f"{path}={value}" for path, value, _ in CHANGED])
def test_a_change_is_let_in_or_told_why_not(api: Api, path: str, value: Any, expected: str) -> None:
    told = refusal(lambda: api.merge(STORED, patch_of(path, value), dryRun="All"))
    assert expected in told
    assert bool(told) is bool(expected), told


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"annotations": {"crawbl.ai/retry-verification": "1"}}},
        {"metadata": {"finalizers": ["metacontroller.io/compositecontroller-userswarm"]}},
        {"metadata": {"finalizers": None}},
        {"spec": {"runtime": {"image": "ghcr.io/zeroclaw-labs/zeroclaw:v1"}}},
    ],
    ids=["label", "annotation", "finalizer on", "finalizer off", "an allowed image"],
)
def test_what_an_older_policy_let_in_can_be_kept_up_and_mended(api: Api, patch: Object) -> None:
    api.merge(OLDER, patch, dryRun="All")


def test_what_an_older_policy_let_in_can_be_reported_on_and_deleted_but_not_changed(api: Api) -> None:
    api.merge(OLDER, {"status": {"phase": "Invalid"}}, "status", dryRun="All")
    api.delete(OLDER, dryRun="All")
    assert "is not allowed" in refusal(lambda: api.merge(OLDER, {"spec": {"suspend": True}}, dryRun="All"))


WRITES = [
    ("create", config_map("userswarms"), ""),
    ("create", config_map("swarm-mine"), ""),
    ("create", config_map("lent"), ""),
    ("create", config_map("strangers"), "Metacontroller may not write configmaps in strangers; label the namespace"),
    ("create", namespace("swarm-new"), ""),
    ("create", namespace("new"), "Metacontroller may not write namespaces in new"),
    ("create", namespace("new", **LENT), "Metacontroller may not write namespaces in new"),
    ("delete", namespace("swarm-mine"), ""),
    ("delete", namespace("lent"), "Metacontroller may not write namespaces in lent"),
    ("delete", namespace("userswarms"), "Metacontroller may not write namespaces in userswarms"),
    ("update", namespace("swarm-mine", a="b"), ""),
    ("update", namespace("strangers", **LENT), "Metacontroller may not write namespaces in strangers"),
]


@pytest.mark.parametrize(
    ("verb", "obj", "expected"),
    WRITES,
    ids=[
        f"{verb} {obj['kind']} {obj['metadata'].get('namespace', obj['metadata']['name'])}" for verb, obj, _ in WRITES
    ],
)
def test_metacontroller_writes_where_swarms_live_and_nowhere_else(
    api: Api, verb: str, obj: Object, expected: str
) -> None:
    theirs = metacontroller(api)
    told = refusal(lambda: getattr(theirs, verb)(obj, dryRun="All"))
    assert expected in told
    assert bool(told) is bool(expected), told


def test_nobody_else_is_held_to_metacontrollers_policy(api: Api) -> None:
    api.create(config_map("strangers"), dryRun="All")


def test_every_rule_has_refused_something() -> None:
    told = " ".join([row.told for row in CREATED] + [told for _, _, told in CHANGED] + [told for _, _, told in WRITES])
    for rule in rules(load_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        assert rule["message"].split(";")[0][:30] in told, rule["message"]
    for validation in named(rendered("policy"), "ValidatingAdmissionPolicy", "userswarm")["spec"]["validations"]:
        _, said, _ = validation["messageExpression"].split("'", 2)
        assert said.strip() in told, said


def rules(schema: Object) -> Iterator[Object]:
    yield from schema.get("x-kubernetes-validations", ())
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for each in below:
        if isinstance(each, dict):
            yield from rules(each)
