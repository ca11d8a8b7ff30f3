"""When each child counts as ready: one rule each, every one a `Verdict` that names what blocks.

Only what is observed counts. A count that the apiserver leaves out is 0, and no field stands in for another.
"""

from __future__ import annotations

from dataclasses import dataclass

from userswarm.pod_trouble import find_pod_trouble
from userswarm.spec import quantity
from userswarm.spec.identity import Identity, template_checksum
from userswarm.wire.k8s import (
    CLAIM,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Observed,
)
from userswarm.wire.observe import Observation

CHILD_MISSING = "ChildMissing"
NAME_CONFLICT = "NameConflict"
CLAIM_PENDING = "ClaimPending"
CLAIM_RESIZING = "ClaimResizing"
CLAIM_RETAINED = "ClaimRetained"
CLAIM_CLAMPED = "ClaimClamped"
TERMINATING = "Terminating"
ROLLOUT_IN_PROGRESS = "RolloutInProgress"
ENDPOINT_NOT_READY = "EndpointNotReady"
KIND_NOT_MANAGED = "KindNotManaged"
UNSCHEDULABLE = "Unschedulable"

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is as it has to be, and what blocks it where it is not."""

    ok: bool
    reason: str
    message: str


def verify_claim(identity: Identity, size: str, observation: Observation) -> Verdict:
    """Judge the claim: there, ours or left by this swarm's earlier life, bound, and as large as `size`."""
    claim = observation.child(CLAIM, identity.namespace, identity.claim)
    where = f"PersistentVolumeClaim {identity.namespace}/{identity.claim}"
    retained = False
    if claim is None:
        claim = observation.related(CLAIM, identity.namespace, identity.claim)
        if claim is None:
            return missing_child(CLAIM, identity.namespace, identity.claim)
        conflict = find_claim_conflict(identity, claim)
        if conflict:
            return Verdict(False, NAME_CONFLICT, f"{where} {conflict}")
        retained = True
    if "deletionTimestamp" in claim["metadata"]:
        return Verdict(
            False,
            TERMINATING,
            f"{where} was deleted and goes once no Pod uses it; no new Pod is started on it, and one that runs is "
            f"left alone: save what is needed, then delete the Pod {identity.pod}",
        )
    status = claim.get("status", {})
    if status.get("phase") != "Bound":
        return Verdict(False, CLAIM_PENDING, f"{where} is {status.get('phase', 'Pending')}, not Bound")
    capacity = status.get("capacity", {}).get("storage", "0")
    if quantity.compare(capacity, size) < 0:
        told = "it is not ours to resize; do it by hand" if retained else "waiting for the volume to grow"
        return Verdict(False, CLAIM_RESIZING, f"{where} has {capacity} of {size}: {told}")
    if retained:
        return Verdict(
            True, CLAIM_RETAINED, f"{where} was kept from an earlier life of this swarm; it is used, not owned"
        )
    return Verdict(True, "Bound", f"{where} is bound")


