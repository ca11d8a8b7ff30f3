"""The PersistentVolumeClaims that hold all a runtime must never lose: one, or those of its template.

Each is a child of its own and no volumeClaimTemplate: a template is immutable, and what it made is owned by nobody.
They come first: no Pod is made before each is seen to be ours, or left by this very swarm's earlier life, and not
going. So a Pod never mounts what somebody else has put under our name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from userswarm.errors import Problem
from userswarm.parts.shape import (
    LOOK_AFTER,
    NAME_CONFLICT,
    NOTHING,
    Needs,
    Part,
    Sight,
    Verdict,
    is_owned,
    judge_missing,
    object_need,
)
from userswarm.parts.storage.claim import (
    CLAIM_PENDING,
    CLAIM_RESIZING,
    CLAIM_RETAINED,
    KEPT,
    Volume,
    build_claim,
    clamp,
    find_claim_conflict,
    judge_claim,
    judge_retained,
)
from userswarm.spec import quantity
from userswarm.spec.identity import claim_name
from userswarm.spec.swarm import Asked, Check, Swarm
from userswarm.spec.template.defaults import DATA
from userswarm.wire.k8s import CLAIM, STATEFUL_SET, Manifest, Observed

__all__ = ["CLAIM_PENDING", "CLAIM_RESIZING", "CLAIM_RETAINED"]

CLAIM_CLAMPED = "ClaimClamped"

CONDITION = "StorageReady"


@dataclass(frozen=True, slots=True)
class Storage:
    """The volumes of a swarm, in the order of its template."""

    volumes: tuple[Volume, ...]


def read(swarm: Swarm) -> Storage:
    """Return what volumes a swarm asks for: the one that spec.storage is about, or those of its template."""
    storage, template = swarm.spec["storage"], swarm.asked.template
    own = Volume(
        swarm.identity.claim,
        quantity.canonical_amount(storage["size"]),
        storage.get("storageClassName", ""),
        "spec.storage",
    )
    if template is None:
        return Storage((own,))
    asked = [each for each in template.resolved.get("volumes", ()) if "claim" in each]
    return Storage(tuple(_read_volume(each["name"], each["claim"], own, swarm) for each in asked))


def _read_volume(name: str, asked: Mapping[str, Any], own: Volume, swarm: Swarm) -> Volume:
    retain = asked.get("retainPolicy") == "Retain"
    if name == DATA:
        return replace(own, retain=retain)
    claim, size = claim_name(swarm.asked.name, name), quantity.canonical_amount(asked["size"])
    return Volume(claim, size, asked.get("storageClassName", ""), f"its template's volumes[{name}].claim", retain)


def build(storage: Storage, swarm: Swarm) -> list[Manifest]:
    """Return all claims."""
    return [build_claim(volume, swarm) for volume in storage.volumes]


def fit(storage: Storage, swarm: Swarm, sight: Sight, children: list[Manifest]) -> list[Manifest]:
    """Bring each claim to what the one that exists can become; leave out one that is not ours to make."""
    fitted = []
    for volume, claim in zip(storage.volumes, children, strict=True):
        observed = _own_claim(volume.claim, swarm, sight)
        if observed is not None:
            clamp(claim, observed, volume.field)
        elif _found(volume.claim, swarm, sight) is not None or _is_recorded(volume.claim, swarm, sight):
            continue
        fitted.append(claim)
    return fitted


def judge(storage: Storage, swarm: Swarm, sight: Sight) -> Verdict:
    """Judge the claims: there, ours or left by this swarm's earlier life, bound, and large enough."""
    verdicts = [_judge(volume, swarm, sight) for volume in storage.volumes]
    for verdict in verdicts:
        if not verdict.ok:
            return verdict
    others = _others(storage, swarm, sight)
    if len(verdicts) == 1 and not others:
        return verdicts[0]
    told = _tell(verdicts, others)
    reasons = [verdict.reason for verdict in verdicts]
    # What was found once is told before all else: later answers rely on it.
    reason = next((each for each in (CLAIM_RETAINED, CLAIM_CLAMPED) if each in reasons), "Bound")
    return Verdict(True, reason, told, recorded=any(verdict.recorded for verdict in verdicts))


def _tell(verdicts: Sequence[Verdict], others: Sequence[str]) -> str:
    told = "; ".join(verdict.message for verdict in verdicts) or "it has no volume of its own"
    return f"{told}; also kept, though not used: {', '.join(others)}" if others else told


