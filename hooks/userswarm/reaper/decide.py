"""Which swarms go, which stay, and why: a pure function of a list, two reads of the owners, and the time.

A swarm goes only if each of a row of questions says so; the first that does not is its reason to stay. The
whole plan is withheld where it would delete more than the share allowed, for then the list of owners is the
likelier fault. Safe against races by construction: the reads come after the list, and a swarm younger than
either read is not judged by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from userswarm.reaper.amounts import Share, format_duration
from userswarm.reaper.owners import Owners, OwnersError
from userswarm.reaper.swarm import MalformedError, Swarm, parse_swarm

A_TENTH = Share(10, percent=True)

_TICK = timedelta(seconds=1)
"""What creationTimestamp drops: 12:00:00Z may be as late as 12:00:01."""


class Verdict(StrEnum):
    """What is to become of a swarm."""

    DELETE = "delete"
    LEAVE = "leave"
    WITHHOLD = "withhold"  # would be deleted, were it not for how many would


class Reason(StrEnum):
    """Why; the order is that of the questions."""

    MALFORMED = "malformed"
    ALREADY_DELETING = "already-deleting"
    KEEP_LABEL = "keep-label"
    TOO_YOUNG = "too-young"
    E2E_EXPIRED = "e2e-expired"
    EXPIRED = "expired"
    NOT_EXPIRED = "not-expired"
    OWNER_ALIVE = "owner-alive"
    OWNER_MISMATCH = "owner-mismatch"
    NEWER_THAN_OWNERS = "newer-than-owners"
    OWNER_GONE = "owner-gone"


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's limits; `max_age` is for swarms of end-to-end tests, and None leaves them to the owners.

    `expired`: swarms go, too, that nobody has used for as long as their own spec says.
    """

    min_age: timedelta = timedelta(hours=1)
    max_age: timedelta | None = None
    expired: bool = False
    max_delete: Share = A_TENTH
    max_shrink: Share = A_TENTH


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of one swarm; `swarm` is None where the object could not be read."""

    verdict: Verdict
    reason: Reason
    message: str
    name: str
    swarm: Swarm | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A decision for every object of the list, by name; `doomed` were to go, and `limit` is how many may."""

    decisions: tuple[Decision, ...]
    doomed: int
    limit: int

    @property
    def withheld(self) -> bool:
        return self.doomed > self.limit


def decide(
    observed: Iterable[object], first: Owners | None, second: Owners | None, now: datetime, rules: Rules
) -> Plan:
    """Return what is to become of each of the `observed` UserSwarms.

    `now` is a moment before the list was made. `first` and `second` may be the same read, to see whether there
    is anything to confirm; both are None where nobody is to go for want of an owner. Raises OwnersError where the
    reads contradict each other (see `check_reads`).
    """
    reads = None
    if first is not None and second is not None:
        check_reads(first, second, rules.max_shrink)
        reads = _Reads.of(first, second)
    decisions = [_judge_item(item, reads, now, rules) for item in observed]
    decisions.sort(key=lambda decision: (decision.name, repr(decision)))
    doomed = sum(decision.verdict is Verdict.DELETE for decision in decisions)
    limit = rules.max_delete.of(len(decisions))
    if doomed > limit:
        decisions = [_withhold(decision, doomed, limit) for decision in decisions]
    return Plan(tuple(decisions), doomed, limit)


def check_reads(first: Owners, second: Owners, max_shrink: Share) -> None:
    """Raise OwnersError where a read is empty, or the second is shorter than the first by more than `max_shrink`."""
    before, after = len(first.by_workspace), len(second.by_workspace)
    if not before or not after:
        raise OwnersError("the list of owners is empty; that is taken for a fault of its source")
    if before - after > max_shrink.of(before):
        raise OwnersError(
            f"the list of owners shrank from {before} to {after} between two reads, by more than {max_shrink} "
            f"({max_shrink.of(before)}): one of the two is not whole"
        )


