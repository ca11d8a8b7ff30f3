"""The log of writes: who asked for what, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.clock import Clock
from devcluster.errors import ApiError
from devcluster.kinds import Kind
from devcluster.objects import Observed


@dataclass(frozen=True, slots=True)
class Write:
    """One write that somebody asked for; `code` is "ok" or the error's reason, `changed` whether it was stored."""

    verb: str
    kind: str
    namespace: str
    name: str
    actor: str
    code: str
    changed: bool
    at: float

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.verb} {self.kind} {place} by {self.actor}: {self.code}"


class LogEntry:
    """Writes down one write, however it ends."""

    def __init__(self, log: list[Write], clock: Clock, verb: str, kind: Kind, obj: Observed, actor: str) -> None:
        self._log = log
        self._clock = clock
        self._verb = verb
        self._kind = kind
        self._metadata: Mapping[str, Any] = obj["metadata"]
        self._actor = actor
        self.changed = False

    def __enter__(self) -> LogEntry:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        code = "ok"
        if error is not None:
            code = error.reason if isinstance(error, ApiError) else type(error).__name__
        write = Write(
            self._verb,
            self._kind.kind,
            str(self._metadata.get("namespace") or ""),
            str(self._metadata.get("name") or ""),
            self._actor,
            code,
            self.changed,
            self._clock.elapsed,
        )
        self._log.append(write)