def _judge(volume: Volume, swarm: Swarm, sight: Sight) -> Verdict:
    identity = swarm.identity
    where = f"PersistentVolumeClaim {identity.namespace}/{volume.claim}"
    own = _own_claim(volume.claim, swarm, sight)
    if own is not None:
        claim = build_claim(volume, swarm)
        refused = clamp(claim, own, volume.field)
        verdict = judge_claim(where, own, claim["spec"]["resources"]["requests"]["storage"], swarm, retained=False)
        return Verdict(True, CLAIM_CLAMPED, "; ".join(refused)) if refused and verdict.ok else verdict
    if _is_recorded(volume.claim, swarm, sight):
        return judge_retained(where)
    found = _found(volume.claim, swarm, sight)
    if found is None:
        return judge_missing(CLAIM, volume.claim, swarm, sight)
    conflict = find_claim_conflict(swarm, found)
    if conflict:
        return Verdict(False, NAME_CONFLICT, f"{where} {conflict}", trouble=True)
    return judge_claim(where, found, volume.size, swarm, retained=True)


def why_no_pod(swarm: Swarm, sight: Sight) -> str:
    """Say why no Pod may be started on the claims under our names; an empty text if one may."""
    for claim in _claims(swarm):
        told = _why_not(claim, swarm, sight)
        if told:
            return told
    return ""


def _why_not(name: str, swarm: Swarm, sight: Sight) -> str:
    claim = _own_claim(name, swarm, sight)
    if claim is None:
        if _is_recorded(name, swarm, sight):
            return ""
        claim = _found(name, swarm, sight)
        if claim is None:
            return "no Pod is started before the volume is seen to be this swarm's"
        if find_claim_conflict(swarm, claim):
            return "no Pod is started on a volume that is not this swarm's"
    if "deletionTimestamp" in claim["metadata"]:
        return "no Pod is started on a volume that is being deleted"
    return ""


def needs(storage: Storage, swarm: Swarm, sight: Sight) -> Needs:
    """Ask for the claims under our names of which there are none of ours: an earlier life may have left them."""
    sought = _sought(swarm, sight)
    return Needs((object_need(CLAIM, swarm.identity.namespace, *sought),)) if sought else NOTHING


def is_sought(swarm: Swarm, sight: Sight) -> bool:
    """Tell whether a claim under our names has to be looked up before a Pod may be started on it."""
    return bool(_sought(swarm, sight))


def is_left_over(swarm: Swarm, sight: Sight) -> bool:
    """Tell whether a claim was found that this swarm's earlier life has left: an earlier Pod may still use it."""
    return any(
        _own_claim(claim, swarm, sight) is None and _found(claim, swarm, sight) is not None for claim in _claims(swarm)
    )


def report(storage: Storage, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return the claim's name; None for a template without a volume that spec.storage is about."""
    claim = swarm.identity.claim
    return {"claimName": claim if any(each.claim == claim for each in storage.volumes) else None}


def _claims(swarm: Swarm) -> Sequence[str]:
    """Return the names of all claims of a swarm."""
    if swarm.asked.template is None:
        return (swarm.identity.claim,)
    return [volume.claim for volume in read(swarm).volumes]


def _sought(swarm: Swarm, sight: Sight) -> list[str]:
    missing = [
        claim
        for claim in _claims(swarm)
        if _own_claim(claim, swarm, sight) is None and not _is_recorded(claim, swarm, sight)
    ]
    return missing if missing and (_was_retained(sight) or sight.waited(CONDITION) >= LOOK_AFTER) else []


def _own_claim(claim: str, swarm: Swarm, sight: Sight) -> Observed | None:
    return sight.observation.child(CLAIM, swarm.identity.namespace, claim)


def _found(claim: str, swarm: Swarm, sight: Sight) -> Observed | None:
    """Return the claim under our name that was looked up and is not among the children."""
    found = sight.observation.related(CLAIM, swarm.identity.namespace, claim)
    return None if found is None or is_owned(found, swarm.identity) else found


def _is_recorded(claim: str, swarm: Swarm, sight: Sight) -> bool:
    """Tell whether an earlier answer found the retained claim, and a StatefulSet was made that uses it."""
    if not _was_retained(sight) or f"/{claim} {KEPT}" not in sight.conditions[CONDITION]["message"]:
        return False
    made = sight.observation.child(STATEFUL_SET, swarm.identity.namespace, swarm.identity.name)
    return made is not None and _found(claim, swarm, sight) is None


def _was_retained(sight: Sight) -> bool:
    before = sight.conditions.get(CONDITION)
    return before is not None and before["reason"] == CLAIM_RETAINED


def _others(storage: Storage, swarm: Swarm, sight: Sight) -> list[str]:
    """Return the names of the other claims that this UserSwarm owns; they are kept as they are."""
    namespace, own = swarm.identity.namespace, [volume.claim for volume in storage.volumes]
    places = (claim["metadata"] for claim in sight.observation.children(CLAIM))
    return [each["name"] for each in places if each["name"] not in own or each.get("namespace") != namespace]


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
