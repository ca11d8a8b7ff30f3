"""Whether a swarm has expired: asleep and unused for as long as its spec allows, by its own status and annotations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

LAST_ACTIVITY = "crawbl.ai/last-activity"
BUSY_UNTIL = "crawbl.ai/busy-until"


def find_expiry(item: Mapping[str, Any]) -> datetime | None:
    """Return since when a swarm has been expired; None where anything speaks against it.

    The hooks have to have said so; and it may have been used, suspended or changed since they did.
    """
    status, metadata, spec = (_mapping(item.get(field)) for field in ("status", "metadata", "spec"))
    lifecycle, annotations = _mapping(status.get("lifecycle")), _mapping(metadata.get("annotations"))
    if status.get("phase") != "Asleep" or spec.get("suspend"):
        return None
    if status.get("observedGeneration") != metadata.get("generation"):
        return None
    conditions = status.get("conditions")
    said = [_mapping(each) for each in conditions] if isinstance(conditions, list) else []
    if ("ExpiresSoon", "True", "Expired") not in [(c.get("type"), c.get("status"), c.get("reason")) for c in said]:
        return None
    expires_at, busy_until = _time(lifecycle.get("expiresAt")), _time(annotations.get(BUSY_UNTIL))
    # The mark is the beginning of what the annotation was.
    used = str(annotations.get(LAST_ACTIVITY, ""))[:64] != lifecycle.get("mark", "")
    if expires_at is None or used or (busy_until is not None and busy_until > expires_at):
        return None
    return expires_at


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
