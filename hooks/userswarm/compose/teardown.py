"""How a swarm's children go: all at once, but for what has to outlive something else.

A claim that is retained is released first. The walls around a Dedicated swarm, and its namespace, stay until the last
Pod behind them is gone. Everything else Kubernetes itself orders: a claim stays until no Pod uses it. Only what is
observed counts, never what was answered before: the same question has the same answer, and parts that somebody deleted
by hand are only parts that are gone already.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

from userswarm.compose.telling import QUIET
from userswarm.parts import PARTS
from userswarm.spec.identity import RELEASED_ANNOTATION, RETAIN_ANNOTATION, SWARM_LABEL, owner_reference
from userswarm.spec.slugs import slug
from userswarm.wire.freeze import LAST_APPLIED_ANNOTATION, last_applied
from userswarm.wire.k8s import CLAIM, DATA_KINDS, NAMESPACE, POD, Manifest, Observed
from userswarm.wire.observe import Observation

ASK_AGAIN = 5
"""Seconds until it is looked again whether the last Pod is gone: no watch tells it."""

_LATER = frozenset(kind.kind for part in PARTS for kind in part.kinds if part.stage)
"""Kinds that go only when no Pod is left."""

_KEEPABLE = (CLAIM.kind, NAMESPACE.kind)
"""Kinds that outlive a swarm whose volume is retained."""

_RELEASABLE = DATA_KINDS
"""Kinds that stay where a parent has only left this controller."""

_CLAIM_FIELDS = ("accessModes", "resources", "storageClassName", "volumeName")


@dataclass(frozen=True, slots=True)
class Teardown:
    """What stays for now, whether all is done, and in words what is awaited.

    `needs` is what has to be seen besides; `resync_after` is in seconds. `trouble` tells what does not pass by itself.
    """

    children: list[Manifest]
    finalized: bool
    message: str
    needs: Manifest | None = None
    resync_after: int | None = None
    trouble: bool = False


def compute_teardown(parent: Observed, observation: Observation, standing: Sequence[Manifest]) -> Teardown:
    """Return what is left of a swarm that goes away.

    `standing` holds the children as they would be built now, empty for a spec that cannot be built: it only serves
    where a child does not say how it was last applied.
    """
    children = list(observation.children())
    if not children:
        return Teardown([], True, "all is gone")
    deleting = "deletionTimestamp" in parent["metadata"]
    kept = [each for each in children if _is_kept(parent, each, children)]
    going = [each for each in children if not _is_kept(parent, each, children)]
    first = [each for each in going if each["kind"] not in _LATER]
    later = [each for each in going if each["kind"] in _LATER]
    pods = list(observation.all_related(POD))
    walled = any("deletionTimestamp" not in each["metadata"] for each in later)
    unseen = walled and not first and not observation.relates(POD)
    unread = observation.unavailable(POD)
    awaited = f"waiting for {_names([*first, *pods, *later])} to be gone"
    if unseen and unread:
        awaited += f"; whether a Pod is left behind the walls cannot be looked up: {unread}"
    staying = _as_they_are(later, standing) if first or pods or unseen else []
    needs = _pods(parent, later) if unseen else None
    after = ASK_AGAIN if not first and (pods or unseen) else QUIET
    if kept and (deleting or not going):
        released = _release(parent, kept, deleting=deleting)
        message = f"{released.message}; {awaited}" if going else released.message
        return replace(released, children=released.children + staying, message=message, needs=needs, resync_after=after)
    # A parent that has only left this controller lets the objects go that outlive it with its last answer.
    return Teardown(_as_they_are(kept, standing) + staying, False, awaited, needs, after)


def _is_kept(parent: Observed, child: Observed, children: Sequence[Observed]) -> bool:
    """Tell whether a claim or namespace outlives the parent.

    A parent that is finalized without being deleted has only left this controller: no data goes then. Else the volume
    is kept in every case but one that plainly says, or leaves out, Delete; and its namespace with it.
    """
    if child["kind"] not in _RELEASABLE or "deletionTimestamp" in child["metadata"]:
        return False
    if "deletionTimestamp" not in parent["metadata"]:
        return True
    if child["kind"] not in _KEEPABLE:
        return False
    spec = parent.get("spec")
    storage = spec.get("storage", {}) if isinstance(spec, dict) else {}
    if not isinstance(storage, dict) or storage.get("retainPolicy", "Delete") != "Delete":
        return True
    # A namespace goes with everything in it.
    return _retains(child) if child["kind"] == CLAIM.kind else any(map(_retains, children))


def _retains(child: Observed) -> bool:
    """Tell whether a claim says itself that it outlives its UserSwarm."""
    return child["kind"] == CLAIM.kind and RETAIN_ANNOTATION in (child["metadata"].get("annotations") or {})


def _pods(parent: Observed, walls: Sequence[Observed]) -> Manifest:
    """Return the need to see this swarm's Pods behind its walls."""
    names = {each["metadata"].get("namespace") or each["metadata"]["name"] for each in walls}
    selector = {"matchLabels": {SWARM_LABEL: slug(parent["metadata"]["name"])}}
    kind = {"apiVersion": POD.api_version, "kind": POD.kind, "resource": POD.resource}
    return {"objects": [{**kind, "namespace": name, "labelSelector": selector} for name in sorted(names)]}


