"""One run of a roll-out: list, move a batch, wait until each of it is verified, and go on, or stop and say why.

A swarm that did not serve its user before is moved too, last, and does not count when it still does not: it cannot
have been broken by us.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from userswarm.backend.client import UserSwarmClient
from userswarm.backend.errors import BackendError, BeingDeletedError, ConflictError, NotFound, SwarmGoneError
from userswarm.backend.model import Swarm
from userswarm.cli.rollout.plan import (
    RESTING,
    TROUBLED,
    Choice,
    Plan,
    is_asked,
    is_well,
    make_plan,
    was_well_when_moved,
    why_not,
)
from userswarm.cli.rollout.report import ExitCode, Outcome, Report
from userswarm.reaper.progress import Progress

BAR = 30
CONFLICTS = 20
"""How often a swarm is read again that somebody else writes to at the same moment."""

Verdict = tuple[Outcome, str, str]


@dataclass(frozen=True, slots=True)
class _Moved:
    """A swarm that was moved, as it was before."""

    swarm: Swarm
    was_well: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: after so many failures; a swarm that is not verified after `timeout` seconds has failed."""

    pause_on_failures: int = 1
    timeout: float = 600.0


def roll(
    client: UserSwarmClient,
    choice: Choice,
    limits: Limits,
    report: Report,
    progress: Progress,
    *,
    clock: Callable[[], float],
    dry_run: bool = False,
) -> ExitCode:
    """Run once, say what became of every swarm, and return how it ended; never raises for what the cluster does."""
    run = _Run(client, choice, limits, report, progress, clock)
    advice = ""
    try:
        plan = make_plan(client.list(), choice)
        code = run.foretell(plan) if dry_run else run.carry_out(plan)
        if code is ExitCode.STOPPED:
            advice = "correct what is wrong and run this again to go on, or go back with --to the old revision"
    except BackendError as error:
        report.errors.append(str(error))
        code, advice = ExitCode.CLUSTER_UNREACHABLE, "run this again to go on: what was moved is known by the swarms"
    except KeyboardInterrupt:
        code, advice = ExitCode.INTERRUPTED, "run this again to go on: what was moved is known by the swarms"
    progress.clear()
    return report.finish(code, advice)


@dataclass(slots=True)
class _Run:
    client: UserSwarmClient
    choice: Choice
    limits: Limits
    report: Report
    progress: Progress
    clock: Callable[[], float]
    failures: int = 0
    settled: int = 0
    total: int = 0
    _batches: int = field(default=0)

    def foretell(self, plan: Plan) -> ExitCode:
        """Say what would be done."""
        self._tell_skipped(plan)
        for number, batch in enumerate([plan.under_way, *plan.batches]):
            for swarm in batch:
                self.report.tell(swarm, number, Outcome.WOULD_MOVE)
        return ExitCode.DONE

    def carry_out(self, plan: Plan) -> ExitCode:
        """Move batch after batch; stop after one with which there were too many failures."""
        self._tell_skipped(plan)
        self.total, self._batches = plan.total, len(plan.batches)
        self._wait(0, [_Moved(swarm, True) for swarm in plan.under_way])
        for number, batch in enumerate(plan.batches, start=1):
            if self.failures >= self.limits.pause_on_failures:
                break
            self._show(number, "moving")
            moved = [now for swarm in batch if (now := self._move(number, swarm)) is not None]
            self._wait(number, moved)
        else:
            return ExitCode.DONE if self.failures < self.limits.pause_on_failures else ExitCode.STOPPED
        for later, left in enumerate(plan.batches[number - 1 :], start=number):
            for swarm in left:
                self._tell(swarm, later, Outcome.NOT_MOVED)
        return ExitCode.STOPPED

    def _move(self, number: int, swarm: Swarm) -> _Moved | None:
        """Move a swarm, unless an earlier run has; return None where it is not to be moved, which is told."""
        now = swarm
        for _ in range(CONFLICTS):
            if reason := why_not(now, self.choice):
                self._tell(swarm, number, Outcome.SKIPPED, reason.value)
                return None
            if is_asked(now, self.choice):
                return _Moved(now, was_well_when_moved(now))
            try:
                troubled = "" if is_well(now) else now.phase or "unseen"
                self.client.move_template(now, self.choice.revision, moved_while=troubled)
            except ConflictError:
                try:
                    now = self._look(now)
                except SwarmGoneError:
                    break
            except (NotFound, BeingDeletedError):
                break
            else:
                return _Moved(now, not troubled)
        else:
            self.failures += 1
            self._tell(swarm, number, Outcome.FAILED, "Conflict", "somebody else writes to it all the time")
            return None
        self._tell(swarm, number, Outcome.SKIPPED, "gone")
        return None

    def _look(self, swarm: Swarm) -> Swarm:
        with contextlib.closing(self.client.states(swarm, self.limits.timeout)) as states:
            return next(states)

    def _wait(self, number: int, moved: Sequence[_Moved]) -> None:
        """Wait until each of a batch has settled; they share the time."""
        end = self.clock() + self.limits.timeout
        for each in moved:
            self._show(number, f"waiting for {each.swarm.name}")
            outcome, reason, message = self._settle(each, max(0.0, end - self.clock()))
            self.failures += outcome is Outcome.FAILED
            self._tell(each.swarm, number, outcome, reason, message)

    def _settle(self, moved: _Moved, seconds: float) -> Verdict:
        now = moved.swarm
        try:
            with contextlib.closing(self.client.states(now, seconds)) as states:
                for now in states:
                    if verdict := self._judge(now, moved):
                        return verdict
        except SwarmGoneError:
            return Outcome.SKIPPED, "gone", ""
        late = f"not verified after {self.limits.timeout:g} s; {now.reason}: {now.message}"
        return (Outcome.FAILED if moved.was_well else Outcome.STILL_TROUBLED), "Timeout", late

    def _judge(self, now: Swarm, moved: _Moved) -> Verdict | None:
        """Return what became of a swarm, None where that is not known yet."""
        if now.deleting:
            return Outcome.SKIPPED, "gone", ""
        if now.template is None or now.template.name != self.choice.template or not is_asked(now, self.choice):
            return Outcome.SKIPPED, "moved-by-others", ""
        is_built = now.template.revision == self.choice.revision
        if is_built and now.is_verified():
            return Outcome.VERIFIED, "", ""
        if is_built and now.phase in RESTING:
            return Outcome.RESTING, now.phase, ""
        # What was in trouble before stays so for a while, whatever becomes of it.
        if moved.was_well and now.phase in TROUBLED and (is_built or now.phase == "Invalid"):
            return Outcome.FAILED, now.reason or now.phase, now.message
        return None

    def _tell_skipped(self, plan: Plan) -> None:
        for swarm, reason in plan.skipped:
            self.report.tell(swarm, 0, Outcome.SKIPPED, reason.value)

    def _tell(self, swarm: Swarm, batch: int, outcome: Outcome, reason: str = "", message: str = "") -> None:
        self.settled += 1
        self.progress.clear()
        self.report.tell(swarm, batch, outcome, reason, message)

    def _show(self, batch: int, words: str) -> None:
        done = BAR * self.settled // self.total if self.total else 0
        bar = "#" * done + "-" * (BAR - done)
        self.progress.show(f"[{bar}] {self.settled}/{self.total}, batch {batch} of {self._batches}: {words}")
