"""The gunicorn worker: one thread that reads requests whole before it answers them.

Answers are pure computing of less than a millisecond, so threads would only fight for the interpreter; what takes
time is the network. Here a slow client costs a socket and a buffer, never a thread: gthread's threads block in
recv() without a time limit once a request has begun, and a handful of slow clients would hold all of them.
Connections stay open for longer than Metacontroller's client keeps idle ones (90 s), so that it, and not we,
closes them, and no request is lost in between. Parsing and framing are gunicorn's own.
"""

from __future__ import annotations

import io
import os
import re
import selectors
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from gunicorn.http import wsgi
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    NoMoreData,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader
from gunicorn.workers.base import Worker

from userswarm.server.app import EXTENSION, Front
from userswarm.server.errors import STATUS_LINES, Refused, error_body
from userswarm.server.limits import WAITING

if TYPE_CHECKING:
    from gunicorn.config import Config

_RECEIVE = 65_536  # a usual request in one call
_HEAD_END = b"\r\n\r\n"
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t -~]*)?")
_MAX_CHUNK_LINE = 4096
_MAX_HEAD = 16_384  # what a client without a token can make us hold

# How long a worker with more connections than another leaves a new one to that one.
_GIVE_WAY = 0.005

# How long a refused client may go on sending before it is cut off: closing at once would reset the connection,
# and it might never read why.
_LINGER_WHEN_REFUSED = 2.0

_PARSE_ERRORS = {
    LimitRequestLine: 414,
    LimitRequestHeaders: 431,
    ExpectationFailed: 417,
    UnsupportedTransferCoding: 501,
}


class _Inbox(Unreader):  # type: ignore[misc]
    """What gunicorn's parser reads from: bytes that have arrived already."""

    def __init__(self, received: bytes | bytearray) -> None:
        super().__init__()
        self._received: bytes | None = bytes(received)

    def chunk(self, size_hint: int | None = None) -> bytes:
        received, self._received = self._received, None
        return received or b""


