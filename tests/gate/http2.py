"""A client of HTTP/2 that says what it is told to, right or wrong, and keeps what it hears.

`Client` is h2 with its judgement of what goes out switched off; what h2 cannot say at all is `pour`ed as frames.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from hyperframe.frame import Frame, GoAwayFrame, SettingsFrame

from contract.serving import PATIENCE
from gate.door import Door

Head = Sequence[tuple[str, str]]

_ERRORS = "envoy_http_downstream_cx_protocol_error"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass(slots=True)
class Stream:
    """What one stream has heard: `status` is 0 until there is an answer, `over` once no more can come."""

    number: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: bool = False
    over: bool = False


class Client:
    """One connection in clear text, of which the other side knows beforehand that it is HTTP/2."""

    def __init__(self, door: Door) -> None:
        judged_by_nobody = H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = H2Connection(judged_by_nobody)
        self.streams: dict[int, Stream] = {}
        self.gone = False
        self._door = door
        self._socket = door.connect()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2.initiate_connection()
        self._flush()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, head: Head, *, end: bool = True) -> Stream:
        """Begin a stream by its head."""
        stream = Stream(self.h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        self.h2.send_headers(stream.number, _bytes(head), end_stream=end)
        self._flush()
        return stream

    def send(self, stream: Stream, chunk: bytes, *, end: bool = False) -> None:
        """Send one frame of a body."""
        self.h2.send_data(stream.number, chunk, end_stream=end)
        self._flush()

    def end(self, stream: Stream, trailers: Head) -> None:
        """End a stream by trailers."""
        self.h2.send_headers(stream.number, _bytes(trailers), end_stream=True)
        self._flush()

    def reset(self, stream: Stream) -> None:
        self.h2.reset_stream(stream.number)
        stream.over = True
        self._flush()

    def ask(self, head: Head, *chunks: bytes, trailers: Head = ()) -> Stream:
        """Send a whole request, and wait for the end of what comes back."""
        before = self._door.count(_ERRORS)
        stream = self.open(head, end=not (chunks or trailers))
        for place, chunk in enumerate(chunks, 1):
            self.send(stream, chunk, end=place == len(chunks) and not trailers)
        if trailers:
            self.end(stream, trailers)
        self.until(lambda: stream.over, lambda: self._door.count(_ERRORS) > before)
        return stream

    def until(self, so: Callable[[], bool], broken: Callable[[], bool] = lambda: False) -> None:
        """Listen until something is so, or the other side has left, which ends every stream.

        Where Envoy counts a connection as `broken` it says nothing more, and ends it a second later.
        """
        deadline = time.monotonic() + PATIENCE
        while not so() and not self.gone:
            assert time.monotonic() < deadline, "neither an answer nor an end"
            try:
                chunk = self._receive()
            except TimeoutError:
                self.gone = broken()
                continue
            try:
                events = self.h2.receive_data(chunk)
            except ProtocolError:  # h2 takes nothing after a GOAWAY
                self.gone = True
            else:
                self.gone = not chunk
                for event in events:
                    self._hear(event)
            self._flush()
        for stream in self.streams.values() if self.gone else ():
            stream.over = True

    def _receive(self) -> bytes:
        self._socket.settimeout(0.05)
        try:
            return self._socket.recv(65536)
        except ConnectionError:
            return b""
        finally:
            self._socket.settimeout(PATIENCE)

    def _hear(self, event: Event) -> None:
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        match event:
            case ResponseReceived():
                stream.headers = dict(event.headers)
                stream.status = int(stream.headers.pop(":status"))
            case DataReceived():
                stream.body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream.number)
            case StreamReset():
                stream.reset = stream.over = True
            case StreamEnded():
                stream.over = True

    def _flush(self) -> None:
        # Whoever has left meanwhile is noticed by who listens.
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(self.h2.data_to_send())


def _bytes(head: Head) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in head]


def begin(**settings: int) -> bytes:
    """Return what a connection begins with; settings are named as hyperframe names them."""
    numbers = {getattr(SettingsFrame, name): value for name, value in settings.items()}
    return PREFACE + SettingsFrame(0, settings=numbers).serialize()


def pour(connection: socket.socket, frames: Iterable[bytes]) -> None:
    """Send without listening, until the other side does not take it any more."""
    with contextlib.suppress(ConnectionError):
        for each in frames:
            connection.sendall(each)


def hear(connection: socket.socket, until: Callable[[list[Frame]], bool] = lambda _: False) -> list[Frame]:
    """Return the frames that come until something is so of them, or the connection ends or is said to end."""
    frames: list[Frame] = []
    with contextlib.suppress(ConnectionError), connection.makefile("rb") as stream:
        while not until(frames) and len(head := stream.read(9)) == 9:
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(stream.read(length)))
            frames.append(frame)
            if isinstance(frame, GoAwayFrame):
                break
    return frames
