"""A swarm that a person has put to rest: scaled to 0, all else kept."""

from __future__ import annotations

from userswarm.parts import runtime
from userswarm.parts.shape import Part, Sight, Verdict
from userswarm.spec.swarm import Swarm

SUSPENDED = "Suspended"


def read(swarm: Swarm) -> bool | None:
    """Return True for a swarm that shall rest, None for one that shall run."""
    return True if swarm.spec["suspend"] else None


def judge(suspended: bool, swarm: Swarm, sight: Sight) -> Verdict:
    """Say that it is not to be used, and whether its Pod is gone yet."""
    phase = SUSPENDED if runtime.is_stopped(swarm, sight) else "Progressing"
    return Verdict(False, SUSPENDED, "spec.suspend is true", phase=phase)


PART = Part(name="suspension", condition="Verified", read=read, judge=judge)
