"""nginx as the README shows it, and the real gate: what passes, what is refused and how, and what no client can say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.serving import free_port
from contract.test_gate_http import Running, run_gate
from devcluster.rest import RestServer
from gate import nginx
from gate.door import read_all
from gate.nginx import Nginx
from gate.plays import Play, Request, Stage, say
from gate.stand_in import answer_events, runtime
from gate.test_data_path import read_until
from unit.backend.world import World, make_api, make_api_client
from unit.gate.gates import make_swarm, static_tokens

A = "/v1/workspaces/a"
AS_ALICE = {"Authorization": "Bearer alices"}
AS_BOB = {"Authorization": "Bearer bobs"}
AS_CAROL = {"Authorization": "Bearer carols"}
HOME = "https://app.example.com"
LIMITS = '[user.carol]\nrate = "1/day"\n'


async def treacherous(request: Request, writer: asyncio.StreamWriter) -> None:
    """Play a runtime that tells nginx what to do."""
    if request.target == "/elsewhere":
        await say(writer, "200 OK", b"mine", X_Accel_Redirect="/gate")
    else:
        await runtime("a")(request, writer)


@dataclass(frozen=True, slots=True)
class Scene:
    """nginx, the gate behind it, and the runtimes of two workspaces."""

    stage: Stage
    nginx: Nginx
    gate: Running
    runtimes: dict[str, Play]

    def arrived(self) -> list[tuple[str, Request]]:
        """Return what has reached runtimes: whose, and what."""
        return [(name, request) for name, play in self.runtimes.items() for request in play.seen]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    nginx.find_nginx()
    place = tmp_path_factory.mktemp("gate")
    with Stage.open() as stage, RestServer(make_api(), bookmark_interval=0.2) as rest:
        api_client = make_api_client(rest.url)
        world = World(rest.api, rest, api_client)
        runtimes = {"a": stage.start(treacherous), "b": stage.start(runtime("b"))}
        for workspace, user in (("a", "alice"), ("b", "bob"), ("c", "carol"), ("away", "alice")):
            make_swarm(world, workspace, user)
        make_swarm(world, "cold", "alice", verified=False)
        world.create("workspace-kept", {"userId": "alice", "workspaceId": "kept", "suspend": True})
        addresses = {
            "a": runtimes["a"].address,
            "b": runtimes["b"].address,
            "c": runtimes["b"].address,
            "away": f"127.0.0.1:{free_port()}",
        }
        lines = [f"{address} swarm-workspace-{name}.userswarms.svc:42617\n" for name, address in addresses.items()]
        (place / "services").write_text("".join(lines), encoding="utf-8")
        (place / "limits.toml").write_text(LIMITS, encoding="utf-8")
        settings = {
            "TOKEN_FILE": static_tokens(place / "users", alice="alices", bob="bobs", carol="carols"),
            "HOSTS_FILE": str(place / "services"),
            "LIMITS_FILE": str(place / "limits.toml"),
            "ALLOWED_ORIGINS": HOME,
            "HOLD": "1",
        }
        with (
            run_gate(world, place, **settings) as gate,
            nginx.running(tmp_path_factory.mktemp("nginx"), gate.port) as it,
        ):
            yield Scene(stage, it, gate, runtimes)
        api_client.close()


@pytest.fixture
def at(made: Scene) -> Scene:
    for play in made.runtimes.values():
        play.seen.clear()
    answer_events["a"] = asyncio.Event()
    return made


def request(line: str, *headers: str) -> bytes:
    lines = [line, "Host: swarms.example", "Authorization: Bearer alices", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


# --- what passes -------------------------------------------------------------------------------------------------


def test_a_request_reaches_its_runtime_without_the_prefix_and_the_token(at: Scene) -> None:
    status, body, _ = at.nginx.ask("POST", f"{A}/chat/1?q=a%2Fb&r=/v1/", b"hello", Origin=HOME, **AS_ALICE)
    told = json.loads(body)
    assert (status, told["runtime"], told["line"]) == (200, "a", "POST /chat/1?q=a%2Fb&r=/v1/ HTTP/1.1")
    assert told["bytes"] == 5
    ((_, arrived),) = at.arrived()
    assert (arrived.get("x-userswarm-user"), arrived.get("x-userswarm-workspace")) == ("alice", "a")
    assert arrived.get("authorization") == arrived.get("x-userswarm-upstream") == ""
    line = at.gate.audit()[-1]
    assert (line["requestId"], line["action"], line["code"]) == (arrived.get("x-request-id"), "POST", 200)


@pytest.mark.parametrize(
    ("path", "arrives"),
    [("", "/"), ("/", "/"), ("?a=b", "/?a=b"), ("?a=/b", "/?a=/b"), ("/x/", "/x/"), ("/%C3%A9%20;b", "/%C3%A9%20;b")],
)
def test_the_path_arrives_as_it_was_sent(at: Scene, path: str, arrives: str) -> None:
    assert json.loads(at.nginx.ask("GET", A + path, **AS_ALICE)[1])["line"] == f"GET {arrives} HTTP/1.1"


def test_events_pass_as_they_come(at: Scene) -> None:
    with at.nginx.connect() as connection:
        connection.sendall(request(f"GET {A}/events HTTP/1.1", "Connection: close"))
        assert b"second" not in read_until(connection, b"data: first")
        at.stage.set(answer_events["a"])
        assert b"data: second" in read_all(connection)


def test_a_websocket_passes_both_ways(at: Scene) -> None:
    with at.nginx.connect() as connection:
        connection.sendall(request(f"GET {A}/socket HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        for word in (b"one", b"two"):
            connection.sendall(word)
            read_until(connection, b"a:" + word)
    ((_, arrived),) = at.arrived()
    assert (arrived.get("upgrade"), arrived.get("connection")) == ("websocket", "upgrade")


def test_large_bodies_pass_both_ways(at: Scene) -> None:
    status, body, _ = at.nginx.ask("POST", f"{A}/up", b"x" * 20_000_000, **AS_ALICE)
    assert status == 200
    assert json.loads(body)["bytes"] == 20_000_000
    status, body, _ = at.nginx.ask("GET", f"{A}/large", **AS_ALICE)
    assert (status, len(body)) == (200, 20_000_000)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        (A, {}, 401),
        (A, {"Authorization": "Bearer nobodys"}, 401),
        (A, {"Origin": "https://evil.example", **AS_ALICE}, 403),
        (A, AS_BOB, 404),
        ("/v1/workspaces/nowhere/", AS_ALICE, 404),
        ("/v1/workspaces/", AS_ALICE, 404),
        ("/v1/workspaces/kept/", AS_ALICE, 409),
        ("/v1/workspaces/cold/", AS_ALICE, 503),
        (f"{A}/../b/", AS_ALICE, 400),
        (f"{A}/%2e%2e/b/", AS_ALICE, 400),
        (f"{A}/..;/b/", AS_ALICE, 400),
        ("/x/../v1/workspaces/a/", AS_ALICE, 400),
        (f"{A}%2fb/", AS_ALICE, 400),
        (f"{A}%5cb/", AS_ALICE, 400),
        (f"{A}//b/", AS_ALICE, 400),
        ("/v1%2fworkspaces/a/", AS_ALICE, 400),
    ],
)
def test_a_refusal_has_its_own_code_and_nothing_arrives(
    at: Scene, path: str, headers: dict[str, str], code: int
) -> None:
    status, _, told = at.nginx.ask("GET", path, **headers)
    assert status == code
    assert at.gate.audit()[-1]["code"] == code
    assert at.arrived() == []
    assert ("www-authenticate" in told) == (code == 401)
    assert ("retry-after" in told) == (code == 503)
    assert not [name for name in told if name.startswith("x-userswarm-")]


def test_a_workspace_of_somebody_else_looks_like_one_that_is_not_there(at: Scene) -> None:
    def answer(path: str) -> tuple[int, bytes, dict[str, str]]:
        status, body, headers = at.nginx.ask("GET", path, **AS_BOB)
        return status, body, {name: text for name, text in headers.items() if name != "date"}

    assert answer(A) == answer("/v1/workspaces/nowhere")


def test_who_asks_too_often_is_told_when_to_come_back(at: Scene) -> None:
    answers = [at.nginx.ask("GET", "/v1/workspaces/c/", **AS_CAROL) for _ in range(2)]
    assert [status for status, _, _ in answers] == [200, 429]
    assert int(answers[1][2]["retry-after"]) > 0
    assert len(at.arrived()) == 1


def test_a_runtime_that_is_away_is_nobody_elses(at: Scene) -> None:
    assert at.nginx.ask("GET", "/v1/workspaces/away/", **AS_ALICE)[0] == 502
    assert at.arrived() == []


@pytest.mark.parametrize("path", ["/", "/gate", "/auth", "/check/v1/workspaces/a/", "//v1/workspaces/a/"])
def test_there_is_no_other_way_in(at: Scene, path: str) -> None:
    assert at.nginx.ask("GET", path, **AS_ALICE)[0] == 404
    assert at.arrived() == []


def test_without_the_gate_nobody_gets_in(tmp_path: Path) -> None:
    with nginx.running(tmp_path, free_port()) as alone:
        assert alone.ask("GET", A, **AS_ALICE)[0] == 500


# --- what a client, or a runtime, cannot say ---------------------------------------------------------------------

FORGED = [
    "X-UserSwarm-Upstream: 127.0.0.1:9",
    "X-UserSwarm-User: bob",
    "X-UserSwarm-Workspace: b",
    "X_UserSwarm_User: bob",
    "X-UserSwarm-Code: 200",
    "X-Original-URI: /v1/workspaces/b/",
    "X-Original-Method: DELETE",
    "X-Request-Id: bob",
    "Connection: x-userswarm-user, authorization",
    "Connection: Upgrade\r\nUpgrade: h2c",
    "Transfer-Encoding: identity",
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_header_does_nothing(at: Scene, forged: str) -> None:
    with at.nginx.connect() as connection:
        close = () if forged.startswith("Connection") else ("Connection: close",)
        connection.sendall(request(f"GET {A}/ HTTP/1.1", forged, *close))
        answer = read_until(connection, b"\r\n\r\n")
    for name, arrived in at.arrived():
        assert name == "a"
        assert (arrived.get("x-userswarm-user"), arrived.get("x-userswarm-workspace")) == ("alice", "a")
        for gone in ("upgrade", "connection", "authorization", "x-userswarm-upstream"):
            assert arrived.get(gone) == "", gone
        assert arrived.get("x-request-id") not in {"", "bob"}
    assert bool(at.arrived()) == answer.startswith(b"HTTP/1.1 200 ")
    last = at.gate.audit()[-1]
    assert (last["user"], last["workspace"], last["action"]) == ("alice", "a", "GET")


def test_an_absolute_form_leads_to_the_callers_own(at: Scene) -> None:
    with at.nginx.connect() as connection:
        connection.sendall(request("GET http://b.example/v1/workspaces/a/ HTTP/1.1", "Connection: close"))
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert [name for name, _ in at.arrived()] == ["a"]


def test_a_runtime_does_not_send_nginx_elsewhere(at: Scene) -> None:
    assert at.nginx.ask("GET", f"{A}/elsewhere", **AS_ALICE)[:2] == (200, b"mine")
