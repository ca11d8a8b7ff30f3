"""Access tokens of OpenID Connect issuers: JSON Web Tokens, checked by PyJWT.

What a token's header says decides nothing: the algorithm has to be one that the operator allowed this issuer, and the
key the issuer's own of that id, for that algorithm. Whatever else is there (jku, jwk, x5u) is never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from userswarm.gate.answers import Refused
from userswarm.gate.tokens.issuers import Issuer
from userswarm.gate.tokens.keys import Keys
from userswarm.gate.tokens.refusing import refuse

_REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not-yet",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAlgorithmError: "algorithm",
}

_REQUIRED = ["exp", "iss", "aud"]
_LONGEST_USER = 1024


class AccessTokens:
    """Knows users by the tokens of some issuers."""

    def __init__(self, issuers: Mapping[str, tuple[Issuer, Keys]], leeway: float) -> None:
        """`issuers` by what `iss` says."""
        self._issuers = issuers
        self._leeway = leeway

    def user_of(self, token: str) -> str:
        """Return the user's id; raises Refused (401, 403, 503)."""
        header, said = _look(token)
        known = self._issuers.get(said) if isinstance(said, str) else None
        if known is None:
            raise refuse("issuer")
        issuer, keys = known
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in issuer.algorithms:
            raise refuse("algorithm")
        key = keys.find(kid, algorithm) if isinstance(kid, str) else None
        if key is None:
            raise refuse("unknown-key")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=self._leeway,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            raise refuse(_REASONS.get(type(error), "malformed")) from error
        user = claims.get(issuer.user_claim)
        if not isinstance(user, str) or not user or len(user) > _LONGEST_USER or not _is_text(user):
            raise Refused(403, "no-user", "the token names no user")
        return issuer.user_prefix + user


def _look(token: str) -> tuple[dict[str, Any], object]:
    """Return what a token says of itself, unproved: its header, and its issuer."""
    try:
        told = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise refuse("malformed") from error
    return told["header"], told["payload"].get("iss")


def _is_text(user: str) -> bool:
    try:
        user.encode()
    except UnicodeEncodeError:
        return False
    return True
