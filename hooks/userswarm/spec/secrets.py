"""Which Secrets a UserSwarm may name: in a shared namespace a name is all it takes to read one."""

from __future__ import annotations

from collections.abc import Iterator

from userswarm.errors import Problem
from userswarm.spec.slugs import SWARM_PREFIX, swarm_name
from userswarm.spec.swarm import Asked


def check_secret(path: str, name: str, suffix: str, asked: Asked) -> Iterator[Problem]:
    """Refuse a Secret that is another swarm's, or that the operator does not list; its own has that suffix."""
    own = f"{swarm_name(asked.name)}-{suffix}"
    if not name or name == own:
        return
    if name.startswith(SWARM_PREFIX):
        yield Problem(path, f"{name!r} is not this swarm's: of the names with {SWARM_PREFIX} it may use {own!r}")
    elif asked.settings.allowed_secrets and name not in asked.settings.allowed_secrets:
        allowed = ", ".join((own, *asked.settings.allowed_secrets))
        yield Problem(path, f"{name!r} is not allowed here; allowed are {allowed}")
