"""Whether a template makes a Pod at all: it is built for a swarm that nobody has, when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.settings import Settings
from userswarm.spec.template.building import Names, build_pod
from userswarm.spec.template.defaults import overlay, with_defaults
from userswarm.spec.template.parameters import written
from userswarm.spec.template.resolving import merge, set_parameters
from userswarm.wire.k8s import Manifest

_NAMES = Names("workspace-trial", "somebody", "trial", "userswarms")
_SAMPLES: Mapping[str, Any] = {"boolean": True, "string": "1"}


def find_trial_problems(document: Manifest) -> Iterator[Problem]:
    """Name what is wrong with the Pod of a template: with its own features alone, and with all of them."""
    known: Mapping[str, Manifest] = document.get("features", {})
    values = {name: written(_sample(schema)) for name, schema in document.get("parameters", {}).items()}
    seen: set[Problem] = set()
    for features in ([name for name, each in known.items() if each.get("default")], list(known)):
        resolved = set_parameters(merge(document, features), values)
        spec = with_defaults({}, resolved)
        _, problems = build_pod(overlay(resolved, spec), _NAMES, Settings())
        yield from (each for each in problems if each not in seen)
        seen.update(problems)


def _sample(schema: Mapping[str, Any]) -> Any:
    """Return a value that a parameter may have, as far as its schema tells."""
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    return _SAMPLES.get(schema["type"], schema.get("minimum", schema.get("maximum", 1)))
