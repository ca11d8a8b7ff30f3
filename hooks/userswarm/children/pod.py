"""What every Pod of a swarm has in common: the *restricted* Pod Security Standard, and no way into the API.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from typing import Any

from userswarm.spec.identity import Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest


def restricted_pod_spec(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the part of a Pod's spec that is the same for the runtime and for its smoke test."""
    spec: Manifest = {
        "serviceAccountName": identity.name,
        "automountServiceAccountToken": False,
        # The environment would name every other swarm's Service in this namespace.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": settings.runtime_user,
            "runAsGroup": settings.runtime_group,
            "fsGroup": settings.runtime_group,
            # A large volume would otherwise be walked at every start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if swarm.pull_secret:
        # The ServiceAccount names it too, but a Pod takes that over only when it is made: a Pod that cannot pull its
        # image would never see another secret.
        spec["imagePullSecrets"] = [{"name": swarm.pull_secret}]
    # Only what is set: the apiserver drops what is empty, and the next sync would put it back.
    if swarm.node_selector:
        spec["nodeSelector"] = dict(swarm.node_selector)
    if swarm.tolerations:
        spec["tolerations"] = [dict(each) for each in swarm.tolerations]
    if swarm.runtime_class:
        spec["runtimeClassName"] = swarm.runtime_class
    if swarm.priority_class:
        spec["priorityClassName"] = swarm.priority_class
    return spec


def restricted_container() -> dict[str, Any]:
    """Return the securityContext of every container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
