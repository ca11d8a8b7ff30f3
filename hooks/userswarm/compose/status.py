"""Phase, conditions and `verified`, from observation only.

Metacontroller replaces the whole status by what a hook returns, and its own write calls the hook again. So every
field is written every time, nothing counts or tells the time, and a time once written is carried over.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from userswarm.compose.plan import Plan
from userswarm.errors import InvalidParentError
from userswarm.pod_trouble import REASONS as POD_TROUBLE
from userswarm.smoke_test import RUNNING, Trial
from userswarm.verify import CHILD_MISSING, CLAIM_PENDING, NAME_CONFLICT, TERMINATING, Verdict
from userswarm.wire.k8s import STATEFUL_SET, Condition, Observed, read_time, written_time
from userswarm.wire.observe import Observation

SUSPENDED = "Suspended"
INVALID_SPEC = "InvalidSpec"

CONDITION_TYPES = ("SpecValid", "StorageReady", "WorkloadReady", "ServiceReady", "Verified", "Ready")

DEDICATED_CONDITION_TYPES = ("NamespaceReady", "WorkloadsReady")
"""Of a Dedicated swarm only, and the second only where it has workloads of the tenant's own."""

_LAST_STAGE = "SmokeTest"

_SPEC_VALID = Verdict(True, "Valid", "the spec can be built")

_CARRIED_TEXTS = ("verifiedChecksum", "verifiedAt", "runtimeNamespace", "serviceName", "endpoint", "image", "claimName")
_CARRIED_COUNTS = ("verifiedGeneration", "readyReplicas")

DELETING = "Deleting"

FINALIZER_PREFIX = "metacontroller.io/compositecontroller-"

ASK_AGAIN = 60
"""Seconds until a child is asked for again that does not come about: an object of somebody else has its name, say, and
no watch tells when the name is free."""

MAX_MESSAGE = 32_768
"""What metav1.Condition allows."""

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """The verdicts on a valid swarm; `suspended` tells whether it is asked to be, and `stopped` whether it then is."""

    storage: Verdict
    workload: Verdict
    services: Verdict
    trial: Trial
    suspended: bool
    stopped: bool
    namespace: Verdict | None = None
    workloads: Verdict | None = None

    def stages(self) -> list[tuple[str, Verdict]]:
        """Return what a swarm needs, in order; a Dedicated one needs its namespace first."""
        first = [("Namespace", self.namespace)] if self.namespace is not None else []
        return [*first, ("Storage", self.storage), ("Workload", self.workload), ("Service", self.services)]

    def lacks_a_child(self) -> bool:
        """Tell whether a child is asked for and not there."""
        verdicts = (self.namespace, self.storage, self.workload, self.services, self.workloads)
        return any(each is not None and each.reason in (CHILD_MISSING, NAME_CONFLICT) for each in verdicts)

    def blocking(self) -> tuple[str, Verdict] | None:
        """Return the stage that is not reached, and what blocks it; None where all are."""
        found = next(((stage, verdict) for stage, verdict in self.stages() if not verdict.ok), None)
        if found == ("Storage", self.storage) and self.storage.reason == CLAIM_PENDING:
            # A claim may wait for its Pod's node: then the Pod's trouble is the cause.
            return ("Workload", self.workload) if self.workload.reason in POD_TROUBLE else found
        return found


@dataclass(frozen=True, slots=True)
class Assessment:
    """A status, and after how many seconds it may change though nothing that is watched does; None for never."""

    status: Status
    resync_after: int | None


def compute_status(
    parent: Observed, plan: Plan, findings: Findings, observation: Observation, now: datetime
) -> Assessment:
    """Return the status of a swarm that can be built."""
    metadata, old = parent["metadata"], _old_status(parent)
    generation = metadata.get("generation") or 0
    deleting = "deletionTimestamp" in metadata
    blocking = findings.blocking()
    verified = _verified(findings, blocking, deleting=deleting)
    verdicts = {
        "SpecValid": _SPEC_VALID,
        **{f"{stage}Ready": verdict for stage, verdict in findings.stages()},
        "Verified": verified,
        "Ready": verified,
    }
    if findings.workloads is not None:
        verdicts["WorkloadsReady"] = findings.workloads
    before = _old_conditions(old)
    conditions = _conditions(verdicts, before, generation, now)
    stage = _stage(findings, blocking)
    if stage == _LAST_STAGE:
        restarted = _tested_since(findings.trial, old, before.get("Verified"), generation, now)
        begun = restarted if findings.trial.asked else ""
    elif stage:
        restarted = _restarted(stage, conditions, old, generation, now)
        begun = max(restarted, _begun(stage, conditions))
    else:
        restarted = begun = ""
    deadline = _deadline(begun, plan.settings.progress_deadline)
    overdue = deadline is not None and deadline <= now
    if overdue:
        message = f"no progress for {plan.settings.progress_deadline} s at stage {stage}: {verified.message}"
        if stage == _LAST_STAGE:
            message += "; it is asked for, and not there"
        verdicts["Ready"] = Verdict(False, verified.reason, message)
        conditions = _conditions(verdicts, before, generation, now)

    status = _carried(old)
    status.update(_addresses(plan))
    if findings.trial.passed_at is not None:
        status["verifiedChecksum"] = plan.checksum
        status["verifiedAt"] = findings.trial.passed_at
    if verified.ok:
        status["verifiedGeneration"] = generation
    stateful_set = observation.child(STATEFUL_SET, plan.identity.namespace, plan.identity.name)
    status["readyReplicas"] = (stateful_set or {}).get("status", {}).get("readyReplicas", 0)
    failed = overdue or findings.trial.failed_for_good
    status["phase"] = _phase(findings, blocking, observation, deleting=deleting, failed=failed)
    status["verified"] = verified.ok
    status["observedGeneration"] = generation
    if stage:
        status["stage"] = stage
    if restarted:
        status["stageSince"] = restarted
    status["conditions"] = conditions
    return Assessment(status, _next_look(findings, blocking, deadline, now))


