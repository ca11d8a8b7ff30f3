"""All that one worker has, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from userswarm.backend import RetryPolicy, UserSwarmClient
from userswarm.gate.app import create_app
from userswarm.gate.audit import Audit
from userswarm.gate.counting import OpenRequests
from userswarm.gate.decide import Gate
from userswarm.gate.limits import Rates
from userswarm.gate.metrics import Metrics, keep_looking
from userswarm.gate.settings import GateSettings
from userswarm.gate.streams import Lines, Reader
from userswarm.gate.tokens.who import Tokens
from userswarm.gate.upstream import Upstreams
from userswarm.gate.uses import Uses

FIELD_MANAGER = "userswarm-gate"


def make_app(settings: GateSettings, *, is_stopping: Callable[[], bool]) -> Flask:
    """Return the application of a worker that has just begun; raises ConfigurationError where there is no cluster."""
    metrics = Metrics()
    client = UserSwarmClient(policy=RetryPolicy(deadline=10.0), field_manager=FIELD_MANAGER)
    client.cached(max_staleness=settings.max_staleness)
    uses = Uses(client)
    uses.start()
    opened = OpenRequests(settings) if settings.counts_open else None
    lines = Lines(uses, opened)
    if settings.access_log:
        Reader(Path(settings.access_log), lines).start()
    keep_looking(lambda: metrics.look(cache_age=client.cache_age, streams=len(lines)))
    gate = Gate(
        settings,
        client,
        Tokens(settings, metrics.keys_read),
        Upstreams(settings.hosts),
        uses,
        rates=Rates(settings) if settings.counts else None,
        opened=opened,
        woken=metrics.woken,
    )
    return create_app(gate, Audit(settings.audit), metrics, lambda: client.cache_is_fresh and not is_stopping())
