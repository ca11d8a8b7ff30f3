"""What a Dedicated swarm is promised to have around it.

Walls stand before the first Pod behind them, and until the last one is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from userswarm.errors import Problem
from userswarm.parts.dedicated.isolation import Isolation, read_isolation
from userswarm.parts.shape import Part, Sight, Verdict, judge_present
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import Kind, Manifest

CONDITION = "NamespaceReady"


def read(swarm: Swarm) -> Isolation | None:
    """Return what a Dedicated swarm asks for; None for one that shares its namespace."""
    return read_isolation(swarm.asked)


def wall(
    name: str,
    kinds: tuple[Kind, ...],
    build: Callable[[Any, Swarm], list[Manifest]],
    misfits: Callable[[Any, Sequence[Manifest]], Iterator[Problem]] = lambda config, children: iter(()),
) -> Part:
    """Return the part of one wall, whose children have no state but to be there."""
    by_name = {kind.kind: kind for kind in kinds}

    def judge(isolation: Isolation, swarm: Swarm, sight: Sight) -> Verdict | None:
        for child in build(isolation, swarm):
            missing = judge_present(by_name[child["kind"]], child["metadata"]["name"], swarm, sight)
            if missing is not None:
                return missing
        return None

    return Part(
        name=name,
        condition=CONDITION,
        kinds=kinds,
        read=read,
        build=build,
        judge=judge,
        misfits=misfits,
        gate=2,
        stage=1,
    )
