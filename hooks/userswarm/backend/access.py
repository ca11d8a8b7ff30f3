"""What every method of the client stands on: the requests, the memory, and whose a swarm is.

Who owns a workspace is asked before anything else is done with its swarm.
"""

from __future__ import annotations

from dataclasses import dataclass

from userswarm.backend.api import Budget, RetryPolicy, UserSwarmApi
from userswarm.backend.cache import SwarmCache
from userswarm.backend.errors import NotFound, OwnershipError
from userswarm.backend.model import Swarm, parse_swarm
from userswarm.backend.naming import swarm_name
from userswarm.wire.k8s import Manifest, Observed


@dataclass(slots=True)
class Access:
    """UserSwarms as the API server has them, and, while there is a cache, as they are remembered."""

    api: UserSwarmApi
    cache: SwarmCache | None = None

    @property
    def policy(self) -> RetryPolicy:
        """How often and how long requests are tried again, and the clock for it."""
        return self.api.policy

    @property
    def cache_is_fresh(self) -> bool:
        """Whether `look_up` answers from memory just now."""
        return (cache := self.cache) is not None and cache.is_fresh()

    def find(self, name: str, budget: Budget) -> Manifest | None:
        """Return the object, or None where there is none."""
        try:
            return self.api.get(name, budget=budget)
        except NotFound:
            return None

    def get(self, workspace_id: str, user_id: str, budget: Budget) -> Manifest:
        """Return the workspace's object; raise NotFound, OwnershipError."""
        manifest = self.api.get(swarm_name(workspace_id), budget=budget)
        check_owner(parse_swarm(manifest), workspace_id, user_id)
        return manifest

    def look_up(self, name: str) -> Swarm:
        """Return a swarm from memory, or from the API server where memory cannot be trusted; raise NotFound."""
        cache = self.cache
        if cache is None or not cache.is_fresh():
            return self.noted(self.api.get(name))
        swarm = cache.find(name)
        if swarm is None:
            raise NotFound(name)
        return swarm

    def noted(self, manifest: Observed) -> Swarm:
        """Return the Swarm, and let the cache know it too."""
        swarm = parse_swarm(manifest)
        if (cache := self.cache) is not None:
            cache.observe(swarm)
        return swarm


def check_owner(swarm: Swarm, workspace_id: str, user_id: str) -> Swarm:
    """Return the swarm where it serves this workspace of this user; else raise OwnershipError."""
    if not swarm.belongs_to(workspace_id, user_id):
        raise OwnershipError(swarm.name)
    return swarm
