"""Since when a stage lasts, and when to look at it again though nothing that is watched changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from userswarm.compose.desired import Finding
from userswarm.compose.judging import waiting
from userswarm.compose.telling import QUIET
from userswarm.wire.conditions import Condition
from userswarm.wire.k8s import read_time, written_time

FIRST_LOOK = 15.0
"""Seconds after which a stage that lasts is looked at though nothing that is watched has changed; then after four times
as long each time: 15 s, 1 min, 4 min. Of a stage that only what is watched can keep, QUIET is the first: until then
nothing is told of it."""

RAREST_LOOK = 300.0


def begun_at(
    stage: str, conditions: Sequence[Condition], old: Mapping[str, Any], generation: int, now: datetime
) -> str:
    """Return when a stage began: when a condition up to it last changed, or a newer spec gave it its whole time again.

    Only a new spec for a swarm that was not ready changes no condition, so that time is written down.
    """
    before, since = old.get("observedGeneration"), old.get("stageSince")
    if type(before) is int and before != generation:
        since = written_time(now)
    changed = last_change(stage, conditions)
    return max(changed, since) if isinstance(since, str) and read_time(since) is not None else changed


def last_change(stage: str, conditions: Sequence[Condition]) -> str:
    """Return when the conditions up to that of a stage last changed."""
    kinds = [condition["type"] for condition in conditions]
    return max(condition["lastTransitionTime"] for condition in conditions[1 : kinds.index(stage) + 1])


def next_look(
    findings: Sequence[Finding], begun: datetime | None, deadline: int, now: datetime, *, looks: bool
) -> int | None:
    """Return after how many seconds something may be due that no watch tells, None for never.

    `looks` tells that this very call looks: the next time is one later.
    """
    verdicts = (finding.verdict for finding in findings)
    waits = [verdict.due_in for verdict in verdicts if verdict is not None and verdict.due_in is not None]
    if begun is not None:
        watched = all(verdict.watched for _, verdict in waiting(findings))
        waited, first = (now - begun).total_seconds(), QUIET if watched else FIRST_LOOK
        quiet = min(waited, findings[0].sight.quiet())
        waits.append(max(first, min(3 * quiet, RAREST_LOOK)) if looks or quiet >= first else first - quiet)
        if waited < deadline:
            waits.append(deadline - waited)
    # Whole seconds: what is decided by times of whole seconds is not due any earlier.
    return math.ceil(min(waits)) if waits else None
