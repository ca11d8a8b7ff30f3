"""One claim: whose it is, whether it is there and large enough, and what it can still become."""

from __future__ import annotations

from dataclasses import dataclass

from userswarm.parts.shape import TERMINATING, Verdict
from userswarm.spec import quantity
from userswarm.spec.identity import RETAIN_ANNOTATION
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import Manifest, Observed

CLAIM_PENDING = "ClaimPending"
CLAIM_RESIZING = "ClaimResizing"
CLAIM_RETAINED = "ClaimRetained"

KEPT = "was kept from an earlier life of this swarm"
"""What is said of a claim that a later answer shall know again."""


@dataclass(frozen=True, slots=True)
class Volume:
    """One volume: its claim, its size in Kubernetes' canonical form, its class, empty for the cluster's own.

    `field` is where its size is said. `retain` is for one of a template's that outlives the swarm whatever its own
    spec.storage.retainPolicy says.
    """

    claim: str
    size: str
    storage_class: str
    field: str
    retain: bool = False


def build_claim(volume: Volume, swarm: Swarm) -> Manifest:
    """Return the claim, with its owner written out.

    Metacontroller would add the owner by itself, but can only take off what a hook once returned: a claim that
    shall outlive its swarm has to be released, whether because of its policy or because the swarm moved to another
    controller.
    """
    claim: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": swarm.identity.metadata(volume.claim),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": volume.size}},
        },
    }
    if volume.retain:
        claim["metadata"]["annotations"][RETAIN_ANNOTATION] = "true"
    if swarm.identity.owner is not None:
        claim["metadata"]["ownerReferences"] = [swarm.identity.owner]
    if volume.storage_class:
        claim["spec"]["storageClassName"] = volume.storage_class
    return claim


def find_claim_conflict(swarm: Swarm, claim: Observed) -> str:
    """Say why a claim under our name that we do not own must not be mounted; an empty text if it may be.

    Only a claim that this very user's swarm left behind may be: whoever mounts a volume reads what is on it.
    """
    metadata = claim["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if swarm.identity.owner is None or reference.get("uid") != swarm.identity.owner["uid"]:
            return f"belongs to {reference.get('kind')} {reference.get('name')} (uid {reference.get('uid')})"
    if not swarm.identity.is_of_same_owner(metadata.get("annotations") or {}):
        return "is not of this user's swarm; move it out of the way, or choose another name"
    return ""


def judge_claim(where: str, claim: Observed, size: str, swarm: Swarm, *, retained: bool) -> Verdict:
    """Judge a claim that is there: bound, large enough, and not going."""
    if "deletionTimestamp" in claim["metadata"]:
        return Verdict(
            False,
            TERMINATING,
            f"{where} was deleted and goes once no Pod uses it; no new Pod is started on it, and one that runs is "
            f"left alone: save what is needed, then delete the Pod {swarm.identity.pod}",
            trouble=True,
        )
    status = claim.get("status", {})
    if status.get("phase") != "Bound":
        told = f"{where} is {status.get('phase', 'Pending')}, not Bound"
        return Verdict(False, CLAIM_PENDING, told, watched=not retained)
    capacity = status.get("capacity", {}).get("storage", "0")
    if quantity.compare(capacity, size) < 0:
        told = "it is not ours to resize; do it by hand" if retained else "waiting for the volume to grow"
        return Verdict(False, CLAIM_RESIZING, f"{where} has {capacity} of {size}: {told}", trouble=retained)
    return judge_retained(where) if retained else Verdict(True, "Bound", f"{where} is bound")


def judge_retained(where: str) -> Verdict:
    """Return the verdict on a claim that an earlier life has left."""
    return Verdict(True, CLAIM_RETAINED, f"{where} {KEPT}; it is used, not owned", recorded=True)


def clamp(claim: Manifest, observed: Observed, field: str) -> list[str]:
    """Bring a desired claim to what the observed one can become; return what was not granted, in words.

    A claim can only grow, and only once it is bound, and keeps its class and access modes: asking for anything else
    fails at every sync.
    """
    refused = []
    spec, current = claim["spec"], observed.get("spec", {})
    wanted = spec["resources"]["requests"]["storage"]
    size = current.get("resources", {}).get("requests", {}).get("storage")
    if size is not None and observed.get("status", {}).get("phase") != "Bound":
        # A claim that is not bound cannot be changed at all; it grows as soon as it is.
        spec["resources"]["requests"]["storage"] = size
    elif size is not None and quantity.compare(wanted, size) < 0:
        spec["resources"]["requests"]["storage"] = size
        refused.append(f"{field}.size is {wanted}, but the volume has {size} and can only grow")
    wanted_class, storage_class = spec.get("storageClassName"), current.get("storageClassName")
    if wanted_class is not None and storage_class is not None and wanted_class != storage_class:
        spec["storageClassName"] = storage_class
        refused.append(f"{field}.storageClassName is {wanted_class}, but the volume's is {storage_class} for good")
    if current.get("accessModes"):
        spec["accessModes"] = list(current["accessModes"])
    return refused
