"""A cluster, a source of owners and a clock that a test of the reaper holds in its hand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from userswarm.reaper.cluster import Deletion
from userswarm.reaper.owners import Owners
from userswarm.reaper.progress import Progress
from userswarm.reaper.reap import Clock, Options, reap
from userswarm.reaper.report import ExitCode, Report
from userswarm.wire.k8s import Observed

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_swarm(
    workspace: str = "w1",
    user: str = "u1",
    *,
    age: timedelta = timedelta(days=2),
    labels: Mapping[str, str] | None = None,
    deleting: bool = False,
    **spec: Any,
) -> dict[str, Any]:
    """Return a UserSwarm as a list holds it, made `age` before NOW."""
    metadata: dict[str, Any] = {
        "name": f"workspace-{workspace.lower()}",
        "uid": f"uid-{workspace}",
        "resourceVersion": "7",
        "creationTimestamp": stamp(NOW - age),
    }
    if labels is not None:
        metadata["labels"] = dict(labels)
    if deleting:
        metadata["deletionTimestamp"] = stamp(NOW)
    return {"metadata": metadata, "spec": {"userId": user, "workspaceId": workspace, **spec}}


def make_owners(as_of: datetime = NOW, /, **users: str) -> Owners:
    return Owners(users, as_of)


@dataclass
class FakeCluster:
    """Holds swarms by name; `refusals` are raised, `answers` given, instead of deleting the swarm of that name."""

    swarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    refusals: dict[str, BaseException] = field(default_factory=dict)
    answers: dict[str, Deletion] = field(default_factory=dict)
    list_error: Exception | None = None
    claim_error: Exception | None = None
    calls: list[str] = field(default_factory=list)
    deleted: list[tuple[str, str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, *swarms: dict[str, Any]) -> FakeCluster:
        return cls({swarm["metadata"]["name"]: swarm for swarm in swarms})

    def list_swarms(self) -> Iterable[Observed]:
        self.calls.append("list")
        if self.list_error:
            raise self.list_error
        return list(self.swarms.values())

    def delete_swarm(self, name: str, uid: str, resource_version: str) -> Deletion:
        self.calls.append(f"delete {name}")
        if name in self.refusals:
            raise self.refusals[name]
        if name in self.answers:
            return self.answers[name]
        self.deleted.append((name, uid, resource_version))
        del self.swarms[name]
        return Deletion.ACCEPTED

    def list_claims(self, namespace: str, selector: str) -> Iterable[Observed]:
        self.calls.append(f"claims {namespace} {selector}")
        if self.claim_error:
            raise self.claim_error
        return self.claims.get(namespace, [])


@dataclass
class FakeSource:
    """Gives its reads one after the other, the last one for ever; an exception is raised."""

    reads: list[dict[str, str] | Exception]
    as_of: datetime | None = None
    count: int = 0

    def describe(self) -> str:
        return "a list in a test"

    def read(self, now: datetime) -> Owners:
        answer = self.reads[min(self.count, len(self.reads) - 1)]
        self.count += 1
        if isinstance(answer, Exception):
            raise answer
        return Owners(answer, self.as_of or now)


@dataclass
class FakeTime:
    """A clock that moves only when somebody sleeps; `on_sleep` sees each sleep."""

    moment: datetime = NOW
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)
        self.on_sleep()

    def clock(self) -> Clock:
        return Clock(
            now=lambda: self.moment,
            sleep=self.sleep,
            monotonic=lambda: self.moment.timestamp(),  # noqa: PLW0108 - the moment moves
        )


@dataclass
class Outcome:
    """What a run wrote, and how it ended."""

    code: ExitCode
    lines: list[dict[str, Any]]

    @property
    def summary(self) -> dict[str, Any]:
        assert self.lines[-1]["kind"] == "summary"
        return self.lines[-1]

    @property
    def decisions(self) -> dict[str, tuple[str, str]]:
        """Name -> (what became of it, why)."""
        return {line["name"]: (line["decision"], line["reason"]) for line in self.lines if line["kind"] == "decision"}


def run(
    cluster: Any, source: Any, options: Options | None = None, *, time: FakeTime | None = None, dry_run: bool = False
) -> Outcome:
    """Run the reaper once, with a clock that does not wait."""
    options = options or Options(dry_run=dry_run)
    stream = io.StringIO()
    report = Report(stream, dry_run=options.dry_run)
    code = reap(cluster, source, options, report, progress=Progress(io.StringIO()), clock=(time or FakeTime()).clock())
    return Outcome(code, [json.loads(line) for line in stream.getvalue().splitlines()])
