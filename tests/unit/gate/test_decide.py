"""Decisions, as a proxy asks for them and is told them: over a real client, and an API server in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from unit.backend.world import World, eventually
from unit.gate.conftest import ALICE, BOB
from unit.gate.gates import Gates, address_of, make_swarm, static_tokens
from userswarm.gate.audit import Audit
from userswarm.gate.settings import GateSettings

MakeGate = Callable[..., Gates]

A, B = "/v1/workspaces/a/chat?q=1", "/v1/workspaces/b/chat"
OF_A = f"{address_of('swarm-workspace-a')}:42617"


def test_an_owner_is_let_through_to_the_own_swarm(gate: Gates) -> None:
    answer = gate.check(A, ALICE, x_request_id="r1")

    assert (answer.code, answer.body) == (200, b"")
    assert answer.upstream == OF_A
    assert answer.headers["x-userswarm-user"] == "alice"
    assert answer.headers["x-userswarm-workspace"] == "a"
    assert answer.headers["x-request-id"] == "r1"
    assert gate.uses.notes == [("a", "alice", False)]


def test_nothing_that_the_client_sends_is_said_to_the_runtime(gate: Gates) -> None:
    forged = {"x_userswarm_upstream": "6.6.6.6:1", "x_userswarm_user": "bob", "x_userswarm_workspace": "b"}
    answer = gate.check(A, ALICE, **forged)

    assert answer.upstream == OF_A
    assert (answer.headers["x-userswarm-user"], answer.headers["x-userswarm-workspace"]) == ("alice", "a")
    assert gate.check(B, ALICE, **forged).upstream is None


def test_a_stranger_and_a_missing_workspace_look_the_same(gate: Gates) -> None:
    told = [
        gate.check(target, ALICE, x_request_id="same")
        for target in (B, "/v1/workspaces/nowhere/chat", "/elsewhere", f"/v1/workspaces/{'x' * 2000}/")
    ]

    assert {answer.code for answer in told} == {404}
    assert len({(answer.body, tuple(sorted(answer.headers.items()))) for answer in told}) == 1
    assert told[0].json == {"error": "there is no such workspace", "requestId": "same"}
    assert gate.uses.notes == []


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {ALICE}",
        ALICE,
        f"Bearer {ALICE} {BOB}",
        f"Bearer {ALICE},Bearer {BOB}",
        f"Bearer\t{ALICE}",
        f"Bearer {ALICE}x",
        f"Bearer {ALICE[:-1]}",
        "Bearer a.b.c",
        "Bearer \u00fc",
    ],
)
def test_nobody_is_let_in_without_a_token(gate: Gates, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = gate.check(A, x_request_id="r", **headers)

    assert answer.code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json == {"error": "a valid bearer token is required", "requestId": "r"}


def test_the_scheme_may_be_written_in_any_case(gate: Gates) -> None:
    assert gate.check(A, authorization=f"bearer  {ALICE}").code == 200


def test_a_path_that_is_no_plain_one_is_refused_before_all_else(gate: Gates) -> None:
    for target in ("/v1/workspaces/a/../b/", "/v1/workspaces/a%2f..%2fb/", "/v1/workspaces//a/", "//a"):
        assert gate.check(target, ALICE).code == 400
    assert gate.ask("/checkhttp://gate.example.com/v1/workspaces/a/", "GET", ALICE, {}).code == 400
    assert gate.ask("/check*", "OPTIONS", ALICE, {}).code == 400


def test_a_host_of_its_own_names_the_workspace_too(make_gate: MakeGate) -> None:
    gate = make_gate(domain="agents.example.com")

    assert gate.check("/any/path", ALICE, host="a.agents.example.com").upstream == OF_A
    assert gate.check("/v1/workspaces/a/", ALICE, host="b.agents.example.com").code == 404


def test_a_page_of_somebody_else_may_not_ask(make_gate: MakeGate) -> None:
    gate = make_gate(allowed_origins=("https://app.example.com",))

    assert gate.check(A, ALICE).code == 200
    assert gate.check(A, ALICE, origin="https://app.example.com").code == 200
    assert gate.check(A, ALICE, origin="https://evil.example").code == 403
    assert gate.check(A, ALICE, origin="null").code == 403


def test_a_swarm_that_a_person_has_suspended_says_so_to_its_owner_only(world: World, make_gate: MakeGate) -> None:
    world.patch("workspace-a", {"spec": {"suspend": True}})
    gate = make_gate(hold=600)
    answer = gate.check(A, ALICE)

    assert (answer.code, "suspended" in answer.json["error"]) == (409, True)
    assert gate.check(A, BOB).code == 404


def test_a_swarm_that_does_not_run_is_not_waited_for(world: World, make_gate: MakeGate) -> None:
    world.block("workspace-a", "Failed", "ImagePull", "secret-registry.example/image: not found")
    answer = make_gate(hold=600).check(A, ALICE)

    assert (answer.code, answer.headers["retry-after"]) == (503, "30")
    assert b"secret-registry" not in answer.body


def test_a_swarm_that_goes_away_is_gone(world: World, make_gate: MakeGate) -> None:
    gate = make_gate(hold=600)
    assert gate.check(A, ALICE).code == 200
    world.patch("workspace-a", {"metadata": {"finalizers": ["example.com/wait"]}})
    world.api.delete("crawbl.ai/v1alpha1", "UserSwarm", None, "workspace-a")

    eventually(lambda: gate.check(A, ALICE).code == 404)


def test_an_address_that_is_not_the_swarms_own_service_is_not_believed(world: World, make_gate: MakeGate) -> None:
    for endpoint in (
        "http://swarm-workspace-b.userswarms.svc:42617",
        "http://169.254.169.254:80",
        "http://swarm-workspace-a.userswarms.svc.evil.example:80",
        "http://swarm-workspace-a.userswarms.svc:42617@evil.example",
        "https://swarm-workspace-a.userswarms.svc:42617",
    ):
        world.verify("workspace-a")
        obj = world.get("workspace-a")
        world.api.update_status({**obj, "status": {**obj["status"], "endpoint": endpoint}}, actor="somebody")
        answer = make_gate().check(A, ALICE)
        assert (answer.code, answer.upstream) == (503, None), endpoint


def test_nobody_gets_in_by_a_stale_memory(world: World, make_gate: MakeGate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = make_gate()
    assert gate.check(A, ALICE).code == 200
    gets = world.count("GET", "userswarms/workspace-a")
    monkeypatch.setattr("userswarm.backend.cache.SwarmCache.age", lambda self: 31.0)
    answer = gate.check(A, ALICE)

    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    # A flood of requests is none of requests to the API server.
    assert world.count("GET", "userswarms/workspace-a") == gets
    assert gate.ask("/readyz", "GET", None, {}).code == 503
    assert gate.ask("/healthz", "GET", None, {}).code == 200


def test_when_the_api_server_is_away_memory_that_is_fresh_goes_on(world: World, make_gate: MakeGate) -> None:
    gate = make_gate()
    world.rest.faults.answer(500, times=1000)

    assert gate.check(A, ALICE).code == 200
    assert gate.check(A, BOB).code == 404
    assert gate.ask("/readyz", "GET", None, {}).code == 200


def test_a_bug_lets_nobody_in_and_tells_nothing(gate: Gates, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(swarm: object) -> str:
        raise RuntimeError("10.0.0.7 is secret")

    monkeypatch.setattr(gate.gate._upstreams, "address_of", broken)
    answer = gate.check(A, ALICE)

    assert (answer.code, answer.upstream) == (500, None)
    assert b"10.0.0.7" not in answer.body


def test_users_of_any_text_fit_into_a_header(world: World, make_gate: MakeGate, tmp_path: Path) -> None:
    make_swarm(world, "c", "auth0|Zo\u00eb 100%")
    gate = make_gate()
    file = static_tokens(tmp_path / "more", **{"auth0|Zo\u00eb 100%": "secret"})
    gate = Gates(gate.client, GateSettings(token_file=file))

    assert gate.check("/v1/workspaces/c/", "secret").headers["x-userswarm-user"] == "auth0|Zo%C3%AB%20100%25"


# nginx


def test_nginx_is_told_the_same_by_auth_request(gate: Gates) -> None:
    answer = gate.auth(A, ALICE, "POST", x_request_id="r1")

    assert (answer.code, answer.upstream) == (200, OF_A)
    assert answer.headers["x-userswarm-user"] == "alice"
    assert answer.headers["x-userswarm-code"] == "200"


@pytest.mark.parametrize(
    ("uri", "token", "code", "told"),
    [
        (A, "bad", 401, "401"),
        (B, ALICE, 403, "404"),
        ("/v1/workspaces/a/../b", ALICE, 403, "400"),
        ("http://gate.example.com/v1/workspaces/a/", ALICE, 403, "400"),
        ("", ALICE, 403, "400"),
    ],
)
def test_nginx_which_knows_401_and_403_only_finds_the_code_in_a_header(
    gate: Gates, uri: str, token: str, code: int, told: str
) -> None:
    answer = gate.auth(uri, token)
    assert (answer.code, answer.headers["x-userswarm-code"], answer.upstream) == (code, told, None)


# Told


def test_each_decision_is_one_line_of_audit_without_secrets(world: World, make_gate: MakeGate, tmp_path: Path) -> None:
    gate = make_gate(Audit(str(tmp_path / "audit")))
    gate.check("/v1/workspaces/a/private?token=secret", ALICE, "POST", x_request_id="r1")
    gate.check(B, ALICE, x_request_id="r2", upgrade="WebSocket")
    gate.check(A, "bad-token", x_request_id="r3")
    text = (tmp_path / "audit").read_text(encoding="utf-8")
    lines = [orjson.loads(line) for line in text.splitlines()]

    assert [
        [line[name] for name in ("requestId", "user", "workspace", "action", "result", "code")] for line in lines
    ] == [
        ["r1", "alice", "a", "POST", "allowed", 200],
        ["r2", "alice", "b", "websocket", "refused", 404],
        ["r3", "", "a", "GET", "refused", 401],
    ]
    assert [line["reason"] for line in lines] == ["owner", "missing", "unknown-token"]
    assert [line["uid"] for line in lines] == [world.get("workspace-a")["metadata"]["uid"], "", ""]
    assert all(line["time"].endswith("Z") and line["ms"] >= 0 for line in lines)
    for secret in ("private", "secret", ALICE, "bad-token"):
        assert secret not in text


def test_who_cannot_be_recorded_is_not_let_in(make_gate: MakeGate, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit("stdout")
    gate = make_gate(audit)

    def full(descriptor: int, line: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    answer = gate.check(A, ALICE)
    assert (answer.code, answer.upstream) == (503, None)


def test_decisions_are_counted_by_answer_and_reason(gate: Gates) -> None:
    gate.check(A, ALICE)
    gate.check(A, ALICE)
    gate.check(B, ALICE)

    assert gate.count("userswarm_gate_decisions_total", code="200", reason="owner") == 2
    assert gate.count("userswarm_gate_decisions_total", code="404", reason="missing") == 1
    assert gate.count("userswarm_gate_decision_duration_seconds_count") == 3
    assert gate.count("userswarm_gate_hold_seconds_count") == 0
