"""The StatefulSet that runs a swarm's one Pod: never two writers on one volume.

Every byte of the template is frozen by a golden file: a release that changes it restarts every user's runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.parts import configuration, storage
from userswarm.parts.config_toml import FILE_NAME
from userswarm.parts.dedicated.isolation import NO_ROLE, Isolation, bootstrap_resources, read_isolation, runtime_limits
from userswarm.parts.placement import PLACEMENT_CHECKS
from userswarm.parts.pod import restricted_container, restricted_pod_spec
from userswarm.parts.pod_trouble import find_pod_trouble
from userswarm.parts.service import PORT_NAME
from userswarm.parts.shape import (
    LOOK_AFTER,
    ROLLOUT_IN_PROGRESS,
    Needs,
    Part,
    Sight,
    Verdict,
    judge_missing,
    object_need,
)
from userswarm.spec import quantity
from userswarm.spec.identity import CHECKSUM_ANNOTATION, compute_checksum, template_checksum
from userswarm.spec.paths import CONFIG_DIRECTORY, TMP_DIRECTORY
from userswarm.spec.swarm import Swarm
from userswarm.wire.freeze import freeze_child, last_applied
from userswarm.wire.k8s import POD, STATEFUL_SET, Manifest, Observed, read_time

RUNTIME_CONTAINER = "runtime"
BOOTSTRAP_CONTAINER = "bootstrap"

CONDITION = "WorkloadReady"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The Pod that is wanted now, the configuration it starts with, and the checksum of both."""

    pod_spec: Manifest
    configuration: configuration.Configuration
    checksum: str
    replicas: int


def read(swarm: Swarm) -> Runtime:
    """Return the runtime that a swarm asks for."""
    files = configuration.read(swarm)
    pod_spec = _pod_spec(swarm, files.env_secret)
    return Runtime(pod_spec, files, compute_checksum(pod_spec, files.files), 0 if swarm.spec["suspend"] else 1)


def build(runtime: Runtime, swarm: Swarm) -> list[Manifest]:
    """Return the StatefulSet of one Pod, or of none while the swarm is suspended."""
    identity = swarm.identity
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": identity.metadata(identity.name),
            "spec": {
                "replicas": runtime.replicas,
                # With OrderedReady a Pod that never gets ready would block the roll-out of its own repair.
                "podManagementPolicy": "Parallel",
                "revisionHistoryLimit": 2,
                "selector": {"matchLabels": identity.selector()},
                "serviceName": identity.headless_service,
                "updateStrategy": {"type": "RollingUpdate"},
                "template": {
                    "metadata": {
                        "labels": identity.labels(),
                        "annotations": {CHECKSUM_ANNOTATION: runtime.checksum},
                    },
                    "spec": runtime.pod_spec,
                },
            },
        }
    ]


def fit(runtime: Runtime, swarm: Swarm, sight: Sight, children: list[Manifest]) -> list[Manifest]:
    """Keep the StatefulSet back where it must not be made or changed yet."""
    current = _stateful_set(swarm, sight)
    if current is None:
        return [] if _held(swarm, sight) else children
    if storage.why_no_pod(swarm, sight):
        # A Pod that runs holds the last copy of a claim that is going: neither restart nor stop it.
        return [freeze_child(current)]
    if not configuration.is_stored(runtime.configuration, swarm, sight):
        # Updates of one answer come in any order: a Pod restarted first would start on the old configuration.
        applied = last_applied(current)
        if applied is not None and isinstance(applied.get("spec"), dict):
            applied["spec"]["replicas"] = runtime.replicas
            return [applied]
    return children


def judge(runtime: Runtime, swarm: Swarm, sight: Sight) -> Verdict:
    """Judge the StatefulSet: one ready Pod, made from the template that is wanted now."""
    identity = swarm.identity
    stateful_set = _stateful_set(swarm, sight)
    if stateful_set is None:
        held = _held(swarm, sight)
        if held:
            told = f"StatefulSet {identity.namespace}/{identity.name} is not made yet: {held}"
            return Verdict(False, ROLLOUT_IN_PROGRESS, told)
        return judge_missing(STATEFUL_SET, identity.name, swarm, sight)
    where = f"StatefulSet {identity.namespace}/{identity.name}"
    unfinished = _unfinished_rollout(stateful_set, runtime.checksum)
    if not unfinished:
        return Verdict(True, "Ready", f"{where} has its Pod ready")
    pod = sight.observation.related(POD, identity.namespace, identity.pod)
    trouble = find_pod_trouble(pod) if pod is not None else None
    if trouble is not None:
        told = f"Pod {identity.namespace}/{identity.pod}: {trouble.message}"
        return Verdict(False, trouble.reason, told, trouble=True)
    unread = sight.observation.unavailable(POD)
    held = storage.why_no_pod(swarm, sight) or (f"its Pod cannot be looked at: {unread}" if unread else "")
    return Verdict(False, ROLLOUT_IN_PROGRESS, f"{where}: {unfinished}{f'; {held}' if held else ''}")


