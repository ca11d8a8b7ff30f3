"""Where a Dedicated swarm lives: whether its namespace is there, is ours or lent to us, and whether all that belongs
into it can be made.

What cannot be made safe is refused: a namespace without an operator's consent, or walls that the controller is not
told to build.
"""

from __future__ import annotations

from collections.abc import Iterator

from userswarm.errors import InvalidParentError, Problem
from userswarm.identity import RELEASED_ANNOTATION, Identity
from userswarm.isolation import Isolation
from userswarm.k8s import (
    DEPLOYMENT,
    JOB,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    Kind,
    Observed,
)
from userswarm.observe import Observation
from userswarm.parent import UserSwarm
from userswarm.verify import CHILD_MISSING, NAME_CONFLICT, TERMINATING, Verdict
from userswarm.workloads import WORKLOAD_KINDS

ALLOW_LABEL = "crawbl.ai/allow-userswarms"
"""On a namespace: its operator lets UserSwarms live there."""

NAMESPACE_RETAINED = "NamespaceRetained"


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
    needed += [RESOURCE_QUOTA, LIMIT_RANGE, NETWORK_POLICY]
    if isolation.access != "none" or isolation.members:
        needed += [ROLE, ROLE_BINDING]
    needed += [kind for kind in WORKLOAD_KINDS if any(each["kind"] == kind.kind for each in isolation.workloads)]
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
        if namespace is None:
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


def _was_released_to(identity: Identity, namespace: Observed) -> bool:
    """Tell whether a namespace that nobody owns was left behind by this very user's swarm."""
    metadata = namespace["metadata"]
    annotations = metadata.get("annotations") or {}
    free = not metadata.get("ownerReferences") and annotations.get(RELEASED_ANNOTATION) == "true"
    return free and identity.is_of_same_owner(annotations)


def verify_workloads(isolation: Isolation, identity: Identity, observation: Observation) -> Verdict:
    """Judge the tenant's own workloads; they never decide whether the swarm itself is verified."""
    for workload in isolation.workloads:
        kind = next(each for each in WORKLOAD_KINDS if each.kind == workload["kind"])
        name = workload["metadata"]["name"]
        where = f"{kind.kind} {identity.namespace}/{name}"
        observed = observation.child(kind, identity.namespace, name)
        if observed is None:
            return Verdict(False, CHILD_MISSING, f"{where} is asked for and not there yet")
        waiting = _unfinished(kind, observed)
        if waiting:
            return Verdict(False, "WorkloadNotReady", f"{where} {waiting}")
    return Verdict(True, "Ready", f"all {len(isolation.workloads)} are there and ready")


def _unfinished(kind: Kind, observed: Observed) -> str:
    status, metadata = observed.get("status", {}), observed["metadata"]
    if kind is DEPLOYMENT:
        wanted = observed.get("spec", {}).get("replicas", 1)
        if status.get("observedGeneration", 0) < metadata.get("generation", 0):
            return "was not seen by its controller yet"
        ready = min(status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
        if ready < wanted:
            return f"has {ready} of {wanted} Pods ready"
    if kind is JOB:
        for condition in status.get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("status") == "True":
                return f"failed: {condition.get('reason')}: {condition.get('message')}"
    return ""