@dataclass(frozen=True, slots=True)
class _Reads:
    """What the two reads say together; a workspace is known if either knows it."""

    first: Owners
    second: Owners
    spellings: frozenset[str]
    as_of: datetime

    @classmethod
    def of(cls, first: Owners, second: Owners) -> _Reads:
        ids = itertools.chain(first.by_workspace, second.by_workspace)
        # Most ids are lower case as they are, and there may be a million of them.
        spellings = frozenset(folded for given in ids if (folded := given.casefold()) != given)
        return cls(first, second, spellings, min(first.as_of, second.as_of))

    def knows_as(self, workspace_id: str) -> bool:
        """Tell whether a workspace is listed that differs from this one in upper and lower case at most."""
        folded = workspace_id.casefold()
        return folded in self.spellings or bool(self.users_of(folded))

    def users_of(self, workspace_id: str) -> set[str]:
        """Return whom the workspace is listed under: nobody, one user, or two while it changes hands."""
        listed = (owners.by_workspace.get(workspace_id) for owners in (self.first, self.second))
        return {user_id for user_id in listed if user_id is not None}


def _judge_item(item: object, reads: _Reads | None, now: datetime, rules: Rules) -> Decision:
    try:
        swarm = parse_swarm(item)
    except MalformedError as error:
        return Decision(Verdict.LEAVE, Reason.MALFORMED, str(error), _name_of(item))
    reason, message = _judge(swarm, reads, now, rules)
    verdict = Verdict.DELETE if reason in (Reason.OWNER_GONE, Reason.E2E_EXPIRED, Reason.EXPIRED) else Verdict.LEAVE
    return Decision(verdict, reason, message, swarm.name, swarm)


def _judge(swarm: Swarm, reads: _Reads | None, now: datetime, rules: Rules) -> tuple[Reason, str]:
    age = now - swarm.created
    if swarm.deleting:
        return Reason.ALREADY_DELETING, "it has a deletionTimestamp"
    if swarm.keep:
        return Reason.KEEP_LABEL, "it is labelled crawbl.ai/keep"
    if age < rules.min_age:
        return Reason.TOO_YOUNG, f"its age of {format_duration(age)} is under {format_duration(rules.min_age)}"
    if swarm.e2e and rules.max_age is not None and age >= rules.max_age:
        return Reason.E2E_EXPIRED, f"labelled crawbl.ai/e2e=true, and older than {format_duration(rules.max_age)}"
    if rules.expired and swarm.expired_at is not None and swarm.expired_at <= now:
        return Reason.EXPIRED, f"nobody has used it; it expired at {swarm.expired_at.isoformat(timespec='seconds')}"
    if reads is None:
        return Reason.NOT_EXPIRED, "it has not expired"
    users = reads.users_of(swarm.workspace_id)
    if swarm.user_id in users:
        return Reason.OWNER_ALIVE, "its workspace and user are listed"
    if users:
        return Reason.OWNER_MISMATCH, "its workspace is listed under another user: decide by hand whose it is"
    if reads.knows_as(swarm.workspace_id):
        return Reason.OWNER_MISMATCH, "its workspace is listed in another spelling (upper and lower case)"
    if swarm.created + _TICK > reads.as_of:
        known = reads.as_of.isoformat(timespec="seconds")
        return Reason.NEWER_THAN_OWNERS, f"the owners are those of {known}, which was before it was made"
    return Reason.OWNER_GONE, "its workspace is not listed, in two reads"


def _withhold(decision: Decision, doomed: int, limit: int) -> Decision:
    if decision.verdict is not Verdict.DELETE:
        return decision
    message = f"{decision.message}; but {doomed} would go and {limit} may"
    return Decision(Verdict.WITHHOLD, decision.reason, message, decision.name, decision.swarm)


def _name_of(item: object) -> str:
    """Return the name of a malformed object, or an empty text where it has none."""
    try:
        name = item["metadata"]["name"]  # type: ignore[index]
    except (TypeError, KeyError, IndexError):
        return ""
    return name if isinstance(name, str) else ""
