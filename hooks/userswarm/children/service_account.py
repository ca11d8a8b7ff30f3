"""The ServiceAccount of a swarm's Pods: no token, and the secret that pulls their images."""

from __future__ import annotations

from userswarm.spec.identity import Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest


def build_service_account(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the ServiceAccount; its name is the swarm's."""
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": identity.metadata(identity.name),
        "automountServiceAccountToken": False,
    }
    if swarm.pull_secret:
        account["imagePullSecrets"] = [{"name": swarm.pull_secret}]
    return account
