"""The children that only a Dedicated swarm has: its namespace, and what stands in it beside the runtime.

`DEDICATED_BUILDERS` is the one ordered tuple; manifests/components/dedicated lists the same kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from userswarm.children.dedicated.access import build_access
from userswarm.children.dedicated.limits import build_limits
from userswarm.children.dedicated.namespace import build_namespace
from userswarm.children.dedicated.network import build_network_policies
from userswarm.children.dedicated.workloads import build_workloads
from userswarm.isolation import Isolation
from userswarm.spec.identity import Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import (
    CRON_JOB,
    DEPLOYMENT,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    Kind,
    Manifest,
)


@dataclass(frozen=True, slots=True)
class DedicatedBuilder:
    """How some children are made, and of which kinds they are, those of every swarm left out."""

    kinds: tuple[Kind, ...]
    build: Callable[[UserSwarm, Isolation, Identity, Settings], list[Manifest]]


DEDICATED_BUILDERS = (
    DedicatedBuilder(
        (NAMESPACE,),
        lambda swarm, isolation, identity, settings: [build_namespace(identity)] if isolation.managed else [],
    ),
    DedicatedBuilder(
        (RESOURCE_QUOTA, LIMIT_RANGE),
        lambda swarm, isolation, identity, settings: build_limits(isolation, identity),
    ),
    DedicatedBuilder((NETWORK_POLICY,), build_network_policies),
    DedicatedBuilder(
        (ROLE, ROLE_BINDING), lambda swarm, isolation, identity, settings: build_access(isolation, identity)
    ),
    DedicatedBuilder(
        (DEPLOYMENT, CRON_JOB),
        lambda swarm, isolation, identity, settings: build_workloads(swarm, isolation, identity),
    ),
)


def build_dedicated(swarm: UserSwarm, isolation: Isolation, identity: Identity, settings: Settings) -> list[Manifest]:
    """Return every child that a Dedicated swarm has besides those of a Shared one."""
    return [
        manifest for builder in DEDICATED_BUILDERS for manifest in builder.build(swarm, isolation, identity, settings)
    ]
