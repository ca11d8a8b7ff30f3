"""Who is moved, in which batch: decided from the list of swarms alone, the same for the same list."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from userswarm.backend.model import Swarm
from userswarm.reaper.amounts import Share

RESTING = frozenset({"Asleep", "Suspended"})
"""Phases in which a swarm has no Pod: moving it restarts nobody, and proves nothing."""

TROUBLED = frozenset({"Failed", "Invalid"})


class Skipped(StrEnum):
    """Why a swarm is not moved."""

    DELETING = "deleting"
    PINNED = "pinned"
    NOT_CHOSEN = "not-chosen"
    AWAKE = "awake"
    ALREADY = "already"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a roll-out is asked to do: `percent` of the template's swarms, so many at once."""

    template: str
    revision: int
    percent: int
    max_unavailable: Share
    only_asleep: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`under_way`: moved by an earlier run, and not seen to be well since; they come before any batch.

    Swarms that serve nobody are the last batch, however many: they are away already, and the others have shown by then
    that the revision is good.
    """

    skipped: Sequence[tuple[Swarm, Skipped]]
    under_way: Sequence[Swarm]
    batches: Sequence[Sequence[Swarm]]

    @property
    def total(self) -> int:
        """How many swarms are waited for."""
        return len(self.under_way) + sum(map(len, self.batches))


def make_plan(swarms: Iterable[Swarm], choice: Choice) -> Plan:
    """Return who is moved in which batch; swarms of other templates are left out."""
    ours = [swarm for swarm in swarms if swarm.template is not None and swarm.template.name == choice.template]
    ours.sort(key=lambda swarm: (place_in_row(swarm, choice.template), swarm.name))
    skipped: list[tuple[Swarm, Skipped]] = []
    under_way: list[Swarm] = []
    waiting: list[Swarm] = []
    troubled: list[Swarm] = []
    for swarm in ours:
        if reason := why_not(swarm, choice):
            skipped.append((swarm, reason))
        elif is_asked(swarm, choice):
            (under_way if was_well_when_moved(swarm) else troubled).append(swarm)
        else:
            (waiting if is_well(swarm) else troubled).append(swarm)
    size = batch_size(choice, len(ours))
    batches = [waiting[start : start + size] for start in range(0, len(waiting), size)]
    return Plan(skipped, under_way, [*batches, troubled] if troubled else batches)


def why_not(swarm: Swarm, choice: Choice) -> Skipped | None:
    """Return why a swarm of the template is not moved, None where it is."""
    template = swarm.template
    if swarm.deleting:
        return Skipped.DELETING
    if template is None or template.pinned:
        return Skipped.PINNED
    if template.revision == choice.revision and (template.asked == 0 or (is_asked(swarm, choice) and is_well(swarm))):
        return Skipped.ALREADY
    if place_in_row(swarm, choice.template) >= choice.percent:
        return Skipped.NOT_CHOSEN
    if choice.only_asleep and swarm.phase not in RESTING and not is_asked(swarm, choice):
        return Skipped.AWAKE
    return None


def is_asked(swarm: Swarm, choice: Choice) -> bool:
    """Tell whether the swarm has been asked to be of the revision."""
    return swarm.template is not None and swarm.template.asked == choice.revision


def is_well(swarm: Swarm) -> bool:
    """Tell whether the swarm serves its user, or rests."""
    return swarm.is_verified() or swarm.phase in RESTING


def was_well_when_moved(swarm: Swarm) -> bool:
    """Tell, of a swarm that an earlier run has moved, whether it was well then."""
    return swarm.template is not None and not swarm.template.moved_while


def place_in_row(swarm: Swarm, template: str) -> int:
    """Return 0 to 99, by the swarm's name alone: who is among the first 5 % is among the first 20 %, at any time."""
    digest = hashlib.sha256(f"{template}/{swarm.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def batch_size(choice: Choice, swarms: int) -> int:
    """Return how many may be away at once, of so many: at least one."""
    share = choice.max_unavailable
    return max(1, swarms * share.number // 100 if share.percent else share.number)
