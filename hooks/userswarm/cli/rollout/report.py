"""What a roll-out says: on a terminal in words, else as one JSON line for each swarm, and a summary as the last."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TextIO

from userswarm.backend.model import Swarm


class ExitCode(IntEnum):
    """How a roll-out ended."""

    DONE = 0
    STOPPED = 1
    USAGE = 2  # click's own
    CLUSTER_UNREACHABLE = 5
    INTERRUPTED = 130


class Outcome(StrEnum):
    """What became of a swarm."""

    VERIFIED = "verified"
    RESTING = "resting"  # moved, and without a Pod that could show anything
    FAILED = "failed"
    STILL_TROUBLED = "still-troubled"  # moved; it did not serve its user before either
    SKIPPED = "skipped"
    WOULD_MOVE = "would-move"
    NOT_MOVED = "not-moved"  # of a batch that the roll-out did not get to


_QUIET = {Outcome.VERIFIED, Outcome.RESTING, Outcome.NOT_MOVED}


@dataclass(slots=True)
class Report:
    """Writes to `stream`, a line at a time and flushed; `facts` begin the summary."""

    stream: TextIO
    facts: dict[str, Any]
    errors: list[str] = field(default_factory=list)
    _outcomes: Counter[str] = field(default_factory=Counter)
    _failed: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, swarm: Swarm, batch: int, outcome: Outcome, reason: str = "", message: str = "") -> None:
        """Say what became of a swarm."""
        self._outcomes[outcome.value] += 1
        why = {key: text for key, text in (("reason", reason), ("message", message)) if text}
        if outcome is Outcome.FAILED:
            self._failed.append({"name": swarm.name, **why})
        was = swarm.template.revision if swarm.template is not None else 0
        line = {"name": swarm.name, "outcome": outcome.value, **why, "batch": batch, "from": was}
        if not self.stream.isatty():
            self._write(json.dumps({"kind": "swarm", **line}))
        elif outcome not in _QUIET:
            where = f"batch {batch}: " if batch else ""
            self._write(f"{where}{swarm.name}: {': '.join([outcome.value, *why.values()])}")

    def finish(self, code: ExitCode, advice: str) -> ExitCode:
        """Write the summary, and return `code`; `advice` is what to do next, "" for nothing."""
        outcomes = dict(sorted(self._outcomes.items()))
        result = code.name.lower().replace("_", "-")
        if not self.stream.isatty():
            summary = {"kind": "summary", "exitCode": int(code), "result": result, **self.facts, "outcomes": outcomes}
            self._write(json.dumps({**summary, "failed": self._failed, "errors": self.errors, "advice": advice}))
            return code
        told = (
            ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items()) or "no swarm is of this template"
        )
        self._write(f"{result}: {told}")
        for line in (*self.errors, advice):
            if line:
                self._write(line)
        return code

    def _write(self, line: str) -> None:
        self.stream.write(line + "\n")
        self.stream.flush()
