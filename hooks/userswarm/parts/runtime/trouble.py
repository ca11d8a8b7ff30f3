"""What keeps a Pod from running, in the words of whoever has to repair it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.wire.k8s import Observed

REASONS = frozenset(("Unschedulable", "ImagePull", "ConfigError", "OOMKilled", "CrashLoop"))

_IMAGE_REASONS = frozenset(
    (
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "RegistryUnavailable",
        "ImageInspectError",
    )
)
_CONFIG_REASONS = frozenset(("CreateContainerConfigError", "CreateContainerError", "RunContainerError"))

_MISSING_SECRET = re.compile(r'secret "([^"]+)" not found')

# A claim that is not bound is the claim's trouble, and told there.
_CLAIM_UNBOUND = "unbound immediate PersistentVolumeClaims"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a Pod: one of Unschedulable, ImagePull, ConfigError, OOMKilled, CrashLoop."""

    reason: str
    message: str


def find_pod_trouble(pod: Observed) -> Trouble | None:
    """Return the first thing that keeps a Pod from getting ready, or None where it only takes time."""
    status = pod.get("status", {})
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = condition.get("message", "")
            if condition.get("reason") == "Unschedulable" and _CLAIM_UNBOUND not in message:
                return Trouble("Unschedulable", message or "no node fits")
    for container in _containers(status):
        trouble = _find_container_trouble(container)
        if trouble is not None:
            return trouble
    return None


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _find_container_trouble(container: Mapping[str, Any]) -> Trouble | None:
    name = container.get("name")
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE_REASONS:
        return Trouble("ImagePull", f"container {name} cannot pull {container.get('image')}: {message or reason}")
    if reason in _CONFIG_REASONS:
        missing = _MISSING_SECRET.search(message)
        told = f"Secret {missing[1]} is missing" if missing else message or reason
        return Trouble("ConfigError", f"container {name} cannot start: {told}")
    last = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if reason == "CrashLoopBackOff" or (last and last.get("exitCode", 0) != 0 and not container.get("ready")):
        restarts, code = container.get("restartCount", 0), last.get("exitCode", "unknown")
        said = f": {last['message'].strip()}" if last.get("message") else ""
        counted = f"container {name} has restarted {restarts} times, last exit code {code}"
        if last.get("reason") == "OOMKilled":
            return Trouble("OOMKilled", f"{counted}: it used more memory than its limit{said}")
        return Trouble("CrashLoop", f"{counted}{said}")
    return None
