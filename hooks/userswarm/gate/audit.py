"""A line for each decision, apart from the log: who wanted what, and what they got.

Never a token, a path or a body.
"""

from __future__ import annotations

import os
from datetime import datetime

import orjson

from userswarm.gate.answers import Case

_SHOWN = 256


class Audit:
    """Writes JSON lines, each whole: processes that write to one file do not mix theirs."""

    def __init__(self, place: str) -> None:
        """`place`: stdout, a path, or empty for nowhere."""
        self._descriptor: int | None = None
        if place == "stdout":
            self._descriptor = 1
        elif place:
            self._descriptor = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, case: Case, *, now: datetime, code: int, reason: str, seconds: float) -> None:
        """Write what became of a case; raises OSError where it cannot be written."""
        if self._descriptor is None:
            return
        line = {
            "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "requestId": case.request_id,
            "user": case.user,
            "workspace": case.workspace[:_SHOWN],
            "uid": case.uid,
            "action": case.action[:32],
            "result": "allowed" if code == 200 else "refused",
            "code": code,
            "reason": reason,
            "ms": round(seconds * 1000, 3),
        }
        os.write(self._descriptor, orjson.dumps(line) + b"\n")
