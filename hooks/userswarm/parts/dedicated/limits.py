"""How much a Dedicated swarm's namespace may use in all, and each container in it."""

from __future__ import annotations

from userswarm.parts.dedicated.fit import find_misfits
from userswarm.parts.dedicated.isolation import Isolation
from userswarm.parts.dedicated.walls import wall
from userswarm.spec.identity import Identity
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import LIMIT_RANGE, RESOURCE_QUOTA, Manifest


def build(isolation: Isolation, swarm: Swarm) -> list[Manifest]:
    """Return the ResourceQuota and the LimitRange, or nothing for an operator's namespace with limits of its own."""
    if not isolation.limited:
        return []
    return [_resource_quota(isolation, swarm.identity), _limit_range(isolation, swarm.identity)]


def _resource_quota(isolation: Isolation, identity: Identity) -> Manifest:
    """Return the ResourceQuota; an entry that the spec no longer sets goes with the next update."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": identity.metadata(identity.name),
        "spec": {"hard": dict(isolation.hard)},
    }


def _limit_range(isolation: Isolation, identity: Identity) -> Manifest:
    """Return the LimitRange.

    Metacontroller replaces the list of limits whole, and the apiserver fills each entry up: all that it would add is
    written out, or there would be an update at every sync.
    """
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": identity.metadata(identity.name),
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": dict(isolation.default),
                    "defaultRequest": dict(isolation.default),
                    "max": dict(isolation.maximum),
                }
            ]
        },
    }


PART = wall("limits", (RESOURCE_QUOTA, LIMIT_RANGE), build, misfits=find_misfits)
