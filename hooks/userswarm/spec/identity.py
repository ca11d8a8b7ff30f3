"""Every name, label, selector and checksum, made here and nowhere else.

Names are frozen once released: a change of this scheme renames every volume claim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from userswarm.spec.slugs import slug, swarm_name
from userswarm.wire.k8s import Manifest, ObjectMeta, Observed, OwnerReference

SWARM_LABEL = "crawbl.ai/swarm"
USER_LABEL = "crawbl.ai/user"
COMPONENT_LABEL = "app.kubernetes.io/component"

NAME_ANNOTATION = "crawbl.ai/name"
USER_ANNOTATION = "crawbl.ai/user-id"
WORKSPACE_ANNOTATION = "crawbl.ai/workspace-id"
CHECKSUM_ANNOTATION = "crawbl.ai/checksum"
WORKLOAD_ANNOTATION = "crawbl.ai/workload-checksum"
"""On a tenant's own object: the checksum of what the tenant wrote, whatever a release makes of it."""

RELEASED_ANNOTATION = "crawbl.ai/released"
"""On a claim that outlived its UserSwarm: nobody owns it, and it is kept."""

RETAIN_ANNOTATION = "crawbl.ai/retain"
"""On a claim of a template's that outlives its UserSwarm, whatever spec.storage.retainPolicy says."""

RUNTIME = "runtime"
WORKLOAD = "workload"


def claim_name(name: str, volume: str = "data") -> str:
    """Return the name of a UserSwarm's claim; of the volumes of a template each has one."""
    return f"{swarm_name(name)}-{volume}"


@dataclass(frozen=True, slots=True)
class Identity:
    """The names and labels of one swarm's children."""

    slug: str
    namespace: str
    name: str
    headless_service: str
    config_map: str
    claim: str
    pod: str
    user_slug: str
    owner: OwnerReference | None
    _annotations: tuple[tuple[str, str], ...]

    def metadata(self, name: str, component: str = RUNTIME) -> ObjectMeta:
        """Return a child's metadata: its place, all labels, and in annotations what fits into no label."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(component),
            "annotations": dict(self._annotations),
        }

    def labels(self, component: str = RUNTIME) -> dict[str, str]:
        """Return every label of a child; a later release may add some."""
        return {
            "app.kubernetes.io/name": "userswarm",
            COMPONENT_LABEL: component,
            "app.kubernetes.io/managed-by": "metacontroller",
            "app.kubernetes.io/part-of": "userswarm",
            SWARM_LABEL: self.slug,
            USER_LABEL: self.user_slug,
        }

    def selector(self) -> dict[str, str]:
        """Return the labels that select the runtime's Pods, and no others; frozen once released."""
        return {SWARM_LABEL: self.slug, COMPONENT_LABEL: RUNTIME}

    def is_of_same_owner(self, annotations: Mapping[str, str]) -> bool:
        """Tell whether an object with these annotations was made for this user's swarm of this name."""
        return all(annotations.get(key) == value for key, value in self._annotations)


def identify(api_version: str, name: str, uid: str, user_id: str, workspace_id: str, namespace: str) -> Identity:
    """Return the names and labels of the children of a UserSwarm, which live in `namespace`."""
    named = swarm_name(name)
    return Identity(
        slug=slug(name),
        namespace=namespace,
        name=named,
        headless_service=f"{named}-headless",
        config_map=f"{named}-config",
        claim=claim_name(name),
        pod=f"{named}-0",
        user_slug=slug(user_id),
        owner=owner_reference(api_version, name, uid),
        _annotations=((NAME_ANNOTATION, name), (USER_ANNOTATION, user_id), (WORKSPACE_ANNOTATION, workspace_id)),
    )


def owner_reference(api_version: str, name: str, uid: str) -> OwnerReference | None:
    """Return the reference by which a UserSwarm owns a child, or None for one that was never stored."""
    if not uid:
        return None
    return {
        "apiVersion": api_version,
        "kind": "UserSwarm",
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def compute_checksum(pod_spec: Manifest, files: Mapping[str, str]) -> str:
    """Return the checksum of all that a verified runtime is: its Pod's spec, image included, and its files.

    Labels, annotations and replicas stay out: a change of these rolls no Pod and needs no new verification.
    """
    return hashlib.sha256(_canonical({"pod": pod_spec, "files": dict(files)})).hexdigest()


def template_checksum(stateful_set: Observed) -> str:
    """Return the checksum that a StatefulSet's Pod template carries, empty where it carries none."""
    metadata = stateful_set.get("spec", {}).get("template", {}).get("metadata", {})
    checksum: str = (metadata.get("annotations") or {}).get(CHECKSUM_ANNOTATION, "")
    return checksum


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
