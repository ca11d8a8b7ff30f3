"""The StatefulSet that runs a swarm's one Pod: never two writers on one volume.

Every byte of the template is frozen by a golden file: a release that changes it restarts every user's runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.parts import configuration, storage
from userswarm.parts.runtime.placement import PLACEMENT_CHECKS
from userswarm.parts.runtime.template import RUNTIME_CONTAINER, build_pod_spec
from userswarm.parts.runtime.templated import build_templated_pod
from userswarm.parts.runtime.trouble import find_pod_trouble
from userswarm.parts.shape import (
    LOOK_AFTER,
    NOTHING,
    ROLLOUT_IN_PROGRESS,
    Needs,
    Part,
    Sight,
    Verdict,
    judge_missing,
    object_need,
)
from userswarm.spec.identity import CHECKSUM_ANNOTATION, compute_checksum, template_checksum
from userswarm.spec.swarm import Swarm
from userswarm.wire.freeze import freeze_child, last_applied
from userswarm.wire.k8s import POD, STATEFUL_SET, Manifest, Observed

CONDITION = "WorkloadReady"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The Pod that is wanted now, the configuration it starts with, and the checksum of both."""

    pod_spec: Manifest
    configuration: configuration.Configuration | None
    checksum: str
    replicas: int


def read(swarm: Swarm) -> Runtime:
    """Return the runtime that a swarm asks for."""
    files, template = configuration.read(swarm), swarm.asked.template
    pod_spec = build_pod_spec(swarm) if template is None else build_templated_pod(swarm, template)
    checksum = compute_checksum(pod_spec, files.files if files is not None else {})
    return Runtime(pod_spec, files, checksum, 0 if swarm.spec["suspend"] else 1)


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
    current, replicas = _stateful_set(swarm, sight), 0 if _rests(sight) else runtime.replicas
    children[0]["spec"]["replicas"] = replicas
    if current is None:
        return [] if _held(swarm, sight) else children
    if storage.why_no_pod(swarm, sight):
        # A Pod that runs holds the last copy of a claim that is going: neither restart nor stop it.
        return [freeze_child(current)]
    files = runtime.configuration
    if files is not None and not configuration.is_stored(files, swarm, sight):
        # Updates of one answer come in any order: a Pod restarted first would start on the old configuration.
        applied = last_applied(current)
        if applied is not None and isinstance(applied.get("spec"), dict):
            applied["spec"]["replicas"] = replicas
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
    told = f"{where}: {unfinished}{f'; {held}' if held else ''}"
    # What keeps a Pod, only the Pod tells.
    return Verdict(False, ROLLOUT_IN_PROGRESS, told, watched=not _has_pod(stateful_set))


def needs(runtime: Runtime, swarm: Swarm, sight: Sight) -> Needs:
    """Ask for the Pod: where it takes long to get ready, and where one of an earlier life may still use the volume."""
    stateful_set = _stateful_set(swarm, sight)
    if stateful_set is None:
        # With the claim that an earlier life may have left: a hook is asked only once more.
        looks = storage.is_sought(swarm, sight)
    else:
        looks = (
            runtime.replicas > 0
            and _has_pod(stateful_set)
            and bool(_unfinished_rollout(stateful_set, runtime.checksum))
            and sight.stalled(CONDITION) >= LOOK_AFTER
        )
    return Needs((object_need(POD, swarm.identity.namespace, swarm.identity.pod),)) if looks else NOTHING


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
    if stateful_set.get("spec", {}).get("replicas", 1) != 0 or _has_pod(stateful_set):
        return False
    return bool(status.get("observedGeneration", 0) >= metadata.get("generation", 0))


def _rests(sight: Sight) -> bool:
    return sight.blocked is not None and sight.blocked.rests


def _stateful_set(swarm: Swarm, sight: Sight) -> Observed | None:
    return sight.observation.child(STATEFUL_SET, swarm.identity.namespace, swarm.identity.name)


def _has_pod(stateful_set: Observed) -> bool:
    return bool(stateful_set.get("status", {}).get("replicas"))


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
