"""The one shape that every capability has: what a part is made of, what it sees, and what it says.

Whoever knows one part knows all. Composition knows the shape and the order of PARTS, and no part by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from userswarm.errors import Problem
from userswarm.spec.identity import Identity
from userswarm.spec.swarm import Check, Swarm
from userswarm.wire.conditions import Condition
from userswarm.wire.k8s import Kind, Manifest, Observed, read_time
from userswarm.wire.observe import Observation

LOOK_AFTER = 5.0
"""Seconds that something is only on its way; a call that comes later looks for what keeps it."""

AWAKE = "Awake"
"""The condition of a swarm that may fall asleep."""

CHILD_MISSING = "ChildMissing"
NAME_CONFLICT = "NameConflict"
TERMINATING = "Terminating"
ROLLOUT_IN_PROGRESS = "RolloutInProgress"

_Config = TypeVar("_Config")
_Found = TypeVar("_Found")


class Verdict(NamedTuple):
    """Whether something is as it has to be, and what blocks it where it is not.

    `trouble` tells what does not pass by itself: it is told at once, and before what is only on its way. `phase` is
    what the swarm's phase is then, empty for the usual ones: a swarm with such a phase waits for nothing. `due_in` is
    after how many seconds it may change though nothing that is watched does. `recorded` is for what was looked up and
    later answers rely on: it is told at once. `rests`: the swarm shall have no Pod now. `watched`: a call comes when it
    gets on, and nothing that is not watched can keep it.
    """

    ok: bool
    reason: str
    message: str
    trouble: bool = False
    phase: str = ""
    due_in: float | None = None
    recorded: bool = False
    rests: bool = False
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Sight:
    """What a part judges by: what is observed, what was said before, and the time.

    `status` and `conditions` are those of the last answer; `blocked` is what the parts before still lack, None for
    nothing; `http` is what the swarm's own Service has answered to this very part, None where it was not asked for it.
    `metadata` is the parent's.
    """

    observation: Observation
    status: Mapping[str, Any]
    conditions: Mapping[str, Condition]
    now: datetime
    http: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    blocked: Verdict | None = None
    _found: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def once(self, find: Callable[[_Config, Sight], _Found], config: _Config) -> _Found:
        """Return what is found by this sight for the configuration that a swarm has: computed once, for all who ask."""
        if find not in self._found:
            self._found[find] = find(config, self)
        found: _Found = self._found[find]
        return found

    def since(self, condition: str, status: str) -> datetime:
        """Return since when a condition has that status without a break; now, where it was another one before."""
        before = self.conditions.get(condition)
        known = read_time(before["lastTransitionTime"]) if before is not None and before["status"] == status else None
        return known if known is not None and known <= self.now else self.now

    def quiet(self) -> float:
        """Return for how many seconds the swarm has not got on; endless where nothing of it is there yet.

        Calls come while it gets on: only where it does not, something may be in the way.
        """
        got_on = self.observation.got_on_at
        return max(0.0, (self.now - got_on).total_seconds()) if got_on is not None else math.inf

    def waited(self, condition: str) -> float:
        """Return for how many seconds a condition has been False; while it slept, a swarm has waited for nothing."""
        since = self.since(condition, "False")
        if AWAKE in self.conditions:
            since = max(since, self.since(AWAKE, "True"))
        return (self.now - since).total_seconds()

    def stalled(self, condition: str) -> float:
        """Return for how many seconds a condition has been False while the swarm has not got on either."""
        return min(self.quiet(), self.waited(condition))


class Needs(NamedTuple):
    """What a part would have to see besides: objects, each rule for one kind, and one GET to the swarm's Service."""

    objects: tuple[Manifest, ...] = ()
    http: Manifest | None = None


NOTHING = Needs()


def object_need(kind: Kind, namespace: str, *names: str) -> Manifest:
    """Return the need to read objects of one kind by their names."""
    need: Manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "resource": kind.resource}
    if namespace:
        need["namespace"] = namespace
    return {**need, "names": list(names)}


def _builds_nothing(config: Any, swarm: Swarm) -> list[Manifest]:
    return []


def _as_built(config: Any, swarm: Swarm, sight: Sight, children: list[Manifest]) -> list[Manifest]:
    return children


