"""A runtime's config.toml, in layers: built-in defaults, the platform's base, the spec's fields, its overrides.

The later layer has the last word, key by key; a table meets a table, anything else is replaced whole.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

FILE_NAME = "config.toml"

MAX_LEVELS = 32
"""How deep a table may lie. Python parses, merges and writes tables by recursion, and a key of many parts in time that
grows with the square of them: without a limit one user's text could hold up every other user's sync."""

_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?>[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*+\.[ \t]*+)""" + f"{{{MAX_LEVELS + 1}}}",
    re.ASCII,
)


def render_config(base: str, port: int, fields: Mapping[str, Any], overrides: str) -> str:
    """Return the TOML text of a runtime's configuration.

    `base` and `overrides` are TOML texts, `fields` is ``spec.config`` with its defaults filled in.
    Raises tomllib.TOMLDecodeError where a text does not parse.
    """
    config: dict[str, Any] = {}
    for layer in (_built_in(port), tomllib.loads(base), _from_fields(fields), tomllib.loads(overrides)):
        _merge(config, layer)
    return tomli_w.dumps(config)


def find_toml_problem(text: str) -> str:
    """Say why a text cannot be merged into a configuration, in words for whoever wrote it; an empty text if it can."""
    too_deep = f"is nested too deeply; a table may lie {MAX_LEVELS} levels deep at most"
    if _LONG_KEY.search(text):
        return too_deep
    try:
        config = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"is not TOML: {error}; see https://toml.io/en/v1.0.0"
    except RecursionError:
        return too_deep
    return too_deep if _is_deeper(config, MAX_LEVELS) else ""


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    members = value.values() if isinstance(value, dict) else value
    return levels < 0 or any(_is_deeper(member, levels - 1) for member in members)


def _built_in(port: int) -> dict[str, Any]:
    """Return what a runtime in a Pod needs whoever runs it: to listen where its Service looks for it."""
    # The Service is private and the backend authorizes every message, so the gateway asks for no pairing.
    return {"gateway": {"host": "[::]", "port": port, "allow_public_bind": True, "require_pairing": False}}


def _from_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = {
        key: fields[field]
        for field, key in (("defaultProvider", "default_provider"), ("defaultModel", "default_model"))
        if field in fields
    }
    if "defaultTemperature" in fields:
        # Kubernetes stores 1.0 as 1: what is a fraction by its nature stays one in TOML.
        layer["default_temperature"] = float(fields["defaultTemperature"])
    agents = {
        slug: {
            key: agent[field]
            for field, key in (
                ("model", "model"),
                ("responseLength", "response_length"),
                ("allowedTools", "allowed_tools"),
            )
            if field in agent
        }
        for slug, agent in sorted(fields.get("agents", {}).items())
    }
    if agents:
        layer["agents"] = agents
    return layer


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            _merge(under, value)
        else:
            below[key] = value
