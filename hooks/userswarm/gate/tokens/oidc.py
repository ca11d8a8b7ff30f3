"""Access tokens of OpenID Connect issuers: JSON Web Tokens, checked by PyJWT.

What a token's header says decides nothing: the algorithm has to be one that the operator allowed this issuer, and the
key the issuer's own of that id, for that algorithm. Whatever else is there (jku, jwk, x5u) is never looked at.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from userswarm.gate.answers import Refused
from userswarm.gate.tokens.issuers import Issuer
from userswarm.gate.tokens.keys import Keys
from userswarm.gate.tokens.refusing import refuse

_REASONS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not-yet",
    jwt.InvalidAudienceError: "audience",
    jwt.InvalidIssuerError: "issuer",
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidAlgorithmError: "algorithm",
}

_REQUIRED = ["exp", "iss", "aud"]
_LONGEST_USER = 1024
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class _Proved:
    """A token that was good: it still is until then, if the issuer's key of that name is still this very one."""

    user: str
    until: float
    keys: Keys
    named: tuple[str, str]
    key: jwt.PyJWK


class AccessTokens:
    """Knows users by the tokens of some issuers; a token that was checked once is remembered by its hash."""

    def __init__(self, issuers: Mapping[str, tuple[Issuer, Keys]], leeway: float) -> None:
        """`issuers` by what `iss` says."""
        self._issuers = issuers
        self._leeway = leeway
        self._proved: dict[bytes, _Proved] = {}

    def user_of(self, token: str) -> str:
        """Return the user's id; raises Refused (401, 403, 503)."""
        digest = hashlib.sha256(token.encode()).digest()
        proved = self._proved.get(digest)
        if proved is not None and proved.until > time.time() and proved.keys.find(*proved.named) is proved.key:
            return proved.user
        proved = self._prove(token)
        if len(self._proved) >= _MOST:
            self._proved.clear()
        self._proved[digest] = proved
        return proved.user

    def _prove(self, token: str) -> _Proved:
        header, said = _look(token)
        known = self._issuers.get(said) if isinstance(said, str) else None
        if known is None:
            raise refuse("issuer")
        issuer, keys = known
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
            raise refuse("algorithm")
        named = (str(kid), algorithm)
        key = keys.find(*named)
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
        except (jwt.PyJWTError, OverflowError) as error:
            raise refuse(_REASONS.get(type(error), "malformed")) from error
        user = claims.get(issuer.user_claim)
        if not isinstance(user, str) or not user or len(user) > _LONGEST_USER or not _is_text(user):
            raise Refused(403, "no-user", "the token names no user")
        return _Proved(issuer.user_prefix + user, int(claims["exp"]) + self._leeway, keys, named, key)


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
