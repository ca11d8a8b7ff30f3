"""Static tokens, for machines and tests: a file of lines ``<SHA-256 of the token, in hex> <user id>``.

The file holds no token, and is read again when it changes. A file that cannot be used stops the start; later on what
was read last stays valid, loudly.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path

from userswarm.web.files import TokenFile

_LINE = re.compile(r"([0-9A-Fa-f]{64})\s+(\S.*)")


class StaticTokens:
    """The tokens of one file."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the file; raises SettingsError where it cannot be used."""
        self._file = TokenFile(path, _read, "USERSWARM_GATE_TOKEN_FILE", monotonic=monotonic)

    def user_of(self, token: str) -> str | None:
        """Return whose token it is, None where it is nobody's; every line is compared, each in constant time."""
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known, user in self._file.tokens():
            if hmac.compare_digest(known, digest):
                found = user
        return found


def _read(path: Path) -> tuple[tuple[bytes, str], ...]:
    """Return hashes and users; errors name the line, never its text."""
    users: dict[bytes, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if not found:
            raise ValueError(f"line {number} is not a SHA-256 in hex, a blank and a user's id")
        digest = bytes.fromhex(found[1])
        if users.setdefault(digest, found[2]) != found[2]:
            raise ValueError(f"line {number} gives a token to a second user")
    if not users:
        raise ValueError("holds no token")
    return tuple(users.items())
