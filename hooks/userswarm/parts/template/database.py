"""A database of the swarm's own in the platform's PostgreSQL cluster, by CloudNativePG's Database and DatabaseRole.

Both live where the Cluster is. Whoever may write a DatabaseRole is as good as superuser of that Cluster, so nothing of
a user's choosing is in them but the swarm's own name. https://cloudnative-pg.io/documentation/current/declarative_database_management/
"""

from __future__ import annotations

from dataclasses import dataclass

from userswarm.parts.shape import ROLLOUT_IN_PROGRESS, TERMINATING, Part, Sight, Verdict, judge_missing
from userswarm.spec.swarm import Swarm
from userswarm.spec.template.building import Names
from userswarm.wire.k8s import DATABASE, DATABASE_ROLE, PLATFORM_KINDS, Kind, Manifest, Observed

REFUSED = "DatabaseRefused"

_FOR_GOOD = ("name", "cluster")
"""What CloudNativePG lets nobody change."""


@dataclass(frozen=True, slots=True)
class Database:
    """The objects that are asked for, the role before the database that it owns."""

    namespace: str
    children: tuple[tuple[Kind, Manifest], ...]


def read(swarm: Swarm) -> Database | None:
    """Return the database that a swarm's template asks for, or that it asks for none; None without a template."""
    template = swarm.asked.template
    if template is None:
        return None
    asked = template.resolved.get("database")
    if asked is None:
        return Database("", ())
    # A slug has no underscore: no two swarms share a name.
    name = swarm.identity.name.replace("-", "_")
    policy, cluster = asked.get("reclaimPolicy", "retain"), {"name": asked["cluster"]}
    database: Manifest = {
        "cluster": cluster,
        "databaseReclaimPolicy": policy,
        "ensure": "present",
        "name": name,
        "owner": asked.get("owner", name),
    }
    if "extensions" in asked:
        database["extensions"] = [{"ensure": "present", "name": each} for each in asked["extensions"]]
    children = [(DATABASE, database)]
    if "role" in asked:
        role: Manifest = {
            "cluster": cluster,
            "connectionLimit": -1,
            # A role that still owns a database is never dropped: both go, or both stay.
            "databaseRoleReclaimPolicy": policy,
            "ensure": "present",
            "inherit": True,
            "login": True,
            "name": name,
        }
        if "passwordSecret" in asked["role"]:
            names = Names(swarm.asked.name, swarm.spec["userId"], "", swarm.identity.namespace)
            role["passwordSecret"] = {"name": names.object(asked["role"]["passwordSecret"])}
        children.insert(0, (DATABASE_ROLE, role))
    return Database(asked["namespace"], tuple(children))


def build(database: Database, swarm: Swarm) -> list[Manifest]:
    """Return the role and the database."""
    metadata = swarm.identity.metadata(swarm.identity.name)
    return [
        {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {**metadata, "namespace": database.namespace},
            "spec": spec,
        }
        for kind, spec in database.children
    ]


def fit(database: Database, swarm: Swarm, sight: Sight, children: list[Manifest]) -> list[Manifest]:
    """Leave what cannot be changed as it is: an update would be refused at every sync."""
    for (kind, _), child in zip(database.children, children, strict=True):
        observed = sight.observation.child(kind, database.namespace, swarm.identity.name)
        if observed is not None:
            current = observed.get("spec", {})
            child["spec"] |= {field: current[field] for field in _FOR_GOOD if field in current}
    return children


def judge(database: Database, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Judge both: CloudNativePG says that it has applied what is asked for now."""
    for kind, asked in database.children:
        verdict = _judge(kind, asked, database.namespace, swarm, sight)
        if verdict is not None:
            return verdict
    told = [f"database {asked['name']} is there" for kind, asked in database.children if kind is DATABASE]
    others = _others(database, sight)
    if others:
        told.append(f"kept, though not used: {', '.join(others)}")
    return Verdict(True, "Applied", "; ".join(told)) if told else None


def _others(database: Database, sight: Sight) -> list[str]:
    """Return the names of what an earlier template, or a feature that is off now, asked for."""
    asked = {kind for kind, _ in database.children}
    return [
        f"{kind.kind} {each['metadata']['namespace']}/{each['metadata']['name']}"
        for kind in PLATFORM_KINDS
        for each in sight.observation.children(kind)
        if kind not in asked or each["metadata"]["namespace"] != database.namespace
    ]


def _judge(kind: Kind, asked: Manifest, namespace: str, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Say what one of them lacks, None for nothing."""
    name = swarm.identity.name
    where = f"{kind.kind} {namespace}/{name}"
    observed = sight.observation.child(kind, namespace, name)
    if observed is None:
        return judge_missing(kind, name, swarm, sight, namespace)
    if "deletionTimestamp" in observed["metadata"]:
        told = f"{where} is being deleted; while something is connected, or still owned, it stays"
        return Verdict(False, TERMINATING, told)
    cluster = observed.get("spec", {}).get("cluster", {}).get("name")
    if cluster != asked["cluster"]["name"]:
        told = f"{where} is in the cluster {cluster}, for good; its template wants {asked['cluster']['name']}"
        return Verdict(False, REFUSED, told, trouble=True)
    return _judge_status(where, observed)


def _judge_status(where: str, observed: Observed) -> Verdict | None:
    status = observed.get("status") or {}
    seen = status.get("observedGeneration", 0) >= observed["metadata"].get("generation", 0)
    if status.get("applied") is True and seen:
        return None
    message = status.get("message", "")
    if status.get("applied") is False and message:
        return Verdict(False, REFUSED, f"{where} is refused: {message}", trouble=True)
    told = message or "nothing is said of it yet; is there such a Cluster, and is its primary up?"
    return Verdict(False, ROLLOUT_IN_PROGRESS, f"{where} is not applied yet: {told}")


PART = Part(
    name="database",
    condition="DatabaseReady",
    kinds=PLATFORM_KINDS,
    read=read,
    build=build,
    fit=fit,
    judge=judge,
)
