"""Whom the operator trusts, and what cannot be trusted."""

from __future__ import annotations

import re
import tomllib

import pytest

from userswarm.gate.tokens.issuers import Issuer, read_issuers

ONE = """
[[issuer]]
issuer = "https://a.example/"
audience = ["userswarm"]
jwks_url = "https://a.example/jwks"
"""
TWO = ONE.replace("a.example", "b.example")


def read(text: str) -> tuple[Issuer, ...]:
    return read_issuers(tomllib.loads(text))


def test_the_least_is_an_issuer_an_audience_and_keys() -> None:
    assert read(ONE) == (Issuer("https://a.example/", ("userswarm",), "https://a.example/jwks"),)
    assert read(ONE)[0].algorithms == ("RS256",)


def test_all_may_be_said() -> None:
    more = ONE + 'algorithms = ["ES256", "EdDSA"]\nuser_claim = "uid"\nuser_prefix = "a|"\n'
    (issuer,) = read(more)
    assert (issuer.algorithms, issuer.user_claim, issuer.user_prefix) == (("ES256", "EdDSA"), "uid", "a|")


def test_two_issuers_have_two_prefixes() -> None:
    assert len(read(f'{ONE}user_prefix = "a|"\n{TWO}user_prefix = "b|"')) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must hold a table"),
        ("issuer = 7", "must hold a table"),
        ("[[issuer]]", "issuer: is missing"),
        (ONE + 'realm = "x"', "realm: not known"),
        (ONE + "user_claim = 7", "user_claim: must be text"),
        (ONE + 'user_claim = ""', "user_claim: must not be empty"),
        (ONE + 'algorithms = ["none"]', "none is none of"),
        (ONE + 'algorithms = ["RS256", "HS256"]', "HS256 is none of"),
        (ONE + "algorithms = []", "algorithms: must be a list"),
        (ONE.replace('["userswarm"]', '"userswarm"'), "audience: must be a list"),
        (ONE.replace("https://a.example/jwks", "http://a.example/jwks"), "jwks_url: must be https"),
        (ONE.replace("https://a.example/jwks", "file:///etc/jwks"), "jwks_url: must be https"),
        (ONE + ONE, "is there 2 times"),
        (ONE + TWO, "user_prefix"),
        (f'{ONE}user_prefix = "a|"\n{TWO}', "user_prefix"),
        (f'{ONE}user_prefix = "a"\n{TWO}user_prefix = "ab"', "user_prefix"),
    ],
)
def test_what_cannot_be_trusted_is_said(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        read(text)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://[::1]:1/jwks"])
def test_this_machine_needs_no_tls(url: str) -> None:
    assert read(ONE.replace("https://a.example/jwks", url))[0].jwks_url == url
