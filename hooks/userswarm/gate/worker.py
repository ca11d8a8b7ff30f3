"""All that one worker has, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from userswarm.backend import RetryPolicy, UserSwarmClient
from userswarm.gate.app import create_app
from userswarm.gate.audit import Audit
from userswarm.gate.decide import Gate
from userswarm.gate.settings import GateSettings
from userswarm.gate.tokens.who import Tokens
from userswarm.gate.upstream import Upstreams, read_hosts
from userswarm.gate.uses import Uses

FIELD_MANAGER = "userswarm-gate"


def make_app(settings: GateSettings, *, is_stopping: Callable[[], bool]) -> Flask:
    """Return the application of a worker that has just begun; raises ConfigurationError where there is no cluster."""
    client = UserSwarmClient(policy=RetryPolicy(deadline=10.0), field_manager=FIELD_MANAGER)
    client.cached(max_staleness=settings.max_staleness)
    uses = Uses(client)
    uses.start()
    hosts = read_hosts(Path(settings.hosts_file)) if settings.hosts_file else None
    gate = Gate(settings, client, Tokens(settings), Upstreams(hosts), uses)
    return create_app(gate, Audit(settings.audit), lambda: client.cache_is_fresh and not is_stopping())