class _Outbox:
    """What gunicorn writes an answer to: it is sent by the worker, as the client takes it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def sendall(self, part: bytes) -> None:
        self._parts.append(part)

    send = sendall

    def take(self) -> bytes:
        answer = b"".join(self._parts)
        self._parts.clear()
        return answer


class _Chunks:
    """Decodes a chunked body as it arrives, strictly, each byte once (RFC 9112, section 7.1).

    gunicorn's own decoder copies what is left at every chunk: many tiny ones would keep it busy for minutes.
    """

    def __init__(self, start: int, limit: int) -> None:
        self.body = bytearray()
        self.too_large = False
        self._limit = limit
        self._next = start
        self._last = False

    def decode(self, received: bytearray) -> int | None:
        """Return the index behind the body once it is whole, or larger than the limit, else None.

        Raises Refused (400) where it is malformed.
        """
        while not self._last:
            line_end = received.find(b"\r\n", self._next, self._next + _MAX_CHUNK_LINE)
            if line_end < 0:
                self._check_not_endless(received, _MAX_CHUNK_LINE)
                return None
            size_line = _CHUNK_SIZE.fullmatch(received, self._next, line_end)
            if size_line is None:
                raise _malformed_chunks()
            size = int(size_line[1], 16)
            if size == 0:
                self._last, self._next = True, line_end
                break
            start, end = line_end + 2, line_end + 2 + size
            if len(self.body) + size > self._limit:
                self.body += b" " * (self._limit + 1 - len(self.body))  # so that the application refuses it
                self.too_large = True
                return len(received)
            if len(received) < end + 2:
                return None
            if received[end : end + 2] != b"\r\n":
                raise _malformed_chunks()
            self.body += received[start:end]
            self._next = end + 2
        end = received.find(_HEAD_END, self._next, self._next + _MAX_HEAD)
        if end < 0:
            self._check_not_endless(received, _MAX_HEAD)
            return None
        return end + len(_HEAD_END)

    def _check_not_endless(self, received: bytearray, most: int) -> None:
        if len(received) - self._next > most:
            raise _malformed_chunks()


def _malformed_chunks() -> Refused:
    return Refused(400, "the body is malformed: not chunked as RFC 9112 says")


class Connection:
    """One client: what it sent, what it is still to be sent, and until when the next step must be done."""

    __slots__ = (
        "body_end",
        "chunks",
        "close_after",
        "cut_short",
        "deadline",
        "environ",
        "head_end",
        "outbox",
        "peer",
        "received",
        "refused",
        "request",
        "response",
        "server",
        "shaking_hands",
        "sock",
        "unsent",
    )

    def __init__(self, sock: socket.socket, peer: Any, server: Any, deadline: float) -> None:
        self.sock = sock
        self.peer = peer
        self.server = server
        self.deadline = deadline
        self.shaking_hands = False
        self.received = bytearray()
        self.unsent: memoryview | None = None
        self.outbox = _Outbox()
        self.close_after = False
        self.refused = False
        self.forget_request()

    def forget_request(self) -> None:
        self.request: Any = None
        self.response: Any = None
        self.environ: dict[str, Any] = {}
        self.head_end = 0
        self.body_end: int | None = 0
        self.chunks: _Chunks | None = None
        self.cut_short = False


class BufferingWorker(Worker):  # type: ignore[misc]
    """Reads whole requests from all connections at once, and answers one after the other."""

    cfg: Config
    place: int | None = None
    """Where this worker stands in the balance; given by the master."""
    linger_when_stopping = 1.0
    """For so many seconds a stopping worker goes on answering: /readyz says no before connections are refused, and a
    request that a client was about to send on an idle connection is still answered (RFC 9112, section 9.6)."""

    def run(self) -> None:
        """Answer until told to stop; then stop in order: not ready, answer what came, close."""
        self._connections: set[Connection] = set()
        self._arriving: set[Connection] = set()  # admitted, their bodies not whole yet
        self._front: Front = self.wsgi.extensions[EXTENSION]
        self._poller = selectors.DefaultSelector()
        self._poller.register(self.PIPE[0], selectors.EVENT_READ, self._drain_wakeups)
        for listener in self.sockets:
            listener.setblocking(False)
        self._listen()
        self._next_tick = 0.0
        self._deaf_until: float | None = None
        self._gave_way = False

        while self.alive and self._parent_lives():
            self._turn()

        self._front.stopping = True
        told = time.monotonic()
        while time.monotonic() < told + self.linger_when_stopping:
            self._turn()
        self._stop_listening()
        for listener in self.sockets:
            while self._accept(listener):  # who is in the queue already would be reset
                pass
            listener.close()
        self._deaf_until = None
        stop_at = time.monotonic() + self.cfg.graceful_timeout
        while self._close_idle() and time.monotonic() < stop_at:
            self._turn()
        for connection in list(self._connections):
            self._close(connection)

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Stop in order, on SIGTERM: from now on /readyz says no."""
        self.app.wsgi().extensions[EXTENSION].stopping = True
        super().handle_exit(sig, frame)

    def _parent_lives(self) -> bool:
        return bool(self.ppid == os.getppid())

    def _turn(self) -> None:
        """Wait for something to happen, do it, and once a second look at the clock."""
        accepting = []
        for key, _ in self._poller.select(timeout=0.5 if self._deaf_until is None else _GIVE_WAY):
            if isinstance(key.data, Connection):
                self._serve(key.data)
            elif key.data == self._accept:
                accepting.append(key.fileobj)
            else:
                key.data(key.fileobj)
        if accepting:
            self._accept_fairly(accepting)
        else:
            self._gave_way = False
        if self._deaf_until is not None and time.monotonic() >= self._deaf_until:
            self._listen()
            self._gave_way = True
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + 1.0
            self.notify()
            for connection in [late for late in self._connections if late.deadline < now]:
                self._expire(connection)

    def _drain_wakeups(self, _fileobj: Any) -> None:
        os.read(self.PIPE[0], 4096)

    def _accept_fairly(self, listeners: list[Any]) -> None:
        """Accept one connection, but give way for a moment where another worker has fewer."""
        if self.app.balance.is_ahead(self.place) and not self._gave_way:
            self._stop_listening()
            self._deaf_until = time.monotonic() + _GIVE_WAY
            return
        for listener in listeners:
            self._accept(listener)
            self.app.balance.hold(self.place, len(self._connections))

    def _listen(self) -> None:
        self._deaf_until = None
        for listener in self.sockets:
            self._poller.register(listener, selectors.EVENT_READ, self._accept)

    def _stop_listening(self) -> None:
        if self._deaf_until is None:
            for listener in self.sockets:
                self._poller.unregister(listener)

    def _accept(self, listener: Any) -> bool:
        """Take a new client on, and tell whether there was one."""
        try:
            sock, peer = listener.accept()
        except OSError:  # another worker was faster, or the client is gone again
            return False
        if len(self._connections) >= self.cfg.worker_connections:
            # Make room: who has been silent for longest, or was slowest to say what it wants, has to go.
            expendable = self._connections - self._arriving
            if expendable:
                self._close(min(expendable, key=lambda candidate: candidate.deadline))
        sock.setblocking(False)
        connection = Connection(sock, peer, listener.getsockname(), time.monotonic() + self.cfg.timeout)
        if self.cfg.is_ssl:
            try:
                context = self.cfg.ssl_context(self.cfg, None)
                connection.sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except (OSError, ValueError) as error:
                self.log.debug("no TLS with %s: %s", peer, error)
                sock.close()
                return True
            connection.shaking_hands = True
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(connection)
        self._poller.register(connection.sock, selectors.EVENT_READ, connection)
        self._serve(connection)
        return True

    def _serve(self, connection: Connection) -> None:
        """Do what can be done for a connection without waiting."""
        try:
            if connection.shaking_hands:
                connection.sock.do_handshake()  # type: ignore[attr-defined]
                connection.shaking_hands = False
            if connection.unsent is not None:
                self._send(connection)
                self._advance(connection)
            else:
                self._receive(connection)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._wait_for(connection, selectors.EVENT_READ)
        except ssl.SSLWantWriteError:
            self._wait_for(connection, selectors.EVENT_WRITE)
        except OSError as error:  # ssl.SSLError is one too
            self.log.debug("connection of %s lost: %s", connection.peer, error)
            self._close(connection)
        except Exception:
            # A bug of ours shall cost one client its connection, not all of them the worker.
            self.log.exception("cannot serve the connection of %s", connection.peer)
            self._close(connection)

    def _receive(self, connection: Connection) -> None:
        while True:
            received = connection.sock.recv(_RECEIVE)
            if not received:
                self._close(connection)
                return
            if not connection.refused:
                connection.received += received
                self._advance(connection)
            # TLS may hold decrypted bytes that no poller knows of; a plain socket reports again what is left.
            if not isinstance(connection.sock, ssl.SSLSocket) or not connection.sock.pending():
                return

    def _advance(self, connection: Connection) -> None:
        """Answer every request that has arrived whole."""
        while connection.received and connection.unsent is None and not connection.refused:
            try:
                if connection.request is None and not self._begin(connection):
                    return
                if not self._is_whole(connection):
                    return
            except Refused as refusal:
                self._refuse(connection, refusal.code, str(refusal))
                return
            self._answer(connection)

    def _begin(self, connection: Connection) -> bool:
        """Parse the head of a request once it is there, and tell whether it is."""
        received = connection.received
        found = received.find(_HEAD_END)
        if found < 0:
            if len(received) > _MAX_HEAD:
                raise Refused(431, "the head of the request is too large")
            return False
        connection.head_end = found + 4
        inbox = _Inbox(received[: connection.head_end])
        try:
            request = Request(self.cfg, inbox, connection.peer, 1)
            # A time limit for the whole request, however slowly it drips in.
            connection.deadline = time.monotonic() + self.cfg.timeout
            connection.response, connection.environ = wsgi.create(
                request, connection.outbox, connection.peer, connection.server, self.cfg
            )
        except NoMoreData:
            raise Refused(400, "the head of the request is malformed") from None
        except ParseException as error:
            raise Refused(
                _PARSE_ERRORS.get(type(error), 400), f"the head of the request is malformed: {error}"
            ) from None
        connection.request = request
        if isinstance(request.body.reader, ChunkedReader):
            connection.chunks = _Chunks(connection.head_end, self._front.settings.max_body_bytes)
            connection.body_end = None
        else:
            connection.body_end = connection.head_end + request.body.reader.length
        if not self._is_whole(connection):
            self._admit(connection)
        return True

    def _is_whole(self, connection: Connection) -> bool:
        if connection.chunks is not None and connection.body_end is None:
            connection.body_end = connection.chunks.decode(connection.received)
            if connection.chunks.too_large:
                self._cut_short(connection)
        return connection.body_end is not None and len(connection.received) >= connection.body_end

    def _admit(self, connection: Connection) -> None:
        """Before waiting for a body, ask whether it would be read at all; if not, the answer needs no body."""
        environ = connection.environ
        environ[WAITING] = len(self._arriving)
        if self._front.reads_body(environ):
            self._arriving.add(connection)
            # What gunicorn wrote so far is "100 Continue", where the client waits for it.
            go_on = connection.outbox.take()
            if go_on:
                connection.sock.send(go_on)
        else:
            connection.outbox.take()
            self._cut_short(connection)

    def _cut_short(self, connection: Connection) -> None:
        """Take what has arrived for the whole, and close after the answer: what follows is no next request."""
        connection.cut_short = True
        connection.response.force_close()
        connection.body_end = len(connection.received)

    def _answer(self, connection: Connection) -> None:
        """Run the application on a whole request, and send what it says."""
        response, environ, received = connection.response, connection.environ, connection.received
        if connection.chunks is not None:
            body = bytes(connection.chunks.body)
        else:
            body = bytes(memoryview(received)[connection.head_end : connection.body_end])
        environ["wsgi.input"] = io.BytesIO(body)
        self._arriving.discard(connection)
        environ[WAITING] = len(self._arriving)
        if not self.alive:
            response.force_close()
        try:
            for part in self.wsgi(environ, response.start_response):
                response.write(part)
            response.close()
        except Exception:
            self.log.exception("cannot answer a request")
            self._refuse(connection, 500, "internal error")
            return
        self.nr += 1
        connection.close_after = response.should_close()
        connection.refused = connection.cut_short
        del received[: connection.body_end]
        connection.forget_request()
        self._post(connection)

    def _refuse(self, connection: Connection, code: int, message: str) -> None:
        """Answer what is no request to the application, and close."""
        body = error_body(message)
        connection.outbox.take()
        head = (
            f"HTTP/1.1 {STATUS_LINES[code]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        connection.outbox.sendall(head.encode() + body)
        connection.close_after = connection.refused = True
        connection.received.clear()
        connection.forget_request()
        self._arriving.discard(connection)
        self._post(connection)

    def _post(self, connection: Connection) -> None:
        connection.unsent = memoryview(connection.outbox.take())
        connection.deadline = time.monotonic() + self.cfg.timeout
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        assert connection.unsent is not None  # noqa: S101
        while connection.unsent:
            try:
                sent = connection.sock.send(connection.unsent)
            except (BlockingIOError, ssl.SSLWantWriteError):
                # Nothing more is read meanwhile: who does not take answers cannot ask either.
                self._wait_for(connection, selectors.EVENT_WRITE)
                return
            connection.unsent = connection.unsent[sent:]
        connection.unsent = None
        if not connection.close_after:
            connection.deadline = time.monotonic() + self.cfg.keepalive
            self._wait_for(connection, selectors.EVENT_READ)
        elif connection.refused:
            connection.deadline = time.monotonic() + _LINGER_WHEN_REFUSED
            connection.sock.shutdown(socket.SHUT_WR)
            self._wait_for(connection, selectors.EVENT_READ)
        else:
            self._close(connection)

    def _wait_for(self, connection: Connection, events: int) -> None:
        key = self._poller.get_key(connection.sock)
        if key.events != events:
            self._poller.modify(connection.sock, events, connection)

    def _expire(self, connection: Connection) -> None:
        if connection.unsent is None and not connection.refused and (connection.received or connection.request):
            try:
                self._refuse(connection, 408, f"the request did not arrive within {self.cfg.timeout} s")
            except OSError:
                self._close(connection)
        else:
            self._close(connection)

    def _close_idle(self) -> bool:
        """Close the connections on which nothing is under way, and tell whether others are left."""
        for connection in list(self._connections):
            if connection.unsent is None and not connection.received:
                self._close(connection)
        return bool(self._connections)

    def _close(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._arriving.discard(connection)
        connection.received.clear()
        self._poller.unregister(connection.sock)
        connection.sock.close()
        self.app.balance.hold(self.place, len(self._connections))
