"""A swarm that sleeps while nobody uses it, wakes when somebody does, and expires when nobody came back.

That it sleeps is derived at each call and never written into the spec: `suspend` stays a person's, and wins. What one
call has to tell the next stands in status.lifecycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from userswarm.parts import runtime
from userswarm.parts.lifecycle.activity import read_activity
from userswarm.parts.lifecycle.answer import read_answer
from userswarm.parts.lifecycle.decide import (
    ACTIVITY,
    APPOINTMENT,
    BUSY,
    CHECK_FAILED,
    CREATED,
    IDLE,
    IN_USE,
    MAX_AWAKE,
    MAX_BUSY,
    NOT_VERIFIED,
    SCHEDULE,
    Decision,
    decide,
    find_notice,
)
from userswarm.parts.lifecycle.rules import LIFECYCLE_CHECKS, Rules, read_rules
from userswarm.parts.lifecycle.state import State, read_state, write_state
from userswarm.parts.shape import AWAKE, LOOK_AFTER, NOTHING, Needs, Part, Sight, Verdict
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import Manifest, read_time, written_time

ASLEEP = "Asleep"
EXPIRES_SOON = "ExpiresSoon"
EXPIRED = "Expired"

ANSWER_SECONDS = 2
RECORDED_AFTER = 1.0
"""Seconds until a call is asked for that sees what this one has written."""

_WORDS = {
    IDLE: "nobody has used it; it wakes when somebody does",
    MAX_AWAKE: "it was awake for as long as it may be at once; it wakes when somebody uses it",
    MAX_BUSY: "it said it is busy for longer than it may be; it wakes when somebody uses it",
    IN_USE: "it is in use, or was a moment ago",
    BUSY: "its runtime says it is busy",
    APPOINTMENT: "it has an appointment of its own",
    NOT_VERIFIED: "it is due to sleep, and its runtime is not verified and cannot be asked whether it is busy",
}

FALLS_ASLEEP = (IDLE, MAX_AWAKE, MAX_BUSY)
WAKES = (ACTIVITY, APPOINTMENT, SCHEDULE)


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The rules of a swarm, and what its runtime is asked before it falls asleep."""

    rules: Rules
    http: Manifest


def read(swarm: Swarm) -> Lifecycle | None:
    """Return what a swarm's sleep follows; None for one that a person keeps asleep, or that never sleeps by itself."""
    rules = read_rules(swarm)
    if rules is None or swarm.spec["suspend"]:
        return None
    http = {
        "service": swarm.identity.name,
        "namespace": swarm.identity.namespace,
        "port": swarm.spec["runtime"]["port"],
        "path": rules.check_path,
        "timeoutSeconds": ANSWER_SECONDS,
    }
    return Lifecycle(rules, http)


def look(rules: Rules, sight: Sight) -> Decision:
    """Return what holds for a swarm that has these rules."""
    answer = read_answer(sight.http) if sight.http is not None else None
    verified = sight.status.get("verified") is True
    known = read_state(sight.status) or State(False, _first_seen(sight), CREATED)
    return decide(rules, read_activity(sight.metadata), known, answer, sight.now, verified=verified)


def _first_seen(sight: Sight) -> datetime:
    """Return since when a swarm is known that nothing was said of before: calls until then shall say the same."""
    created = read_time(sight.metadata.get("creationTimestamp"))
    if created is None or sight.conditions or not created <= sight.now < created + timedelta(seconds=LOOK_AFTER):
        return sight.now
    return created


def judge(lifecycle: Lifecycle, swarm: Swarm, sight: Sight) -> Verdict:
    """Say whether the swarm is awake, and when that is to be asked again."""
    decision = sight.once(look, lifecycle.rules)
    due_in = (decision.due - sight.now).total_seconds() if decision.due is not None else None
    told = _tell(decision, sight)
    if not decision.state.asleep:
        return Verdict(True, decision.reason, told, due_in=due_in)
    if not _is_recorded(sight):
        return Verdict(False, decision.reason, told, phase="Progressing", due_in=RECORDED_AFTER)
    phase = ASLEEP if runtime.is_stopped(swarm, sight) else "Progressing"
    return Verdict(False, decision.reason, told, phase=phase, due_in=due_in, rests=True)


def _is_recorded(sight: Sight) -> bool:
    """Tell whether every later call knows that the swarm sleeps: only then its Pod may be stopped.

    A call that came for the Pod's end and could not see that word yet would ask a runtime that is going, and start the
    swarm again, or write over the appointment that its last answer named.
    """
    known = read_state(sight.status)
    return known is not None and known.asleep


def needs(lifecycle: Lifecycle, swarm: Swarm, sight: Sight) -> Needs:
    """Ask the runtime whether it is busy, just before it would fall asleep."""
    return Needs(http=lifecycle.http) if sight.once(look, lifecycle.rules).ask else NOTHING


def report(lifecycle: Lifecycle, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return what the next call has to know, and when the swarm wakes and expires."""
    decision = sight.once(look, lifecycle.rules)
    beat = int(lifecycle.rules.beat.total_seconds())
    more = {"wakesAt": decision.wakes_at, "expiresAt": decision.expires_at, "touchEverySeconds": beat}
    return {"lifecycle": write_state(decision.state, **more)}


def judge_expiry(lifecycle: Lifecycle, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Say that a swarm will be deleted if nobody comes back, or may be by now."""
    expires_at = sight.once(look, lifecycle.rules).expires_at
    if expires_at is None or sight.now < find_notice(lifecycle.rules, expires_at):
        return None
    told = f"nobody has used it, and it may be deleted from {written_time(expires_at)} on; any use of it keeps it"
    return Verdict(True, EXPIRES_SOON if sight.now < expires_at else EXPIRED, told)


def _tell(decision: Decision, sight: Sight) -> str:
    checked = decision.state.checked
    told = _WORDS.get(decision.reason, "")
    if decision.reason == CHECK_FAILED and checked is not None:
        told = f"it stays awake since it does not say whether it is busy: {checked.problem}"
    if decision.ask and sight.observation.not_asked:
        told += f"; it could not be asked whether it is busy: {sight.observation.not_asked}"
    doubt = read_activity(sight.metadata).doubt
    return f"{told}; {doubt}" if doubt else told


PARTS = (
    Part(
        name="lifecycle",
        condition=AWAKE,
        read=read,
        checks=LIFECYCLE_CHECKS,
        judge=judge,
        needs=needs,
        report=report,
        reports={"lifecycle": dict},
    ),
    Part(name="expiry", condition=EXPIRES_SOON, read=read, judge=judge_expiry, decides=False),
)
