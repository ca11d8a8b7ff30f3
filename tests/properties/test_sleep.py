"""Whatever is done to a swarm, and however often its hooks are asked: when it sleeps, and when it must not."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from userswarm.parts.lifecycle.activity import CLOCK_BOUND, LAST_ACTIVITY, Activity, read_activity
from userswarm.parts.lifecycle.answer import Answer
from userswarm.parts.lifecycle.decide import CREATED, Decision, decide
from userswarm.parts.lifecycle.rules import Rules
from userswarm.parts.lifecycle.schedule import Schedule
from userswarm.parts.lifecycle.state import State, read_state, write_state
from userswarm.wire.k8s import written_time

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DAY = 24 * 3600


def seconds(least: int, most: int) -> st.SearchStrategy[timedelta]:
    return st.integers(least, most).map(lambda number: timedelta(seconds=number))


@st.composite
def all_rules(draw: st.DrawFn) -> Rules:
    idle = draw(st.none() | seconds(120, 7200))
    limit = draw(seconds(120, 4 * 3600) if idle is None else st.none() | seconds(120, 4 * 3600))
    visit = min(idle, draw(seconds(120, 7200))) if idle is not None else timedelta()
    return Rules(
        idle_after=idle,
        idle_after_visit=visit,
        min_awake=draw(seconds(0, 600)),
        max_awake=limit,
        max_busy=draw(seconds(60, 3 * 3600)),
        expire_after=draw(st.just(timedelta()) | seconds(3600, DAY)),
        check_path=draw(st.sampled_from(("/activity", "/activity", ""))),
        schedule=draw(
            st.none() | st.sampled_from((Schedule("0 * * * *", "UTC"), Schedule("30 14,20 * * *", "Asia/Tokyo")))
        ),
        ahead=draw(seconds(0, 240)),
        place=draw(seconds(0, 20)),
        beat=draw(seconds(60, 600)),
    )


@dataclass(frozen=True)
class World:
    """What happens: notes of activity, leases, and how the runtime answers from each moment on, in seconds."""

    touches: list[int]
    leases: list[tuple[int, int]]
    answers: list[tuple[int, Answer]]

    def activity(self, at: int) -> Activity:
        seen = [each for each in self.touches if each <= at]
        last = START + timedelta(seconds=seen[-1]) if seen else None
        previous = START + timedelta(seconds=seen[-2]) if len(seen) > 1 else None
        held = [until for since, until in self.leases if since <= at]
        busy = START + timedelta(seconds=held[-1]) if held else None
        return Activity(written_time(last) if last else "", last, previous, busy)

    def answer(self, at: int) -> Answer:
        return next((each for since, each in reversed(self.answers) if since <= at), Answer())

    def happens_at(self) -> set[int]:
        return {*self.touches, *(since for since, _ in self.leases)}


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    kind = draw(st.sampled_from(("free", "free", "busy", "problem")))
    moment = st.none() | st.integers(0, DAY).map(lambda number: START + timedelta(seconds=number))
    if kind == "problem":
        return Answer(problem="no answer")
    return Answer(kind == "busy", draw(moment) if kind == "busy" else None, draw(moment))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    moments = st.integers(0, DAY // 2)
    leases = sorted(
        (since, since + draw(st.integers(1, 3600))) for since in draw(st.lists(moments, max_size=3, unique=True))
    )
    changes = [0, *sorted(draw(st.lists(moments, max_size=6, unique=True)))]
    return World(
        sorted(draw(st.lists(moments, max_size=8, unique=True))),
        leases,
        [(since, draw(answers())) for since in changes],
    )


@dataclass(frozen=True)
class Call:
    at: int
    decision: Decision
    asked: Answer | None
    activity: Activity


def live(rules: Rules, world: World, besides: set[int], *, verified: bool = True) -> list[Call]:
    """Call when something happens, when the last answer wants it, and besides; the state goes through the status."""
    calls: list[Call] = []
    stored: dict[str, object] = {}
    happening, at = sorted(world.happens_at() | besides | {0}), 0
    while at <= DAY // 2 and len(calls) < 5000:
        now, activity = START + timedelta(seconds=at), world.activity(at)
        state, asked = read_state(stored) or State(False, now, CREATED), None
        decision = decide(rules, activity, state, None, now, verified=verified)
        if decision.ask:
            asked = world.answer(at)
            decision = decide(rules, activity, state, asked, now, verified=verified)
        stored = {"lifecycle": write_state(decision.state)}
        calls.append(Call(at, decision, asked, activity))
        due = None if decision.due is None else int((decision.due - START).total_seconds())
        assert due is None or due > at
        following = [each for each in happening if each > at] + ([due] if due is not None else [])
        if not following:
            break
        at = min(following)
    assert len(calls) < 5000, "called again and again"
    return calls


@given(all_rules(), worlds(), st.sets(st.integers(0, DAY // 2), max_size=20))
def test_the_runtime_is_asked_again_no_earlier_than_was_said_and_not_believed_for_ever(
    rules: Rules, world: World, besides: set[int]
) -> None:
    before: Call | None = None
    for call in live(rules, world, besides):
        known = before.decision.state.checked if before is not None else None
        now = START + timedelta(seconds=call.at)
        unused = known is not None and (call.activity.last is None or call.activity.last <= known.at)
        if known is not None and now < known.again and unused:
            # At its limit it is asked once more, but for one that is known to be busy.
            assert call.asked is None or (known.busy_since is None and rules.max_awake is not None)
        checked = call.decision.state.checked
        if call.decision.reason == "Busy" and checked is not None and checked.busy_since is not None:
            assert now < checked.again <= checked.busy_since + rules.max_busy
        before = call


def turns(calls: list[Call]) -> list[tuple[int, bool, str]]:
    """Return when the swarm fell asleep and woke, and why."""
    found: list[tuple[int, bool, str]] = []
    for call in calls:
        turn = (call.decision.state.asleep, call.decision.state.reason)
        if not found or found[-1][1:] != turn:
            found.append((call.at, *turn))
    return found


@given(all_rules(), worlds(), st.sets(st.integers(0, DAY // 2), max_size=20))
def test_asking_more_often_changes_nothing(rules: Rules, world: World, besides: set[int]) -> None:
    assert turns(live(rules, world, besides)) == turns(live(rules, world, set()))


@given(all_rules(), worlds(), st.sets(st.integers(0, DAY // 2), max_size=20))
def test_nobody_sleeps_under_a_lease_or_right_after_saying_busy(rules: Rules, world: World, besides: set[int]) -> None:
    busy_since: int | None = None
    for call in live(rules, world, besides):
        now = START + timedelta(seconds=call.at)
        if call.activity.busy_until is not None and call.activity.busy_until > now:
            assert not call.decision.state.asleep
        if call.asked is not None:
            busy_since = (busy_since if busy_since is not None else call.at) if call.asked.busy else None
            if call.asked.busy and timedelta(seconds=call.at - (busy_since or 0)) < rules.max_busy:
                assert not call.decision.state.asleep


@given(all_rules(), worlds())
def test_idleness_puts_to_sleep_only_after_the_window_and_only_on_a_good_answer(rules: Rules, world: World) -> None:
    awake_since = 0
    before = None
    for call in live(rules, world, set()):
        state = call.decision.state
        if before is not None and before.state.asleep and not state.asleep:
            awake_since = call.at
        if state.asleep and (before is None or not before.state.asleep):
            assert state.reason in ("Idle", "MaxAwake", "MaxBusy")
            if state.reason == "Idle":
                used = max([awake_since, *(each for each in world.touches if each <= call.at)])
                assert timedelta(seconds=call.at - used) >= rules.idle_after_visit
                assert timedelta(seconds=call.at - awake_since) >= rules.min_awake
                assert not rules.check_path or (
                    call.asked is not None and not call.asked.busy and not call.asked.problem
                )
        before = call.decision


@given(all_rules(), worlds(), st.booleans())
def test_nobody_is_awake_for_ever_without_a_reason(rules: Rules, world: World, verified: bool) -> None:
    last = live(rules, world, set(), verified=verified)[-1].decision
    if not last.state.asleep:
        # It is in use, or will be looked at; and what keeps it is named.
        assert last.due is not None
        assert last.reason in ("InUse", "Busy", "ActivityUnknown", "NotVerified", "Appointment")
        if last.reason in ("ActivityUnknown", "NotVerified"):
            assert rules.check_path


@example(
    Rules(
        timedelta(minutes=2), timedelta(minutes=2), timedelta(), timedelta(minutes=2), timedelta(minutes=1),
        timedelta(), "", Schedule("0 * * * *", "UTC"), timedelta(seconds=121), timedelta(), timedelta(minutes=1),
    ),
    World([], [], []),
)  # fmt: skip
@given(all_rules(), worlds())
def test_whoever_is_used_wakes_and_a_limit_ends_every_run(rules: Rules, world: World) -> None:
    for call in live(rules, world, set()):
        state = call.decision.state
        if call.at in world.touches:
            fresh = START + timedelta(seconds=call.at)
            assert not state.asleep or state.since == fresh, "asleep though it was used just now"
        if rules.max_awake is not None and not state.asleep and not rules.check_path:
            held = max([state.since, *(START + timedelta(seconds=until) for _, until in world.leases)])
            assert START + timedelta(seconds=call.at) < max(state.since + rules.max_awake, held)


@given(all_rules(), worlds())
def test_a_sleeping_swarm_is_asked_about_only_when_something_is_due(rules: Rules, world: World) -> None:
    calls = live(rules, world, set())
    for before, call in itertools.pairwise(calls):
        if before.decision.state.asleep and call.at not in world.happens_at():
            due = START + timedelta(seconds=call.at)
            assert due == before.decision.due
            assert due == before.decision.wakes_at or before.decision.expires_at is not None


@given(all_rules(), worlds())
def test_a_wish_for_waking_is_kept(rules: Rules, world: World) -> None:
    for call in live(rules, world, set()):
        decision = call.decision
        if decision.state.asleep and decision.wakes_at is not None:
            assert decision.wakes_at > START + timedelta(seconds=call.at)
            assert decision.due is not None
            assert decision.due <= decision.wakes_at


@given(st.integers(-DAY, DAY), st.integers(0, 3600))
def test_no_clock_moves_the_last_use_by_more_than_the_bound(off: int, ago: int) -> None:
    written = START - timedelta(seconds=ago)
    stamp = written_time(written + timedelta(seconds=off))
    entry = {"time": written_time(written), "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{LAST_ACTIVITY}": {}}}}}
    activity = read_activity({"annotations": {LAST_ACTIVITY: stamp}, "managedFields": [{}, {"fieldsV1": {}}, entry]})
    assert activity.last is not None
    assert abs(activity.last - written) <= CLOCK_BOUND
    assert bool(activity.doubt) == (abs(off) > CLOCK_BOUND.total_seconds())


@given(st.integers(-DAY, DAY))
def test_any_new_note_wakes_whatever_its_clock_says(off: int) -> None:
    rules = Rules(
        timedelta(minutes=30), timedelta(minutes=5), *[timedelta()] * 1, None, timedelta(hours=1), timedelta(), "",
        None, timedelta(), timedelta(), timedelta(minutes=1),
    )  # fmt: skip
    asleep = State(True, START, "Idle", mark="2026-11-01T11:00:00Z")
    stamp = START + timedelta(seconds=off)
    activity = Activity(written_time(stamp), stamp)
    decision = decide(rules, activity, asleep, None, START + timedelta(seconds=5), verified=False)
    assert (decision.state.asleep, decision.state.reason) == (False, "Activity")
    same = replace(activity, mark=asleep.mark)
    assert decide(rules, same, asleep, None, START + timedelta(seconds=5), verified=False).state == asleep
