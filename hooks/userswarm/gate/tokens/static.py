"""Static tokens, for machines and tests: a file of lines ``<SHA-256 of the token, in hex> <user id>``.

The file holds no token, and is read again when it changes. A file that cannot be used stops the start; later on what
was read last stays valid, loudly.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

from userswarm.errors import SettingsError
from userswarm.web.files import fingerprint

logger = logging.getLogger("userswarm.gate")

_LINE = re.compile(r"([0-9A-Fa-f]{64})\s+(\S.*)")


class StaticTokens:
    """The tokens of one file, looked at no more than once in `interval` seconds."""

    def __init__(self, path: Path, *, interval: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the file; raises SettingsError where it cannot be used."""
        self._path = path
        self._interval = interval
        self._monotonic = monotonic
        self._seen = fingerprint(path)
        self._look_again = monotonic() + interval
        try:
            self._users = _read(path)
        except (OSError, ValueError) as error:
            raise SettingsError(f"USERSWARM_GATE_TOKEN_FILE={str(path)!r}: {error}") from error

    def user_of(self, token: str) -> str | None:
        """Return whose token it is, None where it is nobody's; every line is compared, each in constant time."""
        now = self._monotonic()
        if now >= self._look_again:
            self._look_again = now + self._interval
            self._refresh()
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for known, user in self._users:
            if hmac.compare_digest(known, digest):
                found = user
        return found

    def _refresh(self) -> None:
        seen = fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._users = _read(self._path)
        except (OSError, ValueError) as error:
            logger.error("cannot read the static tokens again, those read before stay valid: %s", error)  # noqa: TRY400
        else:
            logger.info("read the static tokens again: %d are valid", len(self._users))


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
