"""The worker: framing, slow and hostile clients, keep-alive, and stopping in order."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from unit.server.serving import (
    Answer,
    eventually,
    head,
    hook_request,
    make_app,
    post,
    quiet_response,
    read_answer,
    running,
)
from userswarm.server.balance import Balance
from userswarm.server.errors import Refused
from userswarm.server.worker import BufferingWorker, _Chunks
from userswarm.spec.settings import Settings

BODY = orjson.dumps(hook_request())
CALL = post("/sync", BODY)
PROBE = b"GET /healthz HTTP/1.1\r\nHost: webhook\r\n\r\n"


def chunked(body: bytes, size: int, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return (
        b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"
    )


def is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def exchange(sock: socket.socket, message: bytes) -> Answer:
    sock.sendall(message)
    return read_answer(sock)


def test_one_connection_carries_many_requests() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        for _ in range(3):
            answer = exchange(sock, CALL)
            assert (answer.code, answer.json) == (200, quiet_response())
            assert answer.headers["connection"] == "keep-alive"
        assert exchange(sock, PROBE).json == {"alive": True}


def test_a_client_that_asks_for_it_is_closed_after_the_answer() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        answer = exchange(sock, post("/sync", BODY, "Connection: close"))
        assert (answer.code, answer.headers["connection"]) == (200, "close")
        assert is_closed(sock)


def test_requests_sent_without_waiting_are_answered_in_their_order() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        sock.sendall(CALL + PROBE + post("/nowhere", b"x") + CALL)
        assert [read_answer(sock).code for _ in range(4)] == [200, 200, 404, 200]


def test_any_number_of_requests_may_be_sent_without_waiting() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        sock.sendall(PROBE * 3000)
        assert {read_answer(sock).code for _ in range(3000)} == {200}


def test_a_bug_of_the_worker_costs_one_connection_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(make_app()) as worker:
        with worker.connect() as sock, monkeypatch.context() as patch:
            patch.setattr(BufferingWorker, "_begin", lambda self, connection: 1 / 0)
            sock.sendall(CALL)
            assert is_closed(sock)
        with worker.connect() as sock:
            assert exchange(sock, CALL).code == 200
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_request_may_arrive_in_pieces(size: int) -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(CALL), size):
            sock.sendall(CALL[start : start + size])
        assert read_answer(sock).json == quiet_response()


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_a_chunked_body_is_accepted(size: int) -> None:
    message = head("/sync", "Transfer-Encoding: chunked") + chunked(BODY, size, b" ; a=b", b"X-Trailer: 1\r\n")
    with running(make_app()) as worker, worker.connect() as sock:
        assert exchange(sock, message[:200] + message[200:]).json == quiet_response()
        half = len(message) // 2
        sock.sendall(message[:half])
        worker.wait_for_arriving(1)
        assert exchange(sock, message[half:] + PROBE).json == quiet_response()
        assert read_answer(sock).json == {"alive": True}


def test_a_chunked_body_over_the_limit_is_refused_without_being_taken() -> None:
    with running(make_app(Settings(max_body_bytes=1024))) as worker, worker.connect() as sock:
        sock.sendall(head("/sync", "Transfer-Encoding: chunked") + b"10000000\r\n" + b"x" * 2000)
        answer = read_answer(sock)
        assert (answer.code, answer.headers["connection"]) == (413, "close")


def test_many_small_chunks_over_the_limit_are_refused() -> None:
    with running(make_app(Settings(max_body_bytes=1024))) as worker, worker.connect() as sock:
        assert exchange(sock, head("/sync", "Transfer-Encoding: chunked") + chunked(b"x" * 1025, 1)).code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n",
        b"-1\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1_0\r\n",
        b"\r\n",
        b"1\r\nxx\r\n",
        b"123456789\r\n",
        b"1" * 5000,
    ],
)
def test_a_malformed_chunk_is_refused_and_the_connection_closed(body: bytes) -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        answer = exchange(sock, head("/sync", "Transfer-Encoding: chunked") + body)
        assert (answer.code, answer.headers["connection"]) == (400, "close")
        assert "malformed" in answer.json["error"]


def test_trailers_without_end_are_refused() -> None:
    chunks = _Chunks(0, 100)
    with pytest.raises(Refused):
        chunks.decode(bytearray(b"0\r\n" + b"x" * 70_000))


@pytest.mark.parametrize("cut", range(0, 55, 3))
def test_chunks_are_decoded_alike_wherever_they_are_cut(cut: int) -> None:
    whole = chunked(b"hello, chunked world", 6, b";x", b"T: 1\r\n")
    chunks = _Chunks(0, 100)
    assert cut < len(whole)
    assert chunks.decode(bytearray(whole[:cut])) is None
    assert chunks.decode(bytearray(whole + b"next")) == len(whole)
    assert bytes(chunks.body) == b"hello, chunked world"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\r\n\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: unheard\r\n\r\n", 501),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 65 + b"\r\n", 431),
        (b"x" * 70_000, 431),
    ],
)
def test_a_malformed_head_gets_an_error_in_json_and_the_connection_is_closed(message: bytes, code: int) -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        answer = exchange(sock, message)
        assert (answer.code, answer.headers["connection"], answer.headers["content-type"]) == (
            code,
            "close",
            "application/json",
        )
        assert answer.json["error"]
        assert is_closed(sock)


def test_slow_clients_do_not_keep_others_waiting() -> None:
    with running(make_app()) as worker:
        slow = [worker.connect() for _ in range(50)]
        for number, sock in enumerate(slow):
            sock.sendall(CALL[: 10 + number * 5])
        with worker.connect() as sock:
            assert exchange(sock, CALL).code == 200
        for number, sock in enumerate(slow):
            assert exchange(sock, CALL[10 + number * 5 :]).code == 200
            sock.close()


@pytest.mark.parametrize("sent", [CALL[:30], CALL[:-10]])
def test_a_request_that_does_not_arrive_in_time_is_given_up(sent: bytes) -> None:
    with running(make_app(), timeout=1) as worker, worker.connect() as sock:
        answer = exchange(sock, sent)
        assert (answer.code, answer.headers["connection"]) == (408, "close")


def test_a_client_that_never_says_anything_is_closed() -> None:
    with running(make_app(), timeout=1) as worker, worker.connect() as sock:
        assert is_closed(sock)


def test_an_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    with running(make_app(), keepalive=1) as worker, worker.connect() as sock:
        assert exchange(sock, CALL).code == 200
        assert is_closed(sock)


def test_a_client_without_a_token_is_refused_before_it_has_sent_its_body(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n", encoding="utf-8")
    with running(make_app(Settings(token_file=str(tokens)))) as worker:
        for framing in ("Content-Length: 1000000", "Transfer-Encoding: chunked"):
            with worker.connect() as sock:
                answer = exchange(sock, head("/sync", framing) + b"5\r\nx")
                assert (answer.code, answer.headers["connection"]) == (401, "close")
                sock.sendall(b"more of it, which is thrown away")
        with worker.connect() as sock:
            sock.sendall(head("/sync", "Content-Length: 5", "Authorization: Bearer secret"))
            worker.wait_for_arriving(1)
            assert exchange(sock, b"{1234").code == 400


def test_a_body_that_is_declared_too_large_is_refused_before_it_is_sent() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        assert exchange(sock, head("/sync", f"Content-Length: {9 * 2**20}")).code == 413


@pytest.mark.parametrize(("length", "code"), [(len(BODY), 200), (9 * 2**20, 413)])
def test_a_client_that_asks_first_is_told_to_go_on_or_is_refused(length: int, code: int) -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        answer = exchange(sock, head("/sync", f"Content-Length: {length}", "Expect: 100-continue"))
        if code == 200:
            assert answer.code == 100
            answer = exchange(sock, BODY)
        assert answer.code == code


def test_a_body_that_nobody_reads_is_no_next_request() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        answer = exchange(sock, b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nGET /other")
        assert (answer.code, answer.headers["connection"]) == (200, "close")


def test_requests_that_are_still_arriving_take_the_slots() -> None:
    with running(make_app(Settings(max_concurrent=1))) as worker:
        with worker.connect() as first, worker.connect() as second:
            first.sendall(CALL[:-1])
            worker.wait_for_arriving(1)
            answer = exchange(second, CALL)
            assert (answer.code, answer.headers["retry-after"]) == (429, "1")
            assert exchange(first, CALL[-1:]).code == 200
            assert exchange(second, CALL).code == 200
        with worker.connect() as gone:
            gone.sendall(CALL[:-1])
            worker.wait_for_arriving(1)
        worker.wait_for_arriving(0)
        with worker.connect() as next_one:
            assert exchange(next_one, CALL).code == 200


def test_a_new_client_displaces_the_one_that_is_slowest_to_speak() -> None:
    with running(make_app(), worker_connections=2) as worker, worker.connect() as silent, worker.connect() as talking:
        assert exchange(talking, CALL).code == 200
        with worker.connect() as third:
            assert exchange(third, CALL).code == 200
            assert is_closed(silent)
            assert exchange(talking, CALL).code == 200


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it_while_others_are_served() -> None:
    large = {"status": {"text": "x" * 20_000_000}}

    def hook(request: Mapping[str, Any], settings: Settings, now: datetime) -> Mapping[str, Any]:
        return large if request["parent"]["metadata"]["name"] == "large" else quiet_response()

    call = post("/sync", orjson.dumps({"parent": {"metadata": {"name": "large"}}}))
    with running(make_app(hook=hook)) as worker, worker.connect() as slow, worker.connect() as other:
        slow.sendall(call + PROBE)
        eventually(lambda: any(connection.unsent for connection in worker.worker._connections))
        assert exchange(other, CALL).code == 200
        assert read_answer(slow).json == large
        assert read_answer(slow).json == {"alive": True}


def test_a_client_that_goes_away_harms_nobody() -> None:
    with running(make_app()) as worker:
        for message in (b"", CALL[:50], CALL[:-5], CALL):
            sock = worker.connect()
            sock.sendall(message)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset instead of an end
            sock.close()
        with worker.connect() as sock:
            assert exchange(sock, CALL).code == 200


def test_an_application_that_breaks_gets_its_client_a_500(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    def broken(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Bad\nheader", "x")])

    with running(app) as worker, worker.connect() as sock:
        monkeypatch.setattr(app, "wsgi_app", broken)
        answer = exchange(sock, CALL)
        assert (answer.code, answer.json) == (500, {"error": "internal error"})
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_stopping_goes_in_order() -> None:
    with running(make_app()) as worker:
        worker.worker.linger_when_stopping = 60.0
        idle, begun, probing = worker.connect(), worker.connect(), worker.connect()
        assert exchange(idle, CALL).code == 200
        begun.sendall(CALL[:-1])
        worker.wait_for_arriving(1)

        worker.begin_to_stop()
        answer = exchange(probing, PROBE.replace(b"healthz", b"readyz"))
        assert (answer.code, answer.headers["connection"]) == (503, "close")
        with worker.connect() as late:
            answer = exchange(late, CALL)
            assert (answer.code, answer.headers["connection"]) == (200, "close")
        worker.worker.linger_when_stopping = 0.0
        assert is_closed(idle), "an idle connection stays open while the worker stops"
        with pytest.raises(ConnectionError):
            worker.connect()
        assert exchange(begun, CALL[-1:]).code == 200, "a request that had begun was dropped"
        for sock in (idle, begun, probing):
            sock.close()


def test_a_stop_waits_no_longer_than_the_graceful_timeout() -> None:
    with running(make_app(), graceful_timeout=1) as worker, worker.connect() as begun:
        begun.sendall(CALL[:-1])
        worker.wait_for_arriving(1)
        worker.stop()
        assert is_closed(begun)
        worker.worker.PIPE = os.pipe()  # for the second stop, at the end of the block
        worker.worker.tmp = type(worker.worker.tmp)(worker.worker.cfg)


def test_a_worker_whose_master_is_gone_ends() -> None:
    with running(make_app()) as worker, worker.connect() as sock:
        assert exchange(sock, CALL).code == 200
        worker.worker.ppid = -1
        assert is_closed(sock)


def test_a_worker_is_ahead_where_another_has_fewer_connections() -> None:
    balance = Balance()
    first, second = balance.join(), balance.join()
    assert not balance.is_ahead(first)

    balance.hold(first, 1)
    assert balance.is_ahead(first)
    assert not balance.is_ahead(second)
    balance.hold(second, 1)
    assert not balance.is_ahead(first)
    balance.leave(second)
    balance.hold(first, 9)
    assert not balance.is_ahead(first), "a worker that has ended takes no connections"
    assert balance.join() == second


def test_a_worker_without_a_place_gives_way_to_nobody() -> None:
    balance = Balance()
    while balance.join() is not None:
        pass
    balance.hold(None, 5)
    balance.leave(None)
    assert not balance.is_ahead(None)


def test_a_worker_that_is_ahead_leaves_a_client_to_the_others_but_not_for_ever() -> None:
    with running(make_app()) as worker:
        balance = worker.worker.app.balance
        worker.worker.place = balance.join()
        balance.join()  # another worker, which takes nothing
        first, second = worker.connect(), worker.connect()
        assert exchange(first, CALL).code == 200
        assert exchange(second, CALL).code == 200
        first.close()
        second.close()
