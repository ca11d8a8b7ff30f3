"""Who may call: bearer tokens from a mounted file, read again when it changes.

All tokens of the file are valid, so that one is rotated by adding the new one, changing the caller, and removing
the old one. A file that cannot be used stops the start; later on the tokens read last stay valid, loudly.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

from userswarm.errors import SettingsError
from userswarm.web.files import fingerprint

logger = logging.getLogger(__name__)

# What RFC 6750 lets stand in an Authorization header.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


class Tokens:
    """The bearer tokens of one file; the file is looked at no more than once in `interval` seconds."""

    def __init__(self, path: Path, *, interval: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the tokens; raises SettingsError where there are none, or one could never be sent."""
        self._path = path
        self._interval = interval
        self._monotonic = monotonic
        self._seen = fingerprint(path)
        self._look_again = monotonic() + interval
        try:
            self._tokens = _read(path)
        except (OSError, ValueError) as error:
            raise SettingsError(f"USERSWARM_TOKEN_FILE={str(path)!r}: {error}") from error

    def accept(self, authorization: str) -> bool:
        """Tell whether the value of an Authorization header carries one of the tokens."""
        now = self._monotonic()
        if now >= self._look_again:
            self._look_again = now + self._interval
            self._refresh()
        scheme, _, offered = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        # WSGI hands headers on as Latin-1. Every token is compared, each in constant time: neither how long it
        # takes nor which one matched tells anything about them.
        secret = offered.strip().encode("latin-1", "replace")
        accepted = False
        for token in self._tokens:
            accepted |= hmac.compare_digest(token, secret)
        return accepted

    def _refresh(self) -> None:
        seen = fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._tokens = _read(self._path)
        except (OSError, ValueError) as error:
            logger.error("cannot read the token file again, the tokens read before stay valid: %s", error)  # noqa: TRY400
        else:
            logger.info("read the token file again: %d valid tokens", len(self._tokens))


def _read(path: Path) -> tuple[bytes, ...]:
    """Return the tokens of a file, one a line; errors name the line, never its text."""
    tokens = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        token = line.strip()
        if not token or token.startswith(b"#"):
            continue
        if not _TOKEN.fullmatch(token):
            raise ValueError(f"line {number} is no bearer token (letters, digits and -._~+/, then =)")
        tokens.append(token)
    if not tokens:
        raise ValueError("holds no token; put one a line")
    return tuple(tokens)
