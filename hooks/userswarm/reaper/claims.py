"""Volumes that outlived their swarm: claims that were released on deletion, to be listed and never deleted.

A retained claim carries the label of its swarm and no ownerReference. Its age runs from its release, which
managedFields dates (whoever set the annotation, and when), or else from its creation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from userswarm.reaper.swarm import MalformedError, mapping, text, timestamp
from userswarm.spec.identity import NAME_ANNOTATION, RELEASED_ANNOTATION, SWARM_LABEL

SELECTOR = SWARM_LABEL
"""Has the label, whatever its value."""


@dataclass(frozen=True, slots=True)
class RetainedClaim:
    """A released claim; `size` and `swarm` (the UserSwarm it belonged to) are empty where nothing says so."""

    namespace: str
    name: str
    swarm: str
    size: str
    since: datetime


def find_retained(observed: Iterable[object], now: datetime, max_age: timedelta) -> list[RetainedClaim]:
    """Return the released claims at least `max_age` old, the oldest first; what cannot be read is passed over."""
    found = []
    for item in observed:
        try:
            claim = _parse(item)
        except MalformedError:
            continue
        if claim is not None and now - claim.since >= max_age:
            found.append(claim)
    return sorted(found, key=lambda claim: (claim.since, claim.namespace, claim.name))


def _parse(observed: object) -> RetainedClaim | None:
    item = mapping(observed, "the item")
    metadata = mapping(item.get("metadata"), "metadata")
    if metadata.get("ownerReferences") or metadata.get("deletionTimestamp") is not None:
        return None
    annotations = mapping(metadata.get("annotations") or {}, "metadata.annotations")
    spec = mapping(item.get("spec") or {}, "spec")
    requests = mapping(mapping(spec.get("resources") or {}, "spec.resources").get("requests") or {}, "requests")
    return RetainedClaim(
        namespace=text(metadata.get("namespace"), "metadata.namespace"),
        name=text(metadata.get("name"), "metadata.name"),
        swarm=str(annotations.get(NAME_ANNOTATION, "")),
        size=str(requests.get("storage", "")),
        since=_released(metadata) or timestamp(metadata.get("creationTimestamp"), "metadata.creationTimestamp"),
    )


def _released(metadata: Mapping[str, Any]) -> datetime | None:
    """Return when the field manager that marked the claim as released wrote to it last, or None if nobody did."""
    moments = []
    for entry in metadata.get("managedFields") or ():
        try:
            fields = mapping(mapping(entry, "managedFields").get("fieldsV1"), "fieldsV1")
            annotations = mapping(mapping(fields.get("f:metadata"), "f:metadata").get("f:annotations"), "f:annotations")
            if f"f:{RELEASED_ANNOTATION}" in annotations:
                moments.append(timestamp(entry.get("time"), "managedFields.time"))
        except MalformedError:
            continue  # of another manager, which set no annotations
    return max(moments, default=None)
