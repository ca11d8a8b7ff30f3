"""Envoy with our configuration: what passes, what a runtime is told, and what never gets through."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.serving import eventually
from gate.door import read_all
from gate.plays import Request, say
from gate.stand_in import Scene, answer_events, scene
from userswarm.gate.answers import TOO_EARLY_HEADER

HOME = "/v1/workspaces/alice"
AS_ALICE = {"Authorization": "Bearer alice"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    limits = {"max_body_bytes": 30_000_000, "header_timeout": 2, "hold": 20}
    with scene(tmp_path_factory.mktemp("door"), **limits) as made:
        yield made


def request(line: str, *headers: str, body: str = "", user: str = "alice") -> bytes:
    """Return a request's bytes; the connection ends with its answer."""
    lines = [line, "Host: swarms.example", f"Authorization: Bearer {user}", *headers, "Connection: close", "", body]
    return "\r\n".join(lines).encode("latin-1")


def upgrade(user: str) -> bytes:
    lines = [f"GET /v1/workspaces/{user}/socket HTTP/1.1", "Host: swarms.example", f"Authorization: Bearer {user}"]
    return "\r\n".join([*lines, "Connection: Upgrade", "Upgrade: websocket", "", ""]).encode()


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    found = b""
    while mark not in found:
        chunk = connection.recv(65536)
        assert chunk, f"ended before {mark!r}: {found!r}"
        found += chunk
    return found


# --- what passes -------------------------------------------------------------------------------------------------


def test_a_request_reaches_its_runtime_without_the_prefix(at: Scene) -> None:
    status, body, headers = at.door.ask("POST", f"{HOME}/chat/1?q=a%2Fb&r=/v1/", b"hello", **AS_ALICE)
    told = json.loads(body)
    assert (status, told["runtime"], told["line"]) == (200, "alice", "POST /chat/1?q=a%2Fb&r=/v1/ HTTP/1.1")
    assert told["bytes"] == 5
    assert at.gate.seen[0].line == f"POST /check{HOME}/chat/1?q=a%2Fb&r=/v1/ HTTP/1.1"
    assert at.gate.seen[0].body == b""
    assert headers["x-request-id"] == at.gate.seen[0].get("x-request-id") == at.arrived()[0][1].get("x-request-id")


@pytest.mark.parametrize(("path", "arrives"), [("", "/"), ("/", "/"), ("?a=b", "/?a=b"), ("/x/", "/x/")])
def test_the_workspaces_own_address_is_the_runtimes_root(at: Scene, path: str, arrives: str) -> None:
    assert json.loads(at.door.ask("GET", HOME + path, **AS_ALICE)[1])["line"] == f"GET {arrives} HTTP/1.1"


def test_events_pass_as_they_come(at: Scene) -> None:
    with at.door.connect() as connection:
        connection.sendall(request(f"GET {HOME}/events HTTP/1.1", "Accept: text/event-stream"))
        assert b"second" not in read_until(connection, b"data: first")
        at.stage.set(answer_events["alice"])
        assert b"data: second" in read_all(connection)


