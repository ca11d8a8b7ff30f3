"""What a template says in a swarm's place: each field of the spec that the swarm itself leaves as the CRD fills it in.

The API server writes the CRD's defaults into every object, so nobody can tell them from a choice: what has the CRD's
default counts as not said.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.pods.shapes import record
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.template.building import MAIN, MAIN_PORT
from userswarm.wire.k8s import Manifest

DATA = "data"
"""The volume that is the swarm's own claim: spec.storage is about it."""

_PLACEMENT = ("runtimeClassName", "priorityClassName", "nodeSelector", "tolerations")
_RUNTIME = ("imagePullSecretName", "imagePullPolicy", "resources")
_WHOLE = ("verification", "lifecycle")

_AS_IT_IS = dict.fromkeys((*_PLACEMENT, *_RUNTIME, *_WHOLE), lambda value, path, problems: value)
_KNOWN = record(_AS_IT_IS)


def find_default_problems(document: Manifest) -> Iterator[Problem]:
    """Name what is wrong with a template's `defaults`: each is a field of the spec, and may say what that may say."""
    found: list[Problem] = []
    _KNOWN(document.get("defaults", {}), "defaults", found)
    yield from found
    if not found:
        parent = {"spec": {"userId": "somebody", **_from_defaults(document)}}
        schema = user_swarm_schema()
        for problem in (*schema.problems(parent), *schema.unknown_fields(parent)):
            yield Problem(f"defaults, as {problem.path}", problem.message)


def own_fields(spec: Manifest) -> Manifest:
    """Return what of a complete spec differs from the CRD's defaults: what the swarm says itself."""
    own: Manifest = _difference(spec, _crd_defaults())
    return own


def with_defaults(own: Mapping[str, Any], resolved: Manifest) -> Manifest:
    """Return a complete spec: the CRD's defaults, over them the template's, over them the swarm's own."""
    spec = copy.deepcopy(_crd_defaults())
    for layer in (_from_defaults(resolved), _from_containers(resolved), own):
        _merge(spec, layer)
    return spec


def overlay(resolved: Manifest, spec: Manifest) -> Manifest:
    """Return a resolved template with what a complete spec says of its main container."""
    runtime, secret = spec["runtime"], spec["config"].get("envSecretRef", {}).get("name", "")
    main = {**find_main(resolved), "image": runtime["image"], "resources": runtime["resources"]}
    if "imagePullPolicy" in runtime:
        main["imagePullPolicy"] = runtime["imagePullPolicy"]
    own = {each["name"]: {"name": each["name"], "value": each.get("value", "")} for each in runtime.get("env", ())}
    env = [own.pop(each["name"], each) for each in main.get("env", ())]
    main["env"] = [*env, *own.values()]
    if secret:
        main["envFrom"] = [*main.get("envFrom", ()), {"secretPattern": secret}]
    containers = [main if each["name"] == MAIN else each for each in resolved["containers"]]
    return {**resolved, "containers": containers}


def find_main(document: Manifest) -> Manifest:
    """Return the container that serves the user."""
    main: Manifest = next(each for each in document["containers"] if each["name"] == MAIN)
    return main


def data_volume(document: Manifest) -> Manifest | None:
    """Return the template's volume that is the swarm's own claim, which spec.storage is about; None without."""
    volumes: list[Manifest] = document.get("volumes", [])
    return next((each for each in volumes if each["name"] == DATA and "claim" in each), None)


def _from_defaults(document: Manifest) -> Manifest:
    said: Manifest = document.get("defaults", {})
    sides = {
        "placement": {field: said[field] for field in _PLACEMENT if field in said},
        "runtime": {field: said[field] for field in _RUNTIME if field in said},
    }
    return {**{field: said[field] for field in _WHOLE if field in said}, **sides}


def _from_containers(resolved: Manifest) -> Manifest:
    main, data = find_main(resolved), data_volume(resolved)
    runtime: Manifest = {
        "image": main["image"],
        "port": next(each["port"] for each in main["ports"] if each["name"] == MAIN_PORT),
        **({"resources": main["resources"]} if "resources" in main else {}),
    }
    if resolved.get("config"):
        runtime["dataPath"] = next(each["path"] for each in main["mounts"] if each["volume"] == DATA)
    storage = {} if data is None else {key: each for key, each in data["claim"].items() if key != "retainPolicy"}
    return {"runtime": runtime, "storage": storage}


@functools.cache
def _crd_defaults() -> Manifest:
    spec: Manifest = user_swarm_schema().spec_with_defaults({"spec": {}})
    return spec


def _difference(value: Any, default: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(default, dict):
        return value
    kept = {key: _difference(each, default.get(key)) for key, each in value.items() if each != default.get(key)}
    return {key: each for key, each in kept.items() if each != {} or key not in default}


def _merge(below: Manifest, above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, dict) and isinstance(under, dict):
            _merge(under, value)
        else:
            below[key] = copy.deepcopy(value)
