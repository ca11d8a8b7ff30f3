"""Who may call: bearer tokens from a mounted file, read again when it changes.

All tokens of the file are valid, so that one is rotated by adding the new one, changing the caller, and removing
the old one. A file that cannot be used stops the start; later on the tokens read last stay valid, loudly.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path

from userswarm.web.files import TokenFile

# What RFC 6750 lets stand in an Authorization header.
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


class Tokens:
    """The bearer tokens of one file."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the tokens; raises SettingsError where there are none, or one could never be sent."""
        self._file = TokenFile(path, _read, "USERSWARM_TOKEN_FILE", monotonic=monotonic)

    def accept(self, authorization: str) -> bool:
        """Tell whether the value of an Authorization header carries one of the tokens."""
        scheme, _, offered = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return False
        # WSGI hands headers on as Latin-1. Every token is compared, each in constant time: neither how long it
        # takes nor which one matched tells anything about them.
        secret = offered.strip().encode("latin-1", "replace")
        accepted = False
        for token in self._file.tokens():
            accepted |= hmac.compare_digest(token, secret)
        return accepted


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
