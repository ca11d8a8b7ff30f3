"""Attacks on tokens, each against the rule that refuses it; and the tokens that are good."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization

from unit.gate.gates import (
    EC_KEY,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    Clock,
    FakeIssuer,
    access_tokens,
    claims,
    jwk,
    jwks,
    raw_token,
    token,
)
from userswarm.gate.answers import Refused


def now() -> int:
    """Return the time of the test; that of its collection is long past by then."""
    return int(time.time())


class Tomorrow(datetime):
    """A clock on which whatever is good today has expired."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Tomorrow:
        return cls.fromtimestamp(now() + 86_400, tz)


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")


def hmac_by(secret: bytes, kid: Any = "rsa", algorithm: str = "HS256") -> str:
    """Sign by a secret that anybody knows, such as the public key."""
    unsigned = raw_token({"alg": algorithm, "typ": "JWT", "kid": kid}, claims()).rpartition(".")[0]
    signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_body(**changes: Any) -> str:
    """Change what a good token says, and keep its signature."""
    body = base64.urlsafe_b64encode(orjson.dumps(claims(**changes))).rstrip(b"=").decode()
    return f"{HEAD}.{body}.{SIGNATURE}"


ATTACKS: dict[str, tuple[str, Callable[[], str]]] = {
    "alg none": ("algorithm", lambda: raw_token({"alg": "none", "kid": "rsa"}, claims())),
    "alg None, in another case": ("algorithm", lambda: raw_token({"alg": "NoNe", "kid": "rsa"}, claims())),
    "no alg": ("algorithm", lambda: raw_token({"kid": "rsa"}, claims())),
    "an alg that is no text": ("algorithm", lambda: raw_token({"alg": ["RS256"], "kid": "rsa"}, claims())),
    "alg none with the good signature": (
        "algorithm",
        lambda: raw_token({"alg": "none", "kid": "rsa"}, claims(), base64.urlsafe_b64decode(SIGNATURE + "==")),
    ),
    "HMAC by the public key's PEM": ("algorithm", lambda: hmac_by(PUBLIC_PEM)),
    "HMAC by the public key's modulus": ("algorithm", lambda: hmac_by(jwk(RSA_KEY, "rsa")["n"].encode())),
    "HMAC by nothing": ("algorithm", lambda: hmac_by(b"")),
    "HMAC that says it is RS256": ("signature", lambda: hmac_by(PUBLIC_PEM, algorithm="RS256")),
    "an algorithm that is not allowed": ("algorithm", lambda: token(algorithm="RS512")),
    "another algorithm than the key's": ("unknown-key", lambda: raw_token({"alg": "ES256", "kid": "rsa"}, claims())),
    "the other key's id": ("unknown-key", lambda: token(kid="ec")),
    "the other key with this key's id": ("unknown-key", lambda: token(EC_KEY, "ES256", kid="rsa")),
    "no kid": ("unknown-key", lambda: raw_token({"alg": "RS256"}, claims())),
    "a kid that leads to a file": ("unknown-key", lambda: token(kid="../../../../dev/null")),
    "a kid that is SQL": ("unknown-key", lambda: token(kid="rsa' OR '1'='1")),
    "a kid that is a URL": ("unknown-key", lambda: token(kid="https://evil.example/jwks")),
    "an empty kid": ("unknown-key", lambda: token(kid="")),
    "a kid that is no text": ("malformed", lambda: raw_token({"alg": "RS256", "kid": {"a": 1}}, claims())),
    "the attacker's key in the header": (
        "signature",
        lambda: token(OTHER_RSA_KEY, headers={"jwk": jwk(OTHER_RSA_KEY, "rsa")}),
    ),
    "the attacker's keys by URL": ("signature", lambda: token(OTHER_RSA_KEY, headers={"jku": "https://evil.example/"})),
    "the attacker's certificate": ("signature", lambda: token(OTHER_RSA_KEY, headers={"x5u": "https://evil.example/"})),
    "an extension that must be understood": ("malformed", lambda: token(headers={"crit": ["b64x"], "b64x": True})),
    "a payload apart": ("malformed", lambda: token(headers={"b64": False, "crit": ["b64"]})),
    "another's key": ("signature", lambda: token(OTHER_RSA_KEY)),
    "no signature": ("signature", lambda: f"{HEAD}.{BODY}."),
    "a changed user": ("signature", lambda: with_body(sub="bob")),
    "a longer life": ("signature", lambda: with_body(exp=now() + 10**6)),
    "expired": ("expired", lambda: token(exp=now() - 60)),
    "expired for ever": ("expired", lambda: token(exp=0)),
    "not valid yet": ("not-yet", lambda: token(nbf=now() + 120)),
    "issued in the future": ("not-yet", lambda: token(iat=now() + 120)),
    "no expiry": ("malformed", lambda: token(exp=None)),
    "an expiry that is no number": ("malformed", lambda: token(exp="never")),
    "an expiry that never comes": ("malformed", lambda: token(exp=float("inf"))),
    "another audience": ("audience", lambda: token(aud="someone-else")),
    "our audience's beginning": ("audience", lambda: token(aud="user")),
    "no audience": ("malformed", lambda: token(aud=None)),
    "no audience in a list": ("malformed", lambda: token(aud=[])),
    "another issuer": ("issuer", lambda: token(iss="https://evil.example/")),
    "our issuer without its slash": ("issuer", lambda: token(iss=ISSUER.issuer.rstrip("/"))),
    "no issuer": ("issuer", lambda: token(iss=None)),
    "an issuer that is no text": ("issuer", lambda: raw_token({"alg": "RS256"}, {**claims(), "iss": [ISSUER.issuer]})),
    "a body that is no object": ("malformed", lambda: raw_token({"alg": "RS256", "kid": "rsa"}, b"[]")),
    "a body nested too deep": ("malformed", lambda: raw_token({"alg": "RS256"}, b"[" * 9000 + b"]" * 9000)),
    "a body that is no JSON": ("malformed", lambda: raw_token({"alg": "RS256"}, b"\xff")),
    "no parts": ("malformed", lambda: ".."),
    "more bytes than Base64": ("malformed", lambda: f"{HEAD}.{BODY}.{'A' * 5}"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_token_is_refused(attack: str) -> None:
    reason, forge = ATTACKS[attack]
    with pytest.raises(Refused) as refusal:
        access_tokens().user_of(forge())
    # Every rule by its own name: a token refused by another rule would show nothing of this one.
    assert (refusal.value.code, refusal.value.reason) == (401, reason)


def test_all_refusals_tell_the_client_the_same() -> None:
    told = set()
    for _, forge in ATTACKS.values():
        with pytest.raises(Refused) as refusal:
            access_tokens().user_of(forge())
        told.add((str(refusal.value), tuple(refusal.value.headers)))
    assert told == {("a valid bearer token is required", (("WWW-Authenticate", "Bearer"),))}


GOOD_ONES: dict[str, Callable[[], str]] = {
    "plain": token,
    "by an elliptic curve": lambda: token(EC_KEY, "ES256", kid="ec"),
    "for several audiences": lambda: token(aud=["other", "userswarm"]),
    "expired within the leeway": lambda: token(exp=now() - 10),
    "valid within the leeway": lambda: token(nbf=now() + 10),
    "with an expiry in quotes": lambda: token(exp=str(now() + 300)),
    "with a header that leads elsewhere": lambda: token(headers={"typ": "at+jwt", "jku": "https://evil.example/"}),
}


@pytest.mark.parametrize("good", GOOD_ONES)
def test_a_good_token_names_its_user(good: str) -> None:
    assert access_tokens().user_of(GOOD_ONES[good]()) == "alice"


@pytest.mark.parametrize("user", ["null", '""', "7", '["alice"]', f'"{"x" * 1025}"', '"\\ud800"'])
def test_a_token_of_nobody_is_forbidden(user: str) -> None:
    body = orjson.dumps(claims())[:-1] + f',"uid":{user}}}'.encode()
    unsigned = raw_token({"alg": "RS256", "kid": "rsa"}, body).rpartition(".")[0]
    signature = jwt.get_algorithm_by_name("RS256").sign(unsigned.encode(), RSA_KEY)
    signed = f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(Refused) as refusal:
        access_tokens(user_claim="uid").user_of(signed)
    assert (refusal.value.code, refusal.value.reason) == (403, "no-user")


def test_a_token_that_was_good_is_not_when_it_has_expired_or_its_key_was_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer, clock, good = FakeIssuer(), Clock(), token()
    tokens = access_tokens(issuer, clock)
    assert [tokens.user_of(good) for _ in range(3)] == ["alice"] * 3

    issuer.document = jwks(jwk(OTHER_RSA_KEY, "rsa"))
    clock.now += 3600
    with pytest.raises(Refused) as refusal:
        tokens.user_of(good)
    assert refusal.value.reason == "signature"

    others = access_tokens()
    assert others.user_of(good) == "alice"
    tomorrow = time.time() + 86_400
    monkeypatch.setattr("userswarm.gate.tokens.oidc.time.time", lambda: tomorrow)
    monkeypatch.setattr("jwt.api_jwt.datetime", Tomorrow)
    with pytest.raises(Refused) as refusal:
        others.user_of(good)
    assert refusal.value.reason == "expired"


def test_the_claim_and_the_prefix_are_the_issuers() -> None:
    tokens = access_tokens(user_claim="uid", user_prefix="acme|")
    assert tokens.user_of(token(uid="u1")) == "acme|u1"
    with pytest.raises(Refused) as refusal:
        tokens.user_of(token())
    assert (refusal.value.code, refusal.value.reason) == (403, "no-user")


def test_a_symmetric_key_in_the_jwks_opens_nothing() -> None:
    secret = base64.urlsafe_b64encode(b"known to everybody who has read the documentation").decode()
    issuer = FakeIssuer(jwks({"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"}, jwk(RSA_KEY, "rsa")))
    tokens = access_tokens(issuer, algorithms=("HS256", "RS256"))
    forged = jwt.encode(claims(), base64.urlsafe_b64decode(secret), "HS256", headers={"kid": "oct"})
    with pytest.raises(Refused) as refusal:
        tokens.user_of(forged)
    assert refusal.value.code == 401
    assert tokens.user_of(token()) == "alice"
