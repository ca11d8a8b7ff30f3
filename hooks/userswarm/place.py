"""Where a Dedicated swarm lives: whether its namespace is there, is ours or lent to us, and whether all that belongs
into it can be made.

What cannot be made safe is refused: a namespace without an operator's consent, or walls that the controller is not
told to build.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from userswarm.errors import InvalidParentError, Problem
from userswarm.isolation import NO_ROLE, Isolation
from userswarm.spec.identity import RELEASED_ANNOTATION, WORKLOAD_ANNOTATION, Identity
from userswarm.spec.parent import UserSwarm
from userswarm.verify import CHILD_MISSING, NAME_CONFLICT, ROLLOUT_IN_PROGRESS, TERMINATING, Verdict, missing_child
from userswarm.wire.k8s import (
    DEPLOYMENT,
    JOB,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    Kind,
    Manifest,
    Observed,
)
from userswarm.wire.observe import Observation
from userswarm.workloads import WORKLOAD_KINDS

ALLOW_LABEL = "crawbl.ai/allow-userswarms"
"""On a namespace: its operator lets UserSwarms live there."""

NAMESPACE_RETAINED = "NamespaceRetained"
WORKLOAD_NOT_READY = "WorkloadNotReady"

_WALLS = (RESOURCE_QUOTA, LIMIT_RANGE, NETWORK_POLICY, ROLE, ROLE_BINDING)
"""What a Dedicated swarm is promised to have around it."""


def check_place(swarm: UserSwarm, identity: Identity, observation: Observation, managed: frozenset[str]) -> None:
    """Raise InvalidParentError where a Dedicated swarm cannot, or must not, be built here; it recovers by itself."""
    if swarm.isolation is None:
        return
    problems = [*_missing_kinds(swarm.isolation, managed)]
    if not swarm.isolation.managed:
        problems += _lent_namespace(identity, observation)
    if problems:
        raise InvalidParentError(swarm.name, problems)


def _missing_kinds(isolation: Isolation, managed: frozenset[str]) -> Iterator[Problem]:
    needed: list[Kind] = [NAMESPACE] if isolation.managed else []
    needed += [RESOURCE_QUOTA, LIMIT_RANGE] if isolation.limited else []
    needed.append(NETWORK_POLICY)
    needed += [ROLE] if isolation.access != NO_ROLE else []
    needed += [ROLE_BINDING] if isolation.access != NO_ROLE or isolation.members else []
    needed += [kind for kind in WORKLOAD_KINDS if any(each.kind is kind for each in isolation.workloads)]
    missing = [kind.resource for kind in needed if kind.group not in managed]
    if missing:
        yield Problem(
            "spec.placement.isolation",
            f"Dedicated needs {', '.join(missing)} among the CompositeController's childResources; install "
            f"manifests/components/dedicated, or make a Shared swarm",
        )


def _lent_namespace(identity: Identity, observation: Observation) -> Iterator[Problem]:
    path, name = "spec.placement.runtimeNamespace", identity.namespace
    if not observation.relates(NAMESPACE):
        yield Problem(path, f"{name!r} cannot be seen; add the customize hook to the CompositeController")
        return
    namespace = observation.related(NAMESPACE, "", name)
    if namespace is None:
        yield Problem(path, f"there is no namespace {name!r}; its operator has to make it")
    elif (namespace["metadata"].get("labels") or {}).get(ALLOW_LABEL) != "true":
        yield Problem(
            path, f"namespace {name!r} does not have the label {ALLOW_LABEL}: 'true'; its operator has to set it"
        )
    elif "deletionTimestamp" in namespace["metadata"]:
        yield Problem(path, f"namespace {name!r} is being deleted")


def verify_namespace(identity: Identity, observation: Observation) -> Verdict:
    """Judge the namespace that we make: there, ours or left by this swarm's earlier life, and taking objects."""
    where = f"Namespace {identity.namespace}"
    namespace = observation.child(NAMESPACE, "", identity.namespace)
    if namespace is None:
        namespace = observation.related(NAMESPACE, "", identity.namespace)
        if namespace is None or _is_owned_by(identity, namespace):
            return Verdict(False, CHILD_MISSING, f"{where} is asked for and not there yet")
        if not _was_released_to(identity, namespace):
            return Verdict(
                False,
                NAME_CONFLICT,
                f"{where} exists and is not ours; nothing is touched. Remove it, or choose another name",
            )
        if "deletionTimestamp" not in namespace["metadata"]:
            return Verdict(
                True, NAMESPACE_RETAINED, f"{where} was kept from an earlier life of this swarm; it is used, not owned"
            )
    phase = namespace.get("status", {}).get("phase")
    if "deletionTimestamp" in namespace["metadata"] or phase == "Terminating":
        return Verdict(False, TERMINATING, f"{where} is being deleted with all that is in it, and will be made again")
    if phase != "Active":
        return Verdict(False, CHILD_MISSING, f"{where} is not Active yet")
    return Verdict(True, "Active", f"{where} is active")


