"""An issuer's keys: replaced, unknown, away, and how often the issuer is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from unit.backend.world import eventually
from unit.gate.gates import (
    EC_KEY,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    Clock,
    FakeIssuer,
    access_tokens,
    jwk,
    jwks,
    token,
)
from userswarm.gate.answers import Refused
from userswarm.gate.tokens.keys import COOLDOWN, Keys, fetch_jwks, parse_jwks

AWAY = OSError("connection refused")
OLD, NEW = jwks(jwk(RSA_KEY, "old")), jwks(jwk(OTHER_RSA_KEY, "new"))


def make_keys(issuer: FakeIssuer, clock: Clock, told: list[str] | None = None) -> Keys:
    hears = told if told is not None else []
    return Keys(ISSUER, refresh=300, max_age=3600, fetch=issuer.fetch, monotonic=clock, told=hears.append)


def refusal_of(keys: Keys, kid: str = "old") -> tuple[int, str]:
    with pytest.raises(Refused) as refusal:
        keys.find(kid, "RS256")
    return refusal.value.code, refusal.value.reason


def test_keys_are_read_once_for_many_tokens() -> None:
    issuer, clock = FakeIssuer(OLD), Clock()
    keys = make_keys(issuer, clock)

    assert all(keys.find("old", "RS256") for _ in range(100))
    assert issuer.asked == 1


def test_a_key_that_is_new_is_known_at_once() -> None:
    issuer, clock = FakeIssuer(OLD), Clock()
    keys = make_keys(issuer, clock)
    assert keys.find("old", "RS256")
    issuer.document = NEW
    clock.now += COOLDOWN

    assert keys.find("new", "RS256")
    assert issuer.asked == 2


def test_a_key_that_was_taken_away_is_worth_nothing_once_that_is_read() -> None:
    issuer, clock = FakeIssuer(jwks(jwk(RSA_KEY, "rsa"))), Clock()
    tokens = access_tokens(issuer, clock)
    stolen = token()
    assert tokens.user_of(stolen) == "alice"
    issuer.document = jwks(jwk(OTHER_RSA_KEY, "rsa"))
    clock.now += 300

    # The one who finds that it is time goes on with what is there; the reading itself takes place beside.
    tokens.user_of(stolen)
    eventually(lambda: issuer.asked == 2)

    def is_refused() -> bool:
        try:
            tokens.user_of(stolen)
        except Refused as refusal:
            return refusal.reason == "signature"
        return False

    eventually(is_refused)


def test_names_of_keys_that_are_made_up_do_not_flood_the_issuer() -> None:
    issuer, clock = FakeIssuer(OLD), Clock()
    keys = make_keys(issuer, clock)
    for number in range(1000):
        assert keys.find(f"made-up-{number}", "RS256") is None
        clock.now += 0.01

    assert issuer.asked == 1
    clock.now += COOLDOWN
    assert keys.find("made-up", "RS256") is None
    assert issuer.asked == 2


def test_who_comes_while_keys_are_read_waits_for_the_same_answer() -> None:
    issuer, clock = FakeIssuer(OLD), Clock()
    arrived, go = threading.Event(), threading.Event()

    def slow(url: str) -> bytes:
        arrived.set()
        assert go.wait(20)
        return issuer.fetch(url)

    keys = Keys(ISSUER, refresh=300, max_age=3600, fetch=slow, monotonic=clock)
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(keys.find, "old", "RS256") for _ in range(8)]
        assert arrived.wait(20)
        go.set()
        assert all(each.result(20) for each in found)
    assert issuer.asked == 1


def test_an_issuer_that_is_away_lets_nobody_in_whose_keys_are_not_known() -> None:
    issuer, clock, told = FakeIssuer(), Clock(), list[str]()
    issuer.document = AWAY
    keys = make_keys(issuer, clock, told)

    assert refusal_of(keys) == (503, "no-keys")
    assert refusal_of(keys) == (503, "no-keys")
    assert (issuer.asked, told) == (1, ["failed"])
    issuer.document = OLD
    clock.now += COOLDOWN
    assert keys.find("old", "RS256")
    assert told == ["failed", "read"]


def test_an_issuer_that_is_away_for_a_while_is_not_missed_and_then_is() -> None:
    issuer, clock = FakeIssuer(OLD), Clock()
    keys = make_keys(issuer, clock)
    assert keys.find("old", "RS256")
    issuer.document = AWAY

    clock.now += 3599
    assert keys.find("old", "RS256")
    eventually(lambda: issuer.asked == 2)
    clock.now += 1 + COOLDOWN
    assert refusal_of(keys) == (503, "no-keys")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>we are back soon</html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [7, {"kid": 1}, {"kid": "a", "kty": ["RSA"]}, {"kid": "a", "kty": "RSA", "n": "AQAB"}]}',
        jwks({**jwk(RSA_KEY, "a"), "use": "enc"}),
        jwks({**jwk(RSA_KEY, "a"), "alg": "RS512"}),
        jwks({name: value for name, value in jwk(RSA_KEY, "a").items() if name != "kid"}),
        jwks(jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "weak")),
        jwks({"kty": "oct", "k": "AAAA", "kid": "a"}),
    ],
)
def test_a_document_without_a_key_of_use_replaces_none(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"holds no key|character|empty document"):
        parse_jwks(document, ISSUER.algorithms)
    issuer, clock = FakeIssuer(OLD), Clock()
    keys = make_keys(issuer, clock)
    assert keys.find("old", "RS256")
    issuer.document = document
    clock.now += 300
    assert keys.find("old", "RS256")
    eventually(lambda: issuer.asked == 2)
    assert keys.find("old", "RS256")


def test_a_key_signs_by_what_fits_it_and_is_allowed() -> None:
    document = jwks(jwk(RSA_KEY, "rsa"), jwk(RSA_KEY, "only", alg="PS256"), jwk(EC_KEY, "ec"))

    assert set(parse_jwks(document, ("RS256", "PS256", "ES384", "ES256"))) == {
        ("rsa", "RS256"),
        ("rsa", "PS256"),
        ("only", "PS256"),
        ("ec", "ES256"),
    }


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, body = {"/jwks?v=1": (200, OLD), "/large": (200, b"x" * 600_000)}.get(self.path, (302, b""))
        self.send_response(code)
        self.send_header("Location", "/jwks?v=1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_keys_are_fetched(url: str) -> None:
    assert fetch_jwks(f"{url}/jwks?v=1") == OLD


def test_no_redirect_is_followed_and_nothing_endless_is_read(url: str) -> None:
    with pytest.raises(OSError, match="answers 302"):
        fetch_jwks(f"{url}/moved")
    with pytest.raises(OSError, match="too much"):
        fetch_jwks(f"{url}/large")
