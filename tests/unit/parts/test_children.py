"""What the parts of every swarm build, in the form in which the apiserver stores it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

import scenes
from scenes import Json
from userswarm.compose.plan import compute_plan
from userswarm.spec.settings import Settings

FULL: Json = {
    "placement": {
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [
            {"key": "k", "operator": "Equal", "value": "", "effect": "NoExecute", "tolerationSeconds": 0},
            {"key": "", "operator": "Exists"},
        ],
        "runtimeClassName": "gvisor",
        "priorityClassName": "userswarm-runtime",
    },
    "runtime": {
        "imagePullPolicy": "Always",
        "imagePullSecretName": "registry",
        "env": [{"name": "A", "value": ""}, {"name": "B"}, {"name": "C", "value": "c"}],
        "resources": {"requests": {"cpu": "0.5", "memory": "1.5Gi"}, "limits": {"cpu": "1000m", "memory": 2147483648}},
    },
    "storage": {"size": "1024Mi", "storageClassName": "fast"},
    "config": {"defaultTemperature": 1.0, "envSecretRef": {"name": "keys"}, "files": {"SOUL.md": ""}},
}


def built(settings: Settings = scenes.SETTINGS, **spec: Any) -> dict[str, Json]:
    return {
        f"{child['kind']} {child['metadata']['name'].removeprefix('swarm-workspace-a')}": child
        for child in compute_plan(scenes.user_swarm(**spec), settings).children()
    }


def pod_spec(**spec: Any) -> Json:
    found: Json = built(**spec)["StatefulSet "]["spec"]["template"]["spec"]
    return found


def values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, member in value.items():
            yield from values(member, f"{path}.{key}")
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from values(member, f"{path}[{index}]")


@pytest.mark.parametrize("spec", [{}, FULL, {"suspend": True}, {"runtime": {"args": [], "env": []}}], ids=str)
def test_nothing_null_and_nothing_empty_that_a_server_would_drop_is_emitted(spec: Json) -> None:
    for child in built(**spec).values():
        for path, value in values({key: each for key, each in child.items() if key != "data"}):
            assert value is not None, (child["kind"], path)
            assert value not in ("", [], {}), (child["kind"], path)
            assert not isinstance(value, float), (child["kind"], path)


def test_odd_spellings_make_the_same_children_byte_for_byte() -> None:
    plain = {
        "runtime": {
            "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
        },
        "storage": {"size": "1536Mi"},
        "config": {"defaultTemperature": 1},
    }
    odd = {
        "placement": {"nodeSelector": {}, "tolerations": []},
        "runtime": {
            "env": [],
            "resources": {
                "requests": {"memory": "0.5Gi", "cpu": "0.5"},
                "limits": {"cpu": "1000m", "memory": "1024Mi"},
            },
        },
        "storage": {"size": "1.5Gi", "storageClassName": ""},
        "config": {"defaultTemperature": 1.0, "agents": {}, "files": {}, "tomlOverrides": ""},
        "suspend": None,
    }
    assert json.dumps(built(**plain)) == json.dumps(built(**odd))


def test_the_claim_is_owned_expressly_and_for_one_pod_at_a_time() -> None:
    claim = built()["PersistentVolumeClaim -data"]
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    assert claim["metadata"]["ownerReferences"][0]["uid"] == "uid-of-workspace-a"
    assert claim["metadata"]["ownerReferences"][0]["controller"] is True
    claim = built(**FULL)["PersistentVolumeClaim -data"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"


def test_no_other_child_names_its_owner() -> None:
    for name, child in built().items():
        assert ("ownerReferences" in child["metadata"]) is (name == "PersistentVolumeClaim -data")


def test_the_config_map_holds_the_rendered_configuration_and_the_files_and_no_secret() -> None:
    data = built(**FULL)["ConfigMap -config"]["data"]
    assert set(data) == {"config.toml", "SOUL.md"}
    assert "default_temperature = 1.0" in data["config.toml"]
    assert data["SOUL.md"] == ""
    assert "keys" not in data["config.toml"]


def test_the_service_account_gets_no_token_and_pulls_with_the_secret() -> None:
    assert "imagePullSecrets" not in built()["ServiceAccount "]
    account = built(**FULL)["ServiceAccount "]
    assert account["imagePullSecrets"] == [{"name": "registry"}]
    assert account["automountServiceAccountToken"] is False


def test_the_services_lead_to_the_pods_that_the_stateful_set_makes() -> None:
    made = built(runtime={"port": 8080})
    template = made["StatefulSet "]["spec"]["template"]
    for service in (made["Service "], made["Service -headless"]):
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        assert service["spec"]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP", "targetPort": "http"}]
    assert template["spec"]["containers"][0]["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    assert made["Service -headless"]["spec"]["clusterIP"] == "None"
    assert made["Service -headless"]["spec"]["publishNotReadyAddresses"] is True
    assert "clusterIP" not in made["Service "]["spec"]
    assert made["StatefulSet "]["spec"]["serviceName"] == made["Service -headless"]["metadata"]["name"]
    assert made["StatefulSet "]["spec"]["selector"]["matchLabels"] == made["Service "]["spec"]["selector"]


def test_one_pod_or_none_and_a_broken_one_never_blocks_its_repair() -> None:
    assert built()["StatefulSet "]["spec"]["replicas"] == 1
    assert built(suspend=True)["StatefulSet "]["spec"]["replicas"] == 0
    assert built()["StatefulSet "]["spec"]["podManagementPolicy"] == "Parallel"
    assert "volumeClaimTemplates" not in built()["StatefulSet "]["spec"]


def test_suspending_changes_no_template() -> None:
    assert built()["StatefulSet "]["spec"]["template"] == built(suspend=True)["StatefulSet "]["spec"]["template"]


@pytest.mark.parametrize("spec", [{}, FULL], ids=["minimal", "full"])
def test_every_pod_meets_the_restricted_standard(spec: Json) -> None:
    for pod in [pod_spec(**spec)]:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert set(container["resources"]) == {"requests", "limits"}
        assert all(
            volume.keys() & {"persistentVolumeClaim", "configMap", "emptyDir"} for volume in pod.get("volumes", ())
        )


def test_the_pod_is_placed_and_pulled_as_the_spec_says() -> None:
    pod = pod_spec(**FULL)
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert pod["tolerations"] == [
        {"key": "k", "operator": "Equal", "effect": "NoExecute", "tolerationSeconds": 0},
        {"operator": "Exists"},
    ]
    assert pod["runtimeClassName"] == "gvisor"
    assert pod["priorityClassName"] == "userswarm-runtime"
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_the_runtime_container_is_what_the_spec_says() -> None:
    container = pod_spec(**FULL)["containers"][0]
    assert container["imagePullPolicy"] == "Always"
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert container["env"] == [
        {"name": "HOME", "value": "/zeroclaw-data"},
        {"name": "A"},
        {"name": "B"},
        {"name": "C", "value": "c"},
    ]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "1536Mi"},
        "limits": {"cpu": "1", "memory": "2147483648"},
    }


@pytest.mark.parametrize(
    ("runtime", "args"),
    [
        ({}, ["daemon"]),
        ({"mode": "gateway"}, ["gateway"]),
        ({"mode": "gateway", "args": ["serve", ""]}, ["serve", ""]),
        ({"args": []}, None),
    ],
)
def test_the_mode_is_the_argument_unless_arguments_are_given(runtime: Json, args: list[str] | None) -> None:
    assert pod_spec(runtime=runtime)["containers"][0].get("args") == args


def test_an_environment_of_ones_own_may_say_where_home_is() -> None:
    env = pod_spec(runtime={"env": [{"name": "HOME", "value": "/elsewhere"}]})["containers"][0]["env"]
    assert env == [{"name": "HOME", "value": "/elsewhere"}]


def test_probes_ask_what_the_verification_asks() -> None:
    container = pod_spec(verification={"path": "/ok?x=1"})["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/ok?x=1", "port": "http"}


def test_the_bootstrap_gets_the_configuration_and_the_volume_of_its_user() -> None:
    pod = pod_spec(userId="auth0|1", runtime={"dataPath": "/data"})
    (bootstrap,) = pod["initContainers"]
    assert bootstrap["command"] == ["userswarm", "bootstrap"]
    args = dict(zip(bootstrap["args"][::2], bootstrap["args"][1::2], strict=True))
    assert args["--config"] == "/etc/userswarm/config.toml"
    assert args["--live"] == "/data/.zeroclaw/config.toml"
    assert args["--workspace"] == "/data/workspace"
    assert args["--owner"].startswith("auth0-1--")
    assert bootstrap["image"] == scenes.SETTINGS.helper_image
    mounts = {mount["name"]: mount for mount in bootstrap["volumeMounts"]}
    assert mounts["config"]["readOnly"] is True
    assert "config" not in {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}


def test_settings_say_whom_the_pods_run_as() -> None:
    settings = dataclasses.replace(scenes.SETTINGS, runtime_user=1000, runtime_group=2000)
    context = built(settings)["StatefulSet "]["spec"]["template"]["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (1000, 2000, 2000)


def test_a_new_webhook_with_the_same_settings_changes_no_byte() -> None:
    assert json.dumps(built(**FULL)) == json.dumps(built(**FULL))