def _next_look(
    findings: Findings, blocking: tuple[str, Verdict] | None, deadline: datetime | None, now: datetime
) -> int | None:
    """Return after how many seconds something may be due that no watch tells, None for never."""
    waits = [findings.trial.due_in] if blocking is None and findings.trial.due_in is not None else []
    if deadline is not None and deadline > now:
        waits.append((deadline - now).total_seconds())
    elif not waits and (findings.lacks_a_child() or (deadline is not None and findings.trial.asked)):
        waits.append(ASK_AGAIN)
    # Whole seconds: what is decided by times of whole seconds is not due any earlier.
    return math.ceil(min(waits)) if waits else None


def _verified(findings: Findings, blocking: tuple[str, Verdict] | None, *, deleting: bool) -> Verdict:
    """Return whether user traffic may be sent to the swarm, and the first thing that speaks against it."""
    if deleting:
        return Verdict(False, TERMINATING, "the UserSwarm is being deleted")
    if findings.suspended:
        return Verdict(False, SUSPENDED, "spec.suspend is true")
    return blocking[1] if blocking is not None else findings.trial.verdict


def compute_invalid_status(parent: Observed, error: InvalidParentError, now: datetime) -> Status:
    """Return the status of a swarm whose spec cannot be built, and whose children stay as they are."""
    problems = f"{len(error.problems)} problem(s): " + "; ".join(map(str, error.problems))
    spec_valid = Verdict(False, INVALID_SPEC, problems)
    blocked = Verdict(False, INVALID_SPEC, "the spec cannot be built; see SpecValid. The children are left as they are")
    return _halted_status(parent, "Invalid", {"SpecValid": spec_valid, "Verified": blocked, "Ready": blocked}, now)


def compute_deleting_status(parent: Observed, message: str, now: datetime) -> Status:
    """Return the status of a swarm that goes away; `message` says what is awaited."""
    blocked = Verdict(False, TERMINATING, message)
    return _halted_status(parent, DELETING, {"Verified": blocked, "Ready": blocked}, now)


def is_taken_down_elsewhere(parent: Observed, controller: str) -> bool:
    """Tell whether another controller still takes down a swarm that moved to this one: to another shard.

    Both see the same children. To make them anew while the other removes them would never come to an end.
    """
    own = FINALIZER_PREFIX + controller
    finalizers = parent["metadata"].get("finalizers") or ()
    if not controller or all(name == own or not str(name).startswith(FINALIZER_PREFIX) for name in finalizers):
        return False
    # The finalizer alone may be a left-over; that a teardown has begun, only the other controller can have written.
    return bool(_old_status(parent).get("phase") == DELETING)


def carry_status(parent: Observed) -> Status:
    """Return the status as it stands: of two writers with words of their own, each would wake the other for ever."""
    return copy.deepcopy(dict(_old_status(parent)))


def _halted_status(parent: Observed, phase: str, verdicts: Mapping[str, Verdict], now: datetime) -> Status:
    """Return a status in which only some conditions are judged anew, and the others stay as they were."""
    old = _old_status(parent)
    generation = parent["metadata"].get("generation") or 0
    status = _carried(old)
    status.update(phase=phase, verified=False, observedGeneration=generation)
    before = _old_conditions(old)
    status["conditions"] = [
        _condition(kind, verdicts[kind], before.get(kind), generation, now)
        if kind in verdicts
        else before.get(kind) or _unknown_condition(kind, phase, generation, now)
        for kind in (*CONDITION_TYPES, *(each for each in DEDICATED_CONDITION_TYPES if each in before))
    ]
    return status


def _phase(
    findings: Findings,
    blocking: tuple[str, Verdict] | None,
    observation: Observation,
    *,
    deleting: bool,
    failed: bool,
) -> str:
    """Summarise the conditions in one word."""
    if deleting:
        return DELETING
    if findings.suspended:
        return "Suspended" if findings.stopped else "Progressing"
    if failed:
        return "Failed"
    if blocking is not None:
        return "Progressing" if any(observation.children()) else "Pending"
    return "Ready" if findings.trial.verdict.ok else "Verifying"


