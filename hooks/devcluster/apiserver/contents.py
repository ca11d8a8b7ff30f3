"""What the server holds: the kinds that it serves, the objects that are stored, and who owns which fields of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

from devcluster import selectors
from devcluster.apiserver.watching import EventLog, WatchEvent
from devcluster.crd import CustomResource, Rules
from devcluster.errors import ApiError, not_found
from devcluster.kinds import BUILT_IN, Kind
from devcluster.objects import Key, Manifest, Observed, copy_json, key_of, owners_of
from devcluster.ownership import Owners, managed_fields
from devcluster.selectors import Selector
from devcluster.store import Table

# Inside the class, `list` is the method.
Manifests = list[Manifest]
Kinds = list[Kind]
WatchEvents = list[WatchEvent]
Everything = list[tuple[Kind, Manifest]]
Dependents = list[tuple[Kind, Observed]]


class Contents:
    """What is stored and what is told of it; whoever writes has checked before."""

    def __init__(self, history: int) -> None:
        self.lock = threading.RLock()
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._resources: dict[tuple[str, str], Kind] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._owners: dict[str, Owners] = {}
        self._by_uid: dict[str, tuple[Kind, Key]] = {}
        self._dependents: dict[str, dict[tuple[Kind, Key], None]] = {}
        self._events = EventLog(history)
        self._version = 0
        for kind in BUILT_IN:
            self.register(kind)

    @contextlib.contextmanager
    def unlocked(self) -> Iterator[None]:
        """Let other threads in for a while, however often this one holds the lock: a hook may read what is stored."""
        held = 0
        with contextlib.suppress(RuntimeError):
            while True:
                self.lock.release()
                held += 1
        try:
            yield
        finally:
            for _ in range(held):
                self.lock.acquire()

    # Kinds

    def register(self, kind: Kind) -> None:
        """Serve one more kind."""
        self._kinds[kind.api_version, kind.kind] = kind
        self._resources[kind.api_version, kind.plural] = kind
        self._tables.setdefault((kind.api_version, kind.kind), Table())

    def register_crd(self, crd: Observed, rules: Rules | None = None) -> Kind:
        """Serve the kind of a CustomResourceDefinition, in its stored version; `rules` says what its CEL means.

        Raises SchemaError where the CRD uses a keyword, or a CEL rule, that this server does not know.
        """
        custom = CustomResource(crd, rules or {})
        kind = Kind(
            custom.api_version,
            custom.kind,
            custom.plural,
            namespaced=custom.namespaced,
            generation=True,
            status=custom.has_status,
            custom=custom,
        )
        self.register(kind)
        return kind

    @property
    def kinds(self) -> Kinds:
        """Every kind that is served, in order of registration."""
        return list(self._kinds.values())

    def kind(self, api_version: str, kind: str) -> Kind:
        """Return a kind by its name; 404 if it is not served."""
        try:
            return self._kinds[api_version, kind]
        except KeyError:
            raise ApiError(404, "NotFound", f'no matches for kind "{kind}" in version "{api_version}"') from None

    def resource(self, api_version: str, plural: str) -> Kind:
        """Return a kind by its resource name; 404 if it is not served."""
        try:
            return self._resources[api_version, plural]
        except KeyError:
            raise ApiError(404, "NotFound", f"the server could not find {plural} in {api_version}") from None

    # Reading

    @property
    def resource_version(self) -> int:
        """The newest resourceVersion."""
        return self._version

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Manifest:
        """Return a copy of an object; 404 if there is none."""
        with self.lock:
            wanted = self.kind(api_version, kind)
            found = self._tables[api_version, kind].objects.get((namespace or "", name))
            if found is None:
                raise not_found(wanted.resource, name)
            copy: Manifest = copy_json(found)
            return copy

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | Mapping[str, str] | Selector | None = None,
    ) -> Manifests:
        """Return copies of the objects of one namespace, or of all, by namespace and name."""
        with self.lock:
            self.kind(api_version, kind)
            if label_selector is None:
                selector = selectors.EVERYTHING
            elif isinstance(label_selector, str):
                selector = selectors.from_text(label_selector)
            elif isinstance(label_selector, Selector):
                selector = label_selector
            else:
                selector = selectors.from_labels(label_selector)
            return [copy_json(obj) for obj in self.scan(api_version, kind, namespace, selector)]

    def peek(self, api_version: str, kind: str, namespace: str | None, name: str) -> Observed | None:
        """Return the stored object itself, None if there is none. It must not be edited."""
        return self._tables[api_version, kind].objects.get((namespace or "", name))

    def scan(
        self, api_version: str, kind: str, namespace: str | None = None, selector: Selector = selectors.EVERYTHING
    ) -> Manifests:
        """Return the stored objects themselves, by namespace and name. They must not be edited."""
        return self._tables[api_version, kind].select(namespace, selector)

    def controlled_by(self, api_version: str, kind: str, uid: str) -> Manifests:
        """Return the stored objects that an owner controls; with uid "" those that nobody controls."""
        return self._tables[api_version, kind].controlled_by(uid)

    def find_uid(self, uid: str) -> Observed | None:
        """Return the stored object that has a uid."""
        return self.peek_uid(uid) if uid in self._by_uid else None

    def peek_uid(self, uid: str) -> Observed:
        """Return the stored object that has a uid, where there must be one."""
        kind, key = self._by_uid[uid]
        return self._tables[kind.api_version, kind.kind].objects[key]

    def dependents(self, uid: str) -> Dependents:
        """Return the stored objects that name a uid among their owners, oldest first."""
        found = self._dependents.get(uid, {})
        return [(kind, self._tables[kind.api_version, kind.kind].objects[key]) for kind, key in found]

    def everything_in(self, namespace: str) -> Everything:
        """Return all stored objects of a namespace, by kind and name."""
        return [
            (kind, obj)
            for kind in self._kinds.values()
            if kind.namespaced
            for obj in self._tables[kind.api_version, kind.kind].select(namespace, selectors.EVERYTHING)
        ]

    # Watching

    def subscribe(self, callback: Callable[[WatchEvent], None]) -> Callable[[], None]:
        """Call `callback` with every event from now on, while the write is still under way; return how to stop."""
        return self._events.subscribe(callback)

    def events_since(self, resource_version: int) -> WatchEvents:
        """Return every event after a resourceVersion, oldest first; 410 if some of them are forgotten."""
        with self.lock:
            return self._events.since(resource_version)

    def compact(self) -> None:
        """Forget all events, so that watches from before now have to list again."""
        with self.lock:
            self._events.compact(self._version)

    # Storing

    def _stored(self, kind: Kind, obj: Observed) -> Manifest:
        metadata = obj["metadata"]
        key = (metadata.get("namespace") or "", metadata.get("name") or "")
        found = self._tables[kind.api_version, kind.kind].objects.get(key)
        if found is None:
            raise not_found(kind.resource, key[1])
        return found

    def _store(self, event: str, kind: Kind, new: Manifest, old: Manifest | None, owners: Owners) -> Manifest:
        self._version += 1
        metadata = new["metadata"]
        uid = metadata["uid"]
        metadata["resourceVersion"] = str(self._version)
        if old is None or owners is not self._owners.get(uid):
            metadata["managedFields"] = managed_fields(owners, kind.api_version)
        self._owners[uid] = owners
        key = key_of(new)
        self._tables[kind.api_version, kind.kind].put(new)
        self._by_uid[uid] = (kind, key)
        self._index_owners(kind, key, old, new)
        self._events.tell(WatchEvent(event, kind, new, old, self._version))
        return new

    def _remove(self, kind: Kind, old: Manifest) -> Manifest:
        self._version += 1
        key = key_of(old)
        uid = old["metadata"]["uid"]
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self._version)}}
        self._tables[kind.api_version, kind.kind].remove(key)
        del self._owners[uid], self._by_uid[uid]
        self._index_owners(kind, key, old, None)
        self._events.tell(WatchEvent("DELETED", kind, last, None, self._version))
        return last

    def _index_owners(self, kind: Kind, key: Key, old: Observed | None, new: Observed | None) -> None:
        before = {owner["uid"] for owner in owners_of(old)} if old else set()
        after = {owner["uid"] for owner in owners_of(new)} if new else set()
        for uid in sorted(before - after):
            del self._dependents[uid][kind, key]
            if not self._dependents[uid]:
                del self._dependents[uid]
        for uid in sorted(after - before):
            self._dependents.setdefault(uid, {})[kind, key] = None
