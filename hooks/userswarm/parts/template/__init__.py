"""The template that a swarm is made of: what is remembered of it, so that a new revision restarts nobody by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from userswarm.parts.shape import Part, Sight
from userswarm.spec.swarm import Swarm, Templated


def read(swarm: Swarm) -> Templated | None:
    """Return a swarm's template, None for one without."""
    return swarm.asked.template


def report(template: Templated, swarm: Swarm, sight: Sight) -> Mapping[str, Any]:
    """Return which revision the swarm has, and what that was when it got it."""
    revision = template.revision
    return {"template": {"name": revision.name, "revision": revision.number, "checksum": revision.checksum}}


PART = Part(name="template", condition="WorkloadReady", read=read, report=report, reports={"template": dict})
