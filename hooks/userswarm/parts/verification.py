"""Whether users may be sent to a swarm: one request through its Service, answered as a healthy runtime answers.

The request is a need: the pure hook says what to ask, the server asks, and the answer comes with the next call. It is
made again whenever the Pod has been away, for what answered before is not what answers now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from userswarm.parts import runtime
from userswarm.parts.shape import NOTHING, Needs, Part, Sight, Verdict
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import Manifest, read_time, written_time

RUNNING = "SmokeTestRunning"
FAILED = "SmokeTestFailed"
PASSED = "SmokeTestPassed"
WAITING = "SmokeTestWaiting"

FIRST_PAUSE = 3.0
"""Seconds between a failed attempt and the next; each further pause is twice as long."""

LONGEST_PAUSE = 300.0

LONGEST_ANSWER = 5
"""Seconds that an answer may take, whatever is stored: an earlier release took up to 300 for a Job's own attempts."""

NOT_ASKED_AGAIN_AFTER = 5.0
"""Seconds until a request that could not be made, though it was due, is due again."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What is asked, how often at most, and of which runtime: `series` is what all attempts for it share."""

    asks: bool
    http: Manifest
    attempts: int
    checksum: str
    series: str


class _Trial(NamedTuple):
    """Where the verification stands: the verdict, whether a request is due, and what is to be recorded."""

    verdict: Verdict
    due: bool = False
    passed_at: str = ""
    attempts: Manifest | None = None


def read(swarm: Swarm) -> Verification:
    """Return how a swarm is verified."""
    asked, checksum = swarm.spec["verification"], runtime.read(swarm).checksum
    http = {
        "service": swarm.identity.name,
        "namespace": swarm.identity.namespace,
        "port": swarm.spec["runtime"]["port"],
        "path": asked["path"],
        "timeoutSeconds": min(asked["timeoutSeconds"], LONGEST_ANSWER),
    }
    series = hashlib.sha256(json.dumps([checksum, swarm.retry, http], sort_keys=True).encode()).hexdigest()[:16]
    return Verification(asked["mode"] == "Request", http, asked["maxAttempts"], checksum, series)


def judge(verification: Verification, swarm: Swarm, sight: Sight) -> Verdict:
    """Say whether the runtime that is there now has answered."""
    return sight.once(_try, verification).verdict


def needs(verification: Verification, swarm: Swarm, sight: Sight) -> Needs:
    """Ask the Service where an attempt is due."""
    return Needs(http=verification.http) if sight.once(_try, verification).due else NOTHING


