"""The PersistentVolumeClaim that holds all a runtime must never lose.

It is a child of its own and no volumeClaimTemplate: a template is immutable, and what it made is owned by nobody.
"""

from __future__ import annotations

from userswarm.spec import quantity
from userswarm.spec.identity import RELEASED_ANNOTATION, Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest, Observed


def build_claim(swarm: UserSwarm, identity: Identity, settings: Settings) -> Manifest:
    """Return the claim, with its owner written out.

    Metacontroller would add the owner by itself, but can only take off what a hook once returned: a claim that
    shall outlive its swarm has to be released, whether because of its policy or because the swarm moved to another
    controller.
    """
    claim: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": identity.metadata(identity.claim),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": swarm.storage_size}},
        },
    }
    if identity.owner is not None:
        claim["metadata"]["ownerReferences"] = [identity.owner]
    if swarm.storage_class:
        claim["spec"]["storageClassName"] = swarm.storage_class
    return claim


def clamp_claim(claim: Manifest, observed: Observed) -> list[str]:
    """Bring a desired claim to what the observed one can become; return what was not granted, in words.

    A claim can only grow, and only once it is bound, and keeps its class and access modes: asking for anything else
    fails at every sync.
    """
    refused = []
    spec, current = claim["spec"], observed.get("spec", {})
    wanted = spec["resources"]["requests"]["storage"]
    size = current.get("resources", {}).get("requests", {}).get("storage")
    if size is not None and observed.get("status", {}).get("phase") != "Bound":
        # A claim that is not bound cannot be changed at all; it grows as soon as it is.
        spec["resources"]["requests"]["storage"] = size
    elif size is not None and quantity.compare(wanted, size) < 0:
        spec["resources"]["requests"]["storage"] = size
        refused.append(f"spec.storage.size is {wanted}, but the volume has {size} and can only grow")
    wanted_class, storage_class = spec.get("storageClassName"), current.get("storageClassName")
    if wanted_class is not None and storage_class is not None and wanted_class != storage_class:
        spec["storageClassName"] = storage_class
        refused.append(f"spec.storage.storageClassName is {wanted_class}, but the volume's is {storage_class} for good")
    if current.get("accessModes"):
        spec["accessModes"] = list(current["accessModes"])
    return refused


def release(applied: Manifest) -> Manifest:
    """Return a claim, or its namespace, without its owner: it outlives the UserSwarm; all else is as applied."""
    metadata = {key: value for key, value in applied["metadata"].items() if key != "ownerReferences"}
    metadata["annotations"] = {**metadata.get("annotations", {}), RELEASED_ANNOTATION: "true"}
    return {**applied, "metadata": metadata}
