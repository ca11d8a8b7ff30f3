"""One table: a swarm, what two reads say, and what becomes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from unit.reaper.fakes import NOW, make_owners, make_swarm
from userswarm.reaper.amounts import parse_share
from userswarm.reaper.decide import Plan, Reason, Rules, Verdict, decide
from userswarm.reaper.owners import Owners, OwnersError

OTHERS = make_owners(w8="u8", w9="u9", X7="u7", straße="u6")
E2E = {"crawbl.ai/e2e": "true"}


def decide_one(
    swarm: object, first: Owners = OTHERS, second: Owners = OTHERS, rules: Rules | None = None
) -> tuple[Verdict, Reason]:
    (decision,) = decide([swarm], first, second, NOW, rules or Rules()).decisions
    return decision.verdict, decision.reason


def test_a_swarm_missing_from_both_reads_goes() -> None:
    assert decide_one(make_swarm()) == (Verdict.DELETE, Reason.OWNER_GONE)


@pytest.mark.parametrize(("first", "second"), [({"w1": "u1"}, {"w9": "u9"}), ({"w9": "u9"}, {"w1": "u1"})])
def test_an_owner_alive_in_either_read_is_alive(first: dict[str, str], second: dict[str, str]) -> None:
    assert decide_one(make_swarm(), make_owners(**first), make_owners(**second)) == (Verdict.LEAVE, Reason.OWNER_ALIVE)


@pytest.mark.parametrize(
    ("swarm", "reason"),
    [
        (make_swarm(deleting=True), Reason.ALREADY_DELETING),
        (make_swarm(labels={"crawbl.ai/keep": "true"}), Reason.KEEP_LABEL),
        (make_swarm(labels={"crawbl.ai/keep": ""}), Reason.KEEP_LABEL),
        (make_swarm(labels={"crawbl.ai/keep": "false"}), Reason.KEEP_LABEL),
        (make_swarm(age=timedelta(minutes=59, seconds=59)), Reason.TOO_YOUNG),
        (make_swarm(age=timedelta(hours=-3)), Reason.TOO_YOUNG),
        (make_swarm("w9", "u1"), Reason.OWNER_MISMATCH),
        (make_swarm("W9", "u9"), Reason.OWNER_MISMATCH),
        (make_swarm("x7", "u7"), Reason.OWNER_MISMATCH),
        (make_swarm("STRASSE", "u6"), Reason.OWNER_MISMATCH),
    ],
)
def test_whatever_is_in_doubt_stays(swarm: dict[str, Any], reason: Reason) -> None:
    assert decide_one(swarm) == (Verdict.LEAVE, reason)


def test_a_workspace_that_changes_hands_between_the_reads_stays_with_both() -> None:
    before, after = make_owners(w1="old"), make_owners(w1="new")

    assert decide_one(make_swarm("w1", "old"), before, after)[1] is Reason.OWNER_ALIVE
    assert decide_one(make_swarm("w1", "new"), before, after)[1] is Reason.OWNER_ALIVE
    assert decide_one(make_swarm("w1", "third"), before, after)[1] is Reason.OWNER_MISMATCH


def test_min_age_is_reached_at_the_second() -> None:
    assert decide_one(make_swarm(age=timedelta(hours=1)))[0] is Verdict.DELETE


@pytest.mark.parametrize(
    ("name", "spec", "known"),
    [
        ("workspace-w9", {"userId": "u9"}, True),
        ("w9", {"userId": "u9"}, True),
        ("workspace-anything", {"userId": "u9", "workspaceId": "w9"}, True),
        ("workspace-w9", {"userId": "u9", "workspaceId": "w1"}, False),
    ],
)
def test_the_workspace_is_the_spec_s_or_else_the_name_less_its_prefix(
    name: str, spec: dict[str, str], known: bool
) -> None:
    swarm = make_swarm()
    swarm["metadata"]["name"] = name
    swarm["spec"] = spec

    assert decide_one(swarm)[1] is (Reason.OWNER_ALIVE if known else Reason.OWNER_GONE)


def broken(path: str, value: Any) -> dict[str, Any]:
    """Return a swarm with `value` at metadata.uid, say; ``...`` takes the field away."""
    swarm = make_swarm()
    *parents, last = path.split(".")
    place: Any = swarm
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return swarm


@pytest.mark.parametrize(
    "item",
    [
        None,
        "swarm",
        [],
        {},
        broken("metadata", ...),
        broken("metadata", []),
        broken("metadata.name", ...),
        broken("metadata.name", 5),
        broken("metadata.uid", ""),
        broken("metadata.resourceVersion", ...),
        broken("metadata.labels", ["crawbl.ai/keep"]),
        broken("metadata.creationTimestamp", ...),
        broken("metadata.creationTimestamp", None),
        broken("metadata.creationTimestamp", "yesterday"),
        broken("metadata.creationTimestamp", "2026-02-30T12:00:00Z"),
        broken("metadata.creationTimestamp", "2026-01-01T12:00:00"),
        broken("metadata.creationTimestamp", "0001-01-01T00:00:00+14:00"),
        broken("metadata.creationTimestamp", "2026-01-01T12:00:00Z\n"),
        broken("spec", ...),
        broken("spec", None),
        broken("spec.userId", ...),
        broken("spec.userId", ""),
        broken("spec.userId", 17),
        broken("spec.workspaceId", ""),
        broken("spec.workspaceId", None),
        broken("spec.workspaceId", ["w1"]),
    ],
)
def test_an_object_that_cannot_be_read_stays(item: object) -> None:
    assert decide_one(item) == (Verdict.LEAVE, Reason.MALFORMED)


def test_an_object_that_cannot_be_read_stops_no_other() -> None:
    plan = decide([None, make_swarm("w1"), {"metadata": {"name": "half"}}], OTHERS, OTHERS, NOW, Rules())

    assert {(decision.name, decision.reason) for decision in plan.decisions} == {
        ("", Reason.MALFORMED),
        ("half", Reason.MALFORMED),
        ("workspace-w1", Reason.OWNER_GONE),
    }


def test_a_malformed_object_s_message_names_the_field_and_its_value() -> None:
    (decision,) = decide([broken("spec.userId", 17)], OTHERS, OTHERS, NOW, Rules()).decisions

    assert "spec.userId is 17" in decision.message


class TestEndToEndSwarms:
    RULES = Rules(max_age=timedelta(hours=6))

    def test_go_at_max_age_whoever_owns_them(self) -> None:
        old = make_swarm("w9", "u9", age=timedelta(hours=6), labels=E2E)

        assert decide_one(old, rules=self.RULES) == (Verdict.DELETE, Reason.E2E_EXPIRED)

    def test_stay_with_their_owner_until_then(self) -> None:
        young = make_swarm("w9", "u9", age=timedelta(hours=5), labels=E2E)

        assert decide_one(young, rules=self.RULES) == (Verdict.LEAVE, Reason.OWNER_ALIVE)

    def test_go_before_that_when_they_have_no_owner(self) -> None:
        assert decide_one(make_swarm(age=timedelta(hours=5), labels=E2E), rules=self.RULES)[1] is Reason.OWNER_GONE

    def test_stay_with_their_owner_for_ever_without_a_max_age(self) -> None:
        assert decide_one(make_swarm("w9", "u9", labels=E2E))[1] is Reason.OWNER_ALIVE

    @pytest.mark.parametrize("labels", [{}, {"crawbl.ai/e2e": "false"}, {"crawbl.ai/e2e": ""}, {"e2e": "true"}])
    def test_are_those_labelled_true_and_no_other(self, labels: dict[str, str]) -> None:
        assert decide_one(make_swarm("w9", "u9", labels=labels), rules=self.RULES)[1] is Reason.OWNER_ALIVE

    def test_stay_while_they_are_kept_or_too_young_all_the_same(self) -> None:
        kept = make_swarm(labels=E2E | {"crawbl.ai/keep": "true"})
        young = make_swarm(age=timedelta(minutes=30), labels=E2E)

        assert decide_one(kept, rules=self.RULES)[1] is Reason.KEEP_LABEL
        assert decide_one(young, rules=Rules(max_age=timedelta(minutes=1)))[1] is Reason.TOO_YOUNG

    def test_count_for_max_delete(self) -> None:
        swarms = [make_swarm(f"e{number}", labels=E2E) for number in range(4)]

        assert decide(swarms, OTHERS, OTHERS, NOW, self.RULES).withheld


def of_orphans(orphans: int, total: int, max_delete: str) -> Plan:
    swarms = [make_swarm(f"gone-{number}") for number in range(orphans)]
    swarms += [make_swarm(f"w{number}", f"u{number}") for number in range(total - orphans)]
    owners = make_owners(**{f"w{number}": f"u{number}" for number in range(total)})
    return decide(swarms, owners, owners, NOW, Rules(max_delete=parse_share(max_delete)))


@pytest.mark.parametrize(
    ("orphans", "total", "max_delete", "withheld"),
    [
        (3, 3, "10%", False),
        (4, 4, "10%", True),
        (4, 39, "10%", True),
        (4, 40, "10%", False),
        (5, 40, "10%", True),
        (40, 40, "100%", False),
        (1, 40, "0", True),
        (1, 40, "0%", True),
        (0, 40, "0", False),
        (2, 40, "2", False),
        (3, 40, "2", True),
    ],
)
def test_more_than_max_delete_and_nothing_goes(orphans: int, total: int, max_delete: str, withheld: bool) -> None:
    plan = of_orphans(orphans, total, max_delete)
    verdicts = [decision.verdict for decision in plan.decisions]

    assert plan.withheld is withheld
    assert plan.doomed == orphans
    assert verdicts.count(Verdict.DELETE) == (0 if withheld else orphans)
    assert verdicts.count(Verdict.WITHHOLD) == (orphans if withheld else 0)


def test_what_is_withheld_keeps_its_reason_and_says_how_many_would_go() -> None:
    withheld = [d for d in of_orphans(4, 10, "10%").decisions if d.verdict is Verdict.WITHHOLD]

    assert {decision.reason for decision in withheld} == {Reason.OWNER_GONE}
    assert all("4 would go and 3 may" in decision.message for decision in withheld)


@pytest.mark.parametrize(
    ("as_of", "reason"),
    [
        (NOW - timedelta(hours=48), Reason.NEWER_THAN_OWNERS),
        # creationTimestamp has dropped up to a second.
        (NOW - timedelta(hours=47, minutes=59, seconds=59, milliseconds=500), Reason.NEWER_THAN_OWNERS),
        (NOW - timedelta(hours=47, minutes=59, seconds=59), Reason.OWNER_GONE),
    ],
)
def test_a_read_says_nothing_about_swarms_that_came_after_it(as_of: datetime, reason: Reason) -> None:
    stale = make_owners(as_of, w9="u9")
    swarm = make_swarm(age=timedelta(hours=48))

    assert decide_one(swarm, stale, OTHERS)[1] is reason
    assert decide_one(swarm, OTHERS, stale)[1] is reason


@pytest.mark.parametrize(("first", "second"), [(make_owners(), OTHERS), (OTHERS, make_owners())])
def test_an_empty_read_decides_nothing(first: Owners, second: Owners) -> None:
    with pytest.raises(OwnersError, match="empty"):
        decide([make_swarm()], first, second, NOW, Rules())


def many(count: int) -> Owners:
    return make_owners(**{f"w{number}": f"u{number}" for number in range(count)})


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [(100, 90, False), (100, 89, True), (5, 2, False), (5, 1, True), (90, 100, False), (1, 100, False)],
)
def test_a_second_read_much_shorter_than_the_first_decides_nothing(before: int, after: int, refused: bool) -> None:
    if refused:
        with pytest.raises(OwnersError, match=f"shrank from {before} to {after}"):
            decide([make_swarm("gone")], many(before), many(after), NOW, Rules())
    else:
        assert decide([make_swarm("gone")], many(before), many(after), NOW, Rules()).doomed == 1


def test_decisions_come_by_name() -> None:
    swarms = [make_swarm(name) for name in ("c", "a", "b")]

    assert [d.name for d in decide(swarms, OTHERS, OTHERS, NOW, Rules()).decisions] == [
        "workspace-a",
        "workspace-b",
        "workspace-c",
    ]
