"""The observed children and related objects, indexed; no judgement.

Objects are found by their own namespace and name: the keys of a request differ between hook versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from userswarm.wire.envelope import Groups, HookRequest
from userswarm.wire.k8s import Kind, Observed, read_time


@dataclass(frozen=True, slots=True)
class Observation:
    """What Metacontroller saw: the children that the parent owns; and what was read besides, for an earlier need."""

    _children: Groups
    _related: Groups
    _unavailable: Mapping[str, str]

    def child(self, kind: Kind, namespace: str, name: str) -> Observed | None:
        """Return the owned object of that kind and name, or None."""
        return _find(self._children, kind, namespace, name)

    def children(self, kind: Kind | None = None) -> Iterator[Observed]:
        """Iterate over the owned objects of one kind, or of all kinds, in a stable order."""
        return _objects(self._children, kind)

    def changed_at(self, *kinds: Kind) -> datetime | None:
        """Return when a child of one of these kinds, or of any kind, was changed last; None where none says so.

        The API server notes it beside every object, so it is known though no answer has written it down.
        """
        children = [child for kind in kinds or (None,) for child in _objects(self._children, kind)]
        return max((moment for child in children for moment in _changes(child)), default=None)

    def related(self, kind: Kind, namespace: str, name: str) -> Observed | None:
        """Return the related object of that kind and name, whoever owns it, or None."""
        return _find(self._related, kind, namespace, name)

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


def _find(groups: Groups, kind: Kind, namespace: str, name: str) -> Observed | None:
    objects = groups.get(kind.group)
    if not objects:
        return None
    # The key of v2 hooks, and almost always right; the object's own metadata decides.
    found = objects.get(f"{namespace}/{name}" if namespace else name)
    if found is not None:
        metadata = found["metadata"]
        if metadata["name"] == name and metadata.get("namespace", "") == namespace:
            return found
    return next((candidate for candidate in objects.values() if _is(candidate, namespace, name)), None)


def _is(candidate: Observed, namespace: str, name: str) -> bool:
    metadata = candidate["metadata"]
    found: bool = metadata["name"] == name and metadata.get("namespace", "") == namespace
    return found


def _changes(child: Observed) -> Iterator[datetime]:
    metadata = child["metadata"]
    entries = metadata.get("managedFields")
    written = [each.get("time") for each in (entries if isinstance(entries, list) else ()) if isinstance(each, dict)]
    for text in (metadata.get("creationTimestamp"), *written):
        moment = read_time(text)
        if moment is not None:
            yield moment


def _objects(groups: Groups, kind: Kind | None) -> Iterator[Observed]:
    for group in sorted(groups) if kind is None else (kind.group,):
        objects = groups.get(group, {})
        for key in sorted(objects):
            yield objects[key]
