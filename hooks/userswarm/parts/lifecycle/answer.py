"""What a runtime says when it is asked whether it is busy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from userswarm.wire.k8s import read_time


@dataclass(frozen=True, slots=True)
class Answer:
    """A runtime's answer; `problem` says why it is none, and then nothing else counts."""

    busy: bool = False
    until: datetime | None = None
    wake_at: datetime | None = None
    problem: str = ""


def read_answer(http: Mapping[str, Any]) -> Answer:
    """Return what was answered to the activity check: ``{"busy": true, "until": time, "wakeAt": time}``."""
    if "status" not in http:
        return Answer(problem=f"no answer: {str(http.get('error', 'none came'))[:200]}")
    if http["status"] != 200:
        return Answer(problem=f"status {http['status']}, not 200")
    try:
        told = json.loads(http.get("body", ""))
    except (TypeError, ValueError, RecursionError):
        return Answer(problem="the body is no JSON")
    if not isinstance(told, dict) or not isinstance(told.get("busy"), bool):
        return Answer(problem='the body does not say "busy": true or false')
    times = {}
    for field in ("until", "wakeAt"):
        times[field] = read_time(told.get(field))
        if told.get(field) is not None and times[field] is None:
            return Answer(problem=f'"{field}" is no time such as 2026-01-31T12:00:00Z')
    return Answer(told["busy"], times["until"], times["wakeAt"])
