"""What is cheap to send over HTTP/2 and dear to serve: it ends its own connection, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from contract.serving import eventually
from gate.http2 import Client, begin, hear, pour
from gate.http2_attacks import head
from gate.stand_in import Scene, answer_events, scene
from gate.test_data_path import HOME

Flood = Callable[[], Iterable[bytes]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("door"), hold=60) as made:
        yield made


def block(*more: tuple[str, str], **parts: str) -> bytes:
    """Return a head that needs nothing of what was said before."""
    return Encoder().encode([(name, value, True) for name, value in head(*more, **parts)], huffman=False)


def headers(number: int, packed: bytes, *flags: str) -> bytes:
    return HeadersFrame(number, packed, flags=flags).serialize()


def one(number: int, *flags: str, **parts: str) -> bytes:
    """Return a frame that is a request's whole head."""
    return headers(number, block(**parts), "END_HEADERS", *flags)


def many(frame: Frame, count: int = 100_000) -> Iterator[bytes]:
    """Return a frame again and again, some hundred of them in one piece."""
    return repeat(frame.serialize() * 500, count // 500)


def inserted(name: bytes, value: bytes) -> bytes:
    """Return a header that is to be remembered: it is number 62 from then on (RFC 7541, 6.2.1)."""
    size = len(value) - 127
    assert size >= 128
    return b"\x40" + bytes([len(name)]) + name + b"\x7f" + bytes([size % 128 | 128, size // 128]) + value


def bomb(number: int, name: bytes, times: int) -> bytes:
    """Return a head with a header of 4 KB and then again and again the same, for one byte each."""
    packed = block() + inserted(name, b"x" * 3900) + b"\xbe" * times
    return headers(number, packed, "END_HEADERS", "END_STREAM")


def resets() -> Iterator[bytes]:
    for number in range(1, 20_000, 2):
        yield one(number, "END_STREAM") + RstStreamFrame(number, error_code=8).serialize()


FLOODS: dict[str, tuple[Flood, str]] = {
    "pings": (lambda: many(PingFrame(0, b"12345678")), "envoy_http2_outbound_control_flood"),
    "settings": (lambda: many(SettingsFrame(0, settings={3: 100})), "envoy_http2_outbound_control_flood"),
    "priorities": (lambda: many(PriorityFrame(1, depends_on=3)), "envoy_http2_inbound_priority_frames_flood"),
    "window updates": (
        lambda: many(WindowUpdateFrame(0, window_increment=1)),
        "envoy_http2_inbound_window_update_frames_flood",
    ),
    "empty pieces of a body": (
        lambda: chain([one(1, method="POST")], many(DataFrame(1, b""))),
        "envoy_http2_inbound_empty_frames_flood",
    ),
    "a head that goes on and on": (
        lambda: chain([headers(1, block())], many(ContinuationFrame(1, b"\x00\x01a\x7f\x81\x01" + b"b" * 256))),
        "envoy_http2_header_overflow",
    ),
    "a head of empty pieces": (
        lambda: chain([headers(1, block())], many(ContinuationFrame(1, b""))),
        "envoy_http2_inbound_empty_frames_flood",
    ),
    "requests that are taken back": (resets, "envoy_http_downstream_rq_too_many_premature_resets"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_own_connection_and_no_other(at: Scene, name: str) -> None:
    frames, counter = FLOODS[name]
    before = at.door.count(counter)
    with Client(at.door) as other:
        events = other.open(head(("accept", "text/event-stream"), path="/v1/workspaces/bob/events", user="bob"))
        other.until(lambda: b"first" in events.body)
        with at.door.connect() as connection:
            pour(connection, chain([begin()], frames()))
            hear(connection)
        eventually(lambda: at.door.count(counter) > before)
        assert other.ask(head()).status == 200
        at.stage.set(answer_events["bob"])
        other.until(lambda: events.over)
        assert b"second" in events.body
    at.settle()
    assert [name for name, _ in at.arrived()].count("bob") == 1


@pytest.mark.parametrize("name", ["x-bomb", "cookie"])
def test_a_head_that_unpacks_to_forty_megabytes_is_refused(at: Scene, name: str) -> None:
    with at.door.connect() as connection:
        pour(connection, [begin(), bomb(1, name.encode(), 2)])
        hear(connection, lambda frames: bool(frames) and "END_STREAM" in frames[-1].flags)
        assert len(at.gate.seen) == 1
        pour(connection, [bomb(3, name.encode(), 10_000)])
        hear(connection, lambda frames: bool(frames) and frames[-1].stream_id == 3)
    assert at.door.ask("GET", f"{HOME}/", Authorization="Bearer alice")[0] == 200
    assert len(at.gate.seen) == 2


def test_more_streams_than_allowed_are_not_begun(at: Scene) -> None:
    held, decide = at.stage.event(), at.gate.answer

    async def hold(request: object, writer: object) -> None:
        await held.wait()
        await decide(request, writer)  # type: ignore[arg-type]

    at.gate.answer = hold
    try:
        with at.door.connect() as connection:
            pour(connection, [begin(), *(one(number, "END_STREAM") for number in range(1, 601, 2))])
            hear(connection, lambda frames: sum(isinstance(frame, RstStreamFrame) for frame in frames) == 172)
            eventually(lambda: len(at.gate.seen) == 128)
            at.gate.answer = decide
            assert at.door.ask("GET", f"{HOME}/", Authorization="Bearer alice")[0] == 200
            assert len(at.gate.seen) == 129
    finally:
        at.gate.answer = decide
        at.stage.set(held)


def test_who_takes_nothing_is_not_waited_for_and_not_stored_up_for(tmp_path: Path) -> None:
    with scene(tmp_path, idle_timeout=2, header_timeout=1) as made, made.door.connect() as connection:
        pour(connection, [begin(INITIAL_WINDOW_SIZE=0), one(1, "END_STREAM", path=f"{HOME}/large")])
        eventually(lambda: made.door.count("envoy_cluster_upstream_flow_control_paused_reading_total", "swarm"))
        assert made.door.ask("GET", f"{HOME}/", Authorization="Bearer alice")[0] == 200
        frames = hear(connection, lambda frames: bool(frames) and isinstance(frames[-1], RstStreamFrame))
        assert isinstance(frames[-1], (RstStreamFrame, GoAwayFrame))
        # Nor is who never ends a head.
        with made.door.connect() as slow:
            pour(slow, [begin(), headers(1, block())])
            assert hear(slow, lambda frames: bool(frames) and frames[-1].stream_id == 1)[-1].stream_id in (0, 1)
        assert [name for name, _ in made.arrived()] == ["alice", "alice"]
