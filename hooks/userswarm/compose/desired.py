"""Which children a swarm shall have now, given what is observed: what has to wait, and what must not be touched.

The plan says what a swarm is made of; here stands in which order it may come about. Each rule has a reason that a
cluster taught: a volume that is going, a configuration that its Pod must find, a field that cannot be changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from userswarm.children.claim import clamp_claim
from userswarm.children.immutable import immutable_difference
from userswarm.compose.plan import Plan
from userswarm.compose.status import Findings
from userswarm.place import verify_namespace, verify_walls, verify_workloads
from userswarm.smoke_test import Trial, judge_attempts, judge_recorded
from userswarm.spec.identity import Identity
from userswarm.verify import (
    CLAIM_CLAMPED,
    KIND_NOT_MANAGED,
    NAME_CONFLICT,
    ROLLOUT_IN_PROGRESS,
    Verdict,
    find_claim_conflict,
    verify_claim,
    verify_services,
    verify_workload,
)
from userswarm.wire.freeze import freeze_child, last_applied
from userswarm.wire.k8s import (
    CHILD_KINDS,
    CLAIM,
    CONFIG_MAP,
    DEDICATED_KINDS,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Manifest,
    Observed,
)
from userswarm.wire.observe import Observation

_KNOWN_GROUPS = frozenset(kind.group for kind in (*CHILD_KINDS, *DEDICATED_KINDS))

_REPLACEABLE = {kind.kind: kind for kind in (STATEFUL_SET, SERVICE, DEPLOYMENT, JOB)}
"""Kinds with fields that cannot be changed, and without data of their own."""


@dataclass(frozen=True, slots=True)
class Desired:
    """The children to return, and the verdicts on those that are observed."""

    children: list[Manifest]
    findings: Findings


def compute_desired(
    plan: Plan, parent: Observed, observation: Observation, managed: frozenset[str], now: datetime
) -> Desired:
    """Return a swarm's children for now.

    `managed` holds the groups that the controller manages: a child of any other kind is never returned.
    Raises CannotFreezeError where a child must stay as it is, and does not say how it is.
    """
    identity = plan.identity
    standing = {(child["kind"], child["metadata"]["name"]): child for child in plan.standing_children()}
    claim = standing[CLAIM.kind, identity.claim]
    refused = _fit_claim(claim, identity, observation)
    others = _kept_as_they_are(identity, observation)
    namespace = _judge_namespace(plan, observation)
    placed = namespace is None or namespace.ok
    if plan.isolation is not None and placed:
        namespace = verify_walls(standing.values(), observation) or namespace
    storage = _judge_storage(claim, identity, refused, others, observation)
    held = _hold_stateful_set(plan, standing, observation)
    replaced = _replaced(standing, observation)
    if _is_left_to_others(CLAIM, identity.namespace, identity.claim, observation):
        del standing[CLAIM.kind, identity.claim]
    if plan.isolation is not None and _is_left_to_others(NAMESPACE, "", identity.namespace, observation):
        standing.pop((NAMESPACE.kind, identity.namespace), None)
    workload = _judge_workload(plan, held, replaced, observation)
    services = _judge_services(identity, replaced, observation)
    storage, workload, services = _unmanaged(managed, storage, workload, services)
    verdicts = (*([namespace] if namespace is not None else []), storage, workload, services)
    trial = _judge_trial(plan, parent, observation, managed, verdicts, now)

    if namespace is not None and not placed:
        children = _without_namespace(namespace, standing)
        others = [freeze_child(child) for child in observation.children() if not _is_own_namespace(child, identity)]
    else:
        children = [child for key, child in standing.items() if key not in replaced]
        if trial.attempt is not None:
            children += _smoke_test(plan, trial.attempt, observation)
    findings = Findings(
        storage=storage,
        workload=workload,
        services=services,
        trial=trial,
        suspended=plan.swarm.suspend,
        stopped=plan.swarm.suspend and _is_stopped(identity, observation),
        namespace=namespace,
        workloads=_judge_workloads(plan, replaced, observation),
    )
    return Desired([child for child in children if _group(child) in managed] + others, findings)


def _judge_namespace(plan: Plan, observation: Observation) -> Verdict | None:
    """Judge the namespace of a Dedicated swarm; None for a swarm that shares one."""
    if plan.isolation is None:
        return None
    if not plan.isolation.managed:
        return Verdict(True, "Lent", f"Namespace {plan.identity.namespace} is its operator's")
    return verify_namespace(plan.identity, observation)


def _judge_workloads(plan: Plan, replaced: dict[tuple[str, str], str], observation: Observation) -> Verdict | None:
    if plan.isolation is None or not plan.isolation.workloads:
        return None
    return verify_workloads(plan.isolation, plan.identity, replaced, observation)


def _without_namespace(verdict: Verdict, standing: dict[tuple[str, str], Manifest]) -> list[Manifest]:
    """Return the namespace alone: what is made with it fails until it is there."""
    if verdict.reason == NAME_CONFLICT:
        return []
    return [child for key, child in standing.items() if key[0] == NAMESPACE.kind]


def _judge_storage(
    claim: Manifest, identity: Identity, refused: list[str], others: list[Manifest], observation: Observation
) -> Verdict:
    storage = verify_claim(identity, claim["spec"]["resources"]["requests"]["storage"], observation)
    if storage.ok and refused:
        return Verdict(True, CLAIM_CLAMPED, "; ".join(refused))
    if storage.ok and others:
        names = ", ".join(each["metadata"]["name"] for each in others)
        return Verdict(True, storage.reason, f"{storage.message}; also kept, though not used: {names}")
    return storage


def _judge_workload(plan: Plan, held: str, replaced: dict[tuple[str, str], str], observation: Observation) -> Verdict:
    name = plan.identity.name
    if (STATEFUL_SET.kind, name) in replaced:
        return _being_replaced(STATEFUL_SET, plan.identity.namespace, name, replaced)
    workload = verify_workload(plan.identity, plan.checksum, observation)
    if held and not workload.ok:
        return Verdict(False, workload.reason, f"{workload.message}; {held}")
    return workload


def _judge_services(identity: Identity, replaced: dict[tuple[str, str], str], observation: Observation) -> Verdict:
    for name in (identity.headless_service, identity.name):
        if (SERVICE.kind, name) in replaced:
            return _being_replaced(SERVICE, identity.namespace, name, replaced)
    return verify_services(identity, observation)


def _being_replaced(kind: Kind, namespace: str, name: str, replaced: dict[tuple[str, str], str]) -> Verdict:
    told = f"{kind.kind} {namespace}/{name} differs in {replaced[kind.kind, name]}, which cannot be changed"
    return Verdict(False, ROLLOUT_IN_PROGRESS, f"{told}: it is removed and made again")


def _fit_claim(claim: Manifest, identity: Identity, observation: Observation) -> list[str]:
    """Bring the desired claim to what the one that exists can become; return what was refused, in words."""
    observed = observation.child(CLAIM, identity.namespace, identity.claim)
    return clamp_claim(claim, observed) if observed is not None else []


def _is_left_to_others(kind: Kind, namespace: str, name: str, observation: Observation) -> bool:
    """Tell whether an object of our name is there that we do not own: making ours would fail at every sync."""
    return observation.child(kind, namespace, name) is None and observation.related(kind, namespace, name) is not None


def _hold_stateful_set(plan: Plan, standing: dict[tuple[str, str], Manifest], observation: Observation) -> str:
    """Keep the StatefulSet back where it must not be made or changed yet; return why, or an empty text."""
    identity = plan.identity
    key = (STATEFUL_SET.kind, identity.name)
    current = observation.child(STATEFUL_SET, identity.namespace, identity.name)
    unsafe = _unsafe_claim(identity, observation)
    if unsafe:
        # A Pod that runs holds the last copy of a claim that is going: neither restart nor stop it.
        if current is None:
            del standing[key]
        else:
            standing[key] = freeze_child(current)
        return unsafe
    if current is None:
        if _old_pod(identity, observation) is not None:
            del standing[key]
            return f"waiting for the earlier Pod {identity.pod} to be gone"
        return ""
    config = observation.child(CONFIG_MAP, identity.namespace, identity.config_map)
    stale = config is not None and not _is_stored(standing[CONFIG_MAP.kind, identity.config_map]["data"], config)
    applied = last_applied(current) if stale else None
    if applied is not None and isinstance(applied.get("spec"), dict):
        # Updates of one answer come in any order: a Pod restarted first would start on the old configuration.
        applied["spec"]["replicas"] = standing[key]["spec"]["replicas"]
        standing[key] = applied
        return "the new configuration is stored first"
    return ""


def _is_stored(files: dict[str, str], config: Observed) -> bool:
    """Tell whether a ConfigMap holds these files, and none that we have taken out.

    A key that somebody else added stays, for Metacontroller removes only what a hook once returned.
    """
    stored = config.get("data") or {}
    if stored == files:
        return True
    return files.items() <= stored.items() and (last_applied(config) or {}).get("data") == files


def _unsafe_claim(identity: Identity, observation: Observation) -> str:
    """Say why no Pod may be started on the claim under our name; an empty text if one may."""
    claim = observation.child(CLAIM, identity.namespace, identity.claim)
    if claim is None:
        claim = observation.related(CLAIM, identity.namespace, identity.claim)
        if claim is not None and find_claim_conflict(identity, claim):
            return "no Pod is started on a volume that is not this swarm's"
    if claim is not None and "deletionTimestamp" in claim["metadata"]:
        return "no Pod is started on a volume that is being deleted"
    return ""


def _old_pod(identity: Identity, observation: Observation) -> Observed | None:
    """Return a Pod that a StatefulSet which is gone has left, and that still ends."""
    pod = observation.related(POD, identity.namespace, identity.pod)
    return pod if pod is not None and "deletionTimestamp" in pod["metadata"] else None


def _replaced(standing: dict[tuple[str, str], Manifest], observation: Observation) -> dict[tuple[str, str], str]:
    """Return the children that have to go before they can be made again, and the field that cannot be changed."""
    replaced = {}
    for key, child in standing.items():
        kind = _REPLACEABLE.get(key[0])
        if kind is not None:
            current = observation.child(kind, child["metadata"]["namespace"], key[1])
            field = immutable_difference(child, current) if current is not None else ""
            if field:
                replaced[key] = field
    return replaced


def _kept_as_they_are(identity: Identity, observation: Observation) -> list[Manifest]:
    """Return what this UserSwarm owns beside its plan and must not lose, unchanged: what is left out is deleted.

    Those are its other claims, another namespace with all that is in it, and children of a kind we do not know: a
    later release made them, before this one was put back.
    """
    return [freeze_child(child) for child in observation.children() if _is_beside_the_plan(child, identity)]


def _is_beside_the_plan(child: Observed, identity: Identity) -> bool:
    metadata = child["metadata"]
    if child.get("kind") == CLAIM.kind:
        return (metadata.get("namespace"), metadata["name"]) != (identity.namespace, identity.claim)
    if child.get("kind") == NAMESPACE.kind:
        return not _is_own_namespace(child, identity)
    return _group(child) not in _KNOWN_GROUPS


def _is_own_namespace(child: Observed, identity: Identity) -> bool:
    return child.get("kind") == NAMESPACE.kind and child["metadata"]["name"] == identity.namespace


def _judge_trial(
    plan: Plan,
    parent: Observed,
    observation: Observation,
    managed: frozenset[str],
    verdicts: tuple[Verdict, ...],
    now: datetime,
) -> Trial:
    recorded = judge_recorded(plan.checksum, parent.get("status") or {})
    if recorded is not None:
        return recorded
    if JOB.group not in managed:
        return Trial(_not_managed(JOB))
    blocked = next((verdict for verdict in verdicts if not verdict.ok), None)
    if plan.swarm.suspend:
        return Trial(Verdict(False, "Suspended", "nothing is tested while spec.suspend is true"))
    attempts = plan.swarm.verification_attempts
    return judge_attempts(plan.identity, plan.series, attempts, blocked, observation, now)


def _smoke_test(plan: Plan, attempt: int, observation: Observation) -> list[Manifest]:
    """Return the Job of an attempt; one that is there stays as it was applied, since Jobs cannot be changed."""
    job = plan.smoke_test(attempt)
    current = observation.child(JOB, plan.identity.namespace, job["metadata"]["name"])
    if current is None:
        return [job]
    applied = last_applied(current)
    if applied is not None:
        return [applied]
    # Under server-side apply what is stored has to say it: a Job that differs is made again.
    return [] if immutable_difference(job, current) else [job]


def _unmanaged(
    managed: frozenset[str], storage: Verdict, workload: Verdict, services: Verdict
) -> tuple[Verdict, Verdict, Verdict]:
    """Say of each stage if the controller is not told to manage a kind it needs."""
    missing = [
        kind for kind in (CLAIM, STATEFUL_SET, CONFIG_MAP, SERVICE_ACCOUNT, SERVICE) if kind.group not in managed
    ]
    for kind in missing:
        if kind is CLAIM:
            storage = storage if storage.ok else _not_managed(kind)
        elif kind is SERVICE:
            services = _not_managed(kind)
        else:
            workload = _not_managed(kind)
    return storage, workload, services


def _not_managed(kind: Kind) -> Verdict:
    return Verdict(
        False,
        KIND_NOT_MANAGED,
        f"{kind.resource} ({kind.api_version}) are not among the CompositeController's childResources; add them",
    )


def _is_stopped(identity: Identity, observation: Observation) -> bool:
    """Tell whether a StatefulSet that was scaled to 0 has really no Pod any more."""
    stateful_set = observation.child(STATEFUL_SET, identity.namespace, identity.name)
    if stateful_set is None:
        return False
    status, metadata = stateful_set.get("status", {}), stateful_set["metadata"]
    if stateful_set.get("spec", {}).get("replicas", 1) != 0 or status.get("replicas", 0) != 0:
        return False
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return False
    return observation.related(POD, identity.namespace, identity.pod) is None


def _group(child: Observed) -> str:
    return f"{child['kind']}.{child['apiVersion']}"
