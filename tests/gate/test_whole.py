"""The gate, Envoy and a cluster together: whatever is asked, bytes go to the caller's own runtime or nowhere."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gate.door import read_all, require_envoy
from userswarm.cli import cli
from userswarm.cli.demo.gate import OWNERS, SLEEPING
from userswarm.cli.demo.gate_world import GateWorld, gate_world


@pytest.fixture(scope="module")
def made() -> Iterator[GateWorld]:
    require_envoy()
    with gate_world(OWNERS, SLEEPING) as made:
        yield made


def test_the_demo_of_the_gate_ends_well() -> None:
    require_envoy()
    result = CliRunner().invoke(cli, ["demo", "--gate"])
    assert result.exit_code == 0, result.output
    for line in ("alice at alice-home: 200", "alice at bob's: 404", "a WebSocket, both ways", "in one request"):
        assert line in result.output


def test_the_demo_of_the_gate_takes_no_swarm_of_ones_own() -> None:
    assert CliRunner().invoke(cli, ["demo", "--gate", "--keep"]).exit_code == 2


def test_five_hundred_wait_for_one_wake(made: GateWorld) -> None:
    token = made.issuer.token("bob")
    api = made.cluster.api

    def ask(_: int) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=120)
        connection.request("GET", f"/v1/workspaces/{SLEEPING}/", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told.get("runtime", told)

    assert made.cluster.user_swarm(f"workspace-{SLEEPING}")["status"]["phase"] == "Asleep"
    begun = len(api.writes)
    with ThreadPoolExecutor(500) as clients:
        assert set(clients.map(ask, range(500))) == {(200, SLEEPING)}
    # One wakes it; on a machine that is slow enough the gate tries again before the cluster has moved.
    ours = [write for write in api.writes[begun:] if write.actor == "userswarm-gate"]
    assert 1 <= len(ours) <= 10


# --- the property ------------------------------------------------------------------------------------------------

WORKSPACES = [*OWNERS, "no-such-home", "ALICE-HOME", "alice-home%00", "%61lice-home", "alice-home;bob-home", "", "."]
TAILS = [
    "",
    "/",
    "/x",
    "/../bob-home/",
    "/..%2fbob-home/",
    "//bob-home",
    "/%2e%2e/bob-home/",
    "/.;/bob-home",
    "/?a=../bob-home",
]
METHODS = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "CONNECT", "TRACE", "BREW"]
HOSTS = ["127.0.0.1", "bob-home.example", "alice-home.swarms.example:80", "evil.example, 127.0.0.1", "[::1]"]

headers = st.lists(
    st.sampled_from(
        [
            "X-UserSwarm-User: bob",
            "X-UserSwarm-Upstream: BOB",
            "X-UserSwarm-Workspace: bob-home",
            "X_UserSwarm_Upstream: BOB",
            "X-Envoy-Original-Dst-Host: BOB",
            "X-Envoy-Original-Path: /v1/workspaces/bob-home/",
            "X-Original-URI: /v1/workspaces/bob-home/",
            "X-Original-Method: GET",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Host: bob-home.example",
            "Connection: keep-alive, authorization",
            "Connection: x-userswarm-user",
            "Upgrade: websocket",
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
            "Content-Length: 60",
            "Expect: 100-continue",
            "Authorization: Bearer BOBS",
            "Cookie: user=bob",
        ]
    ),
    max_size=4,
)


@given(
    method=st.sampled_from(METHODS),
    prefix=st.sampled_from(
        ["/v1/workspaces/", "/v1//workspaces/", "/", "http://bob-home.example/v1/workspaces/", "/check/"]
    ),
    workspace=st.sampled_from(WORKSPACES),
    tail=st.sampled_from(TAILS),
    host=st.sampled_from(HOSTS),
    more=headers,
    body=st.sampled_from([b"", b"0\r\n\r\n", b"0\r\n\r\nGET /v1/workspaces/bob-home/ HTTP/1.1\r\nHost: a\r\n\r\n"]),
)
@example("GET", "/v1/workspaces/", "alice-home", "/", "127.0.0.1", ["X-UserSwarm-Upstream: BOB"], b"")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_alice_asks_nothing_reaches_bob(
    made: GateWorld, method: str, prefix: str, workspace: str, tail: str, host: str, more: list[str], body: bytes
) -> None:
    before = {name: made.runtimes[name].asked for name in OWNERS}
    head = [f"{method} {prefix}{workspace}{tail} HTTP/1.1", f"Host: {host}"]
    head += [f"Authorization: Bearer {made.issuer.token('alice')}", *more, "Connection: close", "", ""]
    raw = "\r\n".join(head).replace("BOBS", "bob").replace("BOB", made.runtimes["bob-home"].address)
    with socket.create_connection(("127.0.0.1", made.port), timeout=60) as connection:
        connection.sendall(raw.encode() + body)
        connection.settimeout(0.5)
        try:
            answers = read_all(connection)
        except TimeoutError:
            # It waits for the rest of a body that never comes.
            answers = b""
    assert b'"runtime": "bob' not in answers
    moved = {name for name in OWNERS if made.runtimes[name].asked != before[name]}
    assert moved <= {"alice-home"}


def test_what_alice_asks_well_is_answered(made: GateWorld) -> None:
    # Else the property would hold for a door that is shut.
    connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=60)
    bearer = {"Authorization": f"Bearer {made.issuer.token('alice')}"}
    connection.request("GET", "/v1/workspaces/alice-home/", headers=bearer)
    assert json.loads(connection.getresponse().read())["runtime"] == "alice-home"
    connection.close()
