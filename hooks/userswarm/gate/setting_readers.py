"""What the text of a setting of the gate may be; each reader raises ValueError, or OSError."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from userswarm.gate.tokens.issuers import Issuer, read_issuers
from userswarm.spec.setting_readers import DNS_LABEL, words
from userswarm.web.addresses import split_bind

_DATABASE = re.compile(r"/?[0-9]{0,5}")
_RATE = re.compile(r"[1-9][0-9]{0,8}/(?:second|minute|hour|day)")
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"/(?:[A-Za-z0-9._~-]+/)*")


def issuers(text: str) -> tuple[Issuer, ...]:
    """Read the path of a TOML file of issuers."""
    return read_issuers(tomllib.loads(Path(text).read_text(encoding="utf-8"))) if text else ()


def origins(text: str) -> tuple[str, ...]:
    """Read what may stand in an Origin header."""
    found = tuple(word.lower() for word in words(text))
    if not all(_ORIGIN.fullmatch(word) for word in found):
        raise ValueError("must be origins such as https://app.example.com, separated by commas")
    return found


def path_prefix(text: str) -> str:
    """Read the beginning of a path, or nothing."""
    if text and not _PREFIX.fullmatch(text):
        raise ValueError("must be a plain path such as /v1/workspaces/, which begins and ends with a slash")
    return text


def domain(text: str) -> str:
    """Read a name in DNS, or nothing."""
    name = text.lower()
    if name and not all(DNS_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("must be a domain such as agents.example.com")
    return name


def hosts(text: str) -> Mapping[str, str] | None:
    """Read the path of a file of ``IP:PORT SERVICE.NAMESPACE.svc:PORT``, as /etc/hosts, but with ports; or nothing."""
    if not text:
        return None
    found: dict[str, str] = {}
    for number, line in enumerate(Path(text).read_text(encoding="utf-8").splitlines(), start=1):
        named = line.partition("#")[0].split()
        if not named:
            continue
        try:
            address, name = named
            ipaddress.ip_address(split_bind(address)[0])
        except ValueError:
            raise ValueError(f"line {number} is not IP:PORT SERVICE.NAMESPACE.svc:PORT") from None
        found[name] = address
    return found


def rate(text: str) -> str:
    """Read how many in how long, or nothing."""
    if text and not _RATE.fullmatch(text):
        raise ValueError("must be such as 20/second, 600/minute, 5000/hour or 50000/day")
    return text


def storage(text: str) -> str:
    """Read where is counted: a Redis, or nothing."""
    if not text:
        return text
    try:
        url = urlsplit(text)
        good = re.fullmatch(r"rediss?://\S+", text) and url.hostname and url.port != 0 and _DATABASE.fullmatch(url.path)
    except ValueError:  # it would quote a part of the password
        good = False
    if not good:
        raise ValueError("must be such as redis://limits.example:6379/0, or rediss://… for TLS")
    return text


def audit_place(text: str) -> str:
    """Read where audit goes: stdout, the path of a file that can be written, or nothing."""
    if text not in {"", "stdout"}:
        with Path(text).open("ab"):
            pass
    return text


def exceptions(text: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Read the path of a TOML file of limits: a table `[user."id"]` or `[workspace."id"]` with `rate` and `open`."""
    if not text:
        return {}
    found = tomllib.loads(Path(text).read_text(encoding="utf-8"))
    problems = [f"{group}: must be user or workspace" for group in found.keys() - {"user", "workspace"}]
    for group, members in found.items():
        if not isinstance(members, dict) or not all(isinstance(each, dict) for each in members.values()):
            problems.append(f'{group}: must be tables such as [{group}."id"]')
            continue
        for name, each in members.items():
            problems += _problems_of(f"{group}.{name}", each)
    if problems:
        raise ValueError("; ".join(sorted(problems)))
    return found


def _problems_of(where: str, each: Mapping[str, Any]) -> list[str]:
    problems = [f"{where}.{field}: must be rate or open" for field in each.keys() - {"rate", "open"}]
    if "rate" in each and not (isinstance(each["rate"], str) and (not each["rate"] or _RATE.fullmatch(each["rate"]))):
        problems.append(f"{where}.rate: must be such as 20/second, or empty for no limit")
    if "open" in each and not (type(each["open"]) is int and each["open"] >= 0):
        problems.append(f"{where}.open: must be a whole number, 0 for no limit")
    return problems
