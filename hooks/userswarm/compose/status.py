"""Phase, conditions and `verified`, from observation only.

Metacontroller replaces the whole status by what a hook returns. So every field is written every time, nothing counts
or tells the time, and a time once written is carried over. What a swarm comes to is for `judging` to say, since when
and until when for `progress`, and whether that is worth a write for `telling`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from userswarm.compose.desired import Finding
from userswarm.compose.judging import DELETING, by_condition, find_blocking, judge_whole, phase_of
from userswarm.compose.progress import begun_at, last_change, next_look
from userswarm.compose.telling import ON_THE_WAY, dated, is_fresh, is_not_worth_a_write
from userswarm.errors import InvalidParentError
from userswarm.parts import PARTS
from userswarm.parts.shape import AWAKE, CHILD_MISSING, TERMINATING, Verdict
from userswarm.spec.swarm import Swarm
from userswarm.wire.conditions import Condition, read_conditions, write_condition
from userswarm.wire.k8s import Observed, read_time, written_time

INVALID_SPEC = "InvalidSpec"

TEMPLATE_LATER = 60
"""Seconds until it is looked again whether a template is offered by now: no watch tells it."""

_OFFERED = ("spec.template", "spec.template.name", "spec.template.revision")
"""Where a template is named; what is below is for its user to correct."""

CONDITION_TYPES = ("SpecValid", "StorageReady", "WorkloadReady", "ServiceReady", "Verified", "Ready")
"""Of every swarm."""

OPTIONAL_CONDITION_TYPES = tuple(
    dict.fromkeys(part.condition for part in PARTS if part.condition not in CONDITION_TYPES)
)
"""Of a swarm with the capability that speaks in it."""

FINALIZER_PREFIX = "metacontroller.io/compositecontroller-"

_STAGES = dict.fromkeys(part.condition for part in PARTS if part.decides and part.condition != "Verified")
_RANK = {kind: rank for rank, kind in enumerate(("SpecValid", *_STAGES, "Verified", "Ready"))}

_CARRIED = {"verifiedGeneration": int} | {name: kind for part in PARTS for name, kind in part.reports.items()}

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assessment:
    """A status, and after how many seconds it may change though nothing that is watched does; None for never."""

    status: Status
    resync_after: int | None


def compute_status(
    parent: Observed, swarm: Swarm, findings: Sequence[Finding], now: datetime, *, looks: bool
) -> Assessment:
    """Return the status of a swarm that can be built; `looks` tells that this call looks for what keeps it."""
    metadata, old = parent["metadata"], _old_status(parent)
    generation = metadata.get("generation") or 0
    blocking = find_blocking(findings)
    verified = judge_whole(findings, blocking, deleting="deletionTimestamp" in metadata)
    verdicts = by_condition(findings) | {"Verified": verified, "Ready": verified}
    before = findings[0].sight.conditions
    conditions = _conditions(verdicts, before, generation, now)

    stage = "" if blocking is None or verified.phase else blocking.part.condition
    begun = read_time(begun_at(stage, conditions, old, generation, now)) if stage else None
    deadline = swarm.settings.progress_deadline
    overdue = begun is not None and begun + timedelta(seconds=deadline) <= now
    if overdue:
        told = f"no progress for {deadline} s at stage {stage}: {verified.message}"
        verdicts["Ready"] = Verdict(False, verified.reason, told)
        conditions = _conditions(verdicts, before, generation, now)

    # What was recorded by a part that the swarm no longer has goes with it.
    present = {"verifiedGeneration"}.union(*(finding.part.reports for finding in findings))
    status = {name: value for name, value in _carried(old).items() if name in present}
    for finding in findings:
        status.update(finding.part.report(finding.config, swarm, finding.sight))
    if verified.ok:
        status["verifiedGeneration"] = generation
    status["phase"] = verified.phase or ("Failed" if overdue else phase_of(findings, blocking))
    status["verified"] = verified.ok
    status["observedGeneration"] = generation
    if stage:
        status["stage"] = stage
        if begun is not None and written_time(begun) != last_change(stage, conditions):
            status["stageSince"] = written_time(begun)
    status["conditions"] = conditions
    if (
        not before
        and status["phase"] in ON_THE_WAY
        and not any(each.trouble or each.recorded for each in verdicts.values())
    ):
        since = dated(read_time(metadata.get("creationTimestamp")), now)
        status |= _only_asked_for(verdicts, generation, since)
        begun = begun and since
    elif is_not_worth_a_write(status, verified, verdicts, old, before, now):
        status = carry_status(parent)
        if begun is not None and begun == read_time(written_time(now)):
            # A stage that is not written down has no date but that of the change that brought it.
            begun = dated(findings[0].sight.observation.got_on_at, now)
    status = {field: value for field, value in status.items() if value is not None}
    return Assessment(status, next_look(findings, begun, deadline, now, looks=looks))


def _only_asked_for(verdicts: Mapping[str, Verdict], generation: int, since: datetime) -> Status:
    """Return what is said of a swarm that nothing was said of before.

    It is the same whatever has come about meanwhile, and dated by the swarm itself: the next calls may come before
    this word is seen, and shall not say it again in others.
    """
    asked = Verdict(False, CHILD_MISSING, "it was asked for a moment ago")
    first = {kind: verdict if kind in ("SpecValid", AWAKE) else asked for kind, verdict in verdicts.items()}
    return {"phase": "Pending", "stage": None, "conditions": _conditions(first, {}, generation, since)}


def compute_invalid_status(parent: Observed, error: InvalidParentError, now: datetime) -> Status:
    """Return the status of a swarm whose spec cannot be built, and whose children stay as they are."""
    problems = f"{len(error.problems)} problem(s): " + "; ".join(map(str, error.problems))
    spec_valid = Verdict(False, INVALID_SPEC, problems)
    blocked = Verdict(False, INVALID_SPEC, "the spec cannot be built; see SpecValid. The children are left as they are")
    return _halted_status(parent, "Invalid", {"SpecValid": spec_valid, "Verified": blocked, "Ready": blocked}, now)


def next_try(error: InvalidParentError) -> int | None:
    """Return after how many seconds a UserSwarm that cannot be built may be another one though nobody changed it.

    A template that is not there may come: files reach one replica of the webhook sooner than another.
    """
    return TEMPLATE_LATER if any(problem.path in _OFFERED for problem in error.problems) else None


def compute_deleting_status(parent: Observed, message: str, now: datetime, *, trouble: bool) -> Status:
    """Return the status of a swarm that goes away; `message` says what is awaited.

    The first word is the same whatever is gone already, and dated by the deletion: the next calls may come before it is
    seen, and shall not say it again in others.
    """
    old = _old_status(parent)
    first = old.get("phase") != DELETING and not trouble
    if not first and not trouble and is_fresh(old, read_conditions(old), now):
        return carry_status(parent)
    blocked = Verdict(False, TERMINATING, "its children are being removed" if first else message)
    since = dated(read_time(parent["metadata"].get("deletionTimestamp")), now)
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
    return _fresh(_old_status(parent))


def _conditions(
    verdicts: Mapping[str, Verdict], before: Mapping[str, Condition], generation: int, now: datetime
) -> list[Condition]:
    return [_condition(kind, verdicts[kind], before.get(kind), generation, now) for kind in _in_order(verdicts)]


def _in_order(kinds: Iterable[str]) -> list[str]:
    """Return condition types in the order in which a swarm comes about; what never decides comes last."""
    return sorted(kinds, key=lambda kind: _RANK.get(kind, len(_RANK)))


def _condition(kind: str, verdict: Verdict, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = "True" if verdict.ok else "False"
    return write_condition(kind, status, verdict.reason, verdict.message, before, generation, now)


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


def _fresh(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of what a status holds: JSON, so that is several times faster than copy.deepcopy."""
    copied: dict[str, Any] = orjson.loads(orjson.dumps(stored))
    return copied


def _carried(old: Mapping[str, Any]) -> Status:
    """Return what an earlier answer recorded and no later one may lose."""
    return {
        name: _fresh(old[name]) if kind is dict else old[name]
        for name, kind in _CARRIED.items()
        if type(old.get(name)) is kind
    }
