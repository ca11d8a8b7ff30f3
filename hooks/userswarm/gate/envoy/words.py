"""The few shapes that all of Envoy's configuration is made of."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

_TYPES = "type.googleapis.com/envoy."


def typed(kind: str, /, **fields: Any) -> Config:
    """Return a message that says of which kind it is: ``extensions.filters.http.router.v3.Router``."""
    return {"@type": _TYPES + kind, **fields}


def extension(name: str, kind: str, /, **fields: Any) -> Config:
    """Return an extension point's entry: its name and its configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def seconds(length: float) -> str:
    """Return a length of time as protobuf writes it in JSON."""
    return f"{length:g}s"


def socket_address(bind: str) -> Config:
    """Return ``host:port``, ``[host]:port`` or ``unix:PATH`` as an address."""
    if bind.startswith("unix:"):
        return {"pipe": {"path": bind.removeprefix("unix:")}}
    host, _, port = bind.rpartition(":")
    return {
        "socket_address": {"address": host.removeprefix("[").removesuffix("]"), "port_value": int(port)},
    }
