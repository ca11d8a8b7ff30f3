"""What a swarm comes to, from what its parts say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

from userswarm.compose.desired import Finding
from userswarm.parts.shape import TERMINATING, Verdict

DELETING = "Deleting"

_SPEC_VALID = Verdict(True, "Valid", "the spec can be built")


def waiting(findings: Sequence[Finding]) -> list[tuple[Finding, Verdict]]:
    """Return the parts that keep a swarm from being verified, each with what it says."""
    judged = ((each, each.verdict) for each in findings if each.part.decides)
    return [(each, verdict) for each, verdict in judged if verdict is not None and not verdict.ok]


def find_blocking(findings: Sequence[Finding]) -> Finding | None:
    """Return what a swarm waits for: the first trouble, else the first part that is not there yet; None for nothing.

    A claim may wait for its Pod's node: then the Pod's trouble is the cause, though it comes later.
    """
    found = waiting(findings)
    if not found:
        return None
    first, verdict = found[0]
    return first if verdict.phase else next((each for each, verdict in found if verdict.trouble), first)


def judge_whole(findings: Sequence[Finding], blocking: Finding | None, *, deleting: bool) -> Verdict:
    """Return whether user traffic may be sent to the swarm, and the first thing that speaks against it."""
    if deleting:
        return Verdict(False, TERMINATING, "the UserSwarm is being deleted", phase=DELETING)
    if blocking is not None and blocking.verdict is not None:
        return blocking.verdict
    passed = [each.verdict for each in findings if each.part.condition == "Verified" and each.verdict is not None]
    return passed[-1]


def by_condition(findings: Sequence[Finding]) -> dict[str, Verdict]:
    """Return the verdict of each condition: the first trouble, the first that is not well, else the last of all."""
    verdicts: dict[str, Verdict] = {"SpecValid": _SPEC_VALID}
    for finding in findings:
        known, verdict = verdicts.get(finding.part.condition), finding.verdict
        if verdict is not None and (known is None or known.ok or (verdict.trouble and not known.trouble)):
            verdicts[finding.part.condition] = verdict
    return verdicts


def phase_of(findings: Sequence[Finding], blocking: Finding | None) -> str:
    """Summarise the conditions in one word."""
    if blocking is None:
        return "Ready"
    if blocking.part.condition == "Verified":
        return "Verifying"
    return "Progressing" if any(blocking.sight.observation.children()) else "Pending"
