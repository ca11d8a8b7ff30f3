"""The namespace of a Dedicated swarm: made by us, or lent by its operator, who says so by a label.

What cannot be made safe is refused: a namespace without its operator's consent, or walls that the controller is not
told to build. Nothing else of a swarm may come about before its namespace is there.
"""

from __future__ import annotations

from userswarm.parts.dedicated.isolation import ISOLATION_CHECKS, Isolation
from userswarm.parts.dedicated.walls import CONDITION, read
from userswarm.parts.shape import (
    CHILD_MISSING,
    NAME_CONFLICT,
    NOTHING,
    TERMINATING,
    Needs,
    Part,
    Sight,
    Verdict,
    is_owned,
    object_need,
)
from userswarm.spec.identity import RELEASED_ANNOTATION, Identity
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import NAMESPACE, Manifest, Observed

ALLOW_LABEL = "crawbl.ai/allow-userswarms"
"""On a namespace: its operator lets UserSwarms live there."""

POD_SECURITY_VERSION = "v1.36"
"""Pinned: a cluster upgrade shall not change what is admitted. An older cluster takes its own latest."""

NAMESPACE_RETAINED = "NamespaceRetained"
NOT_LENT = "NamespaceNotLent"
LENT = "Lent"


def build(isolation: Isolation, swarm: Swarm) -> list[Manifest]:
    """Return the Namespace, with the *restricted* Pod Security Standard in all three modes.

    Its owner is written out, as a claim's: only so can it be released where the volume in it is kept.
    """
    if not isolation.managed:
        return []
    metadata = swarm.identity.metadata(swarm.identity.namespace)
    del metadata["namespace"]
    labels = metadata["labels"]
    for mode in ("enforce", "audit", "warn"):
        labels[f"pod-security.kubernetes.io/{mode}"] = "restricted"
        labels[f"pod-security.kubernetes.io/{mode}-version"] = POD_SECURITY_VERSION
    if swarm.identity.owner is not None:
        metadata["ownerReferences"] = [swarm.identity.owner]
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}]


def fit(isolation: Isolation, swarm: Swarm, sight: Sight, children: list[Manifest]) -> list[Manifest]:
    """Leave out a namespace that is there and not ours to make."""
    if sight.observation.child(NAMESPACE, "", swarm.identity.namespace) is not None:
        return children
    return [] if _found(swarm, sight) is not None or _is_recorded(sight) else children


def judge(isolation: Isolation, swarm: Swarm, sight: Sight) -> Verdict:
    """Judge the namespace: there, lent to us, ours or left by this swarm's earlier life, and taking objects."""
    if not isolation.managed:
        return _judge_lent(swarm.identity, sight)
    where = f"Namespace {swarm.identity.namespace}"
    namespace = sight.observation.child(NAMESPACE, "", swarm.identity.namespace)
    if namespace is None:
        if _is_recorded(sight):
            return _retained(where)
        namespace = _found(swarm, sight)
        if namespace is None:
            unread = sight.observation.unavailable(NAMESPACE)
            told = f"; whether somebody else has its name cannot be looked up: {unread}" if unread else ""
            return Verdict(False, CHILD_MISSING, f"{where} is asked for and not there yet{told}")
        if not _was_released_to(swarm.identity, namespace):
            told = f"{where} exists and is not ours; nothing is touched. Remove it, or choose another name"
            return Verdict(False, NAME_CONFLICT, told, trouble=True)
        if "deletionTimestamp" not in namespace["metadata"]:
            return _retained(where)
    phase = namespace.get("status", {}).get("phase")
    if "deletionTimestamp" in namespace["metadata"] or phase == "Terminating":
        return Verdict(False, TERMINATING, f"{where} is being deleted with all that is in it, and will be made again")
    if phase != "Active":
        return Verdict(False, CHILD_MISSING, f"{where} is not Active yet")
    return Verdict(True, "Active", f"{where} is active")