def _is_owned_by(identity: Identity, namespace: Observed) -> bool:
    """Tell whether a namespace that is not among the children yet was made for this very UserSwarm."""
    owners = namespace["metadata"].get("ownerReferences") or ()
    return identity.owner is not None and any(each.get("uid") == identity.owner["uid"] for each in owners)


def _was_released_to(identity: Identity, namespace: Observed) -> bool:
    """Tell whether a namespace that nobody owns was left behind by this very user's swarm."""
    metadata = namespace["metadata"]
    annotations = metadata.get("annotations") or {}
    free = not metadata.get("ownerReferences") and annotations.get(RELEASED_ANNOTATION) == "true"
    return free and identity.is_of_same_owner(annotations)


def verify_walls(children: Iterable[Manifest], observation: Observation) -> Verdict | None:
    """Return what blocks while a wall is asked for and not there, or is somebody else's; None where all stand.

    `children` are those that are desired; a swarm without its walls is not verified.
    """
    for child in children:
        kind = next((each for each in _WALLS if each.kind == child["kind"]), None)
        if kind is None:
            continue
        metadata = child["metadata"]
        observed = observation.child(kind, metadata["namespace"], metadata["name"])
        where = f"{kind.kind} {metadata['namespace']}/{metadata['name']}"
        if observed is None:
            return missing_child(kind, metadata["namespace"], metadata["name"])
        if "deletionTimestamp" in observed["metadata"]:
            return Verdict(False, TERMINATING, f"{where} is being deleted, and will be made again")
    return None


def verify_workloads(
    isolation: Isolation, identity: Identity, replaced: Container[tuple[str, str]], observation: Observation
) -> Verdict:
    """Judge the tenant's own workloads; they never decide whether the swarm itself is verified.

    `replaced` are those that have to go, by kind and name, before they can be made again.
    """
    waiting: list[Verdict] = []
    for workload in isolation.workloads:
        kind, name = workload.kind, workload.name
        where = f"{kind.kind} {identity.namespace}/{name}"
        observed = observation.child(kind, identity.namespace, name)
        if observed is None:
            waiting.append(missing_child(kind, identity.namespace, name))
        elif (kind.kind, name) in replaced or "deletionTimestamp" in observed["metadata"]:
            waiting.append(Verdict(False, ROLLOUT_IN_PROGRESS, f"{where} is removed and made again"))
        elif (observed["metadata"].get("annotations") or {}).get(WORKLOAD_ANNOTATION) != workload.checksum:
            waiting.append(Verdict(False, ROLLOUT_IN_PROGRESS, f"{where} is not yet the one wanted now"))
        elif unfinished := _unfinished(kind, observed):
            waiting.append(Verdict(False, WORKLOAD_NOT_READY, f"{where} {unfinished}"))
    if waiting:
        return Verdict(False, waiting[0].reason, "; ".join(verdict.message for verdict in waiting))
    return Verdict(True, "Ready", f"all {len(isolation.workloads)} are there and ready")


def _unfinished(kind: Kind, observed: Observed) -> str:
    """Say what a workload's own controller has not reached, or an empty text; most kinds have none to wait for."""
    status, metadata = observed.get("status", {}), observed["metadata"]
    conditions = {each.get("type"): each for each in status.get("conditions") or () if each.get("status") == "True"}
    if kind is DEPLOYMENT:
        wanted = observed.get("spec", {}).get("replicas", 1)
        if status.get("observedGeneration", 0) < metadata.get("generation", 0):
            return "was not seen by its controller yet"
        ready = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
        if ready < wanted:
            return f"has {ready} of {wanted} Pods ready{_told(conditions.get('ReplicaFailure'))}"
    if kind is JOB and "Failed" in conditions:
        return f"failed{_told(conditions['Failed'])}"
    return ""


def _told(condition: Observed | None) -> str:
    return f": {condition.get('reason')}: {condition.get('message')}" if condition is not None else ""
