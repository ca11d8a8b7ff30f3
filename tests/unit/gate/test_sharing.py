"""Several gates that count together by a real Redis, and what becomes of them while it is away."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from unit.gate.conftest import ALICE
from unit.gate.gates import Gates, Noted
from unit.gate.redis_server import RedisServer
from userswarm.gate.answers import Refused
from userswarm.gate.counting import LEASE, OpenRequests
from userswarm.gate.limits import Rates
from userswarm.gate.settings import PREFIX, GateSettings
from userswarm.gate.streams import Lines

MakeGate = Callable[..., Gates]

A = "/v1/workspaces/a/"
RATE = {"user_rate": "1000/day"}
OPEN = {"user_open": 1000, "access_log": "/pipe"}
either = pytest.mark.parametrize("limit", [RATE, OPEN], ids=["rate", "open"])


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, which may end."""
    with RedisServer.running(tmp_path) as server:
        yield server


@pytest.fixture
def shared(redis_server: RedisServer) -> Iterator[RedisServer]:
    yield redis_server
    redis_server.clear()


def count(ask: Callable[[], None]) -> int:
    """Return 1 where a request is let through, 0 where it is one too many."""
    try:
        ask()
    except Refused as refusal:
        if refusal.code != 429:
            raise
        return 0
    return 1


def test_gates_count_rates_together(shared: RedisServer) -> None:
    settings = GateSettings(user_rate="7/day", limits_storage=shared.url)
    gates = [Rates(settings), Rates(settings)]
    with ThreadPoolExecutor(8) as threads:
        counted = threads.map(lambda number: count(lambda: gates[number % 2].count("user", "alice")), range(40))
        assert sum(counted) == 7


def test_gates_count_together_what_is_open(shared: RedisServer) -> None:
    settings = GateSettings(user_open=5, limits_storage=shared.url)
    gates = [OpenRequests(settings), OpenRequests(settings)]
    with ThreadPoolExecutor(8) as threads:
        counted = threads.map(
            lambda number: count(lambda: gates[number % 2].opened(f"r{number}", "alice", "a")), range(40)
        )
        assert sum(counted) == 5
    # Whoever hears of the end.
    for number in range(40):
        gates[(number + 1) % 2].closed(f"r{number}", "alice", "a")
    assert count(lambda: gates[0].opened("next", "alice", "a")) == 1


def test_a_stream_counts_for_as_long_as_it_goes_on(shared: RedisServer) -> None:
    opened = OpenRequests(GateSettings(user_open=1, limits_storage=shared.url))
    opened.opened("stream", "alice", "a")
    with contextlib.closing(shared.inside) as inside:
        (key,) = inside.scan_iter()
        # Time has passed without another request of hers.
        assert inside.expire(key, round(LEASE))
        opened.goes_on("stream", "alice", "a")
        assert inside.ttl(key) > LEASE


@either
def test_while_redis_is_away_nobody_is_let_in(
    make_gate: MakeGate, own_server: RedisServer, limit: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(limits_storage=own_server.url, **limit)
    assert gate.check(A, ALICE).code == 200
    own_server.stop()
    answer = gate.check(A, ALICE)
    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    assert gate.count("userswarm_gate_decisions_total", code="503", reason="no-counter") == 1
    assert f"{PREFIX}LIMITS_STORAGE" in caplog.text

    assert own_server.start()
    assert gate.check(A, ALICE).code == 200


def test_what_envoy_tells_while_redis_is_away_is_not_lost_for_others(
    make_gate: MakeGate, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(limits_storage=own_server.url, **OPEN)
    uses = Noted()
    lines = Lines(uses, gate.opened)
    own_server.stop()
    told = {"requestId": "r1", "user": "alice", "workspace": "a"}
    for kind in ("DownstreamPeriodic", "DownstreamEnd"):
        lines.take(orjson.dumps({"type": kind, **told}) + b"\n")
    assert uses.notes == [("a", "alice", True)]
    assert [record.exc_info for record in caplog.records] == [None, None]


@either
def test_while_redis_says_nothing_nobody_is_let_in(
    make_gate: MakeGate, own_server: RedisServer, limit: dict[str, Any]
) -> None:
    gate = make_gate(limits_storage=own_server.url, **limit)
    assert gate.check(A, ALICE).code == 200
    own_server.pause()
    try:
        assert gate.check(A, ALICE).code == 503
    finally:
        own_server.resume()
    assert gate.check(A, ALICE).code == 200


@either
def test_who_says_nothing_is_not_asked_again_and_again(make_gate: MakeGate, limit: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gate = make_gate(limits_storage=f"redis://127.0.0.1:{silent.getsockname()[1]}/0", **limit)
        assert gate.check(A, ALICE).code == 503
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@either
def test_a_wrong_password_lets_nobody_in_and_the_log_names_the_setting(
    make_gate: MakeGate, tmp_path: Path, limit: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer.running(tmp_path, "--requirepass", "right") as server:
        for password, code in (("right", 200), ("wrong", 503)):
            gate = make_gate(limits_storage=f"redis://:{password}@127.0.0.1:{server.port}/0", **limit)
            assert gate.check(A, ALICE).code == code
    assert f"{PREFIX}LIMITS_STORAGE" in caplog.text
    assert "password" in caplog.text
    assert "wrong" not in caplog.text


@either
def test_tls_where_there_is_none_lets_nobody_in_and_the_log_names_the_setting(
    make_gate: MakeGate, shared: RedisServer, limit: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(limits_storage=shared.url.replace("redis:", "rediss:"), **limit)
    assert gate.check(A, ALICE).code == 503
    assert f"{PREFIX}LIMITS_STORAGE" in caplog.text
