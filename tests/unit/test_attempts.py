"""What the author of a UserSwarm might try in order to reach what is not theirs; each attempt is a test.

An attempt is either refused, with the field named and no child made, or it has no effect at all.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import scenes
from userswarm.cli.rendering import check_user_swarm
from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import RUNTIME_KINDS

LOCKED = Settings(allowed_image_prefixes=("registry.example/",), default_image="registry.example/zeroclaw:1")

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another namespace": ({"placement": {"runtimeNamespace": "kube-system"}}, "spec.placement.runtimeNamespace"),
    "another registry": ({"runtime": {"image": "evil.example/zeroclaw:1"}}, "spec.runtime.image"),
    "a registry that only starts alike": ({"runtime": {"image": "registry.example.evil/x"}}, "spec.runtime.image"),
    "another swarm's keys": (
        {"config": {"envSecretRef": {"name": "swarm-workspace-b-env"}}},
        "spec.config.envSecretRef.name",
    ),
    "a name that continues its own": (
        {"config": {"envSecretRef": {"name": "swarm-workspace-a-env-env"}}},
        "spec.config.envSecretRef.name",
    ),
    "another swarm's registry login": (
        {"runtime": {"imagePullSecretName": "swarm-workspace-b-pull"}},
        "spec.runtime.imagePullSecretName",
    ),
    "the cluster's own priority": (
        {"placement": {"priorityClassName": "system-node-critical"}},
        "spec.placement.priorityClassName",
    ),
    "the volume over the rendered configuration": (
        {"runtime": {"dataPath": "/etc/userswarm"}},
        "spec.runtime.dataPath",
    ),
    "the volume over the kernel's files": ({"runtime": {"dataPath": "/proc/sys"}}, "spec.runtime.dataPath"),
    "the volume over a token": (
        {"runtime": {"dataPath": "/var/run/secrets/kubernetes.io"}},
        "spec.runtime.dataPath",
    ),
    "a way up in a path": ({"runtime": {"dataPath": "/data/../etc"}}, "spec.runtime.dataPath"),
    "a port of the system": ({"runtime": {"port": 22}}, "spec.runtime.port"),
    "a file outside the directory": (
        {"config": {"files": {"../../etc/passwd": "x"}}},
        "spec.config.files[../../etc/passwd]",
    ),
    "a file that stands for the rendered one": (
        {"config": {"files": {"config.toml": "x"}}},
        "spec.config.files[config.toml]",
    ),
    "an agent that opens another table": (
        {"config": {"agents": {"a]\n[gateway": {}}}},
        "spec.config.agents[a]\n[gateway]",
    ),
    "a probe of another host": ({"verification": {"path": "@evil.example/health"}}, "spec.verification.path"),
    "an argument behind the path": ({"verification": {"path": "/health --timeout 0"}}, "spec.verification.path"),
    "a way in from the internet": ({"exposure": {"httpRoute": {"enabled": True}}}, "spec.exposure.httpRoute.enabled"),
    "a variable with a line break in its name": (
        {"runtime": {"env": [{"name": "A\nB", "value": "x"}]}},
        "spec.runtime.env[0].name",
    ),
    "a label of a node that is none": (
        {"placement": {"nodeSelector": {"a b": "c"}}},
        "spec.placement.nodeSelector[a b]",
    ),
    "more than the limit": (
        {"runtime": {"resources": {"requests": {"cpu": "64"}}}},
        "spec.runtime.resources.requests.cpu",
    ),
    "walls of a Dedicated swarm without being one": ({"access": {"role": "edit"}}, "spec.access"),
    "an operator's namespace without asking": (
        {"placement": {"namespaceMode": "operator", "runtimeNamespace": "kube-system"}},
        "spec.placement",
    ),
}


@pytest.mark.parametrize("attempt", REFUSED)
def test_an_attempt_is_refused_and_makes_no_child(attempt: str) -> None:
    spec, path = REFUSED[attempt]
    scene = scenes.Scene(scenes.user_swarm(**spec), LOCKED)

    response = scene.sync()

    assert response["status"]["phase"] == "Invalid"
    assert response["children"] == []
    assert path in scenes.condition(response, "SpecValid")["message"]


UNKNOWN: dict[str, dict[str, Any]] = {
    "a ServiceAccount": {"runtime": {"serviceAccountName": "cluster-admin"}},
    "a host path": {"runtime": {"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}},
    "a capability": {"runtime": {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}, "privileged": True}}},
    "another claim": {"storage": {"claimName": "swarm-workspace-b-data"}},
    "the host's network": {"placement": {"hostNetwork": True}},
    "another container": {"runtime": {"sidecars": [{"name": "x", "image": "evil.example/x"}]}},
    "labels": {"metadata": {"labels": {"app.kubernetes.io/component": "runtime"}}},
    "a public Service": {"exposure": {"service": {"type": "LoadBalancer"}}},
}


@pytest.mark.parametrize("attempt", UNKNOWN)
def test_a_field_that_does_not_exist_has_no_effect_and_is_refused_by_render(attempt: str) -> None:
    spec = UNKNOWN[attempt]
    tried = compute_plan(scenes.user_swarm(**spec), LOCKED)

    assert tried.children() == compute_plan(scenes.user_swarm(), LOCKED).children()
    with pytest.raises(InvalidParentError):
        check_user_swarm(scenes.user_swarm(**spec), LOCKED)


@pytest.mark.parametrize(
    "text",
    ['"', "a\nb: c", "x,app.kubernetes.io/component=runtime", "${HOME}", "$(id)", "a\x00b", "../../b", "ü" * 256],
)
def test_a_user_id_stays_a_value_whatever_it_holds(text: str) -> None:
    parent = scenes.user_swarm(workspaceId="w" + text[:200])
    parent["spec"]["userId"] = text
    children = compute_plan(parent, LOCKED).children()
    assert {child["kind"] for child in children} == {kind.kind for kind in RUNTIME_KINDS}
    plain = compute_plan(scenes.user_swarm(), LOCKED).children()
    for child, other in zip(children, plain, strict=True):
        assert child["metadata"]["name"] == other["metadata"]["name"]
        assert child["metadata"]["labels"].keys() == other["metadata"]["labels"].keys()
        assert child["metadata"]["annotations"]["crawbl.ai/user-id"] == text
        assert child["metadata"]["annotations"].keys() == other["metadata"]["annotations"].keys()
    rendered = json.dumps([child.get("spec", {}) for child in children])
    assert json.dumps(text)[1:-1] not in rendered or text == '"'


def test_no_value_of_a_secret_is_in_any_child() -> None:
    parent = scenes.user_swarm(config={"envSecretRef": {"name": "swarm-workspace-a-env"}})

    children = json.dumps(compute_plan(parent, LOCKED).children())

    assert '"secretRef": {"name": "swarm-workspace-a-env"}' in children
    assert "Secret" not in {child["kind"] for child in json.loads(children)}
