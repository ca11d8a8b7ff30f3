"""The children that only a Dedicated swarm has: its namespace, and what stands in it beside the runtime.

`DEDICATED_BUILDERS` is the one ordered tuple; manifests/components/dedicated lists the same kinds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from userswarm.children.dedicated.access import build_access
from userswarm.children.dedicated.limits import build_limit_range, build_resource_quota
from userswarm.children.dedicated.namespace import build_namespace
from userswarm.children.dedicated.network import build_network_policies
from userswarm.identity import WORKLOAD, Identity
from userswarm.isolation import Isolation
from userswarm.k8s import (
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
from userswarm.parent import UserSwarm
from userswarm.settings import Settings
from userswarm.workloads import pod_template


@dataclass(frozen=True, slots=True)
class DedicatedBuilder:
    """How some children are made, and of which kinds they are."""

    kinds: tuple[Kind, ...]
    build: Callable[[UserSwarm, Isolation, Identity, Settings], list[Manifest]]


def build_workloads(swarm: UserSwarm, isolation: Isolation, identity: Identity, settings: Settings) -> list[Manifest]:
    """Return the tenant's own workloads, in this namespace and with this swarm's labels.

    The labels are forced: a Pod of a workload can never pass for the runtime's, which the Service selects.
    """
    manifests = []
    for workload in isolation.workloads:
        manifest = copy.deepcopy(workload)
        own = identity.metadata(manifest["metadata"]["name"], WORKLOAD)
        asked = manifest["metadata"]
        manifest["metadata"] = {
            **own,
            "labels": {**asked.get("labels", {}), **own["labels"]},
            "annotations": {**asked.get("annotations", {}), **own["annotations"]},
        }
        template = pod_template(manifest)
        if template is not None:
            metadata = template.setdefault("metadata", {})
            metadata["labels"] = {**metadata.get("labels", {}), **identity.labels(WORKLOAD)}
        manifests.append(manifest)
    return manifests


DEDICATED_BUILDERS = (
    DedicatedBuilder(
        (NAMESPACE,),
        lambda swarm, isolation, identity, settings: (
            [build_namespace(swarm, identity, settings)] if isolation.managed else []
        ),
    ),
    DedicatedBuilder(
        (RESOURCE_QUOTA,), lambda swarm, isolation, identity, settings: [build_resource_quota(isolation, identity)]
    ),
    DedicatedBuilder(
        (LIMIT_RANGE,), lambda swarm, isolation, identity, settings: [build_limit_range(isolation, identity)]
    ),
    DedicatedBuilder((NETWORK_POLICY,), build_network_policies),
    DedicatedBuilder(
        (ROLE, ROLE_BINDING), lambda swarm, isolation, identity, settings: build_access(isolation, identity)
    ),
    DedicatedBuilder((DEPLOYMENT, CRON_JOB), build_workloads),
)


def build_dedicated(swarm: UserSwarm, isolation: Isolation, identity: Identity, settings: Settings) -> list[Manifest]:
    """Return every child that a Dedicated swarm has besides those of a Shared one."""
    return [
        manifest for builder in DEDICATED_BUILDERS for manifest in builder.build(swarm, isolation, identity, settings)
    ]
