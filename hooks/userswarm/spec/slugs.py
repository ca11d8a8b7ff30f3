"""Any text as a DNS label: readable where it can be, hashed where it must be, and never the same for two texts.

`slug` is injective, also against texts that imitate what it makes: so no two swarms ever share a name.
"""

from __future__ import annotations

import base64
import hashlib
import re

SLUG_LENGTH = 46
"""``workspace-`` and a UUID; with ``swarm-`` before it 52 characters, the most that a StatefulSet may have: its
Pods carry the name and a revision hash in a label of 63."""

SWARM_PREFIX = "swarm-"
"""Before every name of a swarm's own: a Service's name must start with a letter."""

_HASH_LENGTH = 26  # base32 characters: 130 bits, so that nobody can search for a collision
_PLAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_HASHED = re.compile(r".*--[a-z2-7]{26}", re.DOTALL)


def slug(text: str, limit: int = SLUG_LENGTH) -> str:
    """Return a DNS label of at most `limit` characters that stands for `text` and for no other text.

    A text that is such a label stays as it is, unless it looks like a hashed one or would name another swarm's
    headless Service. Any other becomes ``<what can be read of it>--<hash>``. `limit` is at least 30.
    """
    if len(text) <= limit and _PLAIN.fullmatch(text) and not text.endswith("-headless") and not _HASHED.fullmatch(text):
        return text
    stem = re.sub(r"[^a-z0-9]+", "-", text[:limit].lower()).strip("-")
    stem = stem[: limit - _HASH_LENGTH - 2].strip("-") or "x"
    return f"{stem}--{digest(text)}"


def swarm_name(name: str) -> str:
    """Return the name of a UserSwarm's StatefulSet, Service and ServiceAccount."""
    return f"{SWARM_PREFIX}{slug(name)}"


def digest(text: str) -> str:
    """Return a hash of a text as lower-case letters and digits that may stand in any name."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode("ascii").lower()[:_HASH_LENGTH]
