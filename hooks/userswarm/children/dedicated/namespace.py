"""The Namespace of a Dedicated swarm."""

from __future__ import annotations

from userswarm.spec.identity import Identity
from userswarm.wire.k8s import Manifest

POD_SECURITY_VERSION = "v1.36"
"""Pinned: a cluster upgrade shall not change what is admitted. An older cluster takes its own latest."""


def build_namespace(identity: Identity) -> Manifest:
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
