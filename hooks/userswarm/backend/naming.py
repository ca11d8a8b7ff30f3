"""Which UserSwarm serves a workspace: its name, its labels.

Two workspaces never share a name. An id that may stand in a name stays readable in it; any other, and one that
looks like a hashed one, is hashed: so ids that differ only in case, or only in what a name cannot hold, differ.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from userswarm.backend.errors import InvalidWorkspaceError
from userswarm.spec.identity import USER_LABEL
from userswarm.spec.slugs import slug

SHARD_LABEL = "crawbl.ai/shard"
DESCRIPTION = "crawbl.ai/description"
"""The annotation with the words that an instance was asked for by."""

_PREFIX = "workspace-"
_LONGEST_ID = 253 - len(_PREFIX)
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_HASHED = re.compile(r".*--[a-z2-7]{26}")


def instance_name(description: str) -> str:
    """Return the workspace id of the instance that a description asks for: the same words, the same instance.

    It is the first 12 hex digits of the SHA-256 of the text, and so fit for the name of any object. Raises
    InvalidWorkspaceError for an empty text.
    """
    _check("description", description)
    return hashlib.sha256(description.encode()).hexdigest()[:12]


@lru_cache(maxsize=16_384)
def swarm_name(workspace_id: str) -> str:
    """Return the name of the workspace's UserSwarm: a DNS subdomain of at most 253 characters.

    Raises InvalidWorkspaceError for what is no id at all.
    """
    _check("workspace id", workspace_id)
    readable = (
        len(workspace_id) <= _LONGEST_ID
        and _DNS_SUBDOMAIN.fullmatch(workspace_id)
        and not _HASHED.fullmatch(workspace_id)
    )
    return _PREFIX + (workspace_id if readable else slug(workspace_id))


def default_workspace_id(name: str) -> str:
    """Return the workspace that a UserSwarm serves whose spec does not name one."""
    return name.removeprefix(_PREFIX)


def swarm_labels(name: str, user_id: str, shard_count: int | None) -> dict[str, str]:
    """Return the labels that we set on a UserSwarm.

    The shard depends on the name alone, so it stays as long as `shard_count` does. Raises InvalidWorkspaceError.
    """
    _check("user id", user_id)
    labels = {USER_LABEL: slug(user_id)}
    if shard_count is not None:
        digest = hashlib.sha256(name.encode()).digest()
        labels[SHARD_LABEL] = str(int.from_bytes(digest[:8], "big") % shard_count)
    return labels


def user_selector(user_id: str) -> str:
    """Return the label selector of a user's swarms."""
    _check("user id", user_id)
    return f"{USER_LABEL}={slug(user_id)}"


def _check(what: str, text: str) -> None:
    try:
        empty = not str.encode(text)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidWorkspaceError(f"{what} {text!r}: must be text that UTF-8 can hold ({error})") from error
    if empty:
        raise InvalidWorkspaceError(f"{what} {text!r}: must have at least one character")
