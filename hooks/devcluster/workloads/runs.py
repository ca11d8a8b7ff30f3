"""The pods on their way: which stage comes next for each, when, and what it waits for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.clock import Clock, Timer
from devcluster.faults import Trouble


@dataclass(slots=True)
class Run:
    """One pod on its way: the stage that comes next, and what may make it look again."""

    uid: str
    stage: str = "schedule"
    init: int = 0
    started: str = ""
    timer: Timer | None = None
    ending: bool = False
    # In back-off: the wait is over early once the trouble is taken back.
    backoff: Trouble | None = None


class Runs:
    """Calls `step` with a pod's run when its next stage is due."""

    def __init__(self, clock: Clock, step: Callable[[Run], None]) -> None:
        self._clock = clock
        self._on_due = step
        self._runs: dict[str, Run] = {}
        self._waiting: dict[tuple[str, str, str], dict[str, None]] = {}

    def __getitem__(self, uid: str) -> Run:
        return self._runs[uid]

    def all(self) -> list[Run]:
        """Return every run, oldest first."""
        return list(self._runs.values())

    def begin(self, uid: str) -> Run:
        """Return the run of a new pod."""
        run = self._runs[uid] = Run(uid)
        return run

    def drop(self, uid: str) -> None:
        """Forget a pod that is gone."""
        run = self._runs.pop(uid)
        if run.timer is not None:
            self._clock.cancel(run.timer)

    def next(self, run: Run, stage: str, seconds: float, *, background: bool = False) -> None:
        """Go on with a stage after so many seconds."""
        run.stage = stage
        self.call(run, seconds, self._on_due, background=background)

    def call(self, run: Run, seconds: float, action: Callable[[Run], None], *, background: bool = False) -> None:
        """Call for a pod after so many seconds, instead of what was planned for it."""
        if run.timer is not None:
            self._clock.cancel(run.timer)
        run.timer = self._clock.after(seconds, functools.partial(action, run), background=background)

    def wait_for(self, run: Run, kind: str, namespace: str, name: str) -> None:
        """Look at a pod again when an object appears or changes."""
        self._waiting.setdefault((kind, namespace, name), {})[run.uid] = None

    def wake(self, kind: str, namespace: str, name: str) -> None:
        """Look at the pods that wait for an object."""
        for uid in self._waiting.pop((kind, namespace, name), {}):
            run = self._runs.get(uid)
            if run is not None and run.timer is None:
                self.next(run, run.stage, 0)
