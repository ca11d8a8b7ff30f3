"""Which attempt of the smoke test is due: told by the Jobs that are there, and by what the status recorded.

A failed Job stays until the next attempt takes its place, and the last one for good: it is the record of what was
tried, and whoever looks for the cause finds its log. Deleting it asks for another try.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from userswarm.spec.identity import Identity
from userswarm.verify import Verdict
from userswarm.wire.k8s import JOB, POD, Observed, read_time, written_time
from userswarm.wire.observe import Observation

RUNNING = "SmokeTestRunning"
FAILED = "SmokeTestFailed"
PASSED = "SmokeTestPassed"
WAITING = "SmokeTestWaiting"

FIRST_PAUSE = 10.0
"""Seconds between a failed attempt and the next; each further pause is twice as long."""

LONGEST_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class Trial:
    """Where the smoke test stands.

    `attempt` is the number of the Job that shall be there, None for no Job. `passed_at` is when a Job that is not
    recorded yet completed. `due_in` is how many seconds the next attempt has to wait. `asked` tells that the Job of
    `attempt` is not there yet.
    """

    verdict: Verdict
    attempt: int | None = None
    passed_at: str | None = None
    due_in: float | None = None
    failed_for_good: bool = False
    asked: bool = False


def judge_recorded(checksum: str, status: Mapping[str, Any]) -> Trial | None:
    """Return the trial of a test whose pass is recorded for this checksum, else None: it never runs again."""
    if status.get("verifiedChecksum") != checksum:
        return None
    return Trial(Verdict(True, PASSED, f"passed at {status.get('verifiedAt', 'a time not recorded')}"))


def judge_attempts(
    identity: Identity, series: str, attempts: int, blocked: Verdict | None, observation: Observation, now: datetime
) -> Trial:
    """Return where the smoke test stands that is not recorded as passed.

    `blocked` is what the swarm still lacks before a test makes sense, None for nothing.
    """
    number, job = _latest(identity, series, attempts, observation)
    if job is not None and "deletionTimestamp" in job["metadata"]:
        return Trial(Verdict(False, RUNNING, f"the Job {job['metadata']['name']} is being deleted"))
    if job is None:
        if blocked is not None:
            return Trial(Verdict(False, WAITING, f"waiting for: {blocked.message}"))
        return Trial(_running(identity, series, 1, attempts), attempt=1, asked=True)
    passed, failed = _condition(job, "Complete"), _condition(job, "Failed")
    if passed is not None:
        at = job["status"].get("completionTime") or passed.get("lastTransitionTime")
        return Trial(Verdict(True, PASSED, f"passed at {at}"), attempt=number, passed_at=at)
    if failed is None:
        return Trial(_running(identity, series, number, attempts), attempt=number)
    told = f"attempt {number} of {attempts} failed: {_failure(job, failed, observation)}"
    if number >= attempts:
        verdict = Verdict(
            False, FAILED, f"{told}; to try again change the spec, or the annotation crawbl.ai/retry-verification"
        )
        return Trial(verdict, attempt=number, failed_for_good=True)
    due = _next_due(failed, number)
    if due is not None and due > now:
        verdict = Verdict(False, FAILED, f"{told}; the next starts at {written_time(due)}")
        return Trial(verdict, attempt=number, due_in=(due - now).total_seconds())
    if blocked is not None:
        return Trial(Verdict(False, FAILED, f"{told}; the next waits for: {blocked.message}"), attempt=number)
    return Trial(_running(identity, series, number + 1, attempts), attempt=number + 1, asked=True)


def _running(identity: Identity, series: str, attempt: int, attempts: int) -> Verdict:
    """Say the same of a Job that is only asked for: it is there within moments, and nobody waits for that."""
    name = f"{identity.namespace}/{identity.smoke_test(series, attempt)}"
    return Verdict(False, RUNNING, f"attempt {attempt} of {attempts}: Job {name} has not ended yet")


def _latest(identity: Identity, series: str, attempts: int, observation: Observation) -> tuple[int, Observed | None]:
    """Return the highest attempt of this series that has a Job; Jobs of another series do not count."""
    if not any(observation.children(JOB)):
        return 0, None
    names = identity.smoke_tests(series)
    for number in range(attempts, 0, -1):
        job = observation.child(JOB, identity.namespace, f"{names}{number}")
        if job is not None:
            return number, job
    return 0, None


def _condition(job: Observed, kind: str) -> Mapping[str, Any] | None:
    for condition in job.get("status", {}).get("conditions") or ():
        if condition.get("type") == kind and condition.get("status") == "True":
            found: Mapping[str, Any] = condition
            return found
    return None


def _failure(job: Observed, failed: Mapping[str, Any], observation: Observation) -> str:
    """Say why a Job failed: what its Pod said where that can be seen, else what the Job controller said."""
    for pod in observation.all_related(POD):
        owners = pod["metadata"].get("ownerReferences") or ()
        if any(owner.get("uid") == job["metadata"].get("uid") for owner in owners):
            for ended in _terminated(pod):
                if ended.get("message"):
                    return f"{failed.get('reason')}: {str(ended['message']).strip()}"
    return f"{failed.get('reason')}: {failed.get('message')}"


def _terminated(pod: Observed) -> Iterator[Mapping[str, Any]]:
    for container in pod.get("status", {}).get("containerStatuses") or ():
        yield (container.get("state") or {}).get("terminated") or {}


def _next_due(failed: Mapping[str, Any], attempt: int) -> datetime | None:
    """Return when the pause after a failed attempt ends.

    None, for at once, where its end is not dated: a time counted from now would be another one in every answer.
    """
    failed_at = read_time(failed.get("lastTransitionTime"))
    return failed_at + timedelta(seconds=_pause(attempt)) if failed_at is not None else None


def _pause(attempt: int) -> float:
    return float(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))
