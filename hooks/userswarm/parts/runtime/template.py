"""What a runtime's Pod consists of. Every byte is frozen by a golden file: a change restarts every user's runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from userswarm.parts.configuration.toml import FILE_NAME
from userswarm.parts.dedicated.isolation import NO_ROLE, Isolation, bootstrap_resources, read_isolation, runtime_limits
from userswarm.parts.pod import restricted_container, restricted_pod_spec
from userswarm.parts.service import PORT_NAME
from userswarm.spec import quantity
from userswarm.spec.paths import CONFIG_DIRECTORY, TMP_DIRECTORY
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import Manifest

RUNTIME_CONTAINER = "runtime"
BOOTSTRAP_CONTAINER = "bootstrap"


def build_pod_spec(swarm: Swarm) -> Manifest:
    """Return the Pod of a swarm without a template."""
    isolation, identity = read_isolation(swarm.asked), swarm.identity
    resources = swarm.spec["runtime"]["resources"]
    limits = _canonical(resources["limits"] if isolation is None else runtime_limits(resources, isolation))
    return {
        **restricted_pod_spec(swarm),
        # A token only where it opens something: the swarm's own namespace.
        "automountServiceAccountToken": isolation is not None and isolation.access != NO_ROLE,
        "terminationGracePeriodSeconds": 30,
        "initContainers": [bootstrap_container(swarm, isolation, limits)],
        "containers": [_runtime_container(swarm, limits)],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": identity.claim}},
            {"name": "config", "configMap": {"name": identity.config_map}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }


def bootstrap_container(swarm: Swarm, isolation: Isolation | None, limits: Mapping[str, str]) -> dict[str, Any]:
    """Return the init container that merges the rendered configuration into the volume."""
    data_path = swarm.spec["runtime"]["dataPath"]
    return {
        "name": BOOTSTRAP_CONTAINER,
        "image": swarm.settings.helper_image,
        "command": ["userswarm", "bootstrap"],
        "args": [
            "--config",
            f"{CONFIG_DIRECTORY}/{FILE_NAME}",
            "--live",
            f"{data_path}/.zeroclaw/{FILE_NAME}",
            "--workspace",
            f"{data_path}/workspace",
            "--owner",
            swarm.identity.user_slug,
        ],
        "resources": bootstrap_resources(isolation, limits),
        "securityContext": restricted_container(),
        # What it said last is the reason that the Pod's status shows.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "data", "mountPath": data_path},
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": TMP_DIRECTORY},
        ],
    }


def _runtime_container(swarm: Swarm, limits: Mapping[str, str]) -> dict[str, Any]:
    runtime, path = swarm.spec["runtime"], swarm.spec["verification"]["path"]
    env_secret = swarm.spec["config"].get("envSecretRef", {}).get("name", "")
    container: dict[str, Any] = {
        "name": RUNTIME_CONTAINER,
        "image": runtime.get("image") or swarm.settings.default_image,
        "args": list(runtime.get("args", (runtime["mode"],))),
        "env": _environment(runtime),
        "ports": [{"name": PORT_NAME, "containerPort": runtime["port"], "protocol": "TCP"}],
        "resources": {"requests": _canonical(runtime["resources"]["requests"]), "limits": dict(limits)},
        "securityContext": restricted_container(),
        # A runtime may take five minutes to start; once started it is asked more often.
        "startupProbe": _probe(path, period=5, failures=60),
        "readinessProbe": _probe(path, period=5, failures=3),
        "livenessProbe": _probe(path, period=20, failures=6),
        "volumeMounts": [
            {"name": "data", "mountPath": runtime["dataPath"]},
            {"name": "tmp", "mountPath": TMP_DIRECTORY},
        ],
    }
    if not container["args"]:
        del container["args"]
    if runtime.get("imagePullPolicy"):
        container["imagePullPolicy"] = runtime["imagePullPolicy"]
    if env_secret:
        container["envFrom"] = [{"secretRef": {"name": env_secret}}]
    return container


def _environment(runtime: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the container's environment: where its home is, and what the spec adds or puts in its place."""
    values = {"HOME": runtime["dataPath"], **{each["name"]: each.get("value", "") for each in runtime.get("env", ())}}
    # The apiserver drops an empty value; a template that still held it would differ for ever.
    return [{"name": name, "value": value} if value else {"name": name} for name, value in values.items()]


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _canonical(resources: Mapping[str, str | int]) -> dict[str, str]:
    return {name: quantity.canonical_amount(amount) for name, amount in sorted(resources.items())}
