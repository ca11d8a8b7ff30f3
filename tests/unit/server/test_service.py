"""One request to a swarm's Service: what is sent, and what a hostile runtime gets for its pains."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent.socket
import pytest

from userswarm.server.gathering import HttpNeed, Unavailable
from userswarm.server.service import MOST_BODY, ask

NEED: HttpNeed = {
    "service": "swarm-x",
    "namespace": "userswarms",
    "port": 42617,
    "path": "/health",
    "timeoutSeconds": 100,
}
Speak = Callable[[socket.socket], None]


class Runtime:
    """Something behind the proxy, that does what a test says with each connection."""

    def __init__(self, speak: Speak) -> None:
        self._speak = speak
        self.requests: list[bytes] = []
        self.was_asked = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.proxy: tuple[str, int] = self.listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                with sock, contextlib.suppress(OSError):
                    self.requests.append(sock.recv(65536))
                    self.was_asked.set()
                    self._speak(sock)


@contextlib.contextmanager
def speaking(speak: Speak) -> Iterator[Runtime]:
    runtime = Runtime(speak)
    yield runtime
    runtime.listener.shutdown(socket.SHUT_RDWR)
    runtime.listener.close()


def saying(*parts: bytes) -> Speak:
    def speak(sock: socket.socket) -> None:
        for part in parts:
            sock.sendall(part)

    return speak


def forever(part: bytes, first: bytes = b"", pause: float = 0.0) -> Speak:
    def speak(sock: socket.socket) -> None:
        sock.sendall(first)
        while True:
            sock.sendall(part)
            time.sleep(pause)

    return speak


def answered(speak: Speak, **need: Any) -> Any:
    with speaking(speak) as runtime:
        said = ask({**NEED, **need}, runtime.proxy)  # type: ignore[typeddict-item]
        assert runtime.was_asked.wait(100)
        assert len(runtime.requests) == 1, "it was asked more than once"
    return said


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_the_request_is_plain_and_carries_nothing_of_ours() -> None:
    with speaking(saying(HEAD + b"\r\n")) as runtime:
        ask(NEED, runtime.proxy)
    line, *headers = runtime.requests[0].decode().rstrip().split("\r\n")
    assert line == "GET http://swarm-x.userswarms.svc:42617/health HTTP/1.1"
    assert headers == [
        "Host: swarm-x.userswarms.svc:42617",
        "User-Agent: userswarm",
        "Accept: application/json, */*",
        "Accept-Encoding: identity",
        "Connection: close",
    ]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (HEAD + b'Content-Length: 15\r\n\r\n{"status":"ok"}', 200, '{"status":"ok"}'),
        (HEAD + b"\r\nto the end", 200, "to the end"),
        (CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, "abcde"),
        (b"HTTP/1.0 503 No\r\nContent-Length: 2\r\n\r\nno", 503, "no"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\nok", 200, "ok"),
        (HEAD + b"\r\n\xff\xfe", 200, "\ufffd\ufffd"),
        (HEAD + b"\r\n" + b"x" * MOST_BODY, 200, "x" * MOST_BODY),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n", 302, ""),
    ],
)
def test_what_is_answered_is_handed_on_and_no_redirect_followed(answer: bytes, status: int, body: str) -> None:
    assert answered(saying(answer)) == {"status": status, "body": body}


def test_a_compressed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(b"x" * 50_000_000)
    said = answered(saying(HEAD + b"Content-Encoding: gzip\r\n\r\n" + packed))
    assert said["status"] == 200
    assert len(said["body"]) <= len(packed)


def test_who_keeps_the_connection_open_is_not_waited_for() -> None:
    gone = threading.Event()

    def speak(sock: socket.socket) -> None:
        sock.sendall(HEAD + b"Content-Length: 2\r\n\r\nok")
        sock.settimeout(100)
        if sock.recv(1) == b"":
            gone.set()

    assert answered(speak) == {"status": 200, "body": "ok"}
    assert gone.wait(100)


LARGE = "the answer is too large"
GARBAGE = "the answer is not HTTP"


@pytest.mark.parametrize(
    ("speak", "error"),
    [
        (forever(b"x" * 10_000, HEAD + b"\r\n"), LARGE),
        (saying(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"x" * 100_000), LARGE),
        (forever(b"1\r\nx\r\n" * 1000, CHUNKED), LARGE),
        (forever(b"X: " + b"y" * 60_000 + b"\r\n", HEAD), LARGE),
        (forever(b"x" * 10_000), GARBAGE),
        (forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), LARGE),
        (saying(HEAD + b"X: y\r\n" * 200), GARBAGE),
        (saying(b"SSH-2.0-OpenSSH\r\n"), GARBAGE),
        (saying(b"\0\1\2\3" * 100), GARBAGE),
        (saying(CHUNKED + b"zz\r\n"), GARBAGE),
        (saying(b"HTTP/1.1 2x0 OK\r\n\r\n"), GARBAGE),
        (saying(HEAD + b"Content-Length: 10\r\n\r\nhalf"), "the answer ends too early"),
        (saying(), GARBAGE),
    ],
    ids=str,
)
def test_a_hostile_runtime_gets_an_error_and_no_second_attempt(speak: Speak, error: str) -> None:
    assert answered(speak) == {"error": error}


@pytest.mark.parametrize(
    "speak",
    [
        lambda sock: time.sleep(20),
        forever(b"x", HEAD + b"\r\n", pause=0.05),
        forever(b"x", HEAD, pause=0.05),
        forever(b"1\r\nx\r\n", CHUNKED, pause=0.05),
        forever(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05),
    ],
    ids=str,
)
def test_a_runtime_that_takes_its_time_is_given_up(speak: Speak) -> None:
    assert answered(speak, timeoutSeconds=1) == {"error": "no answer within 1 s"}


def test_a_connection_that_is_reset_is_an_error() -> None:
    def speak(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    assert answered(speak) == {"error": "no answer: Connection reset by peer"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"service": "a.evil.example"},
        {"service": "127.0.0.1"},
        {"service": "a/b"},
        {"namespace": "b@evil"},
        {"namespace": "b.svc.evil"},
        {"path": "@evil.example/"},
        {"path": "/ HTTP/1.1\r\nHost: evil"},
        {"path": "/\u2028"},
        {"path": ""},
    ],
)
def test_no_need_leads_to_another_host(wrong: dict[str, str]) -> None:
    with speaking(saying(HEAD + b"\r\n")) as runtime, pytest.raises(Unavailable, match=r"no Service|no path"):
        ask({**NEED, **wrong}, runtime.proxy)  # type: ignore[typeddict-item]
    assert not runtime.requests


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Lets every name lead to one address; no connection is made."""

    def lead_to(address: str) -> list[Any]:
        asked: list[Any] = []

        class Connected(socket.socket):
            def getpeername(self) -> Any:
                return (address, 80)

        def answer(sock: socket.socket) -> None:
            with sock:
                if sock.recv(65536):
                    sock.sendall(HEAD + b"\r\nok")

        def connect(where: Any, timeout: Any = 7) -> Connected:
            asked.append((where, timeout))
            ours, theirs = socket.socketpair()
            threading.Thread(target=answer, args=(theirs,), daemon=True).start()
            return Connected(fileno=ours.detach())

        monkeypatch.setattr(gevent.socket, "create_connection", connect)
        return asked

    return lead_to


def test_without_a_proxy_the_service_is_asked_by_its_name(resolved: Callable[[str], list[Any]]) -> None:
    asked = resolved("10.96.3.4")
    assert ask(NEED, None) == {"status": 200, "body": "ok"}
    assert asked == [(("swarm-x.userswarms.svc", 42617), None)], "another host, or a limit besides the one for all"


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "127.0.0.1", "::1", "fe80::1", "0.0.0.0", "::ffff:169.254.169.254", "fe80::1%2"]
)
def test_a_service_that_leads_to_metadata_or_to_ourselves_is_not_asked(
    resolved: Callable[[str], list[Any]], address: str
) -> None:
    resolved(address)
    assert "is no Service" in ask(NEED, None)["error"]


def test_a_name_that_nobody_knows_and_a_proxy_that_is_gone_are_not_the_runtimes_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(where: Any, timeout: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with speaking(saying()) as runtime:
        pass
    with pytest.raises(Unavailable, match="proxy"):
        ask(NEED, runtime.proxy)
    monkeypatch.setattr(gevent.socket, "create_connection", unknown)
    with pytest.raises(Unavailable, match="cannot be resolved"):
        ask(NEED, None)
