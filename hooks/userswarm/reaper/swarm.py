"""A UserSwarm of the list, as far as the reaper looks at it.

The list is not trusted to fit the CRD: an object may be older than a rule of it. What cannot be read is
malformed, and a malformed object is never deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from userswarm.errors import UserSwarmError
from userswarm.reaper.expiry import find_expiry

KEEP_LABEL = "crawbl.ai/keep"
"""Present with any value, even ``false``: the swarm is never reaped."""

E2E_LABEL = "crawbl.ai/e2e"
"""``true``: made by an end-to-end test; goes at --max-age whoever owns it."""

NAME_PREFIX = "workspace-"

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


class MalformedError(UserSwarmError):
    """An object that is not what it should be; the message names the field and its value."""


@dataclass(frozen=True, slots=True)
class Swarm:
    """A swarm that can be judged; `created` is by the API server's clock, to the second.

    `expired_at` is when nobody had used it for too long, None where that is not so.
    """

    name: str
    uid: str
    resource_version: str
    created: datetime
    deleting: bool
    keep: bool
    e2e: bool
    workspace_id: str
    user_id: str
    expired_at: datetime | None


def parse_swarm(observed: object) -> Swarm:
    """Return the swarm that a list item describes.

    The workspace is spec.workspaceId, or else the object's name less ``workspace-``, as everywhere in this
    project. Raises MalformedError for the first field that cannot be used.
    """
    item = mapping(observed, "the item")
    metadata = mapping(item.get("metadata"), "metadata")
    name = text(metadata.get("name"), "metadata.name")
    labels = mapping(metadata.get("labels") or {}, "metadata.labels")
    spec = mapping(item.get("spec"), "spec")
    workspace_id = text(spec.get("workspaceId", name.removeprefix(NAME_PREFIX)), "spec.workspaceId")
    return Swarm(
        name=name,
        uid=text(metadata.get("uid"), "metadata.uid"),
        resource_version=text(metadata.get("resourceVersion"), "metadata.resourceVersion"),
        created=timestamp(metadata.get("creationTimestamp"), "metadata.creationTimestamp"),
        deleting=metadata.get("deletionTimestamp") is not None,
        keep=KEEP_LABEL in labels,
        e2e=labels.get(E2E_LABEL) == "true",
        workspace_id=workspace_id,
        user_id=text(spec.get("userId"), "spec.userId"),
        expired_at=find_expiry(item),
    )


def mapping(value: object, field: str) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object, else raise MalformedError naming `field`."""
    if not isinstance(value, Mapping):
        raise MalformedError(f"{field} is {_shown(value)}, not an object")
    return value


def text(value: object, field: str) -> str:
    """Return `value` if it is a text that is not empty, else raise MalformedError naming `field`."""
    if not isinstance(value, str) or not value:
        raise MalformedError(f"{field} is {_shown(value)}, not a text of at least one character")
    return value


def timestamp(value: object, field: str) -> datetime:
    """Return `value` read as RFC 3339, in UTC, else raise MalformedError naming `field`."""
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # the thirtieth of February
    raise MalformedError(f"{field} is {_shown(value)}, not a time such as 2026-01-31T12:00:00Z")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