def needs(isolation: Isolation, swarm: Swarm, sight: Sight) -> Needs:
    """Ask for a namespace that somebody else may have made: at once for one that has to be lent, else after a while."""
    if isolation.managed:
        own = sight.observation.child(NAMESPACE, "", swarm.identity.namespace)
        # Objects are made in it only once it is there: an earlier life's may still be going.
        if own is not None or (_is_recorded(sight) and _is_settled(sight)) or CONDITION not in sight.conditions:
            return NOTHING
    elif _is_settled(sight):
        return NOTHING
    return Needs((object_need(NAMESPACE, "", swarm.identity.namespace),))


def _judge_lent(identity: Identity, sight: Sight) -> Verdict:
    """Judge a namespace that its operator lends; once that was seen, it is not looked at again while all is well."""
    name, observation = identity.namespace, sight.observation
    lent = Verdict(True, LENT, f"Namespace {name} is its operator's", recorded=True)
    if not observation.relates(NAMESPACE):
        unread = observation.unavailable(NAMESPACE)
        # Until it is read again for this answer, what the last one saw holds: so the runtime is asked with it.
        if _was_seen(sight) and (not unread or _is_settled(sight)):
            return lent
        told = unread or "the webhook has not read it yet"
        return Verdict(
            False, NOT_LENT, f"whether namespace {name!r} may be used is not known: {told}", trouble=bool(unread)
        )
    namespace = observation.related(NAMESPACE, "", name)
    told = ""
    if namespace is None:
        told = f"there is no namespace {name!r}; its operator has to make it"
    elif (namespace["metadata"].get("labels") or {}).get(ALLOW_LABEL) != "true":
        told = f"namespace {name!r} does not have the label {ALLOW_LABEL}: 'true'; its operator has to set it"
    elif "deletionTimestamp" in namespace["metadata"]:
        told = f"namespace {name!r} is being deleted"
    if told:
        return Verdict(False, NOT_LENT, told, trouble=True)
    return lent


def _is_settled(sight: Sight) -> bool:
    """Tell whether an earlier answer saw that it may be used, and the swarm is settled: verified, or suspended."""
    before = sight.status
    return _was_seen(sight) and (before.get("verified") is True or before.get("phase") == "Suspended")


def _was_seen(sight: Sight) -> bool:
    before = sight.conditions.get(CONDITION)
    return before is not None and before["status"] == "True"


def _found(swarm: Swarm, sight: Sight) -> Observed | None:
    """Return the namespace that was looked up and is not ours."""
    found = sight.observation.related(NAMESPACE, "", swarm.identity.namespace)
    return None if found is None or is_owned(found, swarm.identity) else found


def _is_recorded(sight: Sight) -> bool:
    """Tell whether an earlier answer found the namespace that this swarm's earlier life has left."""
    before = sight.conditions.get(CONDITION)
    return before is not None and before["reason"] == NAMESPACE_RETAINED and not sight.observation.relates(NAMESPACE)


def _retained(where: str) -> Verdict:
    told = f"{where} was kept from an earlier life of this swarm; it is used, not owned"
    return Verdict(True, NAMESPACE_RETAINED, told, recorded=True)


def _was_released_to(identity: Identity, namespace: Observed) -> bool:
    """Tell whether a namespace that nobody owns was left behind by this very user's swarm."""
    metadata = namespace["metadata"]
    annotations = metadata.get("annotations") or {}
    free = not metadata.get("ownerReferences") and annotations.get(RELEASED_ANNOTATION) == "true"
    return free and identity.is_of_same_owner(annotations)


PART = Part(
    name="namespace",
    condition=CONDITION,
    kinds=(NAMESPACE,),
    checks=ISOLATION_CHECKS,
    read=read,
    build=build,
    fit=fit,
    judge=judge,
    needs=needs,
    gate=1,
    stage=1,
)
