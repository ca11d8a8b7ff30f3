"""In which order a swarm's children go, and what has to be gone before the next ones may.

Stages look at what is observed, never at what was answered before: the same question has the same answer, and parts
that somebody deleted by hand are only parts that are gone already.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from userswarm.children.claim import release
from userswarm.spec.identity import owner_reference
from userswarm.wire.freeze import LAST_APPLIED_ANNOTATION, last_applied
from userswarm.wire.k8s import (
    CLAIM,
    CONFIG_MAP,
    CRON_JOB,
    DEPLOYMENT,
    JOB,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    POD,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Manifest,
    Observed,
)
from userswarm.wire.observe import Observation

TEARDOWN_STAGES: tuple[tuple[Kind, ...], ...] = (
    (STATEFUL_SET, JOB, DEPLOYMENT, CRON_JOB),
    (SERVICE, CONFIG_MAP, SERVICE_ACCOUNT, ROLE_BINDING, ROLE, NETWORK_POLICY, LIMIT_RANGE, RESOURCE_QUOTA),
    (CLAIM,),
    (NAMESPACE,),
)
"""The Namespace of a Dedicated swarm comes last, when its claim has been dealt with."""

_CLAIMS = 2

_CLAIM_FIELDS = ("accessModes", "resources", "storageClassName", "volumeName")


@dataclass(frozen=True, slots=True)
class Teardown:
    """What stays for now, whether all is done, and in words what is awaited."""

    children: list[Manifest]
    finalized: bool
    message: str


def compute_teardown(parent: Observed, observation: Observation, standing: list[Manifest]) -> Teardown:
    """Return what is left of a swarm that goes away.

    `standing` holds the children as they would be built now, empty for a spec that cannot be built: it only serves
    where a child does not say how it was last applied.
    """
    waiting = _first_unfinished(observation)
    if waiting is None:
        return Teardown([], True, "all is gone")
    built = {(child["kind"], child["metadata"]["name"]): child for child in standing}
    kept = [
        manifest for child in observation.children() if _stage_of(child) > waiting for manifest in _keep(child, built)
    ]
    if waiting < _CLAIMS:
        return Teardown(kept, False, _awaited(waiting, observation))
    return _settle(parent, observation, waiting, kept)


def _first_unfinished(observation: Observation) -> int | None:
    """Return the first stage of which something is left; a Pod that still ends belongs to the first."""
    if any(observation.all_related(POD)):
        return 0
    return min((_stage_of(child) for child in observation.children()), default=None)


def _stage_of(child: Observed) -> int:
    """Return the stage in which a child goes; a kind we do not know, from another release, goes with the second."""
    for number, kinds in enumerate(TEARDOWN_STAGES):
        if any(child.get("kind") == kind.kind for kind in kinds):
            return number
    return 1


def _keep(child: Observed, built: Mapping[tuple[str, str], Manifest]) -> list[Manifest]:
    """Return a child so that it stays as it is.

    Under server-side apply a child does not say how it was applied. Then it is built anew; where even that cannot
    be done it goes early, which costs the order but no data, for a claim is always kept.
    """
    applied = last_applied(child)
    if applied is None and child.get("kind") in (CLAIM.kind, NAMESPACE.kind):
        applied = _restate(child)
    if applied is None:
        applied = built.get((child["kind"], child["metadata"]["name"]))
    return [] if applied is None else [applied]


def _restate(child: Observed) -> Manifest:
    """Return an observed claim or namespace as a manifest that changes nothing of it."""
    metadata, spec = child["metadata"], child.get("spec", {})
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key.startswith("crawbl.ai/")
    }
    return {
        "apiVersion": child["apiVersion"],
        "kind": child["kind"],
        "metadata": {
            "name": metadata["name"],
            **({"namespace": metadata["namespace"]} if "namespace" in metadata else {}),
            "labels": dict(metadata.get("labels") or {}),
            **({"annotations": annotations} if annotations else {}),
        },
        "spec": {key: copy.deepcopy(spec[key]) for key in _CLAIM_FIELDS if key in spec},
    }


def _settle(parent: Observed, observation: Observation, stage: int, kept: list[Manifest]) -> Teardown:
    """Delete or release the claims, and after them the namespace; `kept` is what a later stage decides about.

    A parent that is finalized without being deleted has only left this controller. Metacontroller would adopt a
    released object again as long as its finalizer is on the parent, so there, and only there, the answer that
    releases the last objects is also the one that lets the parent go; Metacontroller takes its finalizer off before
    it applies the children of the same answer.
    """
    deleting = "deletionTimestamp" in parent["metadata"]
    present = [child for child in observation.children() if _stage_of(child) == stage or not deleting]
    names = ", ".join(_full_name(child) for child in present)
    staying = [child for child in present if "deletionTimestamp" not in child["metadata"]]
    if (deleting and not _retains(parent)) or not staying:
        return Teardown(kept, False, f"waiting for {names} to be deleted")
    applied = [last_applied(child) for child in staying]
    manifests = [manifest for manifest in applied if manifest is not None]
    if len(manifests) < len(applied):
        return Teardown(
            [_restate(child) for child in staying] + (kept if deleting else []),
            False,
            f"{names} cannot be released, since Metacontroller runs with server-side apply and owns it at every "
            f"sync; it is kept. Take its ownerReference off by hand (kubectl edit), or run Metacontroller with "
            f"--apply-strategy=dynamic-apply; {LAST_APPLIED_ANNOTATION} is missing on it",
        )
    later = kept if deleting else []
    if not all("ownerReferences" in manifest["metadata"] for manifest in manifests):
        # Only what was once applied can be taken off: first own it expressly.
        return Teardown([_own(each, parent) for each in manifests] + later, False, f"preparing {names} to be released")
    return Teardown([release(each) for each in manifests] + later, not deleting, f"releasing {names}")


def _own(manifest: Manifest, parent: Observed) -> Manifest:
    metadata = parent["metadata"]
    owner = owner_reference(parent["apiVersion"], metadata["name"], metadata.get("uid") or "")
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def _retains(parent: Observed) -> bool:
    """Tell whether the volume is to be kept: yes in every case but one that plainly says, or leaves out, Delete."""
    spec = parent.get("spec")
    storage = spec.get("storage", {}) if isinstance(spec, dict) else {}
    return not isinstance(storage, dict) or storage.get("retainPolicy", "Delete") != "Delete"


def _awaited(stage: int, observation: Observation) -> str:
    """Say what a stage still waits for, by name."""
    left = [_full_name(child) for child in observation.children() if _stage_of(child) == stage]
    if stage == 0:
        for pod in observation.all_related(POD):
            orphan = not pod["metadata"].get("ownerReferences") and "deletionTimestamp" not in pod["metadata"]
            left.append(_full_name(pod) + (" (owned by nobody: delete it by hand)" if orphan else ""))
    return f"stage {stage + 1} of {len(TEARDOWN_STAGES)}: waiting for {', '.join(left)} to be gone"


def _full_name(child: Observed) -> str:
    metadata = child["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{child.get('kind')} {place}{metadata['name']}"
