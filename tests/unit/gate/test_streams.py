"""What Envoy tells of open requests, and what comes of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from unit.backend.world import World, eventually
from unit.gate.gates import Clock, Noted
from userswarm.errors import SettingsError
from userswarm.gate.counting import Memory, OpenRequests
from userswarm.gate.settings import GateSettings
from userswarm.gate.streams import PERIOD, Lines, Reader, make_pipe
from userswarm.gate.uses import Uses


def line(kind: str, request_id: str = "r1", user: str = "alice", workspace: str = "a", **more: Any) -> bytes:
    told = {"type": kind, "requestId": request_id, "user": user, "workspace": workspace, **more}
    return orjson.dumps(told) + b"\n"


def make_lines(clock: Clock, **settings: Any) -> tuple[Lines, Noted, OpenRequests]:
    uses, opened = Noted(), OpenRequests(GateSettings(**settings), Memory(clock))
    return Lines(uses, opened, clock), uses, opened


def test_an_open_stream_keeps_its_swarm_awake_and_an_ended_one_does_not() -> None:
    clock = Clock()
    lines, uses, _ = make_lines(clock)
    lines.take(line("DownstreamStart") + line("DownstreamPeriodic", bytesOut=7) + line("DownstreamEnd", code=200))

    assert uses.notes == [("a", "alice", True)]
    assert len(lines) == 0


def test_streams_are_counted_until_they_end_or_nothing_is_heard_of_them() -> None:
    clock = Clock()
    lines, _, _ = make_lines(clock)
    lines.take(line("DownstreamPeriodic", "r1") + line("DownstreamPeriodic", "r2") + line("DownstreamPeriodic", "r2"))
    assert len(lines) == 2
    lines.take(line("DownstreamEnd", "r1"))
    assert len(lines) == 1
    clock.now += 2 * PERIOD
    assert len(lines) == 0


def test_the_end_of_a_request_makes_room_for_the_next() -> None:
    lines, _, opened = make_lines(Clock(), user_open=1)
    opened.opened("r1", "alice", "a")
    lines.take(line("DownstreamEnd", "r1"))
    opened.opened("r2", "alice", "a")


def test_lines_come_in_any_pieces() -> None:
    lines, uses, _ = make_lines(Clock())
    text = line("DownstreamPeriodic", "r1", "auth0%7CZo%C3%AB", "w%201") + line("DownstreamPeriodic", "r2")
    for number in range(len(text)):
        lines.take(text[number : number + 1])

    assert uses.notes == [("w 1", "auth0|Zo\u00eb", True), ("a", "alice", True)]


@pytest.mark.parametrize(
    "odd",
    [
        b"\n",
        b"half a line}\n",
        b"[]\n",
        b'"text"\n',
        b'{"type": "DownstreamPeriodic"}\n',
        line("DownstreamPeriodic", user="-"),
        line("DownstreamPeriodic", workspace=""),
        b"x" * 200_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_line_of_an_open_request_is_passed_over(odd: bytes) -> None:
    lines, uses, _ = make_lines(Clock())
    lines.take(odd + line("DownstreamPeriodic"))
    assert uses.notes == [("a", "alice", True)]


def test_a_line_that_never_ends_takes_no_memory() -> None:
    lines, uses, _ = make_lines(Clock())
    for _ in range(10):
        lines.take(b"x" * 60_000)
        assert len(lines._rest) <= 64 * 1024
    lines.take(b"\n" + line("DownstreamPeriodic"))
    assert uses.notes == [("a", "alice", True)]


def test_a_line_that_cannot_be_taken_in_does_not_end_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    class Away(Noted):
        def note(self, workspace: str, user: str, *, busy: bool) -> None:
            super().note(workspace, user, busy=busy)
            raise OSError("away")

    uses = Away()
    Lines(uses, None).take(line("DownstreamPeriodic") * 2)
    assert len(uses.notes) == 2
    assert "cannot take in a line" in caplog.text


# The pipe


def test_the_pipe_is_made_once_and_nothing_else_is_taken_for_it(tmp_path: Path) -> None:
    make_pipe(tmp_path / "pipe")
    make_pipe(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    (tmp_path / "file").touch()
    for wrong in ("file", "nowhere/pipe"):
        with pytest.raises(SettingsError, match="USERSWARM_GATE_ACCESS_LOG"):
            make_pipe(tmp_path / wrong)


def test_one_reader_at_a_time_and_the_next_goes_on_where_it_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    make_pipe(pipe)
    first, second = Noted(), Noted()
    readers = [Reader(pipe, Lines(uses, None)) for uses in (first, second)]
    readers[0].start()
    writer = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(writer, line("DownstreamPeriodic", workspace="w0"))
    eventually(lambda: len(first.notes) == 1)

    readers[1].start()
    for number in range(1, 50):
        os.write(writer, line("DownstreamPeriodic", workspace=f"w{number}"))
    eventually(lambda: len(first.notes) == 50)
    assert second.notes == []

    readers[0].close()
    os.write(writer, line("DownstreamPeriodic", workspace="w50"))
    eventually(lambda: second.notes == [("w50", "alice", True)])
    readers[1].close()
    os.close(writer)


# What is noted


def test_use_is_noted_behind_the_requests_and_seldom_written(world: World) -> None:
    client = world.client().cached(max_staleness=30.0)
    uses = Uses(client)
    uses.start()
    for _ in range(1000):
        uses.note("a", "alice", busy=False)
        uses.note("b", "bob", busy=True)
        uses.note("b", "stranger", busy=True)
    eventually(lambda: world.count("PATCH") == 2)
    uses.note("a", "alice", busy=False)
    uses.close()

    assert world.count("PATCH") == 2
    annotations = {name: world.get(f"workspace-{name}")["metadata"]["annotations"] for name in "ab"}
    assert "crawbl.ai/busy-until" not in annotations["a"]
    assert "crawbl.ai/busy-until" in annotations["b"]


def test_who_cannot_be_noted_does_not_keep_others_from_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    client = world.client().cached(max_staleness=30.0)
    world.rest.faults.answer(403, method="PATCH", reason="Forbidden")
    uses = Uses(client)
    uses.start()
    uses.note("a", "alice", busy=False)
    eventually(lambda: "cannot note" in caplog.text)
    uses.note("b", "bob", busy=False)
    eventually(lambda: "annotations" in world.get("workspace-b")["metadata"])
    uses.close()