def report(verification: Verification, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return what passed and when, and the failed attempts on the way there."""
    trial = sight.once(_try, verification)
    passed = {"verifiedChecksum": verification.checksum, "verifiedAt": trial.passed_at} if trial.passed_at else {}
    return {"attempts": trial.attempts, **passed}


def _try(verification: Verification, sight: Sight) -> _Trial:
    recorded = sight.status.get("verifiedAt")
    if verification.asks and _has_passed(verification, sight):
        return _Trial(Verdict(True, PASSED, f"passed at {recorded}"))
    if sight.blocked is not None:
        told = f"waiting for: {sight.blocked.message}"
        verdict = Verdict(False, WAITING, told, watched=True)
        return _Trial(verdict, attempts=_recorded_attempts(verification, sight))
    if not verification.asks:
        return _Trial(Verdict(True, "NotAsked", "the Pod is ready, and verification.mode is Readiness"))
    before = _recorded_attempts(verification, sight)
    count = before["count"] if before is not None else 0
    if sight.http is not None and count < verification.attempts:
        return _judge_answer(verification, sight, sight.http, count + 1)
    if before is None:
        return _running(verification, sight, 1, None)
    told = f"attempt {count} of {verification.attempts} failed: {before['message']}"
    if count >= verification.attempts:
        return _Trial(_failed_for_good(told), attempts=before)
    failed_at = read_time(before["at"]) or sight.now
    due = failed_at + timedelta(seconds=_pause(count))
    if due <= sight.now:
        return _running(verification, sight, count + 1, before)
    return _Trial(_pausing(told, count, before["at"], (due - sight.now).total_seconds()), attempts=before)


def _has_passed(verification: Verification, sight: Sight) -> bool:
    """Tell whether this very runtime has passed since its Pod became ready."""
    if sight.status.get("verifiedChecksum") != verification.checksum:
        return False
    before, passed = sight.conditions.get(runtime.CONDITION), read_time(sight.status.get("verifiedAt"))
    if before is None or before["status"] != "True":
        return False  # also where a clock that ran ahead wrote a time that is still to come
    return passed is not None and passed >= sight.since(runtime.CONDITION, "True")


def _running(verification: Verification, sight: Sight, number: int, attempts: Manifest | None) -> _Trial:
    where = f"http://{verification.http['service']}.{verification.http['namespace']}.svc:{verification.http['port']}"
    told = f"attempt {number} of {verification.attempts}: {where}{verification.http['path']} is to be asked"
    if sight.observation.not_asked:
        told += f"; it was not asked: {sight.observation.not_asked}"
    verdict = Verdict(False, RUNNING, told, due_in=NOT_ASKED_AGAIN_AFTER)
    return _Trial(verdict, due=True, attempts=attempts)


def _judge_answer(verification: Verification, sight: Sight, http: Mapping[str, Any], number: int) -> _Trial:
    at, problem = written_time(sight.now), _find_problem(http)
    if not problem:
        return _Trial(Verdict(True, PASSED, f"passed at {at}"), passed_at=at)
    attempts = {"of": verification.series, "count": number, "at": at, "message": problem}
    told = f"attempt {number} of {verification.attempts} failed: {problem}"
    if number >= verification.attempts:
        return _Trial(_failed_for_good(told), attempts=attempts)
    return _Trial(_pausing(told, number, at, _pause(number)), attempts=attempts)


def _find_problem(http: Mapping[str, Any]) -> str:
    """Say what is wrong with an answer; an empty text for one that a healthy runtime gives."""
    if "status" not in http:
        return str(http.get("error", "no answer"))[:300]
    body = http.get("body", "")
    if http["status"] != 200:
        return f"status {http['status']}, not 200: {_shown(body)}"
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(told, dict) and told.get("status", "ok") != "ok":
        return f'"status" in the body is {_shown(json.dumps(told["status"]))}, not "ok"'
    return ""


def _shown(text: str) -> str:
    """Return the beginning of what a runtime said, on one line."""
    return " ".join(str(text)[:200].split())


def _failed_for_good(told: str) -> Verdict:
    ask = "to try again change the spec, or the annotation crawbl.ai/retry-verification"
    return Verdict(False, FAILED, f"{told}; {ask}", trouble=True, phase="Failed")


def _pausing(told: str, count: int, failed_at: str, due_in: float) -> Verdict:
    told = f"{told}; the next comes {_pause(count):.0f} s after {failed_at}"
    return Verdict(False, FAILED, told, trouble=True, due_in=due_in)


def _recorded_attempts(verification: Verification, sight: Sight) -> Manifest | None:
    """Return the failed attempts for this very runtime since its Pod became ready, None for none."""
    recorded = sight.status.get("attempts")
    if not isinstance(recorded, dict) or recorded.get("of") != verification.series:
        return None
    at = read_time(recorded.get("at"))
    if type(recorded.get("count")) is not int or not isinstance(recorded.get("message"), str) or at is None:
        return None
    return dict(recorded) if at >= sight.since(runtime.CONDITION, "True") else None


def _pause(attempt: int) -> float:
    return float(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE))


PART = Part(
    name="verification",
    condition="Verified",
    read=read,
    judge=judge,
    needs=needs,
    report=report,
    reports={"verifiedChecksum": str, "verifiedAt": str, "attempts": dict},
)
