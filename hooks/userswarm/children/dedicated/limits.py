"""How much a Dedicated swarm's namespace may use in all, and each container in it."""

from __future__ import annotations

from userswarm.identity import Identity
from userswarm.isolation import Isolation
from userswarm.k8s import Manifest


def build_resource_quota(isolation: Isolation, identity: Identity) -> Manifest:
    """Return the ResourceQuota; an entry that the spec no longer sets goes with the next update."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": identity.metadata(identity.name),
        "spec": {"hard": dict(isolation.hard)},
    }


def build_limit_range(isolation: Isolation, identity: Identity) -> Manifest:
    """Return the LimitRange.

    Metacontroller replaces the list of limits whole, and the apiserver fills each entry up: all that it would add is
    written out, or there would be an update at every sync.
    """
    # A resource that has a maximum and no default of its own gets the maximum as its default.
    default = {**isolation.maximum, **isolation.default}
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": identity.metadata(identity.name),
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": default,
                    "defaultRequest": dict(default),
                    "max": dict(isolation.maximum),
                }
            ]
        },
    }
