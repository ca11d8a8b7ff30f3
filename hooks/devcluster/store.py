"""One table per kind, indexed by what the cluster's controllers look for.

Stored objects are shared by everybody who may `peek`: they are replaced, never edited.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from devcluster.objects import Key, Manifest, controller_of, key_of, labels_of
from devcluster.selectors import Selector


class Table:
    """All objects of one kind."""

    def __init__(self) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.by_namespace: dict[str, set[Key]] = {}
        self.by_label: dict[tuple[str, str], set[Key]] = {}
        self.by_controller: dict[str, set[Key]] = {}

    def put(self, obj: Manifest) -> None:
        """Add an object, or put it in the place of the one with its name."""
        key = key_of(obj)
        old = self.objects.get(key)
        if old is not None:
            self._unindex(key, old)
        self.objects[key] = obj
        for index, entry in self._entries(key, obj):
            index.setdefault(entry, set()).add(key)

    def remove(self, key: Key) -> None:
        """Take an object away."""
        self._unindex(key, self.objects.pop(key))

    def controlled_by(self, uid: str) -> list[Manifest]:
        """Return the objects that this owner controls; with "" those that nobody controls."""
        return self._objects(self.by_controller.get(uid, ()))

    def select(self, namespace: str | None, selector: Selector) -> list[Manifest]:
        """Return the objects of a namespace, or of all, that match; ordered by namespace and name."""
        keys: Collection[Key] = self.objects if namespace is None else self.by_namespace.get(namespace, ())
        for pair in selector.pairs():
            # Every index is a superset of the answer: look through the smallest.
            keys = min(keys, self.by_label.get(pair, ()), key=len)
        found = self._objects(keys)
        if selector.requirements:
            found = [obj for obj in found if selector.matches(labels_of(obj))]
        return [obj for obj in found if namespace is None or obj["metadata"].get("namespace", "") == namespace]

    def _objects(self, keys: Iterable[Key]) -> list[Manifest]:
        return [self.objects[key] for key in sorted(keys)]

    def _unindex(self, key: Key, obj: Manifest) -> None:
        for index, entry in self._entries(key, obj):
            keys = index[entry]
            keys.discard(key)
            if not keys:
                del index[entry]

    def _entries(self, key: Key, obj: Manifest) -> Iterable[tuple[dict, object]]:  # type: ignore[type-arg]
        yield self.by_namespace, key[0]
        controller = controller_of(obj)
        yield self.by_controller, controller["uid"] if controller else ""
        for pair in labels_of(obj).items():
            yield self.by_label, pair
