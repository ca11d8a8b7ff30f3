"""The tenant's own workloads as children: in this namespace, under this swarm's labels, where its runtime runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from userswarm.parts.dedicated.isolation import Isolation, read_isolation
from userswarm.parts.dedicated.workloads import WORKLOAD_KINDS, Workload, pod_template
from userswarm.parts.pod import tolerations
from userswarm.parts.shape import ROLLOUT_IN_PROGRESS, Part, Sight, Verdict, judge_missing
from userswarm.spec.identity import COMPONENT_LABEL, SWARM_LABEL, WORKLOAD, WORKLOAD_ANNOTATION, Identity
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import DEPLOYMENT, JOB, SERVICE, Kind, Manifest, Observed

WORKLOAD_NOT_READY = "WorkloadNotReady"

_TENANTS_OWN = "app.kubernetes.io/name"
"""The one label of ours that a workload may set: what it is, is the tenant's to say."""


def read(swarm: Swarm) -> Isolation | None:
    """Return what a Dedicated swarm with workloads of its tenant's asks for, None for any other."""
    isolation = read_isolation(swarm.asked)
    return isolation if isolation is not None and isolation.workloads else None


def build(isolation: Isolation, swarm: Swarm) -> list[Manifest]:
    """Return the tenant's own workloads."""
    return [_build(workload, swarm) for workload in isolation.workloads]


def judge(isolation: Isolation, swarm: Swarm, sight: Sight) -> Verdict:
    """Judge the tenant's own workloads; they never decide whether the swarm itself is verified."""
    verdicts = [_judge(workload, swarm, sight) for workload in isolation.workloads]
    waiting = [verdict for verdict in verdicts if verdict is not None]
    if waiting:
        return Verdict(False, waiting[0].reason, "; ".join(verdict.message for verdict in waiting))
    return Verdict(True, "Ready", f"all {len(isolation.workloads)} are there and ready")


def _judge(workload: Workload, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Say what one workload still lacks, None for nothing."""
    kind, name = workload.kind, workload.name
    where = f"{kind.kind} {swarm.identity.namespace}/{name}"
    observed = sight.observation.child(kind, swarm.identity.namespace, name)
    if observed is None:
        return judge_missing(kind, name, swarm, sight)
    if "deletionTimestamp" in observed["metadata"]:
        return Verdict(False, ROLLOUT_IN_PROGRESS, f"{where} is removed and made again")
    if (observed["metadata"].get("annotations") or {}).get(WORKLOAD_ANNOTATION) != workload.checksum:
        return Verdict(False, ROLLOUT_IN_PROGRESS, f"{where} is not yet the one wanted now")
    unfinished = _unfinished(kind, observed)
    return Verdict(False, WORKLOAD_NOT_READY, f"{where} {unfinished}") if unfinished else None


def _unfinished(kind: Kind, observed: Observed) -> str:
    """Say what a workload's own controller has not reached, or an empty text; most kinds have none to wait for."""
    status, metadata = observed.get("status", {}), observed["metadata"]
    conditions = {each.get("type"): each for each in status.get("conditions") or () if each.get("status") == "True"}
    if kind is DEPLOYMENT:
        wanted = observed.get("spec", {}).get("replicas", 1)
        if status.get("observedGeneration", 0) < metadata.get("generation", 0):
            return "was not seen by its controller yet"
        ready = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
        if ready < wanted:
            return f"has {ready} of {wanted} Pods ready{_told(conditions.get('ReplicaFailure'))}"
    if kind is JOB and "Failed" in conditions:
        return f"failed{_told(conditions['Failed'])}"
    return ""


def _told(condition: Observed | None) -> str:
    return f": {condition.get('reason')}: {condition.get('message')}" if condition is not None else ""


def _build(workload: Workload, swarm: Swarm) -> Manifest:
    identity = swarm.identity
    manifest = copy.deepcopy(workload.manifest)
    asked, own = manifest["metadata"], identity.metadata(workload.name, WORKLOAD)
    manifest["metadata"] = {
        **own,
        "labels": _labels(asked, identity),
        "annotations": {
            **asked.get("annotations", {}),
            **own["annotations"],
            WORKLOAD_ANNOTATION: workload.checksum,
        },
    }
    if workload.kind is SERVICE:
        # In an operator's namespace others may have Pods with the same labels; and never the runtime's.
        manifest["spec"]["selector"] |= {SWARM_LABEL: identity.slug, COMPONENT_LABEL: WORKLOAD}
    template = pod_template(manifest)
    if template is not None:
        metadata = template.setdefault("metadata", {})
        metadata["labels"] = _labels(metadata, identity)
        _place(template["spec"], swarm)
    return manifest


def _labels(metadata: Manifest, identity: Identity) -> dict[str, str]:
    """Return the labels of a workload or its Pods, ours forced: no Pod of it can pass for the runtime's."""
    asked = metadata.get("labels", {})
    kept = {_TENANTS_OWN: asked[_TENANTS_OWN]} if _TENANTS_OWN in asked else {}
    return {**asked, **identity.labels(WORKLOAD), **kept}


def _place(pod: Manifest, swarm: Swarm) -> None:
    """Put a Pod where the runtime's may run, and into the same sandbox: a workload is no way out of it."""
    placement: Mapping[str, Any] = swarm.spec["placement"]
    selector = {**pod.get("nodeSelector", {}), **placement.get("nodeSelector", {})}
    if selector:
        pod["nodeSelector"] = selector
    if placement.get("tolerations"):
        pod["tolerations"] = tolerations(swarm)
    if placement.get("runtimeClassName"):
        pod["runtimeClassName"] = placement["runtimeClassName"]


PART = Part(
    name="workloads",
    condition="WorkloadsReady",
    kinds=WORKLOAD_KINDS,
    read=read,
    build=build,
    judge=judge,
    decides=False,
)