def _release(parent: Observed, kept: Sequence[Observed], *, deleting: bool) -> Teardown:
    """Take the owner off what outlives the parent.

    Metacontroller would adopt a released object again as long as its finalizer is on a parent that is not deleted. So
    there, and only there, the answer that releases the last objects is also the one that lets the parent go;
    Metacontroller takes its finalizer off before it applies the children of the same answer.
    """
    names = _names(kept)
    manifests = [applied for each in kept if (applied := last_applied(each)) is not None]
    if len(manifests) < len(kept):
        return Teardown(
            [_restate(each) for each in kept],
            False,
            f"{names} cannot be released, since Metacontroller runs with server-side apply and owns it at every "
            f"sync; it is kept. Take its ownerReference off by hand (kubectl edit), or run Metacontroller with "
            f"--apply-strategy=dynamic-apply; {LAST_APPLIED_ANNOTATION} is missing on it",
            trouble=True,
        )
    if not all("ownerReferences" in manifest["metadata"] for manifest in manifests):
        # Only what was once applied can be taken off: first own it expressly.
        return Teardown([_own(each, parent) for each in manifests], False, f"preparing {names} to be released")
    return Teardown([_without_owner(each) for each in manifests], not deleting, f"releasing {names}")


def _without_owner(applied: Manifest) -> Manifest:
    """Return a claim, or its namespace, without its owner: it outlives the UserSwarm; all else is as applied."""
    metadata = {key: value for key, value in applied["metadata"].items() if key != "ownerReferences"}
    metadata["annotations"] = {**metadata.get("annotations", {}), RELEASED_ANNOTATION: "true"}
    return {**applied, "metadata": metadata}


def _as_they_are(children: Sequence[Observed], standing: Sequence[Manifest]) -> list[Manifest]:
    """Return children so that they stay as they are.

    Under server-side apply a child does not say how it was applied. Then it is built anew; where even that cannot
    be done it goes early, which costs the order but no data, for a claim is always kept.
    """
    built = {(child["kind"], child["metadata"]["name"]): child for child in standing}
    kept = []
    for child in children:
        applied = last_applied(child)
        if applied is None and child["kind"] in _RELEASABLE:
            applied = _restate(child)
        if applied is None:
            applied = built.get((child["kind"], child["metadata"]["name"]))
        if applied is not None:
            kept.append(applied)
    return kept


def _restate(child: Observed) -> Manifest:
    """Return an observed claim, namespace or database as a manifest that changes nothing of it."""
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
        "spec": {
            key: copy.deepcopy(value)
            for key, value in spec.items()
            if key in _CLAIM_FIELDS or child["kind"] not in _KEEPABLE
        },
    }


def _own(manifest: Manifest, parent: Observed) -> Manifest:
    metadata = parent["metadata"]
    owner = owner_reference(parent["apiVersion"], metadata["name"], metadata.get("uid") or "")
    return {**manifest, "metadata": {**manifest["metadata"], "ownerReferences": [owner]}}


def _names(children: Sequence[Observed]) -> str:
    return ", ".join(_full_name(child) for child in children)


def _full_name(child: Observed) -> str:
    metadata = child["metadata"]
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{child.get('kind')} {place}{metadata['name']}"
