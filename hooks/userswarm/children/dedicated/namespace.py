"""The Namespace of a Dedicated swarm."""

from __future__ import annotations

from userswarm.identity import Identity
from userswarm.k8s import Manifest
from userswarm.parent import UserSwarm
from userswarm.settings import Settings

POD_SECURITY_VERSION = "v1.30"
"""Pinned: a newer cluster must not refuse Pods that an older one took."""


def build_namespace(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the Namespace, with the *restricted* Pod Security Standard in all three modes.

    Its owner is written out, as a claim's: only so can it be released where the volume in it is kept.
    """
    metadata = identity.metadata(identity.namespace)
    del metadata["namespace"]
    labels = metadata["labels"]
    for mode in ("enforce", "audit", "warn"):
        labels[f"pod-security.kubernetes.io/{mode}"] = "restricted"
        labels[f"pod-security.kubernetes.io/{mode}-version"] = POD_SECURITY_VERSION
    if identity.owner is not None:
        metadata["ownerReferences"] = [identity.owner]
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
