"""Whose access tokens are accepted: one table ``[[issuer]]`` each, in a TOML file.

    [[issuer]]
    issuer = "https://login.example.com/"        # exactly as `iss` says it
    audience = ["userswarm"]
    jwks_url = "https://login.example.com/.well-known/jwks.json"
    algorithms = ["RS256"]                       # the default; none that a public key could forge
    user_claim = "sub"                           # the default: whose text is the userId
    user_prefix = ""                             # before it; the default

Two issuers need two prefixes: else one of them could speak for the other's users.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a private key. HMAC is not among them: whoever can check one of those can make one."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer, and what its tokens must say."""

    issuer: str
    audience: tuple[str, ...]
    jwks_url: str
    algorithms: tuple[str, ...] = ("RS256",)
    user_claim: str = "sub"
    user_prefix: str = ""


def read_issuers(document: Mapping[str, Any]) -> tuple[Issuer, ...]:
    """Return the issuers of a file; raises ValueError naming all that is wrong."""
    tables = document.get("issuer")
    problems = [f"{field}: not known; the file holds tables [[issuer]]" for field in document.keys() - {"issuer"}]
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise ValueError("; ".join([*problems, "must hold a table [[issuer]] at least"]))
    for number, table in enumerate(tables, start=1):
        problems += (f"issuer {number}: {problem}" for problem in _problems_of(table))
    if not problems:
        problems += _problems_together(tables)
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(_make(table) for table in tables)


def _make(table: Mapping[str, Any]) -> Issuer:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}
    return Issuer(**fields)


def _problems_of(table: Mapping[str, Any]) -> list[str]:
    texts, lists = {"issuer", "jwks_url", "user_claim", "user_prefix"}, {"audience", "algorithms"}
    problems = [f"{field}: not known" for field in sorted(table.keys() - texts - lists)]
    problems += [f"{field}: is missing" for field in ("issuer", "audience", "jwks_url") if not table.get(field)]
    problems += [
        f"{field}: must be text" for field in sorted(texts & table.keys()) if not isinstance(table[field], str)
    ]
    for field in sorted(lists & table.keys()):
        value = table[field]
        if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
            problems.append(f"{field}: must be a list of texts")
    if not problems:
        wrong = [each for each in table.get("algorithms", ()) if each not in ALGORITHMS]
        problems += [f"algorithms: {each} is none of {', '.join(ALGORITHMS)}" for each in wrong]
        if not _is_safe(table["jwks_url"]):
            problems.append("jwks_url: must be https://…; http://… only on this machine")
        if table.get("user_claim") == "":
            problems.append("user_claim: must not be empty")
    return problems


def _problems_together(tables: list[Mapping[str, Any]]) -> list[str]:
    names = Counter(table["issuer"] for table in tables)
    problems = [f"{name}: is there {count} times" for name, count in names.items() if count > 1]
    prefixes = [table.get("user_prefix", "") for table in tables]
    overlaps = any(
        other.startswith(prefix) for i, prefix in enumerate(prefixes) for j, other in enumerate(prefixes) if i != j
    )
    if overlaps:
        problems.append("user_prefix: none may be empty, or begin another: one issuer would name another's users")
    return problems


def _is_safe(url: str) -> bool:
    """Tell whether nobody on the way can change what is read there."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
