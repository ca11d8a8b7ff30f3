"""The PersistentVolumeClaim that holds all a runtime must never lose.

It is a child of its own and no volumeClaimTemplate: a template is immutable, and what it made is owned by nobody. It
comes first: no Pod is made before this claim is seen to be ours, or left by this very swarm's earlier life, and not
going. So a Pod never mounts what somebody else has put under our name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import Problem
from userswarm.parts.shape import (
    LOOK_AFTER,
    NAME_CONFLICT,
    NOTHING,
    TERMINATING,
    Needs,
    Part,
    Sight,
    Verdict,
    is_owned,
    judge_missing,
    object_need,
)
from userswarm.spec import quantity
from userswarm.spec.swarm import Asked, Check, Swarm
from userswarm.wire.k8s import CLAIM, STATEFUL_SET, Manifest, Observed

CLAIM_PENDING = "ClaimPending"
CLAIM_RESIZING = "ClaimResizing"
CLAIM_RETAINED = "ClaimRetained"
CLAIM_CLAMPED = "ClaimClamped"

CONDITION = "StorageReady"


@dataclass(frozen=True, slots=True)
class Storage:
    """The volume: its size in Kubernetes' canonical form, and its class, empty for the cluster's own."""

    size: str
    storage_class: str


def read(swarm: Swarm) -> Storage:
    """Return what volume a swarm asks for."""
    storage = swarm.spec["storage"]
    return Storage(quantity.canonical_amount(storage["size"]), storage.get("storageClassName", ""))


def build(storage: Storage, swarm: Swarm) -> list[Manifest]:
    """Return the claim, with its owner written out.

    Metacontroller would add the owner by itself, but can only take off what a hook once returned: a claim that
    shall outlive its swarm has to be released, whether because of its policy or because the swarm moved to another
    controller.
    """
    claim: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": swarm.identity.metadata(swarm.identity.claim),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.size}},
        },
    }
    if swarm.identity.owner is not None:
        claim["metadata"]["ownerReferences"] = [swarm.identity.owner]
    if storage.storage_class:
        claim["spec"]["storageClassName"] = storage.storage_class
    return [claim]


def fit(storage: Storage, swarm: Swarm, sight: Sight, children: list[Manifest]) -> list[Manifest]:
    """Bring the claim to what the one that exists can become; leave out one that is not ours to make."""
    observed = _own_claim(swarm, sight)
    if observed is not None:
        for claim in children:
            _clamp(claim, observed)
        return children
    return [] if _found(swarm, sight) is not None or _is_recorded(swarm, sight) else children


def judge(storage: Storage, swarm: Swarm, sight: Sight) -> Verdict:
    """Judge the claim: there, ours or left by this swarm's earlier life, bound, and large enough."""
    identity = swarm.identity
    where = f"PersistentVolumeClaim {identity.namespace}/{identity.claim}"
    own = _own_claim(swarm, sight)
    if own is not None:
        (claim,) = build(storage, swarm)
        refused = _clamp(claim, own)
        verdict = _judge_claim(where, own, claim["spec"]["resources"]["requests"]["storage"], swarm, retained=False)
        if not verdict.ok:
            return verdict
        if refused:
            return Verdict(True, CLAIM_CLAMPED, "; ".join(refused))
        others = _others(swarm, sight)
        also = f"; also kept, though not used: {', '.join(others)}" if others else ""
        return Verdict(True, verdict.reason, verdict.message + also)
    if _is_recorded(swarm, sight):
        return _retained(where)
    found = _found(swarm, sight)
    if found is None:
        return judge_missing(CLAIM, identity.claim, swarm, sight)
    conflict = find_claim_conflict(swarm, found)
    if conflict:
        return Verdict(False, NAME_CONFLICT, f"{where} {conflict}", trouble=True)
    return _judge_claim(where, found, storage.size, swarm, retained=True)


def why_no_pod(swarm: Swarm, sight: Sight) -> str:
    """Say why no Pod may be started on the claim under our name; an empty text if one may."""
    claim = _own_claim(swarm, sight)
    if claim is None:
        if _is_recorded(swarm, sight):
            return ""
        claim = _found(swarm, sight)
        if claim is None:
            return "no Pod is started before the volume is seen to be this swarm's"
        if find_claim_conflict(swarm, claim):
            return "no Pod is started on a volume that is not this swarm's"
    if "deletionTimestamp" in claim["metadata"]:
        return "no Pod is started on a volume that is being deleted"
    return ""


