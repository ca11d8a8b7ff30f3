"""How much a user and a workspace may: a rate, and requests that are open at once; in memory and in a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unit.backend.world import World, eventually
from unit.gate.conftest import ALICE, BOB
from unit.gate.gates import Clock, Gates, make_swarm
from userswarm.gate.answers import Refused
from userswarm.gate.counting import LEASE, Memory, OpenRequests, Redis, Store
from userswarm.gate.limits import Rates
from userswarm.gate.settings import GateSettings

MakeGate = Callable[..., Gates]

A = "/v1/workspaces/a/"


def test_a_user_sends_so_many_requests_and_others_send_theirs(make_gate: MakeGate, storage: str) -> None:
    gate = make_gate(user_rate="3/day", limits_storage=storage)
    assert [gate.check(A, ALICE).code for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = gate.check("/v1/workspaces/nowhere/", ALICE)

    assert (answer.code, answer.json["error"]) == (429, "too many requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 86_400
    assert gate.check("/v1/workspaces/b/", BOB).code == 200
    assert gate.count("userswarm_gate_decisions_total", code="429", reason="user-rate") == 3


def test_nobody_uses_up_the_rate_of_a_workspace_that_is_anothers(
    world: World, make_gate: MakeGate, storage: str
) -> None:
    make_swarm(world, "a2", "alice")
    gate = make_gate(workspace_rate="2/day", limits_storage=storage)

    assert [gate.check(A, BOB).code for _ in range(5)] == [404] * 5
    assert [gate.check(A, ALICE).code for _ in range(3)] == [200, 200, 429]
    assert gate.check("/v1/workspaces/a2/", ALICE).code == 200


def test_exceptions_have_limits_of_their_own_or_none(make_gate: MakeGate, storage: str) -> None:
    exceptions = {"user": {"alice": {"rate": "2/day"}, "bob": {"rate": ""}}}
    gate = make_gate(user_rate="1/day", limits=exceptions, limits_storage=storage)

    assert [gate.check(A, ALICE).code for _ in range(3)] == [200, 200, 429]
    assert {gate.check("/v1/workspaces/b/", BOB).code for _ in range(20)} == {200}


def test_an_unknown_token_counts_for_nobody(make_gate: MakeGate) -> None:
    gate = make_gate(user_rate="1/day")
    assert [gate.check(A, "bad").code for _ in range(5)] == [401] * 5
    assert gate.check(A, ALICE).code == 200


@pytest.mark.parametrize("setting", [{"user_rate": "5/second"}, {"user_open": 5, "access_log": "/pipe"}])
def test_nobody_is_let_in_uncounted(make_gate: MakeGate, setting: dict[str, Any]) -> None:
    # Nobody listens on the discard port of this machine.
    gate = make_gate(limits_storage="redis://127.0.0.1:9/0", **setting)
    answer = gate.check(A, ALICE)

    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    assert gate.count("userswarm_gate_decisions_total", code="503", reason="no-counter") == 1


def counts(rates: Rates, name: str = "alice") -> bool:
    try:
        rates.count("user", name)
    except Refused as refusal:
        if refusal.code != 429:
            raise
        return False
    return True


def test_the_next_time_is_a_new_one(storage: str) -> None:
    rates = Rates(GateSettings(user_rate="2/second", limits_storage=storage))
    eventually(lambda: not counts(rates))
    assert counts(rates, "bob")
    eventually(lambda: counts(rates))


# Open at once


@pytest.fixture
def store_and_clock(storage: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Clock]:
    clock = Clock()
    if not storage:
        return Memory(clock), clock
    monkeypatch.setattr("userswarm.gate.counting.time.time", clock)
    return Redis(storage), clock


def open_requests(store: Store, **settings: Any) -> OpenRequests:
    return OpenRequests(GateSettings(**settings), store)


def is_refused(opened: OpenRequests, request_id: str, user: str = "alice", workspace: str = "a") -> str:
    try:
        opened.opened(request_id, user, workspace)
    except Refused as refusal:
        return refusal.reason if refusal.code == 429 else f"code {refusal.code}"
    return ""


def test_so_many_are_open_until_one_ends(store_and_clock: tuple[Store, Clock]) -> None:
    opened = open_requests(store_and_clock[0], user_open=2)
    assert [is_refused(opened, request_id) for request_id in ("r1", "r2", "r3")] == ["", "", "user-open"]
    assert not is_refused(opened, "r4", "bob")

    opened.closed("r1", "alice", "a")
    assert [is_refused(opened, request_id) for request_id in ("r5", "r6")] == ["", "user-open"]


def test_a_request_whose_end_was_never_told_is_forgotten_unless_it_goes_on(
    store_and_clock: tuple[Store, Clock],
) -> None:
    store, clock = store_and_clock
    opened = open_requests(store, user_open=2)
    assert [is_refused(opened, request_id) for request_id in ("stream", "lost")] == ["", ""]
    clock.now += LEASE - 1
    opened.goes_on("stream", "alice", "a")
    opened.goes_on("never opened", "alice", "a")
    clock.now += 2

    assert [is_refused(opened, request_id) for request_id in ("r1", "r2")] == ["", "user-open"]


def test_what_the_workspace_refuses_does_not_count_for_the_user(store_and_clock: tuple[Store, Clock]) -> None:
    opened = open_requests(store_and_clock[0], user_open=2, workspace_open=1)
    assert is_refused(opened, "r1", workspace="a") == ""
    assert is_refused(opened, "r2", workspace="a") == "workspace-open"
    assert is_refused(opened, "r3", workspace="a2") == ""
    assert is_refused(opened, "r4", workspace="a3") == "user-open"


def test_one_id_for_many_requests_counts_as_none(store_and_clock: tuple[Store, Clock]) -> None:
    opened = open_requests(store_and_clock[0], user_open=5)
    assert [is_refused(opened, "same") for _ in range(3)] == ["", "user-open", "user-open"]
    assert [is_refused(opened, f"r{number}") for number in range(5)] == ["", "", "", "", "user-open"]


def test_exceptions_may_have_more_or_no_limit(store_and_clock: tuple[Store, Clock]) -> None:
    limits = {"user": {"alice": {"open": 2}, "bob": {"open": 0}}, "workspace": {"w": {"open": 1}}}
    opened = open_requests(store_and_clock[0], user_open=1, limits=limits)

    assert [is_refused(opened, f"a{number}") for number in range(3)] == ["", "", "user-open"]
    assert {is_refused(opened, f"b{number}", "bob", f"b{number}") for number in range(20)} == {""}
    assert [is_refused(opened, f"w{number}", "bob", "w") for number in range(2)] == ["", "workspace-open"]


def test_a_decision_counts_what_it_lets_through_and_nginx_is_not_counted(make_gate: MakeGate) -> None:
    gate = make_gate(user_open=1, access_log="/pipe")
    assert gate.opened is not None

    assert gate.check("/v1/workspaces/b/", ALICE, x_request_id="r0").code == 404
    assert gate.check(A, ALICE, x_request_id="r1").code == 200
    assert gate.check(A, ALICE, x_request_id="r2").code == 429
    assert gate.auth(A, ALICE).code == 200
    gate.opened.closed("r1", "alice", "a")
    assert gate.check(A, ALICE, x_request_id="r3").code == 200