def find_claim_conflict(identity: Identity, claim: Observed) -> str:
    """Say why a claim under our name that we do not own must not be mounted; an empty text if it may be.

    Only a claim that this very user's swarm left behind may be: whoever mounts a volume reads what is on it.
    """
    metadata = claim["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if identity.owner is None or reference.get("uid") != identity.owner["uid"]:
            return f"belongs to {reference.get('kind')} {reference.get('name')} (uid {reference.get('uid')})"
    if not identity.is_of_same_owner(metadata.get("annotations") or {}):
        return "is not of this user's swarm; move it out of the way, or choose another name"
    return ""


def verify_workload(identity: Identity, checksum: str, observation: Observation) -> Verdict:
    """Judge the StatefulSet and what its Pod needs: one ready Pod, made from the template that is wanted now."""
    for kind, name in ((SERVICE_ACCOUNT, identity.name), (CONFIG_MAP, identity.config_map)):
        missing = _verify_present(kind, identity.namespace, name, observation)
        if missing is not None:
            return missing
    stateful_set = observation.child(STATEFUL_SET, identity.namespace, identity.name)
    if stateful_set is None:
        return _find_conflict(STATEFUL_SET, identity.namespace, identity.name, observation)
    where = f"StatefulSet {identity.namespace}/{identity.name}"
    unfinished = _unfinished_rollout(stateful_set, checksum)
    if not unfinished:
        return Verdict(True, "Ready", f"{where} has its Pod ready")
    pod = observation.related(POD, identity.namespace, identity.pod)
    trouble = find_pod_trouble(pod) if pod is not None else None
    if trouble is not None:
        return Verdict(False, trouble.reason, f"Pod {identity.namespace}/{identity.pod}: {trouble.message}")
    return Verdict(False, ROLLOUT_IN_PROGRESS, f"{where}: {unfinished}")


def _unfinished_rollout(stateful_set: Observed, checksum: str) -> str:
    """Say what a StatefulSet still lacks to be one ready Pod of the template with this checksum."""
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


def verify_services(identity: Identity, observation: Observation) -> Verdict:
    """Judge both Services and, where EndpointSlices are related, that the one in front leads to this very Pod."""
    for name in (identity.headless_service, identity.name):
        missing = _verify_present(SERVICE, identity.namespace, name, observation)
        if missing is not None:
            return missing
    where = f"Service {identity.namespace}/{identity.name}"
    if not observation.relates(ENDPOINT_SLICE):
        return Verdict(True, "Present", f"{where} is there")
    pod = observation.related(POD, identity.namespace, identity.pod)
    if pod is None and observation.relates(POD):
        return Verdict(False, ENDPOINT_NOT_READY, f"{where} has no Pod {identity.pod} to lead to")
    if any(_leads_to(endpoints, identity, pod) for endpoints in observation.all_related(ENDPOINT_SLICE)):
        return Verdict(True, "Ready", f"{where} leads to the Pod")
    return Verdict(False, ENDPOINT_NOT_READY, f"{where} has no ready endpoint that is Pod {identity.pod}")


def _leads_to(endpoints: Observed, identity: Identity, pod: Observed | None) -> bool:
    metadata = endpoints["metadata"]
    if (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL) != identity.name:
        return False
    if metadata.get("namespace") != identity.namespace:
        return False
    for endpoint in endpoints.get("endpoints") or ():
        target = endpoint.get("targetRef") or {}
        # "ready" left out means unknown, which Kubernetes tells its readers to take for ready.
        if (endpoint.get("conditions") or {}).get("ready", True) is not True:
            continue
        if target.get("kind") != POD.kind or target.get("name") != identity.pod:
            continue
        if pod is None or target.get("uid") == pod["metadata"].get("uid"):
            return True
    return False


def _verify_present(kind: Kind, namespace: str, name: str, observation: Observation) -> Verdict | None:
    """Return what blocks where a child without a state of its own is not there, else None."""
    child = observation.child(kind, namespace, name)
    if child is None:
        return _find_conflict(kind, namespace, name, observation)
    if "deletionTimestamp" in child["metadata"]:
        return Verdict(False, TERMINATING, f"{kind.kind} {namespace}/{name} is being deleted, and will be made again")
    return None


def _find_conflict(kind: Kind, namespace: str, name: str, observation: Observation) -> Verdict:
    foreign = observation.related(kind, namespace, name)
    if foreign is None:
        return missing_child(kind, namespace, name)
    owners = foreign["metadata"].get("ownerReferences") or [{"kind": "nobody", "name": "we know of"}]
    names = ", ".join(f"{owner.get('kind')} {owner.get('name')}" for owner in owners)
    return Verdict(
        False, NAME_CONFLICT, f"{kind.kind} {namespace}/{name} exists and belongs to {names}; move it out of the way"
    )


def missing_child(kind: Kind, namespace: str, name: str) -> Verdict:
    """Return the verdict on a child that is asked for and cannot be seen."""
    return Verdict(
        False,
        CHILD_MISSING,
        f"{kind.kind} {namespace}/{name} is asked for and not there yet; if this stays, an object of somebody else "
        f"has its name, or Metacontroller is refused to make it (see its events and log)",
    )
