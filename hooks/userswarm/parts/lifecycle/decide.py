"""Whether a swarm sleeps, why, and when that is to be asked again: a pure function of what is known and of the time.

It says the same however often it is asked: an instant is reached or it is not, and what was asked of the runtime is
asked again at a time that is written down. Only what somebody did wakes a swarm before its time: the annotation is
another one than the one it fell asleep with, whatever the clock that wrote it says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from userswarm.parts.lifecycle.activity import Activity
from userswarm.parts.lifecycle.answer import Answer
from userswarm.parts.lifecycle.rules import Rules
from userswarm.parts.lifecycle.state import Checked, State

IDLE = "Idle"
MAX_AWAKE = "MaxAwake"
MAX_BUSY = "MaxBusy"

CREATED = "Created"
ACTIVITY = "Activity"
APPOINTMENT = "Appointment"
SCHEDULE = "Schedule"

IN_USE = "InUse"
BUSY = "Busy"
CHECK_FAILED = "ActivityUnknown"
NOT_VERIFIED = "NotVerified"

NOT_ASKED_AGAIN_AFTER = timedelta(seconds=10)
"""Until a check that could not be made, though it was due, is due again."""

NEVER = datetime.max.replace(tzinfo=UTC)

LEAST_NOTICE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What holds now, and why.

    `ask`: the runtime is to be asked whether it is busy. `due`: when something else may hold though nobody does
    anything; None for never. `wakes_at`, `expires_at`: of a swarm that is asleep.
    """

    state: State
    reason: str
    due: datetime | None = None
    ask: bool = False
    wakes_at: datetime | None = None
    expires_at: datetime | None = None


def decide(
    rules: Rules, activity: Activity, state: State, answer: Answer | None, now: datetime, *, verified: bool
) -> Decision:
    """Return whether the swarm is asleep from now on; `answer` is None where the runtime was not asked in this call."""
    if state.asleep:
        cause = _find_cause_to_wake(rules, activity, state, now)
        if not cause:
            return _asleep(rules, state, now)
        state = replace(state, asleep=False, since=now, reason=cause, checked=None)
    return _decide_awake(rules, activity, state, answer, now, verified=verified)