def test_a_websocket_passes_both_ways(at: Scene) -> None:
    with at.door.connect() as connection:
        connection.sendall(upgrade("alice"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        for word in (b"one", b"two"):
            connection.sendall(word)
            read_until(connection, b"alice:" + word)


def test_large_bodies_pass_both_ways(at: Scene) -> None:
    status, body, _ = at.door.ask("POST", f"{HOME}/up", b"x" * 20_000_000, **AS_ALICE)
    assert (status, json.loads(body)["bytes"]) == (200, 20_000_000)
    status, body, _ = at.door.ask("GET", f"{HOME}/large", **AS_ALICE)
    assert (status, len(body)) == (200, 20_000_000)


def test_two_users_on_one_connection_each_reach_their_own(at: Scene) -> None:
    first = request("GET /v1/workspaces/alice/ HTTP/1.1").replace(b"Connection: close\r\n", b"")
    answers = at.door.send(first + request("GET /v1/workspaces/bob/ HTTP/1.1", user="bob"))
    assert re.findall(rb'"runtime": "(\w+)"', answers) == [b"alice", b"bob"]


# --- what a client cannot say ------------------------------------------------------------------------------------

FORGED = {
    "x-userswarm-upstream": "127.0.0.1:9",
    "x-userswarm-user": "user-bob",
    "X-UserSwarm-User": "user-bob",
    "x_userswarm_user": "user-bob",
    "x-userswarm-workspace": "bob",
    "x-userswarm-admin": "forged",
    "x-envoy-original-path": "/v1/workspaces/bob/",
    "x-envoy-original-dst-host": "127.0.0.1:9",
    "x-envoy-retry-on": "5xx",
    "x-envoy-upstream-rq-timeout-ms": "17",
    "x-envoy-internal": "forged",
    "x-envoy-decorator-operation": "forged",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-host": "evil.example",
    "x-forwarded-proto": "https",
    "x-forwarded-client-cert": "By=forged",
    "x-real-ip": "203.0.113.9",
    "forwarded": "for=203.0.113.9",
    "x-request-id": "forged",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_header_does_not_arrive(at: Scene, name: str) -> None:
    answer = at.door.send(request(f"GET {HOME}/ HTTP/1.1", f"{name}: {FORGED[name]}"))
    told = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert told["runtime"] == "alice"
    assert FORGED[name] not in [value for _, value in told["headers"]]
    mine = {key.lower(): value for key, value in told["headers"] if key.lower().startswith("x-userswarm-")}
    assert mine == {"x-userswarm-user": "user-alice", "x-userswarm-workspace": "alice"}
    assert FORGED[name] not in [value for _, value in at.gate.seen[0].headers]
    assert not [key for key, _ in told["headers"] if key.lower().startswith("x-envoy-")]


@pytest.mark.parametrize("nominated", ["x-userswarm-user", "x-userswarm-workspace", "host", "x-request-id"])
def test_no_header_of_ours_is_hop_by_hop(at: Scene, nominated: str) -> None:
    raw = request(f"GET {HOME}/ HTTP/1.1").replace(b"Connection: close", f"Connection: close, {nominated}".encode())
    answer = at.door.send(raw)
    if answer.startswith(b"HTTP/1.1 200 "):
        told = dict(json.loads(answer.partition(b"\r\n\r\n")[2])["headers"])
        assert told["x-userswarm-user"] == "user-alice"
        assert told["x-userswarm-workspace"] == "alice"
        assert told["host"] == "swarms.example"
    else:
        assert at.arrived() == []


def test_the_runtime_is_told_who_asks_and_not_by_what_token(at: Scene) -> None:
    told = dict(json.loads(at.door.ask("GET", f"{HOME}/", **AS_ALICE)[1])["headers"])
    assert told["x-userswarm-user"] == "user-alice"
    assert told["host"] == f"127.0.0.1:{at.door.port}"
    assert "authorization" not in told


# --- what does not get through -----------------------------------------------------------------------------------

SMUGGLED = "GET /v1/workspaces/bob/smuggled HTTP/1.1\r\nHost: swarms.example\r\nAuthorization: Bearer bob\r\n\r\n"

ATTEMPTS = {
    "length and chunks": request(
        f"POST {HOME}/ HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}"
    ),
    "chunks and length": request(
        f"POST {HOME}/ HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 5", body=f"0\r\n\r\n{SMUGGLED}"
    ),
    "two lengths": request(
        f"POST {HOME}/ HTTP/1.1", "Content-Length: 0", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED
    ),
    "a list of lengths": request(f"POST {HOME}/ HTTP/1.1", f"Content-Length: 0, {len(SMUGGLED)}", body=SMUGGLED),
    "a signed length": request(f"POST {HOME}/ HTTP/1.1", "Content-Length: +5", body="hello"),
    "a negative length": request(f"POST {HOME}/ HTTP/1.1", "Content-Length: -5", body="hello"),
    "an unknown coding": request(f"POST {HOME}/ HTTP/1.1", "Transfer-Encoding: xchunked", body=SMUGGLED),
    "chunked twice": request(f"POST {HOME}/ HTTP/1.1", "Transfer-Encoding: chunked, identity", body=SMUGGLED),
    "a blank before the colon": request(f"POST {HOME}/ HTTP/1.1", "Content-Length : 5", body="hello"),
    "a tab in the coding": request(
        f"POST {HOME}/ HTTP/1.1", "Transfer-Encoding:\x0bchunked", body=f"0\r\n\r\n{SMUGGLED}"
    ),
    "a folded header": request(f"GET {HOME}/ HTTP/1.1", "X-A: b\r\n Content-Length: 5"),
    "a bare newline": request(f"GET {HOME}/ HTTP/1.1", "X-A: b\nx-userswarm-user: user-bob"),
    "a bare return": request(f"GET {HOME}/ HTTP/1.1", "X-A: b\rx-userswarm-user: user-bob"),
    "a nul": request(f"GET {HOME}/ HTTP/1.1", "X-A: b\x00c"),
    "a bad chunk": request(f"POST {HOME}/ HTTP/1.1", "Transfer-Encoding: chunked", body=f"zz\r\n{SMUGGLED}"),
    "a huge chunk": request(f"POST {HOME}/ HTTP/1.1", "Transfer-Encoding: chunked", body=f"{'f' * 17}\r\n{SMUGGLED}"),
    "two hosts": request(f"GET {HOME}/ HTTP/1.1", "Host: bob.example"),
    "an absolute form": request("GET http://bob.example/v1/workspaces/bob/ HTTP/1.1"),
    "a tunnel": request("CONNECT 127.0.0.1:9 HTTP/1.1"),
    "an old version": request(f"GET {HOME}/ HTTP/0.9"),
    "an escaped slash": request(f"GET {HOME}%2f..%2fbob/ HTTP/1.1"),
    "an escaped backslash": request(f"GET {HOME}%5c..%5cbob/ HTTP/1.1"),
    "a fragment": request(f"GET {HOME}#/v1/workspaces/bob/ HTTP/1.1"),
    "a blank in the path": request(f"GET {HOME}/ /v1/workspaces/bob/ HTTP/1.1"),
    "http/2 on the way": request(
        f"GET {HOME}/ HTTP/1.1", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "X-End: 1"
    ).replace(b"Connection: close", b"Connection: Upgrade, HTTP2-Settings, close"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_could_be_read_in_two_ways_never_reaches_another_runtime(at: Scene, attempt: str) -> None:
    at.door.send(ATTEMPTS[attempt])
    at.settle()
    for name, arrived in at.arrived():
        assert name == "alice", attempt
        assert arrived.get("x-userswarm-user") == "user-alice"
        assert "smuggled" not in arrived.line
    # Whatever has arrived was asked about, one by one.
    assert len(at.arrived()) <= len(at.gate.seen) <= 1


@pytest.mark.parametrize(
    ("attempt", "status"), [("an absolute form", 404), ("an escaped slash", 400), ("a tunnel", 404)]
)
def test_what_is_no_plain_path_is_refused_before_anybody_is_asked(at: Scene, attempt: str, status: int) -> None:
    assert at.door.send(ATTEMPTS[attempt]).startswith(f"HTTP/1.1 {status} ".encode())
    assert at.gate.seen == []


def test_a_client_cannot_tell_envoy_what_to_do(at: Scene) -> None:
    orders = ("x-envoy-retry-on: 5xx,reset", "x-envoy-max-retries: 5", "x-envoy-hedge-on-per-try-timeout: true")
    assert at.door.send(request(f"GET {HOME}/nothing HTTP/1.1", *orders)).startswith(b"HTTP/1.1 503 ")
    assert len(at.arrived()) == 1


def test_an_answer_too_many_is_nobodys(at: Scene) -> None:
    assert at.door.ask("GET", f"{HOME}/two", **AS_ALICE)[1] == b"1"
    for _ in range(5):
        assert b"poison" not in at.door.ask("GET", f"{HOME}/", **AS_ALICE)[1]


def test_no_connection_to_a_runtime_is_used_twice(at: Scene) -> None:
    before = at.runtimes["alice"].connections
    for _ in range(5):
        at.door.ask("GET", f"{HOME}/", **AS_ALICE)
    assert at.runtimes["alice"].connections == before + 5


def test_the_gates_refusal_is_the_clients_answer(at: Scene) -> None:
    status, body, headers = at.door.ask("GET", f"{HOME}/")
    assert (status, body) == (401, b'{"error":"who?"}')
    assert headers["www-authenticate"] == "Bearer"
    assert "x-secret" not in headers
    status, body, _ = at.door.ask("GET", "/v1/workspaces/bob/", **AS_ALICE)
    assert (status, body) == (404, b'{"error":"no such workspace"}')
    assert at.arrived() == []


def test_a_yes_that_names_no_address_leads_nowhere(at: Scene) -> None:
    forged = {"x_userswarm_upstream": at.runtimes["bob"].address}
    status, body, _ = at.door.ask("GET", f"{HOME}/", **forged, Authorization="Bearer nowhere")
    assert (status, json.loads(body)["error"]) == (503, "the runtime does not answer")
    assert at.arrived() == []


def test_an_address_that_is_no_workspaces_is_not_routed(at: Scene) -> None:
    status, body, _ = at.door.ask("GET", "/elsewhere", **AS_ALICE)
    assert status == 404
    assert json.loads(body).keys() == {"error", "requestId"}
    assert at.arrived() == []


@pytest.mark.parametrize(
    ("headers", "status"), [({"X-Long": "x" * 40_000}, 431), ({f"X-{n}": "x" for n in range(150)}, 431)]
)
def test_a_head_that_is_too_large_is_refused(at: Scene, headers: dict[str, str], status: int) -> None:
    assert at.door.ask("GET", f"{HOME}/", **headers, **AS_ALICE)[0] == status
    assert at.gate.seen == []


def test_a_body_that_declares_itself_too_large_is_refused(at: Scene) -> None:
    answer = at.door.send(request(f"POST {HOME}/ HTTP/1.1", "Content-Length: 30000001"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert at.arrived() == []


def test_a_client_that_never_finishes_its_head_is_not_waited_for(at: Scene) -> None:
    assert at.door.send(request(f"GET {HOME}/ HTTP/1.1")[:-2]).startswith(b"HTTP/1.1 408 ")
    assert at.gate.seen == []


# --- when something breaks ---------------------------------------------------------------------------------------


def test_a_runtime_that_dies_midway_is_not_asked_again(at: Scene) -> None:
    answer = at.door.send(request(f"POST {HOME}/half HTTP/1.1", "Content-Length: 2", body="hi"))
    assert answer.endswith(b"half")
    assert len(at.arrived()) == 1


def test_a_runtime_that_dies_before_it_answers_is_not_asked_again(at: Scene) -> None:
    status, body, headers = at.door.ask("POST", f"{HOME}/nothing", b"hi", **AS_ALICE)
    assert (status, json.loads(body)) == (
        503,
        {"error": "the runtime does not answer", "requestId": headers["x-request-id"]},
    )
    assert len(at.arrived()) == 1


def test_five_hundred_may_wait_for_one_wake(tmp_path: Path) -> None:
    with scene(tmp_path, hold=60) as made:
        awake, decide = made.stage.event(), made.gate.answer

        async def hold(request: object, writer: object) -> None:
            await awake.wait()
            await decide(request, writer)  # type: ignore[arg-type]

        made.gate.answer = hold
        with ThreadPoolExecutor(500) as clients:
            answers = [clients.submit(made.door.ask, "GET", f"{HOME}/", **AS_ALICE) for _ in range(500)]
            eventually(lambda: len(made.gate.seen) == 500, 120)
            assert made.arrived() == []
            made.stage.set(awake)
            assert {answer.result()[0] for answer in answers} == {200}
        assert len(made.arrived()) == 500


def test_without_a_gate_nobody_gets_in(tmp_path: Path) -> None:
    with scene(tmp_path, hold=1) as made:
        made.stage.stop(made.gate)
        status, body, headers = made.door.ask("GET", f"{HOME}/", **AS_ALICE)
        assert (status, json.loads(body)["error"]) == (503, "nobody can decide just now")
        assert headers["retry-after"] == "5"
        assert made.arrived() == []


def test_why_the_gate_lets_nobody_in_yet_is_told_as_it_says(at: Scene) -> None:
    """Envoy would take a 503 of the gate's for one that failed, and say something of its own."""
    said = b'{"error":"not awake yet"}'

    async def refuse(request: Request, writer: asyncio.StreamWriter) -> None:
        assert request.get(TOO_EARLY_HEADER)
        await say(writer, "425 Too Early", said, Retry_After="2", Content_Type="application/json")

    decide, at.gate.answer = at.gate.answer, refuse
    try:
        status, body, headers = at.door.ask("GET", f"{HOME}/", x_userswarm_too_early="forged", **AS_ALICE)
    finally:
        at.gate.answer = decide
    assert (status, body, headers["retry-after"]) == (503, said, "2")
    assert headers["content-type"] == "application/json"
    assert at.arrived() == []
    assert at.door.accesses()[-1]["code"] == 503


def test_a_gate_that_never_answers_lets_nobody_in(tmp_path: Path) -> None:
    with scene(tmp_path, hold=1) as made:

        async def never(request: object, writer: object) -> None:
            """Say nothing."""

        made.gate.answer = never
        assert made.door.ask("GET", f"{HOME}/", **AS_ALICE)[0] == 503
        assert made.arrived() == []


# --- what is told ------------------------------------------------------------------------------------------------


def test_an_open_stream_is_told_again_and_again_and_its_end_once(at: Scene) -> None:
    at.door.told.clear()
    with at.door.connect() as connection:
        connection.sendall(upgrade("alice"))
        connection.sendall(b"word")
        read_until(connection, b"alice:word")
        eventually(lambda: [each for each in at.door.told if each["type"] == "DownstreamPeriodic"])
    (end,) = eventually(lambda: [each for each in at.door.told if each["type"] == "DownstreamEnd"])
    assert all((each["user"], each["workspace"]) == ("user-alice", "alice") for each in at.door.told)
    assert {each["requestId"] for each in at.door.told} == {end["requestId"]}
    assert end["bytesIn"] >= 4
    assert end["bytesOut"] >= 10


def test_the_access_log_tells_who_and_how_much_and_no_secret(at: Scene) -> None:
    _, _, headers = at.door.ask("POST", f"{HOME}/logged?token=secret", b"12345", **AS_ALICE)
    (line,) = eventually(lambda: [e for e in at.door.accesses() if e["requestId"] == headers["x-request-id"]])
    assert (line["user"], line["workspace"], line["code"], line["bytesIn"]) == ("user-alice", "alice", 200, 5)
    assert line["durationMs"] >= 0
    assert "secret" not in json.dumps(line)
    assert "Bearer" not in json.dumps(line)


def test_probes_and_prometheus_see_nothing_else_of_envoys_admin(at: Scene) -> None:
    assert at.door.ask_status("/ready")[0] == 200
    assert b"envoy_cluster_upstream_rq" in at.door.ask_status("/metrics")[1]
    for path in ("/", "/config_dump", "/quitquitquit", "/ready/../config_dump", "/metrics/../clusters"):
        assert at.door.ask_status(path)[0] == 404, path
