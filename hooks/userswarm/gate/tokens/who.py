"""Whose a token is: the one place where a user's id comes from."""

from __future__ import annotations

import re
from pathlib import Path

from userswarm.errors import SettingsError
from userswarm.gate.answers import Refused
from userswarm.gate.settings import PREFIX, GateSettings
from userswarm.gate.tokens.static import StaticTokens

# What RFC 6750 lets stand in an Authorization header.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)

_LONGEST_USER = 1024


def refuse(reason: str) -> Refused:
    """Return the refusal of a request without a token that is good; the client is told no more than that."""
    headers = [("WWW-Authenticate", "Bearer")]
    return Refused(401, reason, "a valid bearer token is required", headers=headers)


class Tokens:
    """Knows users by static tokens, and by those of the issuers."""

    def __init__(self, settings: GateSettings) -> None:
        """Raises SettingsError where nobody could ever be known."""
        if not settings.token_file and not settings.issuers:
            raise SettingsError(f"set {PREFIX}ISSUERS_FILE or {PREFIX}TOKEN_FILE, or nobody can be let in")
        self._static = StaticTokens(Path(settings.token_file)) if settings.token_file else None

    def user_of(self, authorization: str) -> str:
        """Return the user's id; raises Refused (401, 403, 503)."""
        if not authorization:
            raise refuse("no-token")
        found = _BEARER.fullmatch(authorization)
        if not found:
            raise refuse("no-bearer")
        token = found[1]
        user = self._static.user_of(token) if self._static is not None else None
        if user is None:
            raise refuse("unknown-token")
        return user
