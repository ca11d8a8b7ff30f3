"""A template for one swarm: the features that are on are put in, in the order of the file, then the parameters.

A feature only adds, and behind what is there: what was written first stays first.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from userswarm.spec.template.parameters import PLACEHOLDER, escaped, fill
from userswarm.wire.k8s import Manifest

_LISTS = ("containers", "init", "volumes")

_EXPANDED = re.compile(r"(.*\.)?(env(\.[-a-z0-9]+)?\[\d+\]\.value|args\[\d+\])")
"""Where Kubernetes itself expands ``$(NAME)``, and a value has to survive that."""


def is_expanded(path: str) -> bool:
    """Tell whether Kubernetes expands what stands at a path of a template."""
    return _EXPANDED.fullmatch(path) is not None


def merge(document: Manifest, features: Sequence[str]) -> Manifest:
    """Return a template's own fields with those of the features that are on, fresh; parameters are still to be set."""
    merged = {
        field: copy.deepcopy(value) for field, value in document.items() if field not in ("features", "parameters")
    }
    known: Mapping[str, Manifest] = document.get("features", {})
    on = [copy.deepcopy(each) for name, each in known.items() if name in features]
    for field in _LISTS:
        merged[field] = [*merged.get(field, ()), *(item for each in on for item in each.get(field, ()))]
    for feature in on:
        for field in ("env", "mounts"):
            for container in (each for each in containers_in(merged) if each["name"] in feature.get(field, {})):
                container[field] = [*container.get(field, ()), *feature[field][container["name"]]]
        if "database" in feature:
            merged["database"] = feature["database"]
    return merged


def containers_in(merged: Manifest) -> Iterator[Manifest]:
    """Iterate over all containers of a template that are written as such, those of steps included."""
    yield from (step["container"] for step in merged.get("init", ()) if "container" in step)
    yield from merged.get("containers", ())


def texts_in(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Iterate over every text in a template, with its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from texts_in(each, f"{path}[{position}]")
    elif isinstance(value, str):
        yield path, value


def used_parameters(merged: Manifest) -> list[str]:
    """Return the names of the parameters that a template needs to be complete, each once."""
    named = [found[1] for _, text in texts_in(merged) for found in PLACEHOLDER.finditer(text)]
    asked = [each["parameter"] for container in containers_in(merged) for each in _env(container)]
    return list(dict.fromkeys([*named, *asked]))


def set_parameters(merged: Manifest, values: Mapping[str, str]) -> Manifest:
    """Return a merged template with the values, as texts, of all parameters that it needs."""
    filled: Manifest = _filled(merged, "", values)
    for container in containers_in(filled):
        for each in _env(container):
            each["value"] = escaped(values[each.pop("parameter")])
    return filled


def _filled(value: Any, path: str, values: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, f"{path}.{key}" if path else key, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, f"{path}[{position}]", values) for position, each in enumerate(value)]
    return fill(value, values, expanded=is_expanded(path)) if isinstance(value, str) else value


def _env(container: Manifest) -> Iterator[Manifest]:
    return (each for each in container.get("env", ()) if "parameter" in each)