def find_notice(rules: Rules, expires_at: datetime) -> datetime:
    """Return from when on it is said that a swarm expires soon: for a tenth of the time it was given, or an hour."""
    tenth = timedelta(seconds=rules.expire_after.total_seconds() // 10)
    return expires_at - max(tenth, min(LEAST_NOTICE, rules.expire_after))


def _find_cause_to_wake(rules: Rules, activity: Activity, state: State, now: datetime) -> str:
    if activity.mark and activity.mark != state.mark:
        return ACTIVITY
    if activity.busy_until is not None and activity.busy_until > now:
        return ACTIVITY
    wakes_at, cause = _find_waking(rules, state)
    return cause if wakes_at is not None and wakes_at <= now else ""


def _decide_awake(
    rules: Rules, activity: Activity, state: State, answer: Answer | None, now: datetime, *, verified: bool
) -> Decision:
    used = max(state.since, activity.last or state.since)
    idle, limit = _find_ends(rules, activity, state, used)
    if now < min(idle, limit):
        return Decision(state, IN_USE, min(idle, limit))
    why = MAX_AWAKE if limit <= now else IDLE
    checked = state.checked if state.checked is not None and state.checked.at >= used else None
    decision = _end(rules, activity, replace(state, checked=checked), answer, why, now, verified=verified)
    if decision.state.asleep or decision.reason == BUSY or decision.due is None or limit <= now:
        return decision
    return replace(decision, due=min(decision.due, limit))


def _find_ends(rules: Rules, activity: Activity, state: State, used: datetime) -> tuple[datetime, datetime]:
    """Return until when a swarm that is last used at that time is not idle, and until when it may be awake at all."""
    held = activity.busy_until or state.since
    idle = limit = NEVER
    if rules.idle_after is not None:
        idle = max(used + rules.window(activity), state.since + rules.min_awake, held)
    if rules.max_awake is not None:
        limit = max(state.since + rules.max_awake, held)
    return idle, limit


def _end(
    rules: Rules, activity: Activity, state: State, answer: Answer | None, why: str, now: datetime, *, verified: bool
) -> Decision:
    """Put a swarm to sleep that is due, unless it is near an instant for which it would wake, or has to be asked."""
    if why == IDLE and (held := _find_hold(rules, state, now)) is not None:
        return Decision(state, APPOINTMENT, held)
    if not rules.check_path:
        return _fall_asleep(rules, activity, state, why, now)
    return _ask_first(rules, activity, state, answer, why, now, verified=verified)


def _ask_first(
    rules: Rules, activity: Activity, state: State, answer: Answer | None, why: str, now: datetime, *, verified: bool
) -> Decision:
    """Put a swarm to sleep that is due, unless its runtime says it is busy, or says nothing while it is only idle."""
    checked = state.checked
    busy_since = checked.busy_since if checked is not None else None
    if busy_since is not None and busy_since + rules.max_busy <= now:
        return _fall_asleep(rules, activity, state, MAX_BUSY, now)
    if checked is not None and now < checked.again and (why == IDLE or busy_since is not None):
        return Decision(state, _told(checked), checked.again)
    if not verified:
        if why == MAX_AWAKE:
            return _fall_asleep(rules, activity, state, why, now)
        return Decision(state, NOT_VERIFIED, now + rules.beat)
    if answer is None:
        reason = _told(checked) if checked is not None else IN_USE
        return Decision(state, reason, now + NOT_ASKED_AGAIN_AFTER, ask=True)
    if answer.problem:
        if why == MAX_AWAKE:
            return _fall_asleep(rules, activity, state, why, now)
        state = replace(state, checked=Checked(now, now + rules.beat, problem=answer.problem))
        return Decision(state, CHECK_FAILED, now + rules.beat)
    state = replace(state, appointment=answer.wake_at)
    if answer.busy:
        since = busy_since or now
        again = max(now + rules.beat, answer.until or now)
        again = min(again, since + rules.max_busy)
        return Decision(replace(state, checked=Checked(now, again, since)), BUSY, again)
    if why == IDLE and (held := _find_hold(rules, state, now)) is not None:
        return Decision(replace(state, checked=Checked(now, held)), APPOINTMENT, held)
    return _fall_asleep(rules, activity, state, why, now)


def _told(checked: Checked) -> str:
    if checked.problem:
        return CHECK_FAILED
    return BUSY if checked.busy_since is not None else APPOINTMENT


def _fall_asleep(rules: Rules, activity: Activity, state: State, why: str, now: datetime) -> Decision:
    unused = state.unused_since if state.mark == activity.mark else None
    state = State(True, now, why, activity.mark, unused or now, state.appointment)
    return _asleep(rules, state, now)


def _asleep(rules: Rules, state: State, now: datetime) -> Decision:
    wakes_at, _ = _find_waking(rules, state)
    expires_at, instants = None, [wakes_at]
    if rules.expire_after:
        expires_at = (state.unused_since or state.since) + rules.expire_after
        instants += [find_notice(rules, expires_at), expires_at]
    due = min((instant for instant in instants if instant is not None and instant > now), default=None)
    return Decision(state, state.reason, due, wakes_at=wakes_at, expires_at=expires_at)


def _find_waking(rules: Rules, state: State) -> tuple[datetime | None, str]:
    """Return when a sleeping swarm wakes by itself, and for what: the first instant that lay ahead when it slept."""
    instants = _find_instants(rules, state, state.since + rules.ahead)
    if not instants:
        return None, ""
    instant, cause = min(instants)
    return instant - rules.ahead, cause


def _find_hold(rules: Rules, state: State, now: datetime) -> datetime | None:
    """Return until when a swarm is awake for an instant that is near, or was just now; None for none."""
    near = [each for each, _ in _find_instants(rules, state, now - rules.min_awake) if each - rules.ahead <= now]
    return min(near) + max(rules.min_awake, timedelta(seconds=1)) if near else None


def _find_instants(rules: Rules, state: State, after: datetime) -> list[tuple[datetime, str]]:
    """Return the first instants after a moment, each with what it is for."""
    scheduled = rules.schedule.next_after(after) if rules.schedule is not None else None
    instants = [(state.appointment, APPOINTMENT), (scheduled, SCHEDULE)]
    return [(instant, cause) for instant, cause in instants if instant is not None and instant > after]