def _never_blocks(config: Any, swarm: Swarm, sight: Sight) -> Verdict | None:
    return None


def _needs_nothing(config: Any, swarm: Swarm, sight: Sight) -> Needs:
    return NOTHING


def _reports_nothing(config: Any, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    return {}


def _finds_nothing(config: Any, children: Sequence[Manifest]) -> Iterator[Problem]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Part:
    """One capability of a swarm; what is left out of it does nothing.

    name: what the capability is called.
    condition: the status condition it speaks in; several parts may share one.
    read: its frozen configuration out of a valid swarm, or None: this swarm does not have it.
    kinds: of which kinds its children are.
    checks: what a CRD cannot judge about its fields.
    build: its children, in the form in which the apiserver stores them; from the spec alone.
    fit: which of them, and how, may be returned now, given what is observed.
    judge: whether it is as it has to be; None where it has nothing to say.
    needs: what it would have to see besides; a settled swarm needs nothing.
    report: its fields of the status; None for a field that goes. `reports` names them, each with its type.
    misfits: what is wrong with all that a swarm consists of, its part's own and every other's children.
    decides: whether a swarm that it blocks is not verified.
    gate: 0 for none; while a gate blocks, nothing that is of no gate or of a higher one comes about.
    stage: when its children go in teardown: 0 at once, 1 only when no Pod of the swarm's is left.
    """

    name: str
    condition: str
    read: Callable[[Swarm], Any]
    kinds: tuple[Kind, ...] = ()
    checks: tuple[Check, ...] = ()
    build: Callable[[Any, Swarm], list[Manifest]] = _builds_nothing
    fit: Callable[[Any, Swarm, Sight, list[Manifest]], list[Manifest]] = _as_built
    judge: Callable[[Any, Swarm, Sight], Verdict | None] = _never_blocks
    needs: Callable[[Any, Swarm, Sight], Needs] = _needs_nothing
    report: Callable[[Any, Swarm, Sight], Mapping[str, Any]] = _reports_nothing
    reports: Mapping[str, type] = field(default_factory=dict)
    misfits: Callable[[Any, Sequence[Manifest]], Iterator[Problem]] = _finds_nothing
    decides: bool = True
    gate: int = 0
    stage: int = 0


def judge_present(kind: Kind, name: str, swarm: Swarm, sight: Sight) -> Verdict | None:
    """Return what blocks where a child without a state of its own is not there, else None."""
    namespace = swarm.identity.namespace
    child = sight.observation.child(kind, namespace, name)
    if child is None:
        return judge_missing(kind, name, swarm, sight)
    if "deletionTimestamp" in child["metadata"]:
        return Verdict(False, TERMINATING, f"{kind.kind} {namespace}/{name} is being deleted, and will be made again")
    return None


def judge_missing(kind: Kind, name: str, swarm: Swarm, sight: Sight, namespace: str = "") -> Verdict:
    """Return the verdict on what is asked for and not among the children: not there yet, or somebody else's.

    It is in the swarm's own namespace where none is given.
    """
    namespace = namespace or swarm.identity.namespace
    where = f"{kind.kind} {namespace}/{name}"
    foreign = sight.observation.related(kind, namespace, name)
    if foreign is not None and not is_owned(foreign, swarm.identity):
        owners = foreign["metadata"].get("ownerReferences") or [{"kind": "nobody", "name": "we know of"}]
        names = ", ".join(f"{owner.get('kind')} {owner.get('name')}" for owner in owners)
        going = "; it is being deleted" if "deletionTimestamp" in foreign["metadata"] else "; move it out of the way"
        return Verdict(False, NAME_CONFLICT, f"{where} exists and belongs to {names}{going}", trouble=True)
    unread = sight.observation.unavailable(kind)
    told = (
        f"whether somebody else has its name cannot be looked up: {unread}"
        if unread
        else "if this stays, Metacontroller is refused to make it (see its events and log)"
    )
    return Verdict(False, CHILD_MISSING, f"{where} is asked for and not there yet; {told}")


def is_owned(found: Observed, identity: Identity) -> bool:
    """Tell whether an object was made for this very UserSwarm, whether or not it is among the children yet."""
    owners = found["metadata"].get("ownerReferences") or ()
    return identity.owner is not None and any(each.get("uid") == identity.owner["uid"] for each in owners)
