"""Phase, conditions and `verified`, from observation only.

Metacontroller replaces the whole status by what a hook returns. So every field is written every time, nothing counts
or tells the time, and a time once written is carried over. A status costs a write and wakes whoever watches: what is
merely on its way is told once, and again only after a while; trouble and endings are told at once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from userswarm.compose.desired import Finding
from userswarm.errors import InvalidParentError
from userswarm.parts import PARTS
from userswarm.parts.shape import CHILD_MISSING, TERMINATING, Verdict
from userswarm.spec.swarm import Swarm
from userswarm.wire.conditions import Condition, read_conditions, write_condition
from userswarm.wire.k8s import Observed, read_time, written_time

INVALID_SPEC = "InvalidSpec"
DELETING = "Deleting"

CONDITION_TYPES = ("SpecValid", "StorageReady", "WorkloadReady", "ServiceReady", "Verified", "Ready")
"""Of every swarm."""

OPTIONAL_CONDITION_TYPES = tuple(
    dict.fromkeys(part.condition for part in PARTS if part.condition not in CONDITION_TYPES)
)
"""Of a swarm with the capability that speaks in it."""

FINALIZER_PREFIX = "metacontroller.io/compositecontroller-"

QUIET = 30.0
"""Seconds in which a swarm that is on its way is not told about again."""

FIRST_LOOK = 15.0
"""Seconds after which a stage that lasts is looked at though nothing that is watched has changed; then after twice as
long each time."""

RAREST_LOOK = 300.0

_ON_THE_WAY = ("Pending", "Progressing", "Verifying")

_STAGES = dict.fromkeys(part.condition for part in PARTS if part.decides and part.condition != "Verified")
_ORDER = ("SpecValid", *_STAGES, "Verified", "Ready")

_CARRIED = {"verifiedGeneration": int} | {name: kind for part in PARTS for name, kind in part.reports.items()}

_SPEC_VALID = Verdict(True, "Valid", "the spec can be built")

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A status, and after how many seconds it may change though nothing that is watched does; None for never."""

    status: Status
    resync_after: int | None


def compute_status(parent: Observed, swarm: Swarm, findings: Sequence[Finding], now: datetime) -> Assessment:
    """Return the status of a swarm that can be built."""
    metadata, old = parent["metadata"], _old_status(parent)
    generation = metadata.get("generation") or 0
    blocking = _find_blocking(findings)
    verified = _judge_whole(findings, blocking, deleting="deletionTimestamp" in metadata)
    verdicts = _by_condition(findings) | {"Verified": verified, "Ready": verified}
    before = findings[0].sight.conditions
    conditions = _conditions(verdicts, before, generation, now)

    stage = "" if blocking is None or verified.phase else blocking.part.condition
    begun = read_time(_begun(stage, conditions, old, generation, now)) if stage else None
    deadline = swarm.settings.progress_deadline
    overdue = begun is not None and begun + timedelta(seconds=deadline) <= now
    if overdue:
        told = f"no progress for {deadline} s at stage {stage}: {verified.message}"
        verdicts["Ready"] = Verdict(False, verified.reason, told)
        conditions = _conditions(verdicts, before, generation, now)

    status = _carried(old)
    for finding in findings:
        status.update(finding.part.report(finding.config, swarm, finding.sight))
    if verified.ok:
        status["verifiedGeneration"] = generation
    status["phase"] = verified.phase or ("Failed" if overdue else _phase(findings, blocking))
    status["verified"] = verified.ok
    status["observedGeneration"] = generation
    if stage:
        status["stage"] = stage
        if begun is not None and written_time(begun) != _last_change(stage, conditions):
            status["stageSince"] = written_time(begun)
    status["conditions"] = conditions
    if (
        not before
        and status["phase"] in _ON_THE_WAY
        and not any(each.trouble or each.recorded for each in verdicts.values())
    ):
        status |= _only_asked_for(metadata, verdicts, generation, now)
    elif _is_not_worth_a_write(status, verified, verdicts, old, before, now):
        status = copy.deepcopy(dict(old))
    status = {field: value for field, value in status.items() if value is not None}
    return Assessment(status, _next_look(verified, begun, deadline, now))


def _only_asked_for(
    metadata: Mapping[str, Any], verdicts: Mapping[str, Verdict], generation: int, now: datetime
) -> Status:
    """Return what is said of a swarm that nothing was said of before.

    It is the same whatever has come about meanwhile, and dated by the swarm itself: the next calls may come before
    this word is seen, and shall not say it again in others.
    """
    asked = Verdict(False, CHILD_MISSING, "it was asked for a moment ago")
    since = _dated(metadata.get("creationTimestamp"), now)
    first = {kind: verdict if kind == "SpecValid" else asked for kind, verdict in verdicts.items()}
    return {"phase": "Pending", "stage": None, "conditions": _conditions(first, {}, generation, since)}


