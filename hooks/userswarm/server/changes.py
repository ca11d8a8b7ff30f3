"""What one answer changes, told from the parent's status before and after, for logs and metrics alike.

A status that Metacontroller failed to write is answered, and counted, a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Change:
    """The difference that an answer makes to a swarm.

    `added` and `dropped` are children (``Kind/namespace/name``) against the observed ones. `outcome` is that of a
    smoke test that this answer is the first to report. `first_verified`: never was it verified before. `fell_asleep`
    and `woke` are the reason where it did, `woken_at` is when it woke, where it is verified for the first time since.
    """

    phase: str
    phase_before: str
    verified: bool
    verified_before: bool
    added: tuple[str, ...]
    dropped: tuple[str, ...]
    newly_invalid: bool
    outcome: Literal["passed", "failed"] | None
    first_verified: bool
    fell_asleep: str = ""
    woke: str = ""
    woken_at: str = ""

    @property
    def noteworthy(self) -> bool:
        """Tell whether people want to read of it."""
        return (
            self.phase != self.phase_before
            or self.verified != self.verified_before
            or bool(self.added or self.dropped)
            or self.outcome is not None
            or self.newly_invalid
        )

    @property
    def frozen(self) -> bool:
        """Tell whether the children were returned as last applied, since the parent cannot be built."""
        return self.phase == "Invalid"


def compute_change(request: Mapping[str, Any], response: Mapping[str, Any]) -> Change:
    """Compare a request to sync or finalize with its answer."""
    parent = _mapping(request.get("parent"))
    before = _mapping(parent.get("status"))
    after = _mapping(response.get("status"))
    observed = _observed_children(request)
    desired = _desired_children(response)
    phase = after.get("phase") or ""
    phase_before = before.get("phase") or ""
    generation = _mapping(parent.get("metadata")).get("generation")
    known_invalid = phase_before == "Invalid" and before.get("observedGeneration") == generation
    return Change(
        phase=phase,
        phase_before=phase_before,
        verified=after.get("verified") is True,
        verified_before=before.get("verified") is True,
        added=_sorted(desired - observed),
        dropped=_sorted(observed - desired),
        newly_invalid=phase == "Invalid" and not known_invalid,
        outcome=_outcome(before, after),
        first_verified=after.get("verified") is True and not before.get("verifiedAt"),
        **_turns(before, after),
    )


def _turns(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """Return whether a swarm fell asleep, woke, or is verified for the first time since it woke."""
    old, new = _mapping(before.get("lifecycle")), _mapping(after.get("lifecycle"))
    reason, since = str(new.get("reason", "")), str(new.get("awakeSince", ""))
    if new.get("asleepSince") and not old.get("asleepSince"):
        return {"fell_asleep": reason}
    if since and old.get("asleepSince"):
        return {"woke": reason}
    woken = reason not in ("", "Created") and str(before.get("verifiedAt", "")) < since
    if woken and after.get("verified") is True and before.get("verified") is not True:
        return {"woken_at": since}
    return {}


def _outcome(before: Mapping[str, Any], after: Mapping[str, Any]) -> Literal["passed", "failed"] | None:
    # A pod that is ready again makes `verified` true again without a new test: what tells a test that passed is
    # the time it did.
    if after.get("verifiedAt"):
        test = (after["verifiedAt"], after.get("verifiedChecksum"))
        if test != (before.get("verifiedAt"), before.get("verifiedChecksum")):
            return "passed"
    if after.get("verified") is not True and _verified_reason(after) == _FAILED != _verified_reason(before):
        return "failed"
    return None


_FAILED = "SmokeTestFailed"


def _verified_reason(status: Mapping[str, Any]) -> str | None:
    conditions = status.get("conditions")
    if isinstance(conditions, list | tuple):
        for condition in conditions:
            if isinstance(condition, dict) and condition.get("type") == "Verified":
                reason = condition.get("reason")
                return reason if isinstance(reason, str) else None
    return None


def _observed_children(request: Mapping[str, Any]) -> set[str]:
    found = set()
    for group, objects in _mapping(request.get("children")).items():
        if objects:
            kind = group.partition(".")[0]
            for observed in objects.values():
                metadata = observed["metadata"]
                found.add(f"{kind}/{metadata.get('namespace', '')}/{metadata['name']}")
    return found


def _desired_children(response: Mapping[str, Any]) -> set[str]:
    found = set()
    for child in response.get("children") or ():
        metadata = child["metadata"]
        found.add(f"{child['kind']}/{metadata.get('namespace', '')}/{metadata['name']}")
    return found


def _sorted(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(names)) if names else ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING
