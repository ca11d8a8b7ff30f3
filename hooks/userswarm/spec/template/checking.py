"""What has to hold between the fields of a template: names are there, ports differ, parameters are in their place.

Judged when it is loaded, with every feature on: what a swarm may switch on later has to fit by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.template.building import MAIN, MAIN_PORT
from userswarm.spec.template.parameters import PLACEHOLDER, find_schema_problems, is_bounded
from userswarm.spec.template.resolving import (
    containers_in,
    is_expanded,
    merge,
    texts_in,
    used_parameters,
)
from userswarm.spec.template.steps import PREFIX, find_mount, step_name
from userswarm.wire.k8s import Manifest

_BOUNDED = re.compile(
    r"(.*\.)?(image|resources\.(requests|limits)\.[-a-z]+|claim\.size|emptyDir\.sizeLimit|git\.(repository|branch))"
)
"""Where a parameter may stand besides arguments and variables, if its schema says which texts it may be."""

_CLAIM_NAME = re.compile(r"[a-z0-9]{1,30}")
_SHELL = re.compile(r"-[a-z]*c")
_SOURCES = ("value", "fieldRef", "parameter", "secret")


def find_problems(document: Manifest) -> Iterator[Problem]:
    """Name all that is wrong with a template that has only fields that are known."""
    names = tuple(document.get("features", {}))
    everything, base = merge(document, names), merge(document, ())
    yield from _check_main(document)
    yield from _check_names(everything)
    yield from _check_ports(everything)
    yield from _check_volumes(everything)
    yield from _check_config(base)
    found: dict[Problem, None] = {}
    for merged in (base, *(merge(document, (name,)) for name in names), everything):
        # What is there with one feature is there with more of them.
        found |= dict.fromkeys((*_check_mounts(merged), *_check_steps(merged)))
    yield from found
    yield from _check_additions(document, everything)
    yield from _check_variables(everything)
    yield from _check_parameters(document, everything)


def _check_main(document: Manifest) -> Iterator[Problem]:
    main = next((each for each in document["containers"] if each["name"] == MAIN), None)
    if main is None or "sidecar" in main:
        yield Problem("containers", f"none is {MAIN!r}, which serves the user and is no sidecar")
        return
    port = next((each["port"] for each in main.get("ports", ()) if each["name"] == MAIN_PORT), None)
    if port is None or port < 1024:
        told = f"container {MAIN!r} has no port {MAIN_PORT!r} of at least 1024; the swarm's Service leads there"
        yield Problem("containers", told)
    for position, each in enumerate(document["containers"]):
        if each["name"] != MAIN and "sidecar" not in each:
            yield Problem(f"containers[{position}].sidecar", "is missing; native (it is up first) or plain")


def _check_names(everything: Manifest) -> Iterator[Problem]:
    """Refuse two containers of one name, whatever feature each is of."""
    steps = [step_name(step) for step in everything["init"]]
    names = [*steps, *(each["name"] for each in everything["containers"])]
    for name in sorted({each for each in names if names.count(each) > 1}):
        yield Problem("containers", f"{name!r} is the name of more than one, steps and features included")
    volumes = [each["name"] for each in everything["volumes"]]
    for name in sorted({each for each in volumes if volumes.count(each) > 1}):
        yield Problem("volumes", f"{name!r} is the name of more than one, those of features included")


def _check_ports(everything: Manifest) -> Iterator[Problem]:
    """A Pod has one network: two of its containers cannot listen on one port."""
    taken: dict[tuple[int, str], str] = {}
    for container in everything["containers"]:
        for port in container.get("ports", ()):
            key = port["port"], port.get("protocol", "TCP")
            other = taken.setdefault(key, container["name"])
            if other != container["name"]:
                told = f"containers {other!r} and {container['name']!r} both want port {port['port']} of the one Pod"
                yield Problem("containers", f"{told}; give one of them another")


def _check_volumes(everything: Manifest) -> Iterator[Problem]:
    for volume in everything["volumes"]:
        name = volume["name"]
        if name.startswith(PREFIX) or name == "config":
            yield Problem(f"volumes[{name}]", f"a name with {PREFIX}, or 'config', is taken")
        if "claim" in volume and not _CLAIM_NAME.fullmatch(name):
            yield Problem(f"volumes[{name}]", "one with a claim is named by a-z and 0-9 alone, at most 30")


def _check_config(base: Manifest) -> Iterator[Problem]:
    """A configuration is merged into the swarm's own volume, by a step that writes to no other."""
    if not base.get("config"):
        return
    mains = (each for each in base["containers"] if each["name"] == MAIN)
    mounted = {mount["volume"] for main in mains for mount in main.get("mounts", ())}
    kinds = {each["name"]: each for each in base["volumes"]}
    for name, kind, told in (("data", "claim", "with a claim"), ("tmp", "emptyDir", "an emptyDir")):
        if name not in mounted or kind not in kinds.get(name, {}):
            yield Problem("config", f"needs a volume {name!r}, {told}, mounted in {MAIN!r}")