def _dated(written: object, now: datetime) -> datetime:
    """Return the time that the apiserver has written, if it is only a moment old, else now."""
    moment = read_time(written)
    return moment if moment is not None and moment <= now < moment + timedelta(seconds=QUIET) else now


def compute_invalid_status(parent: Observed, error: InvalidParentError, now: datetime) -> Status:
    """Return the status of a swarm whose spec cannot be built, and whose children stay as they are."""
    problems = f"{len(error.problems)} problem(s): " + "; ".join(map(str, error.problems))
    spec_valid = Verdict(False, INVALID_SPEC, problems)
    blocked = Verdict(False, INVALID_SPEC, "the spec cannot be built; see SpecValid. The children are left as they are")
    return _halted_status(parent, "Invalid", {"SpecValid": spec_valid, "Verified": blocked, "Ready": blocked}, now)


def compute_deleting_status(parent: Observed, message: str, now: datetime, *, trouble: bool) -> Status:
    """Return the status of a swarm that goes away; `message` says what is awaited.

    The first word is the same whatever is gone already, and dated by the deletion: the next calls may come before it is
    seen, and shall not say it again in others.
    """
    old = _old_status(parent)
    first = old.get("phase") != DELETING and not trouble
    if not first and not trouble and _is_fresh(old, read_conditions(old), now):
        return carry_status(parent)
    blocked = Verdict(False, TERMINATING, "its children are being removed" if first else message)
    since = _dated(parent["metadata"].get("deletionTimestamp"), now)
    return _halted_status(parent, DELETING, {"Verified": blocked, "Ready": blocked}, since)


def is_taken_down_elsewhere(parent: Observed, controller: str) -> bool:
    """Tell whether another controller still takes down a swarm that moved to this one: to another shard.

    Both see the same children. To make them anew while the other removes them would never come to an end.
    """
    own = FINALIZER_PREFIX + controller
    finalizers = parent["metadata"].get("finalizers") or ()
    if not controller or all(name == own or not str(name).startswith(FINALIZER_PREFIX) for name in finalizers):
        return False
    # The finalizer alone may be a left-over; that a teardown has begun, only the other controller can have written.
    return bool(_old_status(parent).get("phase") == DELETING)


def carry_status(parent: Observed) -> Status:
    """Return the status as it stands: of two writers with words of their own, each would wake the other for ever."""
    return copy.deepcopy(dict(_old_status(parent)))


def _find_blocking(findings: Sequence[Finding]) -> Finding | None:
    """Return what a swarm waits for: the first trouble, else the first part that is not there yet; None for nothing.

    A claim may wait for its Pod's node: then the Pod's trouble is the cause, though it comes later.
    """
    waiting = [each for each in findings if each.part.decides and each.verdict is not None and not each.verdict.ok]
    if waiting and waiting[0].verdict is not None and waiting[0].verdict.phase:
        return waiting[0]
    trouble = (each for each in waiting if each.verdict is not None and each.verdict.trouble)
    return next(trouble, waiting[0] if waiting else None)


def _judge_whole(findings: Sequence[Finding], blocking: Finding | None, *, deleting: bool) -> Verdict:
    """Return whether user traffic may be sent to the swarm, and the first thing that speaks against it."""
    if deleting:
        return Verdict(False, TERMINATING, "the UserSwarm is being deleted", phase=DELETING)
    if blocking is not None and blocking.verdict is not None:
        return blocking.verdict
    passed = [each.verdict for each in findings if each.part.condition == "Verified" and each.verdict is not None]
    return passed[-1]


def _by_condition(findings: Sequence[Finding]) -> dict[str, Verdict]:
    """Return the verdict of each condition: the first trouble, the first that is not well, else the last of all."""
    verdicts: dict[str, Verdict] = {"SpecValid": _SPEC_VALID}
    for finding in findings:
        known, verdict = verdicts.get(finding.part.condition), finding.verdict
        if verdict is not None and (known is None or known.ok or (verdict.trouble and not known.trouble)):
            verdicts[finding.part.condition] = verdict
    return verdicts


def _conditions(
    verdicts: Mapping[str, Verdict], before: Mapping[str, Condition], generation: int, now: datetime
) -> list[Condition]:
    return [_condition(kind, verdicts[kind], before.get(kind), generation, now) for kind in _in_order(verdicts)]


