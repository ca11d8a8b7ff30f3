"""What the gate's tests share: a throw-away issuer, a gate over a dev cluster's API server, checks as Envoy sends."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from unit.backend.world import World
from userswarm.backend import UserSwarmClient
from userswarm.gate.app import create_app
from userswarm.gate.audit import Audit
from userswarm.gate.counting import OpenRequests
from userswarm.gate.decide import Gate
from userswarm.gate.limits import Rates
from userswarm.gate.metrics import Metrics
from userswarm.gate.settings import GateSettings
from userswarm.gate.tokens.issuers import Issuer
from userswarm.gate.tokens.keys import Keys
from userswarm.gate.tokens.oidc import AccessTokens
from userswarm.gate.tokens.who import Tokens
from userswarm.gate.upstream import Upstreams

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())

ISSUER = Issuer(
    "https://login.example.com/",
    ("userswarm",),
    "https://login.example.com/jwks",
    algorithms=("RS256", "ES256"),
)


def jwk(key: PrivateKeyTypes, kid: str, **more: Any) -> dict[str, Any]:
    """Return the public half of a key, as an issuer publishes it."""
    kind: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    public: Any = key.public_key()  # type: ignore[union-attr]
    return {**kind.to_jwk(public, as_dict=True), "kid": kid, "use": "sig", **more}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"keys": keys})


def claims(**changes: Any) -> dict[str, Any]:
    """Return what a good token of alice's says; None takes a claim away."""
    now = int(time.time())
    good = {"iss": ISSUER.issuer, "aud": "userswarm", "sub": "alice", "iat": now, "exp": now + 300}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", kid: Any = "rsa", headers: Any = None, **changes: Any) -> str:
    """Return a token signed by a key."""
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid, **(headers or {})})


def raw_token(header: Mapping[str, Any], payload: Mapping[str, Any] | bytes, signature: bytes = b"") -> str:
    """Return a token made by hand."""
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (orjson.dumps(header), body, signature)
    )


class FakeIssuer:
    """An issuer that may be away, and counts how often it is asked."""

    def __init__(self, document: bytes | None = None) -> None:
        good = jwks(jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec"))
        self.document: bytes | Exception = good if document is None else document
        self.asked = 0

    def fetch(self, url: str) -> bytes:
        self.asked += 1
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def access_tokens(issuer: FakeIssuer | None = None, clock: Clock | None = None, **changes: Any) -> AccessTokens:
    """Return the reader of the issuer's tokens."""
    whose = Issuer(**{**{name: getattr(ISSUER, name) for name in Issuer.__slots__}, **changes})
    keys = Keys(
        whose, refresh=300, max_age=3600, fetch=(issuer or FakeIssuer()).fetch, monotonic=clock or time.monotonic
    )
    return AccessTokens({whose.issuer: (whose, keys)}, leeway=30)


@dataclass
class Answer:
    """What the proxy is told; names of headers in lower case, and each there once."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def upstream(self) -> str | None:
        return self.headers.get("x-userswarm-upstream")


@dataclass
class Noted:
    """Takes in what is used, in the test's own thread."""

    notes: list[tuple[str, str, bool]] = field(default_factory=list)

    def note(self, workspace: str, user: str, *, busy: bool) -> None:
        self.notes.append((workspace, user, busy))


def static_tokens(path: Path, **users: str) -> str:
    """Write a file of tokens, by user, and return its path."""
    lines = [f"{hashlib.sha256(secret.encode()).hexdigest()} {user}\n" for user, secret in users.items()]
    path.write_text("# who is known\n\n" + "".join(lines), encoding="utf-8")
    return str(path)


def address_of(name: str) -> str:
    """Return the address of a swarm's Service in these tests: one for each name."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "big")
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def look_up(host: str, port: int) -> str:
    return address_of(host.partition(".")[0])


class Gates:
    """A gate that is asked as a WSGI application."""

    def __init__(self, client: UserSwarmClient, settings: GateSettings, audit: Audit | None = None) -> None:
        self.client = client
        self.uses = Noted()
        self.metrics = Metrics()
        self.opened = OpenRequests(settings) if settings.counts_open else None
        self.gate = Gate(
            settings,
            client,
            Tokens(settings, self.metrics.keys_read),
            Upstreams(lookup=look_up),
            self.uses,
            rates=Rates(settings) if settings.counts else None,
            opened=self.opened,
            woken=self.metrics.woken,
        )
        self.app = create_app(self.gate, audit or Audit(""), self.metrics, lambda: client.cache_is_fresh)

    def check(self, target: str, token: str | None = None, method: str = "GET", **headers: str) -> Answer:
        """Ask as Envoy does; a header's name with underscores."""
        return self.ask(f"/check{target}", method, token, headers)

    def auth(self, uri: str, token: str | None = None, method: str = "GET", **headers: str) -> Answer:
        """Ask as nginx does."""
        return self.ask("/auth", "GET", token, {"x_original_uri": uri, "x_original_method": method, **headers})

    def ask(self, raw_uri: str, method: str, token: str | None, headers: Mapping[str, str]) -> Answer:
        environ = {
            "REQUEST_METHOD": method,
            "RAW_URI": _wsgi(raw_uri),
            "PATH_INFO": _wsgi(raw_uri.partition("?")[0]),
            "HTTP_HOST": "gate.example.com",
            "SERVER_NAME": "gate",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            **({} if token is None else {"HTTP_AUTHORIZATION": f"Bearer {token}"}),
            **{f"HTTP_{name.upper()}": _wsgi(value) for name, value in headers.items()},
        }
        told: list[Any] = []
        body = b"".join(self.app.wsgi_app(environ, lambda status, headers, *_: told.extend([status, headers])))
        status, listed = told
        found = {name.lower(): value for name, value in listed}
        assert len(found) == len(listed), listed
        return Answer(int(status.split()[0]), found, body)

    def count(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def _wsgi(text: str) -> str:
    """Return a text as a WSGI server hands it on: its bytes as Latin-1 (PEP 3333)."""
    return text.encode().decode("latin-1")


def make_swarm(world: World, workspace: str, user: str, *, verified: bool = True) -> str:
    """Make a swarm and return its name."""
    name = f"workspace-{workspace}"
    world.create(name, {"userId": user, "workspaceId": workspace})
    if verified:
        world.verify(name)
    return name
