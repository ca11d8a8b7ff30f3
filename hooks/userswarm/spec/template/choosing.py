"""Which template a swarm has, in which revision, and what becomes of its spec and its Pod by it.

A revision is said by the swarm's owner, by a roll-out in an annotation, by the status, where it was written when the
swarm was made, or it is the current one; in this order.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import Problem
from userswarm.spec.template.defaults import data_volume
from userswarm.spec.template.parameters import find_value_problems, written
from userswarm.spec.template.resolving import merge, set_parameters, used_parameters
from userswarm.spec.template.revisions import Revision, Templates
from userswarm.wire.k8s import Manifest, Observed

REVISION_ANNOTATION = "crawbl.ai/template-revision"
"""Written by a roll-out, as ``<name>/<revision>``; one for another template says nothing."""

FIELD = "spec.template"


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A swarm's template: its revision, and its fields with the features that are on and all parameters set."""

    revision: Revision
    resolved: Manifest


def choose(parent: Observed, asked: Manifest, templates: Templates, problems: list[Problem]) -> Choice | None:
    """Return the template that a valid spec.template asks for; None, and problems, where there is none such."""
    revision = _find_revision(parent, asked, templates, problems)
    if revision is None:
        return None
    before = len(problems)
    merged = merge(revision.document, features_on(revision.document, asked, problems))
    values = _read_parameters(revision.document, asked, used_parameters(merged), problems)
    return Choice(revision, set_parameters(merged, values)) if len(problems) == before else None


def features_on(document: Manifest, asked: Mapping[str, Any], problems: list[Problem]) -> list[str]:
    """Return the features that are on, by default or by what is asked."""
    known: Mapping[str, Manifest] = document.get("features", {})
    said: Mapping[str, bool] = asked.get("features", {})
    unknown = sorted(said.keys() - known.keys())
    problems.extend(Problem(f"{FIELD}.features[{name}]", _unknown("feature", name, known)) for name in unknown)
    return [name for name, feature in known.items() if said.get(name, feature.get("default", False))]


def find_unused(own: Manifest, resolved: Manifest) -> Iterator[Problem]:
    """Name what a swarm says itself and its template says in its place."""
    told = "the template says it; leave it out"
    for field in ("mode", "args", "port", "dataPath"):
        if field in own.get("runtime", {}):
            yield Problem(f"spec.runtime.{field}", told)
    if data_volume(resolved) is None:
        for field in ("size", "storageClassName"):
            if field in own.get("storage", {}):
                yield Problem(f"spec.storage.{field}", "the template has no volume 'data'; leave it out")
    if not resolved.get("config"):
        for field in own.get("config", {}).keys() - {"envSecretRef"}:
            yield Problem(f"spec.config.{field}", "the template has no configuration; leave it out")


def _find_revision(parent: Observed, asked: Manifest, templates: Templates, problems: list[Problem]) -> Revision | None:
    name: str = asked["name"]
    numbers = templates.numbers(name)
    if not numbers:
        hint = "" if templates.source else "; USERSWARM_TEMPLATES_DIR names no folder of them"
        problems.append(Problem(f"{FIELD}.name", _unknown("template", name, templates.names()) + hint))
        return None
    known = (parent.get("status") or {}).get("template")
    known = known if isinstance(known, dict) else {}
    number, by = _pinned(parent, asked, known)
    if number is None:
        current = templates.current(name)
        if current is None:
            told = f"{name!r} has no current revision: all are candidates or deprecated; say one of {_listed(numbers)}"
            problems.append(Problem(f"{FIELD}.revision", told))
        return current
    revision = templates.revisions.get((name, number))
    if revision is None:
        told = f"revision {number} of {name!r}, {by}, is not there; there are {_listed(numbers)}"
        problems.append(Problem(f"{FIELD}.revision", told))
    elif known.get("name") == name and known.get("revision") == number:
        made_of = known.get("checksum", revision.checksum)
        if made_of != revision.checksum:
            told = (
                f"revision {number} of {name!r} is not what this swarm was made of: its checksum was {made_of}, and is "
                f"{revision.checksum}; a released revision never changes: put it back, and release another"
            )
            problems.append(Problem(FIELD, told))
            return None
    return revision


def _pinned(parent: Observed, asked: Manifest, known: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return the revision that a swarm is to have, and who says so; None where nobody does."""
    if "revision" in asked:
        return asked["revision"], "which its spec asks for"
    noted = re.fullmatch(
        re.escape(asked["name"]) + r"/([1-9][0-9]{0,8})",
        str((parent["metadata"].get("annotations") or {}).get(REVISION_ANNOTATION, "")),
    )
    if noted:
        return int(noted[1]), f"which the annotation {REVISION_ANNOTATION} asks for"
    if known.get("name") == asked["name"] and isinstance(known.get("revision"), int):
        return known["revision"], "which it has"
    return None, ""


def _read_parameters(
    document: Manifest, asked: Manifest, used: Iterable[str], problems: list[Problem]
) -> dict[str, str]:
    """Return every parameter that has a value, as a text."""
    schemas: Mapping[str, Manifest] = document.get("parameters", {})
    said: Mapping[str, Any] = asked.get("parameters", {})
    unknown = sorted(said.keys() - schemas.keys())
    problems.extend(Problem(f"{FIELD}.parameters[{name}]", _unknown("parameter", name, schemas)) for name in unknown)
    values: dict[str, str] = {}
    for name, schema in schemas.items():
        if said.get(name) is not None:
            found = list(find_value_problems(schema, said[name], f"{FIELD}.parameters[{name}]"))
            problems.extend(found)
            values[name] = "" if found else written(said[name])
        elif "default" in schema:
            values[name] = written(schema["default"])
        elif name in used:
            told = f"is missing; {schema.get('description', 'the template has no default for it')}"
            problems.append(Problem(f"{FIELD}.parameters[{name}]", told))
    return values


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    listed = sorted(known)
    nearest = difflib.get_close_matches(name, listed, n=1)
    if nearest:
        return f"there is no {what} {name!r}; did you mean {nearest[0]}?"
    return f"there is no {what} {name!r}; there are {_listed(listed)}"


def _listed(known: Iterable[object]) -> str:
    return ", ".join(map(str, known)) or "none"
