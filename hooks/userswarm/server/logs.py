"""What the log says of hook calls.

Nothing of a swarm's configuration, environment or secrets is ever logged: lines are made of named fields, and the
traceback of a bug is searched for what the parent's spec holds before it is written.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from userswarm.errors import Problem
from userswarm.server.changes import Change
from userswarm.web.logs import FIELDS, RequestIds
from userswarm.wire.k8s import Observed

logger = logging.getLogger("userswarm.server")

UnknownFields = Callable[[Observed], Sequence[Problem]]

_MAX_REMEMBERED = 10_000
_SHORTEST_SECRET = 6


class Journal:
    """Writes the line of each hook call; what is said once only, it remembers (bounded)."""

    def __init__(self, unknown_fields: UnknownFields, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._unknown_fields = unknown_fields
        self._monotonic = monotonic
        self._ids = RequestIds()
        self._seen_generations: dict[str, int] = {}
        self._lock = threading.Lock()
        self._refusals: dict[int, tuple[float, int]] = {}

    def request_id(self, environ: Mapping[str, Any]) -> str:
        """Return the id under which a request is logged."""
        return self._ids.of(environ)

    def answered(
        self,
        hook: str,
        environ: Mapping[str, Any],
        parent: Observed,
        change: Change,
        *,
        seconds: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Log a call that was answered: at info where it changes something, else at debug."""
        self._warn_of_unknown_fields(parent)
        level = logging.INFO if change.noteworthy else logging.DEBUG
        if not logger.isEnabledFor(level):
            return
        fields = {
            "hook": hook,
            **_parent_fields(parent),
            "ms": round(seconds * 1000, 3),
            "requestId": self.request_id(environ),
            "code": 200,
            "bytesIn": bytes_in,
            "bytesOut": bytes_out,
            **_change_fields(change),
        }
        logger.log(level, "hook answered", extra={FIELDS: fields})

    def refused(self, hook: str, environ: Mapping[str, Any], code: int, reason: str) -> None:
        """Log a request that was refused, of each status once a second: who floods us shall not fill the disk."""
        now = self._monotonic()
        with self._lock:
            quiet_until, unsaid = self._refusals.get(code, (0.0, 0))
            if now < quiet_until:
                self._refusals[code] = (quiet_until, unsaid + 1)
                return
            self._refusals[code] = (now + 1.0, 0)
        fields: dict[str, Any] = {
            "hook": hook,
            "code": code,
            "reason": reason,
            "requestId": self.request_id(environ),
            "peer": environ.get("REMOTE_ADDR", ""),
        }
        if unsaid:
            fields["alsoRefused"] = unsaid
        logger.warning("request refused", extra={FIELDS: fields})

    def failed(self, hook: str, request_id: str, parent: Observed, error: BaseException, *, seconds: float) -> None:
        """Log a call that got no answer but 500, with the traceback."""
        fields = {
            "hook": hook,
            **_parent_fields(parent),
            "ms": round(seconds * 1000, 3),
            "requestId": request_id,
            "code": 500,
            "traceback": redact("".join(traceback.format_exception(error)), parent.get("spec")),
        }
        logger.error("hook failed", extra={FIELDS: fields})

    def _warn_of_unknown_fields(self, parent: Observed) -> None:
        metadata = parent.get("metadata")
        if not isinstance(metadata, dict):
            return
        uid, generation = metadata.get("uid"), metadata.get("generation")
        seen = self._seen_generations
        if not isinstance(uid, str) or not isinstance(generation, int) or seen.get(uid) == generation:
            return
        with self._lock:
            if len(seen) >= _MAX_REMEMBERED:
                del seen[next(iter(seen))]
            seen[uid] = generation
        problems = self._unknown_fields(parent)
        if problems:
            fields = {**_parent_fields(parent), "unknown": [problem.path for problem in problems]}
            logger.warning("fields of a newer or foreign version are ignored", extra={FIELDS: fields})


def redact(text: str, spec: object) -> str:
    """Return a text without anything that stands in a spec's config or environment."""
    for secret in sorted(_secrets(spec), key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return text


def _secrets(spec: object) -> set[str]:
    if not isinstance(spec, dict):
        return set()
    runtime = spec.get("runtime")
    texts = list(_strings(spec.get("config")))
    texts += _strings(runtime.get("env") if isinstance(runtime, dict) else None)
    # A message may quote one line or one word of a longer text, or show it escaped.
    parts = {part for text in texts for part in (text, repr(text)[1:-1], *text.splitlines(), *text.split())}
    return {part for part in parts if len(part) >= _SHORTEST_SECRET}


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _strings(inner)]
    return []


def _parent_fields(parent: Observed) -> dict[str, Any]:
    metadata = parent.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    return {"swarm": metadata.get("name"), "uid": metadata.get("uid"), "generation": metadata.get("generation")}


def _change_fields(change: Change) -> dict[str, Any]:
    fields: dict[str, Any] = {"phase": change.phase, "verified": change.verified}
    if change.phase_before != change.phase:
        fields["phaseBefore"] = change.phase_before
    if change.outcome:
        fields["smokeTest"] = change.outcome
    if change.added:
        fields["added"] = list(change.added)
    if change.dropped:
        fields["dropped"] = list(change.dropped)
    return fields
