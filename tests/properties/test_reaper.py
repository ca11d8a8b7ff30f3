"""What the reaper's decision promises, whatever it is shown."""

from __future__ import annotations

import copy
import io
import json
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from unit.reaper.fakes import NOW, FakeCluster, FakeTime, make_swarm, stamp
from userswarm.reaper.amounts import Share
from userswarm.reaper.decide import Plan, Reason, Rules, Verdict, decide
from userswarm.reaper.owners import Owners, OwnersError
from userswarm.reaper.progress import Progress
from userswarm.reaper.reap import Options, reap
from userswarm.reaper.report import Report

# Few ids, so that they meet; some differ in case only.
WORKSPACES = [f"w{number}" for number in range(8)] + ["W0", "W1"]
USERS = ["u0", "u1", "u2"]
HOURS = st.integers(-2, 60).map(lambda hours: timedelta(hours=hours))
ALL = Share(100, percent=True)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def swarms(draw: st.DrawFn) -> dict[str, Any]:
    labels = draw(
        st.dictionaries(
            st.sampled_from(["crawbl.ai/keep", "crawbl.ai/e2e", "team"]),
            st.sampled_from(["true", "false", ""]),
            max_size=2,
        )
    )
    made = make_swarm(
        draw(st.sampled_from(WORKSPACES)),
        draw(st.sampled_from(USERS)),
        age=draw(HOURS) + timedelta(seconds=draw(st.integers(-2, 2))),
        labels=labels if draw(st.booleans()) else None,
        deleting=draw(st.sampled_from([False, False, False, True])),
    )
    made["metadata"]["uid"] = draw(st.uuids()).hex
    if draw(st.integers(0, 9)) == 0:
        del made["spec"]["workspaceId"]
    return made


@st.composite
def broken_swarms(draw: st.DrawFn) -> Any:
    """A swarm with any one of its values replaced by any JSON at all."""
    swarm = draw(swarms())
    where = draw(st.sampled_from(["", "metadata", "spec", "name", "uid", "creationTimestamp", "labels", "userId"]))
    value = draw(json_values)
    if where == "":
        return value
    for part in (swarm, swarm["metadata"], swarm["spec"]):
        if where in part:
            part[where] = value
    return swarm


@st.composite
def reads(draw: st.DrawFn) -> Owners:
    people = draw(
        st.dictionaries(st.sampled_from(WORKSPACES), st.sampled_from(USERS), min_size=1, max_size=len(WORKSPACES))
    )
    return Owners(people, NOW - draw(st.just(timedelta(0)) | HOURS.filter(lambda length: length >= timedelta(0))))


rules = st.builds(
    Rules,
    min_age=HOURS.filter(lambda length: length >= timedelta(0)),
    max_age=st.none() | HOURS.filter(lambda length: length >= timedelta(0)),
    max_delete=st.just(ALL)
    | st.builds(Share, st.integers(0, 100), percent=st.just(True))
    | st.builds(Share, st.integers(0, 5), percent=st.just(False)),
    max_shrink=st.just(ALL),
)
lists = st.lists(st.one_of(swarms(), swarms(), broken_swarms()), max_size=12)


def doomed(plan: Plan) -> list[Any]:
    return [decision for decision in plan.decisions if decision.verdict is Verdict.DELETE]


@given(lists, reads(), reads(), rules)
def test_a_swarm_whose_owner_was_alive_in_either_read_is_never_deleted(
    listed: list[Any], first: Owners, second: Owners, limits: Rules
) -> None:
    for decision in doomed(decide(listed, first, second, NOW, limits)):
        swarm = decision.swarm
        assert swarm is not None
        if decision.reason is not Reason.E2E_EXPIRED:
            assert swarm.workspace_id not in first.by_workspace
            assert swarm.workspace_id not in second.by_workspace
            assert swarm.created < min(first.as_of, second.as_of)


