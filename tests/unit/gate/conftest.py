from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster.rest import RestServer
from unit.backend.world import World, make_api, make_api_client
from unit.gate.gates import Gates, make_swarm, static_tokens
from unit.gate.redis_server import RedisServer
from userswarm.gate.audit import Audit
from userswarm.gate.settings import GateSettings

ALICE, BOB = "alices-token", "bobs-token"


@pytest.fixture
def world() -> Iterator[World]:
    """An API server with a swarm of alice's, `a`, and one of bob's, `b`."""
    api = make_api()
    with RestServer(api, bookmark_interval=0.2) as rest:
        api_client = make_api_client(rest.url)
        made = World(api, rest, api_client)
        make_swarm(made, "a", "alice")
        make_swarm(made, "b", "bob")
        yield made
        for client in made.clients:
            client.close()
        api_client.close()


@pytest.fixture
def make_gate(world: World, tmp_path: Path) -> Callable[..., Gates]:
    """Make a gate that knows alice and bob by static tokens."""

    def make(audit: Audit | None = None, **settings: Any) -> Gates:
        file = static_tokens(tmp_path / "tokens", alice=ALICE, bob=BOB)
        client = world.client().cached(max_staleness=30.0)
        return Gates(client, GateSettings(**{"token_file": file, "hold": 0, **settings}), audit)

    return make


@pytest.fixture
def gate(make_gate: Callable[..., Gates]) -> Gates:
    return make_gate()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where is counted, as the gate's setting says it; nothing is counted yet."""
    if request.param == "memory":
        yield ""
        return
    server = request.getfixturevalue("redis_server")
    yield server.url
    server.clear()
