"""The two Services of a swarm: the stable in-cluster address, and the one that names the Pod."""

from __future__ import annotations

from typing import Any

from userswarm.spec.identity import Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest

PORT_NAME = "http"


def build_service(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the ClusterIP Service that backends send a user's traffic to.

    It selects on ``identity.selector()``, never on the full labels: labels may gain keys in a later release, while
    a selector has to keep matching the Pods that an earlier release made.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.name),
        "spec": {"type": "ClusterIP", "selector": identity.selector(), "ports": _ports(swarm)},
    }


def build_headless_service(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the headless Service that the StatefulSet needs for its Pod's name in DNS, ready or not."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(identity.headless_service),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": identity.selector(),
            "ports": _ports(swarm),
        },
    }


def _ports(swarm: UserSwarm) -> list[dict[str, Any]]:
    # By name: the container may change its port without an edit here.
    return [{"name": PORT_NAME, "port": swarm.port, "protocol": "TCP", "targetPort": PORT_NAME}]
