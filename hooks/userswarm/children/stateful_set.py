"""The StatefulSet that runs a swarm's one Pod: never two writers on one volume.

Every byte of the template is frozen by a golden file: a release that changes it restarts every user's runtime.
"""

from __future__ import annotations

from typing import Any

from userswarm.children.pod import restricted_container, restricted_pod_spec
from userswarm.children.service import PORT_NAME
from userswarm.config_toml import FILE_NAME
from userswarm.isolation import NO_ROLE, bootstrap_resources
from userswarm.spec.identity import CHECKSUM_ANNOTATION, Identity, compute_checksum
from userswarm.spec.parent import CONFIG_DIRECTORY, TMP_DIRECTORY, UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest

RUNTIME_CONTAINER = "runtime"
BOOTSTRAP_CONTAINER = "bootstrap"


def build_stateful_set(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the StatefulSet of one Pod, or of none while the swarm is suspended."""
    pod_spec = _pod_spec(swarm, identity, settings)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": identity.metadata(identity.name),
        "spec": {
            "replicas": 0 if swarm.suspend else 1,
            # With OrderedReady a Pod that never gets ready would block the roll-out of its own repair.
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": identity.selector()},
            "serviceName": identity.headless_service,
            "updateStrategy": {"type": "RollingUpdate"},
            "template": {
                "metadata": {
                    "labels": identity.labels(),
                    "annotations": {CHECKSUM_ANNOTATION: compute_checksum(pod_spec, swarm.files)},
                },
                "spec": pod_spec,
            },
        },
    }


def _pod_spec(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    return {
        **restricted_pod_spec(swarm, identity, settings),
        # A token only where it opens something: the swarm's own namespace.
        "automountServiceAccountToken": swarm.isolation is not None and swarm.isolation.access != NO_ROLE,
        "terminationGracePeriodSeconds": 30,
        "initContainers": [_bootstrap_container(swarm, identity, settings)],
        "containers": [_runtime_container(swarm)],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": identity.claim}},
            {"name": "config", "configMap": {"name": identity.config_map}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }


def _bootstrap_container(swarm: UserSwarm, identity: Identity, settings: Settings) -> dict[str, Any]:
    """Return the init container that merges the rendered configuration into the volume."""
    return {
        "name": BOOTSTRAP_CONTAINER,
        "image": settings.helper_image,
        "command": ["userswarm", "bootstrap"],
        "args": [
            "--config",
            f"{CONFIG_DIRECTORY}/{FILE_NAME}",
            "--live",
            f"{swarm.data_path}/.zeroclaw/{FILE_NAME}",
            "--workspace",
            f"{swarm.data_path}/workspace",
            "--owner",
            identity.user_slug,
        ],
        "resources": bootstrap_resources(swarm.isolation, swarm.limits),
        "securityContext": restricted_container(),
        # What it said last is the reason that the Pod's status shows.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "data", "mountPath": swarm.data_path},
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "tmp", "mountPath": TMP_DIRECTORY},
        ],
    }


def _runtime_container(swarm: UserSwarm) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": RUNTIME_CONTAINER,
        "image": swarm.image,
        "args": list(swarm.args),
        "env": _environment(swarm),
        "ports": [{"name": PORT_NAME, "containerPort": swarm.port, "protocol": "TCP"}],
        "resources": {"requests": dict(swarm.requests), "limits": dict(swarm.limits)},
        "securityContext": restricted_container(),
        # A runtime may take five minutes to start; once started it is asked more often.
        "startupProbe": _probe(swarm, period=5, failures=60),
        "readinessProbe": _probe(swarm, period=5, failures=3),
        "livenessProbe": _probe(swarm, period=20, failures=6),
        "volumeMounts": [
            {"name": "data", "mountPath": swarm.data_path},
            {"name": "tmp", "mountPath": TMP_DIRECTORY},
        ],
    }
    if not swarm.args:
        del container["args"]
    if swarm.pull_policy:
        container["imagePullPolicy"] = swarm.pull_policy
    if swarm.env_secret:
        container["envFrom"] = [{"secretRef": {"name": swarm.env_secret}}]
    return container


def _environment(swarm: UserSwarm) -> list[dict[str, str]]:
    """Return the container's environment: where its home is, and what the spec adds or puts in its place."""
    values = {"HOME": swarm.data_path, **dict(swarm.env)}
    # The apiserver drops an empty value; a template that still held it would differ for ever.
    return [{"name": name, "value": value} if value else {"name": name} for name, value in values.items()]


def _probe(swarm: UserSwarm, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": swarm.verification_path, "port": PORT_NAME},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
