"""Every field that a template may have, and what each may say.

The table is closed: what it does not know is refused, with the nearest that it does. What a container says in the end
is held against `spec.pods` besides, by the same readers as a tenant's workload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.pods.shapes import Reader, flag, items, mapping, number, one_of, record, text, texts
from userswarm.spec.pods.words import ANYTHING, DNS_LABEL, MODE, PORT, PORT_OR_NAME, RELATIVE, SECONDS, USER, resource

NAME = DNS_LABEL
WORD = r"[A-Za-z][A-Za-z0-9_]{0,62}"
_WORD_TOLD = "letters, digits and _, not begin with a digit, at most 63"
PARAMETER_NAME = text(WORD, f"a parameter's name: {_WORD_TOLD}")

_PATTERN = text(
    r"(?=.{1,200}\Z)(swarm-\{name\}-[a-z0-9]+|(?!swarm-)[a-z0-9][-.a-z0-9]*(\{(name|user)\})?)",
    "a name, one that ends with {name} or {user}, or swarm-{name}- and a word without '-'",
)
"""Of a Secret or ConfigMap. What a user chooses comes last, after words of the platform's: so no user's choice makes
the name of what another has."""

_PATH = text(r"/[^:\0]*", "an absolute path without ':'")
_ENV_NAME = text(r"[-._a-zA-Z][-._a-zA-Z0-9]{0,255}", "a variable's name")

FIELDS = ("name", "user", "workspace", "namespace")
"""What of the swarm a variable may hold."""


def _said(value: Any, path: str, problems: list[Problem]) -> Any:
    """Read a text or a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        problems.append(Problem(path, f"is {value!r}; must be a text or a number"))
        return None
    return value


def _amount(value: Any, path: str, problems: list[Problem]) -> Any:
    """Read a quantity as a text; it is judged once parameters are filled in."""
    said = _said(value, path, problems)
    return None if said is None else str(said)


def _scalar(value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, str | int | float | bool):
        problems.append(Problem(path, f"is {value!r}; must be a text, a number, true or false"))
        return None
    return value


def _scalars(value: Any, path: str, problems: list[Problem]) -> Any:
    if not isinstance(value, list) or not value:
        problems.append(Problem(path, f"is {value!r}; must be a list of at least one value"))
        return None
    return [_scalar(each, f"{path}[{position}]", problems) for position, each in enumerate(value)]


def _object(value: Any, path: str, problems: list[Problem]) -> Any:
    """Read an object that somebody else judges."""
    if not isinstance(value, dict):
        problems.append(Problem(path, f"is {value!r}; must be an object"))
        return None
    return value or None


def _key(pattern: str, told: str) -> Callable[[Any], str]:
    wanted = re.compile(pattern)
    return lambda key: "" if isinstance(key, str) and wanted.fullmatch(key) else f"is no name; must be {told}"


