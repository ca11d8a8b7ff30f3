from __future__ import annotations

from collections.abc import Iterator

import pytest

from devcluster.rest import RestServer
from unit.backend.world import World, make_api, make_api_client
from userswarm.backend import UserSwarmClient


@pytest.fixture
def world() -> Iterator[World]:
    api = make_api()
    with RestServer(api, bookmark_interval=0.2) as rest:
        api_client = make_api_client(rest.url)
        made = World(api, rest, api_client)
        yield made
        for client in made.clients:
            client.close()
        api_client.close()


@pytest.fixture
def client(world: World) -> UserSwarmClient:
    return world.client()
