"""What a real server makes of slow, hostile and leaving clients, and of needs that take their time."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from contract.serving import BODY, PATIENCE, Server, eventually, free_port, serving
from unit.server.serving import Answer, head, post, read_answer

CALL = post("/sync", BODY)
PROBE = b"GET /healthz HTTP/1.1\r\nHost: webhook\r\n\r\n"


def call(**wishes: Any) -> bytes:
    """Return a call of the odd hooks."""
    return post("/sync", orjson.dumps({"parent": {"metadata": {}, "spec": wishes}}))


def asking(service: str) -> dict[str, Any]:
    """Return the need of one request to a Service."""
    return {"http": {"service": service, "namespace": "ns", "port": 80, "path": "/health", "timeoutSeconds": 100}}


def is_closed(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def exchange(sock: socket.socket, message: bytes) -> Answer:
    sock.sendall(message)
    return read_answer(sock)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real hooks behind one worker, so that whoever holds it up holds up everybody."""
    with serving(tmp_path_factory.mktemp("server"), "--workers", "1", "--request-timeout", "60") as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Hooks that wait for nobody: for the tests that wait until they give somebody up, and for no other."""
    with serving(tmp_path_factory.mktemp("hasty"), "--workers", "1", "--request-timeout", "3", odd=True) as running:
        yield running


@pytest.fixture
def sock(server: Server) -> Iterator[socket.socket]:
    with server.open() as opened:
        yield opened


def test_one_connection_carries_many_requests(sock: socket.socket) -> None:
    for _ in range(3):
        answer = exchange(sock, CALL)
        assert (answer.code, answer.headers["connection"]) == (200, "keep-alive")
    assert exchange(sock, PROBE).json == {"alive": True}


def test_a_client_that_asks_for_it_is_closed_after_the_answer(sock: socket.socket) -> None:
    answer = exchange(sock, post("/sync", BODY, "Connection: close"))
    assert (answer.code, answer.headers["connection"]) == (200, "close")
    assert is_closed(sock)


def test_requests_sent_without_waiting_are_answered_in_their_order(sock: socket.socket) -> None:
    sock.sendall(CALL + PROBE + post("/nowhere", b"x") + CALL)
    assert [read_answer(sock).code for _ in range(4)] == [200, 200, 404, 200]


@pytest.mark.parametrize("size", [1, 100])
def test_a_request_may_arrive_in_pieces(sock: socket.socket, size: int) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for start in range(0, len(CALL), size):
        sock.sendall(CALL[start : start + size])
    assert read_answer(sock).code == 200


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: unheard\r\n\r\n", 501),
        (b"POST /sync HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 65 + b"\r\n", 431),
    ],
)
def test_a_malformed_head_is_refused_and_the_connection_closed(sock: socket.socket, message: bytes, code: int) -> None:
    assert exchange(sock, message).code == code
    assert is_closed(sock)


def test_slow_clients_do_not_keep_others_waiting(server: Server) -> None:
    slow = [server.open() for _ in range(50)]
    for number, sock in enumerate(slow):
        sock.sendall(CALL[: 10 + number * 5])
    with server.open() as quick:
        assert exchange(quick, CALL).code == 200
    for number, sock in enumerate(slow):
        assert exchange(sock, CALL[10 + number * 5 :]).code == 200
        sock.close()


def test_a_client_that_asks_on_and_on_does_not_keep_others_waiting(server: Server) -> None:
    greedy = server.open()

    def ask() -> None:
        with contextlib.suppress(OSError):
            while True:
                greedy.sendall(PROBE * 1000)

    def listen() -> None:
        with contextlib.suppress(OSError):
            while greedy.recv(2**20):
                pass

    threads = [threading.Thread(target=each) for each in (ask, listen)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            with server.open() as modest:
                assert exchange(modest, CALL).code == 200
    finally:
        greedy.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)
        greedy.close()


def test_a_body_that_does_not_arrive_in_time_is_given_up(hasty: Server) -> None:
    with hasty.open() as sock:
        assert exchange(sock, CALL[:-10]).code == 408


@pytest.mark.parametrize("framing", [f"Content-Length: {17 * 2**20}", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_wants_is_neither_waited_for_nor_read_to_its_end(sock: socket.socket, framing: str) -> None:
    answer = exchange(sock, head("/sync", framing))
    assert (answer.code in {411, 413}, answer.headers["connection"]) == (True, "close")
    assert is_closed(sock)


def test_a_body_that_is_a_little_too_large_gets_its_413_and_the_next_request_an_answer(sock: socket.socket) -> None:
    body = b" " * (9 * 2**20)
    sock.sendall(post("/sync", body) + PROBE)
    assert [read_answer(sock).code for _ in range(2)] == [413, 200]


@pytest.mark.parametrize(("length", "code"), [(len(BODY), 200), (9 * 2**20, 413)])
def test_a_client_that_asks_first_is_told_to_go_on_or_is_refused(sock: socket.socket, length: int, code: int) -> None:
    answer = exchange(sock, head("/sync", f"Content-Length: {length}", "Expect: 100-continue"))
    if answer.code == 100:
        sock.sendall(BODY[:length])
        answer = read_answer(sock)
    assert answer.code == code


def test_a_client_that_goes_away_harms_nobody(server: Server) -> None:
    for message in (b"", CALL[:50], CALL[:-5], CALL):
        sock = server.open()
        sock.sendall(message)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset instead of an end
        sock.close()
    with server.open() as sock:
        assert exchange(sock, CALL).code == 200


def test_a_client_without_a_token_is_refused_before_it_has_sent_its_body(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n", encoding="utf-8")
    with serving(tmp_path, "--workers", "1", "--token-file", str(tokens)) as server:
        with server.open() as sock:
            assert exchange(sock, head("/sync", "Content-Length: 1000000")).code == 401
        with server.open() as sock:
            sock.sendall(head("/sync", "Content-Length: 5", "Authorization: Bearer secret"))
            assert exchange(sock, b"{1234").code == 400


class Runtime:
    """A proxy for Services behind which one, `slow`, accepts and says nothing until it is let."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        with sock:
            target = sock.recv(65536).split()[1].decode()
            self.asked.append(target)
            if "//slow." in target:
                self.go_on.wait(100)
            with contextlib.suppress(OSError):
                sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}')

    def close(self) -> None:
        self.go_on.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(10)


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    made = Runtime()
    yield made
    made.close()


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, runtime: Runtime) -> Iterator[Server]:
    """Hooks that need what they are told to, behind one worker and with few slots."""
    directory = tmp_path_factory.mktemp("odd")
    words = ("--workers", "1", "--max-concurrent", "4", "--request-timeout", "60")
    with serving(directory, *words, odd=True, USERSWARM_SERVICE_PROXY=runtime.proxy) as running:
        yield running


