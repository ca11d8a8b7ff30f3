"""Requests that wait for a swarm: woken once for all of them, let through together, and never for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from unit.backend.world import World, eventually
from unit.gate.conftest import ALICE, BOB
from unit.gate.gates import Gates, make_swarm
from userswarm.gate.answers import TOO_EARLY, TOO_EARLY_HEADER

A = "/v1/workspaces/a/chat"
PATH = "userswarms/workspace-a"


def put_to_sleep(world: World) -> None:
    """Report what the controller does of a swarm that nobody used."""
    world.report("workspace-a", "Asleep", lifecycle={"asleepSince": "2026-01-01T00:00:00Z", "mark": ""})


def test_500_requests_wait_on_one_wake_which_is_one_annotation(world: World, make_gate: Callable[..., Gates]) -> None:
    put_to_sleep(world)
    gate = make_gate(hold=300)
    with ThreadPoolExecutor(500) as pool:
        waiting = [pool.submit(gate.check, A, ALICE) for _ in range(500)]
        eventually(lambda: sum(gate.gate._holding._waiting.values()) == 500, seconds=120)
        assert not any(each.done() for each in waiting)
        world.verify("workspace-a")
        answers = [each.result(120) for each in waiting]

    assert {answer.code for answer in answers} == {200}
    assert len({answer.upstream for answer in answers}) == 1
    assert world.count("PATCH", PATH) == 1
    assert gate.count("userswarm_gate_wakes_total") == 1
    assert gate.count("userswarm_gate_hold_seconds_count") == 500
    assert not gate.gate._holding._waiting


def test_who_waits_too_long_is_told_when_to_come_back(world: World, make_gate: Callable[..., Gates]) -> None:
    put_to_sleep(world)
    gate = make_gate(hold=0)
    answer = gate.check(A, ALICE)

    assert (answer.code, answer.headers["retry-after"]) == (503, "2")
    assert world.count("PATCH", PATH) == 1
    assert gate.check(A, ALICE).code == 503
    assert world.count("PATCH", PATH) == 1


def test_our_envoy_is_told_425_for_503_and_everything_else_as_it_is(
    world: World, make_gate: Callable[..., Gates]
) -> None:
    put_to_sleep(world)
    gate = make_gate(hold=0)
    as_envoy = {TOO_EARLY_HEADER.replace("-", "_"): "1"}
    answer, plain = gate.check(A, ALICE, **as_envoy), gate.check(A, ALICE)

    assert (answer.code, plain.code) == (TOO_EARLY, 503)
    assert answer.headers["retry-after"] == plain.headers["retry-after"] == "2"
    assert orjson.loads(answer.body)["error"] == orjson.loads(plain.body)["error"]
    assert gate.check(A, BOB, **as_envoy).code == 404
    assert gate.check(A, **as_envoy).code == 401


def test_a_stranger_wakes_nobody(world: World, make_gate: Callable[..., Gates]) -> None:
    put_to_sleep(world)
    assert make_gate(hold=300).check(A, BOB).code == 404
    assert world.count("PATCH") == 0


def test_a_new_swarm_is_waited_for_without_a_wake(world: World, make_gate: Callable[..., Gates]) -> None:
    make_swarm(world, "new", "alice", verified=False)
    gate = make_gate(hold=300)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.check, "/v1/workspaces/new/", ALICE)
        eventually(lambda: gate.gate._holding._waiting["alice"] == 1)
        world.verify("workspace-new")
        assert waiting.result(60).code == 200
    assert world.count("PATCH") == 0


@pytest.mark.parametrize(
    ("change", "code"), [({"spec": {"suspend": True}}, 409), ({"spec": {"userId": "mallory"}}, None)]
)
def test_what_becomes_of_a_swarm_meanwhile_is_seen(
    world: World, make_gate: Callable[..., Gates], change: dict[str, object], code: int | None
) -> None:
    put_to_sleep(world)
    gate = make_gate(hold=300)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.check, A, ALICE)
        eventually(lambda: world.count("PATCH", PATH) == 1)
        if code is None:
            world.remove("workspace-a")
            make_swarm(world, "a", "mallory")
            code = 404
        else:
            world.patch("workspace-a", change)
        answer = waiting.result(60)
    assert (answer.code, answer.upstream) == (code, None)


def test_a_wake_that_fails_is_said_and_tried_again(world: World, make_gate: Callable[..., Gates]) -> None:
    put_to_sleep(world)
    gate = make_gate(hold=300)
    world.rest.faults.answer(403, method="PATCH", reason="Forbidden")
    answer = gate.check(A, ALICE)
    assert (answer.code, answer.headers["retry-after"]) == (503, "5")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.check, A, ALICE)
        eventually(lambda: world.count("PATCH", PATH) == 2)
        world.verify("workspace-a")
        assert waiting.result(60).code == 200


def test_one_user_cannot_take_all_places(world: World, make_gate: Callable[..., Gates]) -> None:
    put_to_sleep(world)
    gate = make_gate(hold=60, max_waiting=12)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(gate.check, A, ALICE) for _ in range(3)]
        eventually(lambda: gate.gate._holding._waiting["alice"] == 3)
        answer = gate.check(A, ALICE)
        assert (answer.code, answer.headers["retry-after"]) == (503, "5")
        assert gate.check("/v1/workspaces/b/", BOB).code == 200
        world.verify("workspace-a")
        assert {each.result(60).code for each in waiting} == {200}