_PLAIN_KEY = _key(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?", "a-z, 0-9 and - inside, at most 30")

_OF_SECRET = record({"pattern": _PATTERN, "key": ANYTHING}, required=("pattern", "key"))

_ENV = record(
    {
        "name": _ENV_NAME,
        "value": ANYTHING,
        "fieldRef": one_of(*FIELDS),
        "parameter": PARAMETER_NAME,
        "secret": record({"pattern": _PATTERN, "key": ANYTHING, "optional": flag()}, required=("pattern", "key")),
    },
    required=("name",),
)
ENV = items(_ENV, key="name", why="each variable once")

_TIMES: Mapping[str, Reader] = {
    "initialDelaySeconds": number(0, zero_is_absent=True),
    "timeoutSeconds": SECONDS,
    "periodSeconds": SECONDS,
    "failureThreshold": SECONDS,
}
_PROBE = record(
    {
        "http": record({"path": ANYTHING, "port": PORT_OR_NAME}, required=("path", "port")),
        "tcp": record({"port": PORT_OR_NAME}, required=("port",)),
        "exec": texts,
        **_TIMES,
    },
    one_among=("http", "tcp", "exec"),
)

_AMOUNTS = mapping(resource, _amount)
RESOURCES = record({"requests": _AMOUNTS, "limits": _AMOUNTS})

_MOUNT = record(
    {"volume": NAME, "path": _PATH, "readOnly": flag(false_is_absent=True), "subPath": RELATIVE},
    required=("volume", "path"),
)
MOUNTS = items(_MOUNT, key="path", why="a path has one volume")

_BASIC: Mapping[str, Reader] = {
    "name": NAME,
    "image": ANYTHING,
    "imagePullPolicy": one_of("Always", "IfNotPresent", "Never"),
    "command": texts,
    "args": texts,
    "workingDir": _PATH,
    "env": ENV,
    "envFrom": items(
        record({"secretPattern": _PATTERN, "prefix": _ENV_NAME, "optional": flag()}, required=("secretPattern",))
    ),
    "resources": RESOURCES,
    "mounts": MOUNTS,
    "security": record({"readOnlyRootFilesystem": flag(), "runAsUser": USER, "runAsGroup": USER}),
}
_CONTAINER = record(
    {
        **_BASIC,
        "sidecar": one_of("native", "plain"),
        "ports": items(
            record({"name": DNS_LABEL, "port": PORT, "protocol": one_of("TCP", "UDP")}, required=("name", "port")),
            key="port",
            why="each port once",
        ),
        "readiness": _PROBE,
        "liveness": _PROBE,
        "startup": _PROBE,
    },
    required=("name", "image"),
)
CONTAINERS = items(_CONTAINER, key="name")

_KNOWN_HOSTS = record(
    {"secret": _PATTERN, "configMap": _PATTERN, "key": ANYTHING}, required=("key",), one_among=("secret", "configMap")
)
_STEP = record(
    {
        "name": NAME,
        "git": record(
            {
                "repository": ANYTHING,
                "branch": ANYTHING,
                "depth": number(1),
                "path": _PATH,
                "tokenSecret": _OF_SECRET,
                "keySecret": _OF_SECRET,
                "knownHosts": _KNOWN_HOSTS,
                "caSecret": _OF_SECRET,
                "pull": flag(),
            },
            required=("repository", "path"),
        ),
        "ssh": record({"secret": _OF_SECRET, "path": _PATH, "knownHosts": _KNOWN_HOSTS}, required=("secret", "path")),
        "container": record(_BASIC, required=("name", "image")),
    },
    one_among=("git", "ssh", "container"),
)
INIT = items(_STEP)

_VOLUME = record(
    {
        "name": NAME,
        "claim": record(
            {
                "size": _amount,
                "storageClassName": NAME,
                "retainPolicy": one_of("Delete", "Retain"),
            },
            required=("size",),
        ),
        "emptyDir": record({"sizeLimit": _amount, "medium": one_of("Memory")}, kept=True),
        "secret": record({"pattern": _PATTERN, "optional": flag(), "defaultMode": MODE}, required=("pattern",)),
        "configMap": record({"pattern": _PATTERN, "optional": flag(), "defaultMode": MODE}, required=("pattern",)),
    },
    required=("name",),
    one_among=("claim", "emptyDir", "secret", "configMap"),
)
VOLUMES = items(_VOLUME, key="name")

_WORDS = items(text(r"[a-z][-a-z0-9_]{0,62}", "a word: a-z, 0-9, - and _"))
_ROLE = text(r"(?!pg_|cnpg_)[a-z][a-z0-9_]{0,62}", "a role of PostgreSQL's: a-z, 0-9 and _, not beginning with pg_")
DATABASE = record(
    {
        "cluster": DNS_LABEL,
        "namespace": DNS_LABEL,
        "reclaimPolicy": one_of("retain", "delete"),
        "owner": _ROLE,
        "role": record({"passwordSecret": _PATTERN}, kept=True),
        "extensions": _WORDS,
    },
    required=("cluster", "namespace"),
    one_among=("owner", "role"),
)
"""A database in the platform's PostgreSQL cluster, owned by a role that is there, or by one of its own."""

_FEATURE = record(
    {
        "database": DATABASE,
        "description": ANYTHING,
        "default": flag(),
        "containers": CONTAINERS,
        "init": INIT,
        "volumes": VOLUMES,
        "env": mapping(_PLAIN_KEY, ENV),
        "mounts": mapping(_PLAIN_KEY, MOUNTS),
    },
    kept=True,
)

_PARAMETER = record(
    {
        "type": one_of("string", "integer", "number", "boolean", "quantity"),
        "description": ANYTHING,
        "default": _scalar,
        "enum": _scalars,
        "pattern": ANYTHING,
        "minLength": number(0),
        "maxLength": number(0),
        "minimum": _said,
        "maximum": _said,
    },
    required=("type",),
)

TEMPLATE = record(
    {
        "name": text(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a DNS label: a-z, 0-9 and -, at most 63"),
        "revision": number(1),
        "description": ANYTHING,
        "deprecated": flag(),
        "replacedBy": DNS_LABEL,
        "candidate": flag(),
        "config": flag(),
        "security": record({"runAsUser": USER, "runAsGroup": USER}),
        "terminationGracePeriodSeconds": number(0, 3600),
        "database": DATABASE,
        "containers": CONTAINERS,
        "init": INIT,
        "volumes": VOLUMES,
        "features": mapping(_PLAIN_KEY, _FEATURE),
        "parameters": mapping(_key(WORD, _WORD_TOLD), _PARAMETER),
        "defaults": _object,
    },
    required=("name", "revision", "containers"),
)
"""One template, as its author writes it."""
