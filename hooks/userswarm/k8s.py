"""The shapes of Kubernetes JSON that we read and write.

Wire shapes are TypedDicts; whole objects are `Manifest`s: plain dicts, built fresh by whoever returns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

Manifest = dict[str, Any]
"""A Kubernetes object that we build."""

Observed = Mapping[str, Any]
"""A Kubernetes object that we were shown; never edited, never returned."""


class OwnerReference(TypedDict):
    """metav1.OwnerReference."""

    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: NotRequired[bool]
    blockOwnerDeletion: NotRequired[bool]


class ObjectMeta(TypedDict):
    """The part of metav1.ObjectMeta that a hook writes."""

    name: str
    namespace: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    annotations: NotRequired[dict[str, str]]
    ownerReferences: NotRequired[list[OwnerReference]]


class Condition(TypedDict):
    """metav1.Condition."""

    type: str
    status: str
    observedGeneration: int
    lastTransitionTime: str
    reason: str
    message: str
