"""An issuer's public keys, read from its JWKS (RFC 7517) and remembered.

They are read anew every so often, and when a token names a key that is not among them, but never more often than once
in `COOLDOWN` seconds. While the issuer is away those read last hold on, until they are too old to be believed.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import orjson
from jwt import PyJWK, PyJWTError

from userswarm.gate.answers import Refused
from userswarm.gate.tokens.issuers import Issuer

logger = logging.getLogger("userswarm.gate")

COOLDOWN = 10.0
_TIMEOUT = 5.0
_LARGEST = 512 * 1024
_SMALLEST_RSA = 2048
_READ = ("kid", "kty", "crv", "alg", "use")

_FITTING = {
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""What a key of some type and curve can sign. Symmetric keys can do nothing here."""

PublicKeys = Mapping[tuple[str, str], PyJWK]
"""By the key's id and the algorithm."""


class Keys:
    """One issuer's keys; used by many requests at once."""

    def __init__(
        self,
        issuer: Issuer,
        *,
        refresh: float,
        max_age: float,
        fetch: Callable[[str], bytes] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        told: Callable[[str], object] = lambda result: None,
    ) -> None:
        """`told` hears of each reading: read, or failed."""
        self._issuer = issuer
        self._refresh = refresh
        self._max_age = max_age
        self._fetch = fetch or fetch_jwks
        self._monotonic = monotonic
        self._told = told
        self._keys: PublicKeys = {}
        self._read_at = float("-inf")
        self._try_again = float("-inf")
        self._lock = threading.Lock()

    def find(self, kid: str, algorithm: str) -> PyJWK | None:
        """Return a key, None where the issuer has none; raises Refused (503) where its keys are not known."""
        key = self._believed().get((kid, algorithm))
        if key is None:
            self._read(wait=True)
            key = self._believed().get((kid, algorithm))
        elif self._age() >= self._refresh and self._monotonic() >= self._try_again:
            threading.Thread(target=self._read, kwargs={"wait": False}, name="gate-keys", daemon=True).start()
        if key is None and self._age() >= self._max_age:
            raise Refused(503, "no-keys", "tokens cannot be checked now", retry_after=round(COOLDOWN))
        return key

    def _age(self) -> float:
        return self._monotonic() - self._read_at

    def _believed(self) -> PublicKeys:
        return self._keys if self._age() < self._max_age else {}

    def _read(self, *, wait: bool) -> None:
        """Read the keys, unless that was tried just now; who comes meanwhile waits for it, or goes on without."""
        if not self._lock.acquire(blocking=wait):
            return
        try:
            now = self._monotonic()
            if now < self._try_again:
                return
            self._try_again = now + COOLDOWN
            try:
                keys = parse_jwks(self._fetch(self._issuer.jwks_url), self._issuer.algorithms)
            except (OSError, ValueError, http.client.HTTPException) as error:
                logger.warning("cannot read the keys of %s: %s", self._issuer.issuer, error)
                self._told("failed")
            else:
                self._keys, self._read_at = keys, now
                self._told("read")
        finally:
            self._lock.release()


def parse_jwks(text: bytes, algorithms: tuple[str, ...]) -> PublicKeys:
    """Return the keys that can check a signature by one of the algorithms; raises ValueError where there are none."""
    document = orjson.loads(text)
    listed = document.get("keys") if isinstance(document, dict) else None
    keys: dict[tuple[str, str], PyJWK] = {}
    for jwk in listed if isinstance(listed, list) else ():
        if not isinstance(jwk, dict) or not all(isinstance(jwk.get(field, ""), str) for field in _READ):
            continue
        if not jwk.get("kid") or jwk.get("use", "sig") != "sig":
            continue
        for algorithm in _FITTING.get((jwk.get("kty", ""), jwk.get("crv", "")), ()):
            if algorithm not in algorithms or algorithm != jwk.get("alg", algorithm):
                continue
            try:
                key = PyJWK(jwk, algorithm)
            except (PyJWTError, ValueError) as error:
                logger.warning("a key that cannot be used: %s", type(error).__name__)
                continue
            if jwk["kty"] == "RSA" and key.key.key_size < _SMALLEST_RSA:
                continue
            keys[jwk["kid"], algorithm] = key
    if not keys:
        raise ValueError("holds no key with an id that fits the algorithms")
    return keys


def fetch_jwks(url: str) -> bytes:
    """GET a document: no redirect is followed, no proxy of the environment is asked; raises OSError, HTTPException."""
    parts = urlsplit(url)
    deadline = time.monotonic() + _TIMEOUT
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=_TIMEOUT, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT)
    )
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/json", "Accept-Encoding": "identity"})
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise OSError(f"{url} answers {response.status}")
        body = b""
        while part := response.read1(65_536):
            body += part
            if len(body) > _LARGEST or time.monotonic() > deadline:
                raise OSError(f"{url} answers too much, or too slowly")
        return body
    finally:
        connection.close()
