"""Conditions as metav1.Condition has them: read from the last answer, and written with their times carried over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, TypedDict

from userswarm.wire.k8s import read_time, written_time

MAX_MESSAGE = 32_768
"""What metav1.Condition allows."""


class Condition(TypedDict):
    """metav1.Condition."""

    type: str
    status: str
    observedGeneration: int
    lastTransitionTime: str
    reason: str
    message: str


def read_conditions(status: Mapping[str, Any]) -> dict[str, Condition]:
    """Return the conditions that an earlier answer gave, by type; one that is not whole is as good as none."""
    conditions = status.get("conditions")
    found: dict[str, Condition] = {}
    for condition in conditions if isinstance(conditions, list) else ():
        whole = _whole(condition) if isinstance(condition, dict) else None
        if whole is not None:
            found[whole["type"]] = whole
    return found


def write_condition(
    kind: str, status: str, reason: str, message: str, before: Condition | None, generation: int, now: datetime
) -> Condition:
    """Return a condition; its time is carried over while its status stays, as metav1.Condition asks."""
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"]
        if before is not None and before["status"] == status
        else written_time(now),
        "reason": reason,
        "message": message[:MAX_MESSAGE],
    }


_FIELDS_OF = itemgetter("type", "status", "reason", "message", "lastTransitionTime", "observedGeneration")
_TYPES = (str, str, str, str, str, int)


def _whole(condition: Mapping[str, Any]) -> Condition | None:
    """Return a condition's own fields, or None where one is missing or of another type."""
    try:
        fields = _FIELDS_OF(condition)
    except KeyError:
        return None
    kind, status, reason, message, since, generation = fields
    # One comparison for all: every sync reads every condition.
    if tuple(map(type, fields)) != _TYPES or read_time(since) is None:
        return None
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
