"""The templates that a platform offers, by name and revision, and which revision a swarm has.

A revision never changes once it is released; so a new one restarts nobody: a swarm keeps the one that its status
names until its owner or a roll-out says another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from userswarm.wire.k8s import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Revision:
    """One revision of a template; `checksum` is that of all that children are made of. Never edited."""

    name: str
    number: int
    checksum: str
    document: Manifest

    @property
    def candidate(self) -> bool:
        """Whether it is not released yet: only who names it gets it."""
        return bool(self.document.get("candidate"))

    @property
    def deprecated(self) -> bool:
        """Whether nobody new shall get it."""
        return bool(self.document.get("deprecated"))


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """All templates of a folder, `source`; compared by identity, for they are part of what plans are remembered by."""

    source: str = ""
    revisions: Mapping[tuple[str, int], Revision] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names of all templates."""
        return sorted({name for name, _ in self.revisions})

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of all revisions of a template."""
        return sorted(number for each, number in self.revisions if each == name)

    def of(self, name: str) -> Iterator[Revision]:
        """Iterate over the revisions of a template, the first one first."""
        return (self.revisions[name, number] for number in self.numbers(name))

    def current(self, name: str) -> Revision | None:
        """Return the revision that a new swarm gets: the last one that is released and not deprecated."""
        released = [each for each in self.of(name) if not each.candidate and not each.deprecated]
        return released[-1] if released else None


NO_TEMPLATES = Templates()
