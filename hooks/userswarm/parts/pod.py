"""What every Pod of a swarm has in common: the *restricted* Pod Security Standard, and no way into the API.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from typing import Any

from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import Manifest


def restricted_pod_spec(swarm: Swarm) -> Manifest:
    """Return the part of a Pod's spec that says whom it runs as and where it may run."""
    settings, placement = swarm.settings, swarm.spec["placement"]
    spec: Manifest = {
        "serviceAccountName": swarm.identity.name,
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
    pull_secret = swarm.spec["runtime"].get("imagePullSecretName")
    if pull_secret:
        # The ServiceAccount names it too, but a Pod takes that over only when it is made: a Pod that cannot pull its
        # image would never see another secret.
        spec["imagePullSecrets"] = [{"name": pull_secret}]
    # Only what is set: the apiserver drops what is empty, and the next sync would put it back.
    if placement.get("nodeSelector"):
        spec["nodeSelector"] = dict(placement["nodeSelector"])
    if placement.get("tolerations"):
        spec["tolerations"] = tolerations(swarm)
    for field in ("runtimeClassName", "priorityClassName"):
        if placement.get(field):
            spec[field] = placement[field]
    return spec


def tolerations(swarm: Swarm) -> list[Manifest]:
    """Return a swarm's tolerations; the apiserver drops what is empty, and a template that held it would differ."""
    asked = swarm.spec["placement"].get("tolerations", ())
    return [{key: value for key, value in each.items() if value != ""} for each in asked]


def restricted_container() -> dict[str, Any]:
    """Return the securityContext of every container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