def needs(storage: Storage, swarm: Swarm, sight: Sight) -> Needs:
    """Ask for the claim under our name where there is none of ours: an earlier life may have left it."""
    if not is_sought(swarm, sight):
        return NOTHING
    return Needs((object_need(CLAIM, swarm.identity.namespace, swarm.identity.claim),))


def is_sought(swarm: Swarm, sight: Sight) -> bool:
    """Tell whether the claim under our name has to be looked up before a Pod may be started on it."""
    if _own_claim(swarm, sight) is not None or _is_recorded(swarm, sight):
        return False
    return _was_retained(sight) or sight.waited(CONDITION) >= LOOK_AFTER


def is_left_over(swarm: Swarm, sight: Sight) -> bool:
    """Tell whether a claim was found that this swarm's earlier life has left: an earlier Pod may still use it."""
    return _own_claim(swarm, sight) is None and _found(swarm, sight) is not None


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


def report(storage: Storage, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return the claim's name."""
    return {"claimName": swarm.identity.claim}


def _own_claim(swarm: Swarm, sight: Sight) -> Observed | None:
    return sight.observation.child(CLAIM, swarm.identity.namespace, swarm.identity.claim)


def _found(swarm: Swarm, sight: Sight) -> Observed | None:
    """Return the claim under our name that was looked up and is not among the children."""
    found = sight.observation.related(CLAIM, swarm.identity.namespace, swarm.identity.claim)
    return None if found is None or is_owned(found, swarm.identity) else found


def _is_recorded(swarm: Swarm, sight: Sight) -> bool:
    """Tell whether an earlier answer found the retained claim, and a StatefulSet was made that uses it."""
    found = sight.observation.child(STATEFUL_SET, swarm.identity.namespace, swarm.identity.name)
    return _was_retained(sight) and found is not None and _found(swarm, sight) is None


def _was_retained(sight: Sight) -> bool:
    before = sight.conditions.get(CONDITION)
    return before is not None and before["reason"] == CLAIM_RETAINED


def _judge_claim(where: str, claim: Observed, size: str, swarm: Swarm, *, retained: bool) -> Verdict:
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
        return Verdict(False, CLAIM_PENDING, f"{where} is {status.get('phase', 'Pending')}, not Bound")
    capacity = status.get("capacity", {}).get("storage", "0")
    if quantity.compare(capacity, size) < 0:
        told = "it is not ours to resize; do it by hand" if retained else "waiting for the volume to grow"
        return Verdict(False, CLAIM_RESIZING, f"{where} has {capacity} of {size}: {told}", trouble=retained)
    return _retained(where) if retained else Verdict(True, "Bound", f"{where} is bound")


def _retained(where: str) -> Verdict:
    told = f"{where} was kept from an earlier life of this swarm; it is used, not owned"
    return Verdict(True, CLAIM_RETAINED, told, recorded=True)


def _others(swarm: Swarm, sight: Sight) -> list[str]:
    """Return the names of the other claims that this UserSwarm owns; they are kept as they are."""
    own = (swarm.identity.namespace, swarm.identity.claim)
    places = (claim["metadata"] for claim in sight.observation.children(CLAIM))
    return [each["name"] for each in places if (each.get("namespace"), each["name"]) != own]


def _clamp(claim: Manifest, observed: Observed) -> list[str]:
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
        refused.append(f"spec.storage.size is {wanted}, but the volume has {size} and can only grow")
    wanted_class, storage_class = spec.get("storageClassName"), current.get("storageClassName")
    if wanted_class is not None and storage_class is not None and wanted_class != storage_class:
        spec["storageClassName"] = storage_class
        refused.append(f"spec.storage.storageClassName is {wanted_class}, but the volume's is {storage_class} for good")
    if current.get("accessModes"):
        spec["accessModes"] = list(current["accessModes"])
    return refused


def _check_size(asked: Asked) -> Iterator[Problem]:
    size = asked.spec["storage"]["size"]
    if quantity.compare(size, 0) <= 0:
        yield Problem("spec.storage.size", f"{size} is no size for a volume; it must be more than 0, such as 2Gi")


PART = Part(
    name="storage",
    condition=CONDITION,
    kinds=(CLAIM,),
    checks=(Check(("spec.storage.size",), _check_size),),
    read=read,
    build=build,
    fit=fit,
    judge=judge,
    needs=needs,
    report=report,
    reports={"claimName": str},
)
