"""What a run says: one JSON line for each decision as it is carried out, and a summary as the last line."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, TextIO

from userswarm.reaper.claims import RetainedClaim
from userswarm.reaper.decide import Decision


class ExitCode(IntEnum):
    """How a run ended."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2  # click's own
    TOO_MANY = 3
    OWNERS_UNUSABLE = 4
    CLUSTER_UNREACHABLE = 5
    STOPPED = 130


class Outcome(StrEnum):
    """What became of a swarm."""

    DELETED = "deleted"
    WOULD_DELETE = "would-delete"
    LEFT = "left"
    WITHHELD = "withheld"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(slots=True)
class Report:
    """Writes to `stream`, a line at a time and flushed: a run that is killed has said what it did.

    `facts` are more fields of the summary; `errors` are those of the run as a whole (a swarm's are in its line).
    """

    stream: TextIO
    dry_run: bool
    _counts: dict[str, Counter[str]] = field(default_factory=dict)
    _claims: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def tell(self, decision: Decision, outcome: Outcome, now: datetime, *, reason: str = "", message: str = "") -> None:
        """Write the line of one swarm; `reason` and `message` stand in for the decision's own where they are given."""
        reason = reason or decision.reason.value
        self._counts.setdefault(outcome.value, Counter())[reason] += 1
        line: dict[str, Any] = {
            "kind": "decision",
            "name": decision.name,
            "decision": outcome.value,
            "reason": reason,
            "message": message or decision.message,
        }
        if (swarm := decision.swarm) is not None:
            line |= {
                "uid": swarm.uid,
                "workspaceId": swarm.workspace_id,
                "userId": swarm.user_id,
                "createdAt": _stamp(swarm.created),
                "ageSeconds": int((now - swarm.created).total_seconds()),
            }
        self._write(line)

    def tell_claim(self, claim: RetainedClaim, now: datetime) -> None:
        """Write the line of a volume that outlived its swarm."""
        self._claims += 1
        self._write(
            {
                "kind": "retained-claim",
                "name": claim.name,
                "namespace": claim.namespace,
                "decision": "listed",
                "swarm": claim.swarm,
                "size": claim.size,
                "since": _stamp(claim.since),
                "ageSeconds": int((now - claim.since).total_seconds()),
            }
        )

    def finish(self, code: ExitCode, seconds: float) -> ExitCode:
        """Write the summary, and return `code`."""
        counts = {outcome: dict(sorted(reasons.items())) for outcome, reasons in sorted(self._counts.items())}
        self._write(
            {
                "kind": "summary",
                "exitCode": int(code),
                "result": code.name.lower().replace("_", "-"),
                "dryRun": self.dry_run,
                **self.facts,
                "decisions": {outcome: sum(reasons.values()) for outcome, reasons in counts.items()},
                "reasons": counts,
                "retainedClaims": self._claims,
                "durationSeconds": round(seconds, 3),
                "errors": self.errors,
            }
        )
        return code

    def _write(self, line: dict[str, Any]) -> None:
        # ASCII: no locale of a container can spoil it, and no id can break a line.
        self.stream.write(json.dumps(line, ensure_ascii=True) + "\n")
        self.stream.flush()


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
