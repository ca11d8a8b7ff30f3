"""When a status is worth a write.

A status costs a write and wakes whoever watches: what is merely on its way is told once, and again only after a while;
trouble and endings are told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from userswarm.parts import PARTS
from userswarm.parts.shape import Verdict
from userswarm.wire.conditions import Condition
from userswarm.wire.k8s import read_time

QUIET = 60
"""Seconds in which a swarm that is on its way, or goes, is not told about again."""

ON_THE_WAY = ("Pending", "Progressing", "Verifying")

_RECORDS = tuple(name for part in PARTS for name, kind in part.reports.items() if kind is dict)
"""What later answers rely on: it is told at once."""


def dated(moment: datetime | None, now: datetime) -> datetime:
    """Return the time that the apiserver has written, if it is only a moment old, else now."""
    return moment if moment is not None and moment <= now < moment + timedelta(seconds=QUIET) else now


def is_not_worth_a_write(
    status: Mapping[str, Any],
    verdict: Verdict,
    verdicts: Mapping[str, Verdict],
    old: Mapping[str, Any],
    before: Mapping[str, Condition],
    now: datetime,
) -> bool:
    """Tell whether nothing but progress is new, and the last word is only a moment old."""
    ready = before.get("Ready")
    if ready is None or verdict.trouble or status["phase"] not in ON_THE_WAY or old.get("phase") not in ON_THE_WAY:
        return False
    if any(old.get(field) != status.get(field) for field in ("observedGeneration", *_RECORDS)):
        return False
    if any(
        each.recorded and kind in before and before[kind]["reason"] != each.reason for kind, each in verdicts.items()
    ):
        return False
    return is_fresh(old, before, now)


def is_fresh(old: Mapping[str, Any], before: Mapping[str, Condition], now: datetime) -> bool:
    """Tell whether the last word that told something new is only a moment old."""
    told = [condition["lastTransitionTime"] for condition in before.values()]
    last = read_time(max([*told, str(old.get("stageSince", ""))]))
    return last is not None and now < last + timedelta(seconds=QUIET)