def _check_mounts(merged: Manifest) -> Iterator[Problem]:
    known = {each["name"] for each in merged["volumes"]}
    for container in containers_in(merged):
        for mount in container.get("mounts", ()):
            if mount["volume"] not in known:
                told = f"there is no volume {mount['volume']!r} where only the features are on that need it"
                yield Problem(f"containers[{container['name']}].mounts", told)


def _check_additions(document: Manifest, everything: Manifest) -> Iterator[Problem]:
    """A feature adds to containers that are there whenever it is on; none adds what is there already."""
    for name, feature in document.get("features", {}).items():
        there = {each["name"] for each in containers_in(merge(document, (name,)))}
        for field in ("env", "mounts"):
            for container in feature.get(field, {}):
                if container not in there:
                    yield Problem(f"features[{name}].{field}[{container}]", "there is no such container")
    for container in containers_in(everything):
        for field, key in (("env", "name"), ("mounts", "path")):
            said = [each[key] for each in container.get(field, ())]
            for twice in sorted({each for each in said if said.count(each) > 1}):
                yield Problem(f"containers[{container['name']}].{field}", f"{twice!r} is there more than once")


def _check_steps(merged: Manifest) -> Iterator[Problem]:
    if not any(each["name"] == MAIN for each in merged["containers"]):
        return
    for position, step in enumerate(merged["init"]):
        kind = "git" if "git" in step else "ssh" if "ssh" in step else ""
        if kind and find_mount(merged, step[kind]["path"]) is None:
            told = f"{step[kind]['path']} is in no volume that {MAIN!r} mounts and may write to"
            yield Problem(f"init[{position}].{kind}.path", told)


def _check_variables(everything: Manifest) -> Iterator[Problem]:
    for container in containers_in(everything):
        for each in container.get("env", ()):
            there = [source for source in _SOURCES if source in each]
            if len(there) > 1:
                where = f"containers[{container['name']}].env[{each['name']}]"
                yield Problem(where, f"has {' and '.join(there)}; it may have one of {', '.join(_SOURCES)}")


def _check_parameters(document: Manifest, everything: Manifest) -> Iterator[Problem]:
    schemas: Mapping[str, Manifest] = document.get("parameters", {})
    for name, schema in schemas.items():
        yield from find_schema_problems(schema, f"parameters[{name}]")
    used = used_parameters(everything)
    for name in sorted(set(used) - schemas.keys()):
        yield Problem("parameters", f"there is none of the name {name!r}, which is used")
    for name in sorted(schemas.keys() - set(used)):
        yield Problem(f"parameters[{name}]", "is used nowhere")
    without = {field: value for field, value in document.items() if field != "parameters"}
    for path, text in texts_in(without):
        for found in PLACEHOLDER.finditer(text):
            if found[1] in schemas:
                yield from _check_place(path, text, found.start(), found[1], schemas[found[1]])
    for container in containers_in(everything):
        words = [*container.get("command", ()), *container.get("args", ())]
        if any(_SHELL.fullmatch(each) for each in words) and any(map(PLACEHOLDER.search, container.get("args", ()))):
            told = "a parameter would be read by a shell; give it as a variable, and quote that"
            yield Problem(f"containers[{container['name']}].args", told)


def _check_place(path: str, text: str, at: int, name: str, schema: Mapping[str, Any]) -> Iterator[Problem]:
    if is_expanded(path):
        if ".args[" in f".{path}" and at == 0 and not is_bounded(schema):
            told = f"begins with parameter {name!r}, which might be any option; write --option= before it, or bound it"
            yield Problem(path, told)
    elif not _BOUNDED.fullmatch(path):
        yield Problem(path, f"parameter {name!r} may not stand here; only in args, env, image, sizes and repositories")
    elif not is_bounded(schema):
        yield Problem(path, f"parameter {name!r} needs an enum or a pattern to stand here")