@given(lists, reads(), reads(), rules)
def test_a_swarm_that_is_young_kept_or_on_its_way_out_is_never_deleted(
    listed: list[Any], first: Owners, second: Owners, limits: Rules
) -> None:
    by_uid = {item["metadata"]["uid"]: item for item in listed if _is_whole(item)}
    for decision in doomed(decide(listed, first, second, NOW, limits)):
        assert decision.swarm is not None
        metadata = by_uid[decision.swarm.uid]["metadata"]
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        assert NOW - created >= limits.min_age
        assert "crawbl.ai/keep" not in (metadata.get("labels") or {})
        assert "deletionTimestamp" not in metadata
        if decision.reason is Reason.E2E_EXPIRED:
            assert metadata["labels"]["crawbl.ai/e2e"] == "true"
            assert limits.max_age is not None
            assert NOW - created >= limits.max_age


def _is_whole(item: Any) -> bool:
    try:
        return isinstance(item["metadata"]["uid"], str)
    except (TypeError, KeyError, IndexError):
        return False


@given(lists, reads(), reads(), rules)
def test_never_more_than_the_cap_and_beyond_it_nothing(
    listed: list[Any], first: Owners, second: Owners, limits: Rules
) -> None:
    plan = decide(listed, first, second, NOW, limits)
    verdicts = Counter(decision.verdict for decision in plan.decisions)

    assert verdicts[Verdict.DELETE] <= limits.max_delete.of(len(listed)) == plan.limit
    assert verdicts[Verdict.DELETE] == 0 or verdicts[Verdict.WITHHOLD] == 0
    assert verdicts[Verdict.DELETE] + verdicts[Verdict.WITHHOLD] == plan.doomed
    assert plan.withheld is (verdicts[Verdict.WITHHOLD] > 0)


@given(lists, reads(), reads(), rules, st.randoms(use_true_random=False))
def test_the_order_of_the_list_decides_nothing(
    listed: list[Any], first: Owners, second: Owners, limits: Rules, random: Any
) -> None:
    shuffled = list(listed)
    random.shuffle(shuffled)

    assert decide(shuffled, first, second, NOW, limits) == decide(listed, first, second, NOW, limits)


@given(lists, reads(), reads(), rules)
def test_the_order_of_the_reads_decides_nothing(
    listed: list[Any], first: Owners, second: Owners, limits: Rules
) -> None:
    assert decide(listed, first, second, NOW, limits) == decide(listed, second, first, NOW, limits)


@given(lists, reads(), reads(), rules)
def test_the_same_input_gets_the_same_answer_and_is_left_as_it_was(
    listed: list[Any], first: Owners, second: Owners, limits: Rules
) -> None:
    before = copy.deepcopy((listed, first, second))
    answer = decide(listed, first, second, NOW, limits)

    assert (listed, first, second) == before
    assert decide(listed, first, second, NOW, limits) == answer


@given(lists, reads(), reads(), rules)
def test_every_object_gets_one_decision_with_a_reason(
    listed: list[Any], first: Owners, second: Owners, limits: Rules
) -> None:
    plan = decide(listed, first, second, NOW, limits)

    assert len(plan.decisions) == len(listed)
    assert all(decision.message for decision in plan.decisions)


@given(lists, broken_swarms(), reads(), reads(), rules)
def test_one_object_more_changes_nothing_about_the_others(
    listed: list[Any], another: Any, first: Owners, second: Owners, limits: Rules
) -> None:
    without_cap = Rules(min_age=limits.min_age, max_age=limits.max_age, max_delete=ALL, max_shrink=ALL)
    alone = Counter(map(repr, decide(listed, first, second, NOW, without_cap).decisions))
    together = Counter(map(repr, decide([*listed, another], first, second, NOW, without_cap).decisions))

    assert alone <= together


