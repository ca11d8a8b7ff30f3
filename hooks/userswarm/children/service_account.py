"""The ServiceAccount of a swarm's Pods: no token, and the secret that pulls their images."""

from __future__ import annotations

from userswarm.identity import Identity
from userswarm.k8s import Manifest
from userswarm.parent import UserSwarm
from userswarm.settings import Settings


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
