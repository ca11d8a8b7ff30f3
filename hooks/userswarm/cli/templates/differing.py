"""What is different between two revisions, and what that means for the swarms that are moved."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import yaml

from userswarm.spec.template.revisions import Revision
from userswarm.wire.k8s import Manifest


def compare(before: Revision, after: Revision) -> Iterator[str]:
    """Return the lines of a diff, and what moving from one to the other means."""
    names = [f"{each.name}/{each.number}" for each in (before, after)]
    old, new = (_written(each.document).splitlines() for each in (before, after))
    yield from difflib.unified_diff(old, new, names[0], names[1], lineterm="")
    yield ""
    if before.checksum == after.checksum:
        yield "a swarm that is moved stays as it is: nothing is built otherwise"
        return
    yield "a swarm that is moved restarts"
    yield from _consequences(before.document, after.document)


def _written(document: Manifest) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return text


def _consequences(before: Manifest, after: Manifest) -> Iterator[str]:
    """Name what makes the spec of some swarm invalid, or leaves a volume behind."""
    for field, one in (("features", "feature"), ("parameters", "parameter")):
        for name in sorted(before.get(field, {}).keys() - after.get(field, {}).keys()):
            yield f"invalid becomes a swarm that says {one} {name!r}: there is none any more"
    old, new = before.get("parameters", {}), after.get("parameters", {})
    for name, schema in new.items():
        if "default" not in schema and (name not in old or "default" in old[name]):
            yield f"invalid becomes a swarm that does not say parameter {name!r}: it has no default"
        elif name in old and _bounds(schema) != _bounds(old[name]):
            yield f"invalid may become a swarm by its parameter {name!r}: it may have other values"
    claims = [{each["name"]: each["claim"] for each in _volumes(side) if "claim" in each} for side in (before, after)]
    for name in sorted(claims[0].keys() - claims[1].keys()):
        yield f"the claim of volume {name!r} is kept, and used by nobody"


def _bounds(schema: Manifest) -> Manifest:
    return {key: value for key, value in schema.items() if key not in ("default", "description")}


def _volumes(document: Manifest) -> Iterator[Manifest]:
    yield from document.get("volumes", ())
    for feature in document.get("features", {}).values():
        yield from feature.get("volumes", ())
