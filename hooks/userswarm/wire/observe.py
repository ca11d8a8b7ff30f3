"""The observed children and related objects, indexed; no judgement.

Objects are found by their own namespace and name: the keys of a request differ between hook versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from userswarm.wire.envelope import Groups, HookRequest
from userswarm.wire.k8s import CLAIM, STATEFUL_SET, Kind, Observed, read_time

Key = tuple[str, str, str]
"""What tells an object from every other: its group, its namespace (empty for none), its name."""

_GETS_ON = (CLAIM.kind, STATEFUL_SET.kind)
"""What comes about in more than one step."""


@dataclass(frozen=True)
class Observation:
    """What Metacontroller saw: the children that the parent owns; and what was read besides, for an earlier need."""

    _children: Groups
    _related: Groups
    _unavailable: Mapping[str, str]
    by_key: Mapping[Key, Observed] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_key", _by_key(self._children))

    def child(self, kind: Kind, namespace: str, name: str) -> Observed | None:
        """Return the owned object of that kind and name, or None."""
        return self.by_key.get((kind.group, namespace, name))

    def children(self, kind: Kind | None = None) -> Iterator[Observed]:
        """Iterate over the owned objects of one kind, or of all kinds, in a stable order."""
        return _objects(self._children, kind)

    @cached_property
    def got_on_at(self) -> datetime | None:
        """When a child was made, or a StatefulSet or claim changed, last; None where none says so.

        The API server notes it beside every object, so it is known though no answer has written it down.
        """
        texts = {text for child in self.by_key.values() for text in _changes(child) if isinstance(text, str)}
        # All are written in one form, so that the latest comes last among them as texts: one is enough to be read.
        return next((moment for text in sorted(texts, reverse=True) if (moment := read_time(text)) is not None), None)

    def related(self, kind: Kind, namespace: str, name: str) -> Observed | None:
        """Return the related object of that kind and name, whoever owns it, or None."""
        return _by_key({kind.group: self._related.get(kind.group, {})}).get((kind.group, namespace, name))

    def all_related(self, kind: Kind) -> Iterator[Observed]:
        """Iterate over the related objects of one kind in a stable order."""
        return _objects(self._related, kind)

    def relates(self, kind: Kind) -> bool:
        """Tell whether objects of that kind were read, so that one not listed is really not there."""
        return kind.group in self._related

    def unavailable(self, kind: Kind) -> str:
        """Say why objects of that kind were asked for and could not be read; an empty text where they were not."""
        return self._unavailable.get(kind.group, "")

    @property
    def not_asked(self) -> str:
        """Why the swarm's Service was to be asked and was not; an empty text where it was, or was not to be."""
        return self._unavailable.get("http", "")


def observe(request: HookRequest) -> Observation:
    """Index the objects of a request without copying them."""
    return Observation(request.children, request.related, request.unavailable)


def _by_key(groups: Groups) -> dict[Key, Observed]:
    return {
        (group, (metadata := observed["metadata"]).get("namespace", ""), metadata["name"]): observed
        for group, objects in groups.items()
        for observed in objects.values()
    }


def _changes(child: Observed) -> Iterator[object]:
    """Iterate over what is said of when a child was made and got on."""
    metadata = child["metadata"]
    yield metadata.get("creationTimestamp")
    entries = metadata.get("managedFields") if child["kind"] in _GETS_ON else None
    if isinstance(entries, list):
        yield from (each.get("time") for each in entries if isinstance(each, dict))


def _objects(groups: Groups, kind: Kind | None) -> Iterator[Observed]:
    for group in sorted(groups) if kind is None else (kind.group,):
        objects = groups.get(group, {})
        for key in sorted(objects):
            yield objects[key]
