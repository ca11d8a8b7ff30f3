"""The reference among the samples of templates, claude-code: every value of its table, as a swarm's Pod has it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import template_samples as samples
from userswarm.backend import instance_name
from userswarm.backend.naming import DESCRIPTION, swarm_name
from userswarm.compose.plan import compute_plan
from userswarm.spec.manifests import manifest_path
from userswarm.spec.template.loading import read_templates

TEMPLATE = Path(str(manifest_path("samples/templates/claude-code/1.yaml")))
SAMPLE: dict[str, Any] = yaml.safe_load(manifest_path("samples/claude-code.yaml").read_text(encoding="utf-8"))


def children(**features: bool) -> list[dict[str, Any]]:
    """Return what the sample gets, with features switched."""
    swarm = copy.deepcopy(SAMPLE)
    swarm["spec"]["template"]["features"] = features
    return compute_plan(swarm, samples.SETTINGS).children()


def pod(**features: bool) -> dict[str, Any]:
    found: dict[str, Any] = next(
        each["spec"]["template"]["spec"] for each in children(**features) if each["kind"] == "StatefulSet"
    )
    return found


def container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in [*pod["containers"], *pod["initContainers"]] if each["name"] == name]
    return dict(found)


def ports(pod: dict[str, Any], name: str) -> list[int]:
    return [each["containerPort"] for each in container(pod, name)["ports"]]


def mounts(pod: dict[str, Any], name: str) -> dict[str, str]:
    return {each["name"]: each["mountPath"] for each in container(pod, name)["volumeMounts"]}


def test_the_main_container_is_what_the_table_says() -> None:
    main = container(pod(), "runtime")

    assert ports(pod(), "runtime") == [8080, 81]
    assert main["resources"] == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"cpu": "1", "memory": "2Gi"},
    }
    assert main["readinessProbe"]["exec"] == {"command": ["test", "-d", "/workspace/.git"]}
    assert main["securityContext"]["readOnlyRootFilesystem"] is True
    security = pod()["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"]) == (1000, 1000)


def test_its_environment_is_what_the_table_says() -> None:
    main = container(pod(), "runtime")
    values = {each["name"]: each.get("value", each.get("valueFrom")) for each in main["env"]}

    assert values.keys() >= {"EDITOR", "OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert values["HOME"] == "/home/code"
    assert values["TZ"] == "Europe/Vienna"
    assert values["DISABLE_AUTOUPDATER"] == "1"
    assert values["CLAUDE_INSTANCE_NAME"] == SAMPLE["metadata"]["name"]
    assert values["CLAUDE_INSTANCE_DESCRIPTION"] == "Fix the login page"
    assert values["CLAUDE_USERID"] == SAMPLE["spec"]["userId"]
    assert values["CLAUDE_NAMESPACE"] == "userswarms"
    assert values["OTEL_SERVICE_NAME"] == "claude-code"
    for name, key in (("GITHUB_TOKEN", "token"), ("DATABASE_URL", "uri")):
        assert values[name]["secretKeyRef"]["key"] == key


def test_its_volumes_are_what_the_table_says() -> None:
    sizes = {
        each["metadata"]["name"].rpartition("-")[2]: each["spec"]["resources"]["requests"]["storage"]
        for each in children()
        if each["kind"] == "PersistentVolumeClaim"
    }
    assert sizes == {"workspace": "20Gi", "home": "1Gi"}
    template = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    assert template["parameters"]["workspaceSize"]["default"] == "10Gi"
    empty = {each["name"]: each["emptyDir"].get("sizeLimit") for each in pod()["volumes"] if "emptyDir" in each}
    assert empty.items() >= {
        ("tmp", "10Gi"),
        ("cache", "5Gi"),
        ("npm-cache", "1Gi"),
        ("claude-lock", "10Mi"),
        ("ssh", "10Mi"),
    }
    assert mounts(pod(), "runtime").items() >= {("workspace", "/workspace"), ("home", "/home/code/.claude")}


def test_its_features_are_what_the_table_says() -> None:
    default, everything = pod(), pod(**samples.all_features("claude-code"))
    servers = {"context7": [8082], "playwright-browser": [8831, 6901, 5900], "dockerhub": [8083]}

    for name, wanted in servers.items():
        assert ports(default, name) == wanted
        # They are up before the runtime starts.
        assert container(default, name)["restartPolicy"] == "Always"
        assert name not in str(pod(**{name: False})["initContainers"])
    assert [each["name"] for each in default["containers"]] == ["runtime"]
    assert [each["name"] for each in everything["containers"]] == ["runtime", "hasura"]
    steps = [each["name"] for each in everything["initContainers"] if "restartPolicy" not in each]
    assert steps == ["git", "ssh", "golang", "typescript", "postgres"]


def test_only_the_step_that_clones_sees_its_token() -> None:
    whole = pod(**samples.all_features("claude-code"))
    (volume,) = [
        each["name"] for each in whole["volumes"] if each.get("secret", {}).get("secretName", "")[:4] == "git-"
    ]

    seen_by = [
        each["name"]
        for each in [*whole["containers"], *whole["initContainers"]]
        if volume in {mount["name"] for mount in each.get("volumeMounts", ())}
    ]

    assert seen_by == ["git"]
    assert "--token-file" in container(whole, "git")["args"]


def test_the_sample_is_named_by_its_description() -> None:
    description = SAMPLE["metadata"]["annotations"][DESCRIPTION]

    assert SAMPLE["metadata"]["name"] == swarm_name(instance_name(description))
    assert SAMPLE["spec"]["template"]["parameters"]["description"] == description


@pytest.mark.parametrize("server", ["context7", "dockerhub"])
def test_a_server_that_wants_the_port_of_the_runtimes_own_is_refused_by_name(server: str) -> None:
    template = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    template["features"][server]["containers"][0]["ports"][0]["port"] = 81

    _, problems = read_templates(yaml.safe_dump(template, sort_keys=False), "test")

    (problem,) = problems
    assert f"containers 'runtime' and {server!r} both want port 81 of the one Pod" in problem