def _stage(findings: Findings, blocking: tuple[str, Verdict] | None) -> str:
    """Return the stage that is worked on, or an empty text for a swarm that waits for nothing."""
    if findings.suspended or (blocking is None and findings.trial.verdict.ok):
        return ""
    return blocking[0] if blocking is not None else _LAST_STAGE


def _restarted(stage: str, conditions: list[Condition], old: Mapping[str, Any], generation: int, now: datetime) -> str:
    """Return when a newer spec gave the stage its whole time again, or an empty text.

    A stage begins when a condition changes, and the conditions tell when. Only a new spec for a swarm that was not
    ready changes none.
    """
    before = old.get("observedGeneration")
    restarted = old.get("stageSince")
    if type(before) is int and before != generation:
        restarted = written_time(now)
    if not isinstance(restarted, str) or read_time(restarted) is None or restarted <= _begun(stage, conditions):
        return ""
    return restarted


def _tested_since(
    trial: Trial, old: Mapping[str, Any], before: Condition | None, generation: int, now: datetime
) -> str:
    """Return since when this attempt of the smoke test is asked for, or an empty text where none is under way.

    A test that runs has its own attempts and no deadline. A Job that cannot be made (no quota for it, say) changes
    no condition, so this time is written down. It stays while the Job runs: taking it out would be one more status
    write for every swarm.
    """
    if trial.verdict.reason != RUNNING:
        return ""
    since = old.get("stageSince")
    known = before is not None and before["message"] == trial.verdict.message
    if known and old.get("stage") == _LAST_STAGE and old.get("observedGeneration") == generation and read_time(since):
        return str(since)
    return written_time(now) if trial.asked else ""


def _begun(stage: str, conditions: list[Condition]) -> str:
    """Return when the conditions up to that of a stage last changed."""
    kinds = [condition["type"] for condition in conditions]
    return max(condition["lastTransitionTime"] for condition in conditions[1 : kinds.index(f"{stage}Ready") + 1])


def _deadline(begun: str, seconds: int) -> datetime | None:
    """Return when what begun then has taken too long."""
    since = read_time(begun)
    return since + timedelta(seconds=seconds) if since is not None else None


def _addresses(plan: Plan) -> Status:
    identity = plan.identity
    return {
        "runtimeNamespace": identity.namespace,
        "serviceName": identity.name,
        "endpoint": plan.endpoint,
        "image": plan.swarm.image,
        "claimName": identity.claim,
    }


def _old_status(parent: Observed) -> Mapping[str, Any]:
    return parent.get("status") or {}


def _carried(old: Mapping[str, Any]) -> Status:
    """Return what an earlier answer recorded and no later one may lose."""
    status: Status = {key: old[key] for key in _CARRIED_TEXTS if isinstance(old.get(key), str)}
    status.update({key: old[key] for key in _CARRIED_COUNTS if type(old.get(key)) is int})
    return status


def _conditions(
    verdicts: Mapping[str, Verdict], old: Mapping[str, Condition], generation: int, now: datetime
) -> list[Condition]:
    return [_condition(kind, verdict, old.get(kind), generation, now) for kind, verdict in verdicts.items()]


def _condition(kind: str, verdict: Verdict, before: Condition | None, generation: int, now: datetime) -> Condition:
    """Return a condition; its time is carried over while its status stays, as metav1.Condition asks."""
    status = "True" if verdict.ok else "False"
    since = before["lastTransitionTime"] if before is not None and before["status"] == status else written_time(now)
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": verdict.reason,
        "message": verdict.message[:MAX_MESSAGE],
    }


def _unknown_condition(kind: str, phase: str, generation: int, now: datetime) -> Condition:
    return {
        "type": kind,
        "status": "Unknown",
        "observedGeneration": generation,
        "lastTransitionTime": written_time(now),
        "reason": "NotJudged",
        "message": f"not judged before the swarm was {phase}",
    }


def _old_conditions(old: Mapping[str, Any]) -> dict[str, Condition]:
    """Return the conditions that an earlier answer gave, by type; one that is not whole is as good as none."""
    conditions = old.get("conditions")
    found: dict[str, Condition] = {}
    for condition in conditions if isinstance(conditions, list) else ():
        whole = _whole(condition) if isinstance(condition, dict) else None
        if whole is not None:
            found[whole["type"]] = whole
    return found


_FIELDS_OF = itemgetter("type", "status", "reason", "message", "lastTransitionTime", "observedGeneration")
_TYPES = (str, str, str, str, str, int)


def _whole(condition: Mapping[str, Any]) -> Condition | None:
    """Return a condition's own fields, or None where one is missing or of another type."""
    try:
        fields = _FIELDS_OF(condition)
    except KeyError:
        return None
    kind, status, reason, message, since, generation = fields
    # One comparison for all: every sync reads every condition.
    if tuple(map(type, fields)) != _TYPES or read_time(since) is None:
        return None
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
