"""What the text of a setting may be, and the value that it stands for.

A reader raises ValueError, or OSError, saying what would be accepted.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from userswarm.spec.durations import parse_duration
from userswarm.spec.template.revisions import NO_TEMPLATES, Templates

LIFECYCLE_FIELDS = ("idleAfter", "idleAfterVisit", "minAwake", "maxAwake", "maxBusy", "lead", "expireAfter")
"""The lengths of time in spec.lifecycle that a platform has its say about."""

Readers = Mapping[str, tuple[str, Callable[[str], Any]]]
"""By variable: the field that it sets, and what reads its text."""

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def read_environment(environ: Mapping[str, str], prefix: str, readers: Readers) -> tuple[dict[str, Any], list[str]]:
    """Return the values of all variables that begin with `prefix`, by field, and a line for each that is none."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(prefix):
            continue
        reader = readers.get(variable)
        if reader is None:
            problems.append(f"{variable}: not a setting; the settings are {', '.join(sorted(readers))}")
            continue
        field, read = reader
        try:
            values[field] = read(text)
        except (ValueError, OSError) as error:
            # Whoever reads the log shall not read the password in a URL.
            shown = re.sub(r"(://[^:@/]*:).*@", r"\1***@", text, flags=re.DOTALL)
            problems.append(f"{variable}={shown!r}: {error}")
    return values, problems


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a reader of one of some words."""

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text.lower()

    return read


def boolean(text: str) -> bool:
    """Read true or false."""
    return one_of("true", "false")(text) == "true"


def words(text: str) -> tuple[str, ...]:
    """Read words separated by commas or blanks."""
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def namespaces(text: str) -> tuple[str, ...]:
    """Read the names of one namespace or more."""
    names = words(text)
    wrong = [name for name in names if not DNS_LABEL.fullmatch(name)]
    if wrong or not names:
        raise ValueError("must be namespace names (DNS labels) separated by commas, at least one")
    return names


def namespace(text: str) -> str:
    """Read the name of a namespace."""
    if not DNS_LABEL.fullmatch(text):
        raise ValueError("must be a namespace name (a DNS label)")
    return text


def labels(text: str) -> tuple[tuple[str, str], ...]:
    """Read labels, in order of their keys."""
    pairs = [word.partition("=") for word in words(text)]
    if not pairs or not all(sep and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(v) for key, sep, v in pairs):
        raise ValueError("must be labels such as kubernetes.io/metadata.name=backend, separated by commas")
    return tuple(sorted((key, value) for key, _, value in pairs))


def durations(text: str) -> tuple[tuple[str, int], ...]:
    """Read lengths of time of spec.lifecycle, each by its name."""
    pairs = [word.partition("=") for word in words(text)]
    try:
        found = tuple(sorted((name, parse_duration(length)) for name, _, length in pairs))
    except ValueError as error:
        raise ValueError(f"must be durations such as idleAfter=30m, separated by commas: {error}") from None
    if not {name for name, _ in found} <= set(LIFECYCLE_FIELDS) or len(dict(found)) < len(found):
        raise ValueError(f"must give durations, once each, to some of {', '.join(LIFECYCLE_FIELDS)}")
    return found


def cidrs(text: str) -> tuple[str, ...]:
    """Read networks."""
    try:
        return tuple(str(ipaddress.ip_network(word)) for word in words(text))
    except ValueError:
        raise ValueError("must be networks such as 169.254.20.10/32, separated by commas") from None


def image(text: str) -> str:
    """Read an image reference."""
    if not re.fullmatch(r"[A-Za-z0-9][^\s]{0,510}", text):
        raise ValueError("must be an image reference such as registry.example/name:tag, without blanks")
    return text


def bind(text: str) -> str:
    """Read an address and a port to listen on."""
    host, _, port = text.rpartition(":")
    try:
        if host != "localhost":
            ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        whole(0, 65535)(port)
    except ValueError:
        raise ValueError("must be ADDRESS:PORT such as 127.0.0.1:8080") from None
    return text


def bind_or_none(text: str) -> str:
    """Read an address and a port to listen on, or nothing."""
    return bind(text) if text else ""


def proxy(text: str) -> tuple[str, int] | None:
    """Read the host and port of an HTTP proxy, None for nothing."""
    if not text:
        return None
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})/?", text)
    if not found or not 0 < int(found[2]) < 65536:
        raise ValueError("must be an HTTP proxy such as http://127.0.0.1:8880")
    return found[1].strip("[]"), int(found[2])


def readable_file(text: str) -> str:
    """Read the path of a file that can be read, or nothing."""
    if text:
        with Path(text).open("rb") as stream:
            stream.read(1)
    return text


def toml_file(text: str) -> str:
    """Read the path of a TOML file, and return the text in it; of no path no text."""
    if not text:
        return ""
    content = Path(text).read_text(encoding="utf-8")
    tomllib.loads(content)
    return content


def templates_dir(text: str) -> Templates:
    """Read the path of a folder of templates, and return all of them; of no path none."""
    if not text:
        return NO_TEMPLATES
    from userswarm.spec.template.loading import load_templates

    return load_templates(text)
