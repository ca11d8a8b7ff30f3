"""Whose a token is: the one place where a user's id comes from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from userswarm.errors import SettingsError
from userswarm.gate.settings import PREFIX, GateSettings
from userswarm.gate.tokens.keys import Keys
from userswarm.gate.tokens.oidc import AccessTokens
from userswarm.gate.tokens.refusing import refuse
from userswarm.gate.tokens.static import StaticTokens

# What RFC 6750 lets stand in an Authorization header.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class Tokens:
    """Knows users by static tokens, and by those of the issuers."""

    def __init__(self, settings: GateSettings, told: Callable[[str], object] = lambda result: None) -> None:
        """`told` hears of each reading of an issuer's keys. Raises SettingsError where nobody could ever be known."""
        if not settings.token_file and not settings.issuers:
            raise SettingsError(f"set {PREFIX}ISSUERS_FILE or {PREFIX}TOKEN_FILE, or nobody can be let in")
        self._static = StaticTokens(Path(settings.token_file)) if settings.token_file else None
        refresh, max_age = settings.jwks_refresh, settings.jwks_max_age
        issuers = {
            each.issuer: (each, Keys(each, refresh=refresh, max_age=max_age, told=told)) for each in settings.issuers
        }
        self._issued = AccessTokens(issuers, settings.clock_leeway)

    def user_of(self, authorization: str) -> str:
        """Return the user's id; raises Refused (401, 403, 503)."""
        if not authorization:
            raise refuse("no-token")
        found = _BEARER.fullmatch(authorization.strip(" "))
        if not found:
            raise refuse("no-bearer")
        token = found[1]
        user = self._static.user_of(token) if self._static is not None else None
        if user is not None:
            return user
        if token.count(".") != 2:
            raise refuse("unknown-token")
        return self._issued.user_of(token)
