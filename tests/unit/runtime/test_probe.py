"""The smoke test against servers that are well, unwell and unkind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from userswarm.runtime import probe as probe_module
from userswarm.runtime.probe import (
    LARGEST_BODY,
    LONGEST_TRY,
    Expectation,
    Target,
    one_line,
    parse_expectation,
    parse_target,
    probe,
)

OK = [parse_expectation("status=ok")]


class Server:
    """Answers each connection on a loopback port with the next of its answers, the last again and again."""

    def __init__(self, answers: Sequence[bytes | Callable[[Server, socket.socket], None]]) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[str] = []
        self.stopped = threading.Event()
        self.hung_up_on = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self.stopped.set()
        # Wakes the thread that waits for the next connection.
        with socket.create_connection(("127.0.0.1", self.port)):
            pass
        self._thread.join()
        self._listener.close()

    def url(self, path: str = "/health") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self.stopped.is_set():
                    return
                connection.settimeout(10)
                try:
                    self._answer(connection)
                except OSError:
                    self.hung_up_on.set()

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            received = connection.recv(4096)
            if not received:
                return
            request += received
        self.requests.append(request.decode())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            answer(self, connection)


@contextmanager
def serving(*answers: bytes | Callable[[Server, socket.socket], None]) -> Iterator[Server]:
    server = Server(answers)
    try:
        yield server
    finally:
        server.close()


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + body


HEALTHY = answer(b'{"status": "ok", "uptime": 1}', "200 OK", "Content-Type: application/json")
LOGIN = answer(b"<!doctype html>\n<title>Log in</title>", "200 OK", "Content-Type: text/html")


def silent(server: Server, connection: socket.socket) -> None:
    """Accept, read, and never say a word; leave when the other side does."""
    if connection.recv(1) == b"":
        server.hung_up_on.set()


def trickling(head: bytes) -> Callable[[Server, socket.socket], None]:
    """Send a byte now and then for 10 s at most: each comes well within any timeout of one read."""

    def trickle(server: Server, connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(1000):
            connection.sendall(b"x")
            server.stopped.wait(0.01)

    return trickle


def flooding(server: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"x" * LARGEST_BODY)


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, f"Location: {location}")


# What passes


def test_200_with_the_expected_json_passes_and_says_what_it_saw() -> None:
    with serving(HEALTHY) as server:
        verdict = probe(parse_target(server.url("/health?deep=1")), OK, 30)

    assert verdict.passed
    assert verdict.line.startswith(
        f"""passed: {server.url("/health?deep=1")}: status 200, body '{{"status": "ok", "uptime": 1}}' (1 try, """
    )
    assert server.requests[0].startswith("GET /health?deep=1 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.requests[0]


def test_it_tries_until_the_answer_is_right() -> None:
    starting = answer(b'{"status": "starting"}')
    with serving(answer(b"", "503 Service Unavailable"), starting, LOGIN, HEALTHY) as server:
        verdict = probe(parse_target(server.url()), OK, 60, sleep=lambda _seconds: None)

    assert verdict.passed
    assert "(4 tries, " in verdict.line
    assert len(server.requests) == 4


def test_a_body_without_a_length_is_read_to_its_end() -> None:
    with serving(b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok"}') as server:
        assert probe(parse_target(server.url()), OK, 30).passed


def test_a_chunked_body_is_put_together() -> None:
    chunks = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"status"\r\n7\r\n: "ok"}\r\n0\r\n\r\n'
    with serving(chunks) as server:
        assert probe(parse_target(server.url()), OK, 30).passed


# What fails


@pytest.mark.parametrize(
    ("response", "seen"),
    [
        (LOGIN, "status 200, body '<!doctype html>\\n<title>Log in</title>': not JSON"),
        (answer(b'{"status": "ok"}', "201 Created"), """status 201, body '{"status": "ok"}' ("""),
        (answer(b'{"status": "ok"}', "500 Oops"), """status 500, body '{"status": "ok"}' ("""),
        (answer(b'["status", "ok"]'), "no JSON object"),
        (answer(b'"ok"'), "no JSON object"),
        (answer(b""), "status 200, body '': not JSON"),
        (answer(b'{"status": NaN}'), "not JSON"),
        (answer(b'{"status": "\xff"}'), "not JSON"),
        (answer(b"[" * 100_000), "not JSON"),
        (answer(b'{"status": "no"}'), "status is no, expected ok"),
        (answer(b'{"state": "ok"}'), "status is missing, expected ok"),
        (answer(b'{"status": {"status": "ok"}}'), "status is no single value, expected ok"),
        (answer(b'{"status": ["ok"]}'), "status is no single value, expected ok"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"status": "ok"}', "status 200, a body that ends 83 bytes too"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"status"', "IncompleteRead"),
        (b"SSH-2.0-OpenSSH_9\r\n", "SSH-2.0"),
        (b"", "Remote end closed connection without response"),
        (flooding, f"status 200, a body over {LARGEST_BODY} bytes"),
        (answer(b"\x1b[2J\r\n\x00"), "body '\\x1b[2J\\r\\n\\x00'"),
        (answer(b"y" * 5000), "body '" + "y" * 200 + "': not JSON"),
    ],
)
def test_anything_else_fails_and_is_told(
    response: bytes | Callable[[Server, socket.socket], None], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long pauses, so that the first try is the only one.
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    with serving(response) as server:
        verdict = probe(parse_target(server.url()), OK, 30)

    assert not verdict.passed
    assert verdict.line.startswith("failed: ")
    assert seen in verdict.line
    assert verdict.line.isprintable()
    assert len(server.requests) == 1


def test_nobody_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    verdict = probe(Target("127.0.0.1", port, "/"), OK, 30)

    assert not verdict.passed
    assert "Connection refused" in verdict.line


@pytest.mark.parametrize(
    "unkind",
    [
        silent,
        trickling(b""),
        trickling(b"HTTP/1.1 200 OK\r\nX-Long: "),
        trickling(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        trickling(b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)
def test_a_server_that_keeps_us_waiting_is_hung_up_on_when_the_time_is_over(
    unkind: Callable[[Server, socket.socket], None],
) -> None:
    with serving(unkind) as server:
        verdict = probe(parse_target(server.url()), OK, 0.3)
        # It notices while it waits or sends, long before it would have come to its own end.
        assert server.hung_up_on.wait(8)

    assert not verdict.passed
    assert "timed out" in verdict.line


def test_a_name_that_is_never_looked_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    left = threading.Event()

    def hang(*_arguments: Any, **_options: Any) -> list[Any]:
        # It would have an answer some day, and who waits for that gets another verdict.
        released.wait(5)
        left.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    verdict = probe(Target("swarm.example", 80, "/"), OK, 0.1)
    released.set()

    assert not verdict.passed
    assert "swarm.example: the name could not be looked up in time" in verdict.line
    assert left.wait(10)


@pytest.mark.parametrize(
    ("host", "reason"), [("no-such-host.invalid", "[Errno -"), ("a" * 70 + ".example", "label"), ("", "no address")]
)
def test_a_name_that_nobody_has_fails(host: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: str, *arguments: Any, **options: Any) -> list[Any]:
        if not name:
            return []
        if name.endswith(".invalid"):
            raise socket.gaierror(-2, "Name or service not known")
        return real(name, *arguments, **options)

    real = socket.getaddrinfo
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    verdict = probe(Target(host, 80, "/"), OK, 30)

    assert not verdict.passed
    assert reason in verdict.line


def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    with serving(HEALTHY) as server:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (closed, ("127.0.0.1", server.port))
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: addresses)

        assert probe(Target("swarm.example", server.port, "/"), OK, 30).passed


# Proxies and redirects


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_no_proxy_of_the_environment_is_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(HEALTHY) as server, serving(LOGIN) as proxy:
        monkeypatch.setenv(variable, proxy.url(""))
        verdict = probe(parse_target(server.url()), OK, 30)

    assert verdict.passed
    assert proxy.requests == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_on_the_same_host_is_followed(status: str) -> None:
    with serving(redirect("../ready?x=1#part", status), HEALTHY) as server:
        assert probe(parse_target(server.url("/a/health")), OK, 30).passed

    assert [request.split()[1] for request in server.requests] == ["/a/health", "/ready?x=1"]


def test_three_redirects_are_followed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    with serving(*[redirect("/next")] * 3, HEALTHY) as server:
        assert probe(parse_target(server.url()), OK, 30).passed
    with serving(*[redirect("/next")] * 4, HEALTHY) as server:
        verdict = probe(parse_target(server.url()), OK, 30)

    assert not verdict.passed
    assert "status 302, more than 3 redirects" in verdict.line
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/health",
        "http://127.0.0.1:{other}/health",
        "//127.0.0.1:{other}/health",
        "https://127.0.0.1:{port}/health",
        "http://127.0.0.1.example/health",
        "http://ada@127.0.0.1:{port}/health",
        "ftp://127.0.0.1/",
        "http://[::1/",
        "/a b",
    ],
)
def test_a_redirect_to_anywhere_else_is_not_followed_and_told(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    with serving(HEALTHY) as other:

        def send_away(server: Server, connection: socket.socket) -> None:
            connection.sendall(redirect(location.format(port=server.port, other=other.port)))

        with serving(send_away) as server:
            verdict = probe(parse_target(server.url()), OK, 30)

    assert not verdict.passed
    told = location.format(port=server.port, other=other.port)
    assert f"status 302, a redirect elsewhere, not followed: {told}" in verdict.line
    assert (len(server.requests), other.requests) == (1, [])


def test_a_redirect_without_a_location_is_an_answer_that_is_not_200() -> None:
    with serving(answer(b"", "302 Found"), HEALTHY) as server:
        verdict = probe(parse_target(server.url()), OK, 60, sleep=lambda _seconds: None)

    assert verdict.passed
    assert "(2 tries, " in verdict.line


# Time


class Clock:
    """A clock that only sleeping and asking move."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def asking(clock: Clock, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make each try fail after so many seconds, or when its time is over; return what time each was given."""
    given: list[float] = []

    def ask(_target: Target, deadline: Any) -> tuple[int, None, bytes]:
        given.append(deadline.left())
        clock.now += min(seconds, deadline.left())
        return 503, None, b""

    monkeypatch.setattr(probe_module, "_ask", ask)
    return given


def test_pauses_grow_to_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    asking(clock, 0, monkeypatch)
    verdict = probe(Target("h", 80, "/"), OK, 5, clock, clock.sleep)

    assert clock.slept == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert verdict.line == "failed: http://h:80/: status 503, body '' (8 tries, 4.5 s)"


@pytest.mark.parametrize("timeout", [0.01, 0.1, 1.0, 4.99, 5.2, 17.0, 60.0])
@pytest.mark.parametrize("seconds", [0.0, 0.3, 4.0, 1000.0])
def test_no_try_and_no_pause_goes_beyond_the_deadline(
    timeout: float, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    given = asking(clock, seconds, monkeypatch)
    probe(Target("h", 80, "/"), OK, timeout, clock, clock.sleep)

    assert clock.now <= 1000 + timeout + 1e-6
    assert all(0 < seconds <= LONGEST_TRY for seconds in given)
    assert given[0] == pytest.approx(min(timeout, LONGEST_TRY))


def test_the_time_being_over_is_a_timeout() -> None:
    clock = Clock()
    deadline = probe_module._Deadline(1001, clock)

    assert deadline.left() == 1
    clock.now = 1001
    with pytest.raises(TimeoutError, match="timed out"):
        deadline.left()


# Options


@pytest.mark.parametrize(
    ("url", "target", "text"),
    [
        ("http://h", Target("h", 80, "/"), "http://h:80/"),
        ("HTTP://H:8080/p/q?a=b&c#f", Target("h", 8080, "/p/q?a=b&c"), "http://h:8080/p/q?a=b&c"),
        ("http://[::1]:1/", Target("::1", 1, "/"), "http://[::1]:1/"),
        ("http://h?q", Target("h", 80, "/?q"), "http://h:80/?q"),
    ],
)
def test_a_url_is_taken_apart(url: str, target: Target, text: str) -> None:
    assert parse_target(url) == target
    assert str(target) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "h:80/x",
        "/health",
        "https://h/",
        "ftp://h/",
        "http://",
        "http:///x",
        "http://:80/",
        "http://h:x/",
        "http://h:0/",
        "http://h:65536/",
        "http://[::1/",
        "http://ada@h/",
        "http://ada:pw@h/",
        "http://h/a b",
        "http://h/\n",
        "http://h/\x00",
        "http://h/é",
    ],
)
def test_what_is_no_http_url_is_refused_with_what_would_be_one(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected http://HOST\[:PORT\]\[/PATH\]\Z") as refusal:
        parse_target(url)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("text", "body", "passes"),
    [
        ("status=ok", {"status": "ok"}, True),
        ("status=ok", {"status": "OK"}, False),
        ("ready=true", {"ready": True}, True),
        ("ready=true", {"ready": False}, False),
        ("ready=True", {"ready": True}, False),
        ("error=null", {"error": None}, True),
        ("a=", {"a": ""}, True),
        ("a=b=c", {"a": "b=c"}, True),
        ("checks.db=up", {"checks": {"db": "up"}}, True),
        ("checks.db=up", {"checks": "up"}, False),
        ("checks.db=up", {"checks.db": "up"}, False),
    ],
)
def test_an_expectation_compares_texts(text: str, body: dict[str, Any], passes: bool) -> None:
    assert (parse_expectation(text).problem(body) is None) is passes


@pytest.mark.parametrize(
    ("text", "passes"),
    [("n=1", True), ("n=1.0", False), ("f=1.50", True), ("f=1.5", False), ("z=-0", True), ("z=0", False)],
)
def test_a_number_is_compared_as_it_is_written(text: str, passes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    with serving(answer(b'{"n": 1, "f": 1.50, "z": -0}')) as server:
        assert probe(parse_target(server.url()), [parse_expectation(text)], 30).passed is passes


def test_every_expectation_has_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PAUSES", (60.0,))
    with serving(HEALTHY) as server:
        target = parse_target(server.url())
        assert probe(target, [], 30).passed
        assert probe(target, [*OK, parse_expectation("uptime=1")], 30).passed
        assert not probe(target, [*OK, parse_expectation("uptime=2")], 30).passed
        assert not probe(target, [parse_expectation("uptime=2"), *OK], 30).passed


@pytest.mark.parametrize("text", ["", "status", "=ok", ".a=1", "a.=1", "a..b=1"])
def test_what_is_no_expectation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected KEY=TEXT or OUTER\.INNER=TEXT"):
        parse_expectation(text)


def test_an_expectation_is_read_at_its_dots() -> None:
    assert parse_expectation("a.b=c.d") == Expectation(("a", "b"), "c.d")


def test_a_line_is_one_line_whatever_is_in_it() -> None:
    assert one_line("a\r\n b\x1b[0m\u2028c\u202ed\x00") == "a b?[0m c?d?"