@given(st.sampled_from(["x1", "X2"]), st.sampled_from(USERS), HOURS, reads(), reads())
def test_what_nothing_speaks_for_goes(workspace: str, user: str, age: timedelta, first: Owners, second: Owners) -> None:
    read = min(first.as_of, second.as_of)
    swarm = make_swarm(workspace, user, age=NOW - read + max(age, timedelta(seconds=1)))
    plan = decide([swarm], first, second, NOW, Rules(min_age=timedelta(0), max_shrink=ALL))

    assert [decision.reason for decision in plan.decisions] == [Reason.OWNER_GONE]


@given(lists, st.integers(0, 200), st.integers(0, 200), st.integers(0, 100))
def test_reads_that_shrink_too_much_decide_nothing(listed: list[Any], before: int, after: int, percent: int) -> None:
    first, second = (Owners({f"w{n}": "u" for n in range(count)}, NOW) for count in (before, after))
    limits = Rules(max_shrink=Share(percent, percent=True))
    try:
        decide(listed, first, second, NOW, limits)
        refused = False
    except OwnersError:
        refused = True

    assert refused is (before == 0 or after == 0 or before - after > (percent and max(3, before * percent // 100)))


class Platform:
    """A backend and a cluster in one world, where people come and go at any moment of a run."""

    def __init__(self, coming: dict[int, str], going: dict[int, str]) -> None:
        self.owners = {f"old{number}": "u" for number in range(5)}
        self.cluster = FakeCluster.of(*(make_swarm(name, "u") for name in self.owners))
        self.cluster.swarms |= {"workspace-orphan": make_swarm("orphan", "u")}
        self.time = FakeTime(on_sleep=self.tick)
        self.moment = 0
        self._coming, self._going = coming, going
        self.seen: list[dict[str, str]] = []

    def tick(self) -> None:
        """Let what is due happen: a newcomer's owner is always written before the swarm is made."""
        self.moment += 1
        if name := self._coming.get(self.moment):
            self.owners[name] = "u"
            made = make_swarm(name, "u")
            made["metadata"]["creationTimestamp"] = stamp(self.time.moment)
            self.cluster.swarms[f"workspace-{name}"] = made
        if name := self._going.get(self.moment):
            self.owners.pop(name, None)

    def describe(self) -> str:
        return "the platform"

    def read(self, now: datetime) -> Owners:
        self.tick()
        owners = dict(self.owners)
        self.seen.append(owners)
        self.tick()
        return Owners(owners, now)

    def list_swarms(self) -> list[Any]:
        self.tick()
        listed = list(self.cluster.swarms.values())
        self.tick()
        return listed

    def delete_swarm(self, name: str, uid: str, resource_version: str) -> Any:
        self.tick()
        return self.cluster.delete_swarm(name, uid, resource_version)


@given(
    st.dictionaries(st.integers(1, 20), st.sampled_from(["new1", "new2", "new3"]), max_size=4),
    st.dictionaries(st.integers(1, 20), st.sampled_from([f"old{number}" for number in range(5)]), max_size=4),
)
def test_whoever_comes_at_any_moment_of_a_run_survives_it_even_without_a_min_age(
    coming: dict[int, str], going: dict[int, str]
) -> None:
    platform = Platform(coming, going)
    stream = io.StringIO()
    options = Options(rules=Rules(min_age=timedelta(0), max_delete=ALL), confirm_after=timedelta(seconds=5))
    reap(
        platform,  # type: ignore[arg-type]
        platform,
        options,
        Report(stream, dry_run=False),
        progress=Progress(io.StringIO()),
        clock=platform.time.clock(),
    )
    summary = json.loads(stream.getvalue().splitlines()[-1])
    gone = {name.removeprefix("workspace-") for name, _, _ in platform.cluster.deleted}

    assert summary["exitCode"] == 0
    assert "orphan" in gone
    assert gone.isdisjoint({"new1", "new2", "new3"})
    assert all(gone.isdisjoint(owners) for owners in platform.seen)
