"""The children exactly as they were last applied, for a UserSwarm that cannot be built.

Metacontroller writes into an annotation of every child what a hook last returned for it. Returning that again
changes nothing, so that a broken spec costs no data and no restart. Leaving a child out would delete it.
"""

from __future__ import annotations

import orjson

from userswarm.errors import CannotFreezeError
from userswarm.wire.k8s import CLAIM, Kind, Manifest, Observed
from userswarm.wire.observe import Observation

LAST_APPLIED_ANNOTATION = "metacontroller.k8s.io/last-applied-configuration"


def freeze(observation: Observation, kind: Kind | None = None) -> list[Manifest]:
    """Return all observed children of one kind, or of all kinds, as last applied.

    Raises CannotFreezeError naming the first child that does not say how it was applied.
    """
    return [freeze_child(observed) for observed in observation.children(kind)]


def freeze_child(observed: Observed) -> Manifest:
    """Return one observed child as last applied; raises CannotFreezeError as `freeze` does."""
    applied = last_applied(observed)
    if applied is None:
        metadata = observed["metadata"]
        raise CannotFreezeError(
            f"{observed.get('kind')} {metadata.get('namespace', '')}/{metadata['name']} has no usable annotation "
            f"{LAST_APPLIED_ANNOTATION}, so it cannot be returned unchanged, and is not touched; correct the "
            f"UserSwarm's spec, or run Metacontroller with its default, --apply-strategy=dynamic-apply"
        )
    return applied


def last_applied(observed: Observed) -> Manifest | None:
    """Return what a hook last returned for a child, or None where that is not known (server-side apply).

    A claim that somebody has made larger since stays as large: no API server lets it shrink.
    """
    text = (observed["metadata"].get("annotations") or {}).get(LAST_APPLIED_ANNOTATION)
    if not isinstance(text, str):
        return None
    try:
        applied = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(applied, dict) or not _same_object(applied, observed):
        return None
    if observed["kind"] == CLAIM.kind:
        requests = observed.get("spec", {}).get("resources", {}).get("requests", {})
        applied.get("spec", {}).get("resources", {}).get("requests", {}).update(requests)
    return applied


def _same_object(applied: Manifest, observed: Observed) -> bool:
    metadata, current = applied.get("metadata"), observed["metadata"]
    return (
        isinstance(metadata, dict)
        and applied.get("kind") == observed.get("kind")
        and metadata.get("name") == current["name"]
        and metadata.get("namespace") == current.get("namespace")
    )
