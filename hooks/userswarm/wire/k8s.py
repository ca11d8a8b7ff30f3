"""The shapes of Kubernetes JSON that we read and write.

Wire shapes are TypedDicts; whole objects are `Manifest`s: plain dicts, built fresh by whoever returns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

import orjson

Manifest = dict[str, Any]
"""A Kubernetes object that we build."""

Observed = Mapping[str, Any]
"""A Kubernetes object that we were shown; never edited, never returned."""


class OwnerReference(TypedDict):
    """metav1.OwnerReference."""

    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: NotRequired[bool]
    blockOwnerDeletion: NotRequired[bool]


class ObjectMeta(TypedDict):
    """The part of metav1.ObjectMeta that a hook writes."""

    name: str
    namespace: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    annotations: NotRequired[dict[str, str]]
    ownerReferences: NotRequired[list[OwnerReference]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object, under the names that different parts of the API give it.

    `resource` is the plural in URLs and in a CompositeController's childResources, `group` the key under which
    Metacontroller lists the objects of this kind in a request (``StatefulSet.apps/v1``).
    """

    api_version: str
    kind: str
    resource: str
    group: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", f"{self.kind}.{self.api_version}")


SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SERVICE = Kind("v1", "Service", "services")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
JOB = Kind("batch/v1", "Job", "jobs")
POD = Kind("v1", "Pod", "pods")

NAMESPACE = Kind("v1", "Namespace", "namespaces")
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("v1", "LimitRange", "limitranges")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
CRON_JOB = Kind("batch/v1", "CronJob", "cronjobs")

RUNTIME_KINDS = (SERVICE_ACCOUNT, CONFIG_MAP, CLAIM, SERVICE, STATEFUL_SET)
"""Every kind that a child of any UserSwarm may have; manifests/controller lists them."""

DEDICATED_KINDS = (
    NAMESPACE,
    RESOURCE_QUOTA,
    LIMIT_RANGE,
    NETWORK_POLICY,
    ROLE,
    ROLE_BINDING,
    DEPLOYMENT,
    JOB,
    CRON_JOB,
)
"""Every other kind that a child of a Dedicated UserSwarm may have."""

DATABASE = Kind("postgresql.cnpg.io/v1", "Database", "databases")
DATABASE_ROLE = Kind("postgresql.cnpg.io/v1", "DatabaseRole", "databaseroles")

PLATFORM_KINDS = (DATABASE, DATABASE_ROLE)
"""The kinds of children that live in a namespace of the platform's: where the PostgreSQL cluster is."""

DATA_KINDS = (CLAIM.kind, NAMESPACE.kind, *(kind.kind for kind in PLATFORM_KINDS))
"""Of what a user's data is in, or may go with it: nothing of these goes while its UserSwarm stays."""

COMPONENT_KINDS = {"dedicated": DEDICATED_KINDS, "cnpg": PLATFORM_KINDS}
"""The kinds that are opt-in, by the folder in manifests/components whose compositecontroller.yaml lists them."""

CHILD_KINDS = (*RUNTIME_KINDS, *(kind for kinds in COMPONENT_KINDS.values() for kind in kinds))

KIND_NAMED = {kind.kind: kind for kind in CHILD_KINDS}
"""Every kind that a child may have, by its name; no two share one."""


MAX_APPLIED_BYTES = 240 * 1024
"""How large a child may be. Metacontroller keeps what it applied in an annotation of the child, and all annotations
of an object together may have 256 KiB: a larger one could never be created."""


def applied_size(value: Any) -> int:
    """Return the bytes that JSON takes as Go writes it: with ``<``, ``>`` and ``&`` as six characters each."""
    text = orjson.dumps(value)
    return len(text) + 5 * sum(map(text.count, (b"<", b">", b"&")))


def too_large(what: str, size: int) -> str:
    """Return the message for a part of a UserSwarm that would make a child larger than can be stored."""
    return (
        f"{what} {size} bytes together as JSON; at most {MAX_APPLIED_BYTES} fit, since Metacontroller keeps a copy "
        f"in an annotation; leave out what the runtime can fetch itself"
    )


def written_time(moment: datetime) -> str:
    """Return an aware time as metav1.Time is written: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: object) -> datetime | None:
    """Return the aware time that a metav1.Time stands for, None for anything else."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