def needs(runtime: Runtime, swarm: Swarm, sight: Sight) -> Needs:
    """Ask for the Pod: where it takes long to get ready, and where one of an earlier life may still use the volume."""
    pod = Needs((object_need(POD, swarm.identity.namespace, swarm.identity.pod),))
    stateful_set = _stateful_set(swarm, sight)
    if stateful_set is None:
        # With the claim that an earlier life may have left: a hook is asked only once more.
        return pod if storage.is_sought(swarm, sight) else Needs()
    if runtime.replicas == 0 or not _unfinished_rollout(stateful_set, runtime.checksum):
        return Needs()
    made = read_time(stateful_set["metadata"].get("creationTimestamp"))
    age = (sight.now - made).total_seconds() if made is not None else LOOK_AFTER
    return pod if min(age, sight.waited(CONDITION)) >= LOOK_AFTER else Needs()


def report(runtime: Runtime, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return the image, and how many Pods are ready."""
    status = (_stateful_set(swarm, sight) or {}).get("status", {})
    image = next(each["image"] for each in runtime.pod_spec["containers"] if each["name"] == RUNTIME_CONTAINER)
    return {"image": image, "readyReplicas": status.get("readyReplicas", 0)}


def is_stopped(swarm: Swarm, sight: Sight) -> bool:
    """Tell whether a StatefulSet that was scaled to 0 has really no Pod any more."""
    stateful_set = _stateful_set(swarm, sight)
    if stateful_set is None:
        return False
    status, metadata = stateful_set.get("status", {}), stateful_set["metadata"]
    if stateful_set.get("spec", {}).get("replicas", 1) != 0 or status.get("replicas", 0) != 0:
        return False
    return bool(status.get("observedGeneration", 0) >= metadata.get("generation", 0))


def _stateful_set(swarm: Swarm, sight: Sight) -> Observed | None:
    return sight.observation.child(STATEFUL_SET, swarm.identity.namespace, swarm.identity.name)


def _held(swarm: Swarm, sight: Sight) -> str:
    """Say why the StatefulSet must not be made yet; an empty text if it may."""
    unsafe = storage.why_no_pod(swarm, sight)
    if unsafe or not storage.is_left_over(swarm, sight):
        return unsafe
    # Somebody else's life of this swarm has left the volume; its Pod may still write to it.
    pod = swarm.identity.pod
    if not sight.observation.relates(POD):
        unread = sight.observation.unavailable(POD)
        return f"whether the earlier Pod {pod} still uses the volume is not known{f': {unread}' if unread else ''}"
    earlier = sight.observation.related(POD, swarm.identity.namespace, pod)
    return f"waiting for the earlier Pod {pod} to be gone" if earlier is not None else ""


def _unfinished_rollout(stateful_set: Observed, checksum: str) -> str:
    """Say what a StatefulSet still lacks to be one ready Pod of the template with this checksum.

    Only what is observed counts. A count that the apiserver leaves out is 0, and no field stands in for another.
    """
    metadata, status = stateful_set["metadata"], stateful_set.get("status", {})
    if "deletionTimestamp" in metadata:
        return "is being deleted"
    # One text for every step on the way: each other text would be one more status write.
    if (
        template_checksum(stateful_set) != checksum
        or status.get("observedGeneration", 0) < metadata.get("generation", 0)
        or not status.get("updateRevision")
        or status.get("currentRevision") != status["updateRevision"]
        or status.get("updatedReplicas", 0) != 1
        or status.get("readyReplicas", 0) != 1
    ):
        return "its one Pod is not ready yet with the template that is wanted now"
    return ""


def _pod_spec(swarm: Swarm, env_secret: str) -> Manifest:
    isolation, identity = read_isolation(swarm.asked), swarm.identity
    resources = swarm.spec["runtime"]["resources"]
    limits = _canonical(resources["limits"] if isolation is None else runtime_limits(resources, isolation))
    return {
        **restricted_pod_spec(swarm),
        # A token only where it opens something: the swarm's own namespace.
        "automountServiceAccountToken": isolation is not None and isolation.access != NO_ROLE,
        "terminationGracePeriodSeconds": 30,
        "initContainers": [_bootstrap_container(swarm, isolation, limits)],
        "containers": [_runtime_container(swarm, env_secret, limits)],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": identity.claim}},
            {"name": "config", "configMap": {"name": identity.config_map}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }


def _bootstrap_container(swarm: Swarm, isolation: Isolation | None, limits: Mapping[str, str]) -> dict[str, Any]:
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


def _runtime_container(swarm: Swarm, env_secret: str, limits: Mapping[str, str]) -> dict[str, Any]:
    runtime, path = swarm.spec["runtime"], swarm.spec["verification"]["path"]
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


PART = Part(
    name="runtime",
    condition=CONDITION,
    kinds=(STATEFUL_SET,),
    checks=PLACEMENT_CHECKS,
    read=read,
    build=build,
    fit=fit,
    judge=judge,
    needs=needs,
    report=report,
    reports={"image": str, "readyReplicas": int},
)