def _in_order(kinds: Iterable[str]) -> list[str]:
    """Return condition types in the order in which a swarm comes about; what never decides comes last."""
    return sorted(kinds, key=lambda kind: _ORDER.index(kind) if kind in _ORDER else len(_ORDER))


def _condition(kind: str, verdict: Verdict, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = "True" if verdict.ok else "False"
    return write_condition(kind, status, verdict.reason, verdict.message, before, generation, now)


def _begun(stage: str, conditions: Sequence[Condition], old: Mapping[str, Any], generation: int, now: datetime) -> str:
    """Return when a stage began: when a condition up to it last changed, or a newer spec gave it its whole time again.

    Only a new spec for a swarm that was not ready changes no condition, so that time is written down.
    """
    before, since = old.get("observedGeneration"), old.get("stageSince")
    if type(before) is int and before != generation:
        since = written_time(now)
    changed = _last_change(stage, conditions)
    return max(changed, since) if isinstance(since, str) and read_time(since) is not None else changed


def _last_change(stage: str, conditions: Sequence[Condition]) -> str:
    """Return when the conditions up to that of a stage last changed."""
    kinds = [condition["type"] for condition in conditions]
    return max(condition["lastTransitionTime"] for condition in conditions[1 : kinds.index(stage) + 1])


def _phase(findings: Sequence[Finding], blocking: Finding | None) -> str:
    """Summarise the conditions in one word."""
    if blocking is None:
        return "Ready"
    if blocking.part.condition == "Verified":
        return "Verifying"
    return "Progressing" if any(blocking.sight.observation.children()) else "Pending"


def _is_not_worth_a_write(
    status: Status,
    verdict: Verdict,
    verdicts: Mapping[str, Verdict],
    old: Mapping[str, Any],
    before: Mapping[str, Condition],
    now: datetime,
) -> bool:
    """Tell whether nothing but progress is new, and the last word is only a moment old."""
    ready = before.get("Ready")
    if ready is None or verdict.trouble or status["phase"] not in _ON_THE_WAY or old.get("phase") not in _ON_THE_WAY:
        return False
    if old.get("observedGeneration") != status["observedGeneration"] or old.get("attempts") != status.get("attempts"):
        return False
    if any(
        each.recorded and kind in before and before[kind]["reason"] != each.reason for kind, each in verdicts.items()
    ):
        return False
    return _is_fresh(old, before, now)


def _is_fresh(old: Mapping[str, Any], before: Mapping[str, Condition], now: datetime) -> bool:
    """Tell whether the last word that told something new is only a moment old."""
    told = [condition["lastTransitionTime"] for condition in before.values()]
    last = read_time(max([*told, str(old.get("stageSince", ""))]))
    return last is not None and now < last + timedelta(seconds=QUIET)


def _next_look(verdict: Verdict, begun: datetime | None, deadline: int, now: datetime) -> int | None:
    """Return after how many seconds something may be due that no watch tells, None for never."""
    waits = [] if verdict.due_in is None else [verdict.due_in]
    if begun is not None:
        waited, look = (now - begun).total_seconds(), FIRST_LOOK
        while look <= waited:
            look += min(look, RAREST_LOOK)
        waits += [look - waited, *([deadline - waited] if waited < deadline else [])]
    # Whole seconds: what is decided by times of whole seconds is not due any earlier.
    return math.ceil(min(waits)) if waits else None


def _halted_status(parent: Observed, phase: str, verdicts: Mapping[str, Verdict], now: datetime) -> Status:
    """Return a status in which only some conditions are judged anew, and the others stay as they were."""
    old = _old_status(parent)
    generation = parent["metadata"].get("generation") or 0
    status = _carried(old)
    status.update(phase=phase, verified=False, observedGeneration=generation)
    before = read_conditions(old)
    unknown = f"not judged before the swarm was {phase}"
    status["conditions"] = [
        _condition(kind, verdicts[kind], before.get(kind), generation, now)
        if kind in verdicts
        else before.get(kind) or write_condition(kind, "Unknown", "NotJudged", unknown, None, generation, now)
        for kind in _in_order((*CONDITION_TYPES, *(each for each in OPTIONAL_CONDITION_TYPES if each in before)))
    ]
    return status


def _old_status(parent: Observed) -> Mapping[str, Any]:
    return parent.get("status") or {}


def _carried(old: Mapping[str, Any]) -> Status:
    """Return what an earlier answer recorded and no later one may lose."""
    return {
        name: copy.deepcopy(old[name]) if kind is dict else old[name]
        for name, kind in _CARRIED.items()
        if type(old.get(name)) is kind
    }
