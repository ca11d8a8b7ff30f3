"""The ConfigMap with a runtime's config.toml and the files beside it."""

from __future__ import annotations

from userswarm.spec.identity import Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest


def build_config_map(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the ConfigMap; no secret value is ever in it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(identity.config_map),
        "data": dict(swarm.files),
    }