OK = {"status": 200, "body": '{"status":"ok"}'}


def test_a_need_is_met_and_never_told(odd: Server, runtime: Runtime) -> None:
    with odd.open() as sock:
        answer = exchange(sock, call(needs=asking("swift")))
    assert answer.json == {
        "status": {"seen": {"related": {}, "unavailable": {}, "http": OK}, "text": ""},
        "children": [],
    }
    assert runtime.asked[-1] == "http://swift.ns.svc:80/health"


def test_without_access_a_hook_is_told_that_it_cannot_see(odd: Server) -> None:
    pods = {"apiVersion": "v1", "kind": "Pod", "resource": "pods", "namespace": "ns", "names": ["p"]}
    with odd.open() as sock:
        seen = exchange(sock, call(needs={"objects": [pods]})).json["status"]["seen"]
    assert seen == {"related": {}, "unavailable": {"Pod.v1": "no access to the Kubernetes API is configured"}}


def test_a_slow_runtime_keeps_nobody_else_waiting(odd: Server, runtime: Runtime) -> None:
    runtime.go_on.clear()
    with odd.open() as slow, odd.open() as other:
        slow.sendall(call(needs=asking("slow")))
        eventually(lambda: any("//slow." in target for target in runtime.asked))
        for _ in range(3):
            assert exchange(other, call(needs=asking("swift"))).json["status"]["seen"]["http"] == OK
            assert exchange(other, PROBE).code == 200
        slow.setblocking(False)
        with pytest.raises(BlockingIOError):
            slow.recv(1)
        slow.settimeout(PATIENCE)
        runtime.go_on.set()
        assert read_answer(slow).json["status"]["seen"]["http"] == OK


def test_calls_that_wait_for_a_need_take_the_slots(odd: Server, runtime: Runtime) -> None:
    runtime.go_on.clear()
    asked = len(runtime.asked)
    waiting = [odd.open() for _ in range(4)]
    for sock in waiting:
        sock.sendall(call(needs=asking("slow")))
    eventually(lambda: len(runtime.asked) == asked + 4)
    with odd.open() as one_more:
        answer = exchange(one_more, call())
        assert (answer.code, answer.headers["retry-after"]) == (429, "1")
        assert exchange(one_more, PROBE).code == 200, "not even a probe was answered"
        runtime.go_on.set()
        for sock in waiting:
            assert read_answer(sock).code == 200
            sock.close()
        assert exchange(one_more, call()).code == 200


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it_while_others_are_served(odd: Server) -> None:
    with odd.open() as slow, odd.open() as other:
        slow.sendall(call(length=20_000_000) + PROBE)
        assert slow.recv(1, socket.MSG_PEEK) == b"H"
        assert exchange(other, call()).code == 200
        assert len(read_answer(slow).json["status"]["text"]) == 20_000_000
        assert read_answer(slow).json == {"alive": True}


def test_a_client_that_does_not_take_its_answer_loses_the_connection(hasty: Server) -> None:
    with hasty.open() as slow:
        own = slow.getsockname()[1]
        slow.sendall(call(length=50_000_000))
        assert slow.recv(1, socket.MSG_PEEK) == b"H"
        eventually(lambda: own not in hasty.unread())


def test_a_stop_waits_no_longer_than_the_graceful_timeout(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1", "--graceful-timeout", "1") as server, server.open() as begun:
        begun.sendall(CALL[:-1])
        eventually(server.unread)
        server.master.send_signal(signal.SIGTERM)
        assert server.master.wait(PATIENCE) == 0
        assert is_closed(begun)


def test_a_worker_whose_master_is_gone_ends(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "1", "--graceful-timeout", "1") as server:
        (worker,) = server.workers()
        server.master.kill()
        server.master.wait()
        eventually(lambda: not Path(f"/proc/{worker}").exists())


def test_a_proxy_that_is_not_there_counts_against_nobody(tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    with serving(tmp_path, "--workers", "1", odd=True, USERSWARM_SERVICE_PROXY=gone) as server, server.open() as sock:
        seen = exchange(sock, call(needs=asking("swift"))).json["status"]["seen"]
    assert "http" not in seen
    assert "the proxy for Services cannot be reached" in seen["unavailable"]["http"]
