"""One run of the reaper: list, read the owners, wait, list and read again, decide, delete, sum up.

The swarms are always listed before the owners are read, so that a workspace created in between is missing from
the list and not from the owners. The second list is the one that is judged and deleted from: its
resourceVersions are seconds old, and a keep label set during the wait is seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from userswarm.reaper.amounts import format_duration
from userswarm.reaper.claims import SELECTOR, find_retained
from userswarm.reaper.cluster import Cluster, ClusterError, Deletion
from userswarm.reaper.decide import Decision, Plan, Rules, Verdict, decide
from userswarm.reaper.owners import Owners, OwnersError, OwnerSource, read_owners
from userswarm.reaper.progress import Progress
from userswarm.reaper.report import ExitCode, Outcome, Report
from userswarm.wire.k8s import Observed

UNREACHABLE_IN_A_ROW = 3
"""So many deletes that reach no API server end the run: the next would not either, and each takes its retries."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, as a test may replace it."""

    now: Callable[[], datetime] = _utc_now
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Options:
    """What a run may do; `claim_max_age` None leaves retained claims alone, and needs no right to list them."""

    rules: Rules = field(default_factory=Rules)
    confirm_after: timedelta = timedelta(seconds=60)
    attempts: int = 3
    dry_run: bool = False
    claim_max_age: timedelta | None = None
    claim_namespaces: tuple[str, ...] = ("userswarms",)


def reap(
    cluster: Cluster, source: OwnerSource | None, options: Options, report: Report, *, progress: Progress, clock: Clock
) -> ExitCode:
    """Run once, write every decision and the summary to `report`, and return how it ended.

    Never raises for what the cluster or the source of owners does: that is what the exit code is for.
    """
    started = clock.monotonic()
    try:
        code = _Run(cluster, source, options, report, progress, clock, now=clock.now()).run()
    except OwnersError as error:
        report.errors.append(str(error))
        code = ExitCode.OWNERS_UNUSABLE
    except ClusterError as error:
        report.errors.append(str(error))
        code = ExitCode.CLUSTER_UNREACHABLE
    except KeyboardInterrupt:
        report.errors.append("stopped before it was done; the lines above say what was")
        code = ExitCode.STOPPED
    progress.clear()
    return report.finish(code, clock.monotonic() - started)


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of one run; `now` is the moment it began, by which every age is measured."""

    cluster: Cluster
    source: OwnerSource | None
    options: Options
    report: Report
    progress: Progress
    clock: Clock
    now: datetime

    def run(self) -> ExitCode:
        plan = self._plan()
        code = self._carry_out(plan)
        if plan.withheld:
            self.report.errors.append(
                f"{plan.doomed} of {len(plan.decisions)} swarms would be deleted, and --max-delete "
                f"{self.options.rules.max_delete} allows {plan.limit}: nothing was"
            )
            code = ExitCode.TOO_MANY
        claims = self._list_claims()
        return code or claims

    def _plan(self) -> Plan:
        """Return what is to be done, confirmed by a second read where anything is."""
        rules = self.options.rules
        swarms = self._list_swarms()
        first = self._read_owners("first")
        plan = decide(swarms, first, first, self.now, rules)
        if plan.doomed:
            self._wait(plan.doomed)
            swarms = self._list_swarms()
            plan = decide(swarms, first, self._read_owners("second"), self.now, rules)
        self.report.facts |= {"maxDelete": plan.limit, "wouldDelete": plan.doomed}
        return plan

    def _list_swarms(self) -> list[Observed]:
        swarms: list[Observed] = []
        for swarm in self.cluster.list_swarms():
            if len(swarms) % 500 == 0:
                self.progress.show(f"listing the swarms: {len(swarms)}")
            swarms.append(swarm)
        self.report.facts["swarms"] = len(swarms)
        return swarms

    def _read_owners(self, which: str) -> Owners | None:
        if self.source is None:
            return None
        self.progress.show(f"reading the owners from {self.source.describe()}, {which} read")
        owners = read_owners(self.source, attempts=self.options.attempts, now=self.clock.now, sleep=self.clock.sleep)
        self.report.facts.setdefault("owners", {})[which] = len(owners.by_workspace)
        return owners

    def _wait(self, doomed: int) -> None:
        left = self.options.confirm_after
        while left > timedelta(0):
            self.progress.show(f"{doomed} may go; it is looked again in {format_duration(left)}")
            step = min(left, timedelta(seconds=1))
            self.clock.sleep(step.total_seconds())
            left -= step

    def _carry_out(self, plan: Plan) -> ExitCode:
        """Delete what is to go, one after the other, and report every decision."""
        code = ExitCode.DONE
        lost = 0
        for number, decision in enumerate(plan.decisions, start=1):
            if decision.verdict is not Verdict.DELETE or self.options.dry_run:
                self._tell(decision, _AS_PLANNED[decision.verdict])
            elif lost >= UNREACHABLE_IN_A_ROW:
                self._tell(decision, Outcome.FAILED, "not-tried", "the API server cannot be reached")
            else:
                self.progress.show(f"deleting {decision.name}, swarm {number} of {len(plan.decisions)}")
                try:
                    self._delete(decision)
                    lost = 0
                except ClusterError as error:
                    self._tell(decision, Outcome.FAILED, "delete-failed", str(error))
                    lost = lost + 1 if error.unreachable else 0
                    code = ExitCode.SOME_FAILED
        if lost >= UNREACHABLE_IN_A_ROW:
            self.report.errors.append(f"{lost} deletes in a row reached no API server: the rest was not tried")
            return ExitCode.CLUSTER_UNREACHABLE
        return code

    def _delete(self, decision: Decision) -> None:
        swarm = decision.swarm
        if swarm is None:
            raise ValueError(f"{decision.name}: a malformed object was to be deleted")
        met = self.cluster.delete_swarm(swarm.name, swarm.uid, swarm.resource_version)
        if met is Deletion.ACCEPTED:
            self._tell(decision, Outcome.DELETED)
        elif met is Deletion.CHANGED:
            self._tell(
                decision, Outcome.SKIPPED, "changed", "it changed after it was listed; the next run judges it anew"
            )
        else:
            self._tell(decision, Outcome.SKIPPED, "gone", "somebody else deleted it after it was listed")

    def _tell(self, decision: Decision, outcome: Outcome, reason: str = "", message: str = "") -> None:
        self.progress.clear()
        self.report.tell(decision, outcome, self.now, reason=reason, message=message)

    def _list_claims(self) -> ExitCode:
        """Report the retained claims that are old enough; a namespace that cannot be listed is an error of its own."""
        if self.options.claim_max_age is None:
            return ExitCode.DONE
        code = ExitCode.DONE
        for namespace in self.options.claim_namespaces:
            self.progress.show(f"listing the claims of {namespace}")
            try:
                claims = find_retained(
                    self.cluster.list_claims(namespace, SELECTOR), self.now, self.options.claim_max_age
                )
            except ClusterError as error:
                self.report.errors.append(f"the claims of namespace {namespace} cannot be listed: {error}")
                code = ExitCode.SOME_FAILED
                continue
            self.progress.clear()
            for claim in claims:
                self.report.tell_claim(claim, self.now)
        return code


_AS_PLANNED = {
    Verdict.LEAVE: Outcome.LEFT,
    Verdict.WITHHOLD: Outcome.WITHHELD,
    Verdict.DELETE: Outcome.WOULD_DELETE,  # of a dry run
}
