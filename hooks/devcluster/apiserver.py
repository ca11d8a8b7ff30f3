"""The API server: stores objects and refuses what a real one refuses.

Every write is checked, defaulted, versioned, logged in `writes`, and told to whoever subscribed. Objects that go
in or come out are copies; `peek` and `scan` share the stored ones, for the cluster's own parts, which never edit
what they read. Watches read a bounded log of events by resourceVersion.
"""

from __future__ import annotations

import contextlib
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster import selectors
from devcluster.clock import Clock
from devcluster.crd import CustomResource, Rules
from devcluster.defaults import add_defaults, as_stored
from devcluster.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    gone,
    invalid,
    not_found,
)
from devcluster.kinds import BUILT_IN, Kind
from devcluster.metadata import metadata_problems
from devcluster.objects import Key, Manifest, Observed, copy_json, is_deleting, key_of, owners_of, same_json, suffix
from devcluster.ownership import (
    BUILT_IN_LISTS,
    Lists,
    Manager,
    Owners,
    changes,
    field_name,
    find_conflicts,
    flatten,
    managed_fields,
    merge_applied,
    record_apply,
    record_update,
    remove_fields,
)
from devcluster.selectors import Selector
from devcluster.store import Table
from devcluster.validation import creation_problems, update_problems

_SET_BY_SERVER = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_KEPT = (*_SET_BY_SERVER, "managedFields", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Write:
    """One write that somebody asked for; `code` is "ok" or the error's reason, `changed` whether it was stored."""

    verb: str
    kind: str
    namespace: str
    name: str
    actor: str
    code: str
    changed: bool
    at: float

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.verb} {self.kind} {place} by {self.actor}: {self.code}"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED or DELETED, as a watch reports it; `old` is the object before a MODIFIED."""

    type: str
    kind: Kind
    object: Observed
    old: Observed | None
    resource_version: int


@dataclass(slots=True)
class AdmissionRequest:
    """What an admission step may look at, edit (`object`) or refuse by raising ApiError.

    `operation` is CREATE, UPDATE, DELETE or STATUS; `old` is None for CREATE.
    """

    operation: str
    kind: Kind
    object: Manifest
    old: Observed | None
    actor: str


Admission = Callable[[AdmissionRequest], None]

# Inside the class, `list` is the method.
Manifests = list[Manifest]
Kinds = list[Kind]
WatchEvents = list[WatchEvent]
Contents = list[tuple[Kind, Manifest]]
Dependents = list[tuple[Kind, Observed]]


class ApiServer:
    """An in-memory Kubernetes API server. All times are the clock's; all uids and name suffixes come from `seed`."""

    def __init__(self, clock: Clock, *, seed: int = 0, history: int = 20_000) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.random = random.Random(seed)  # noqa: S311 - names and uids that a test can repeat
        self.writes: list[Write] = []
        self.admission: list[Admission] = []
        # The last steps, for an object that is valid and new: quotas are not charged for any other.
        self.validating: list[Admission] = []
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._resources: dict[tuple[str, str], Kind] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._owners: dict[str, Owners] = {}
        self._by_uid: dict[str, tuple[Kind, Key]] = {}
        self._dependents: dict[str, dict[tuple[Kind, Key], None]] = {}
        self._subscribers: list[Callable[[WatchEvent], None]] = []
        self._events: deque[WatchEvent] = deque()
        self._history = history
        self._version = 0
        self._compacted = 0
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

    def everything_in(self, namespace: str) -> Contents:
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
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def events_since(self, resource_version: int) -> WatchEvents:
        """Return every event after a resourceVersion, oldest first; 410 if some of them are forgotten."""
        with self.lock:
            if resource_version < self._compacted:
                raise gone(f"too old resource version: {resource_version} ({self._compacted})")
            newer: WatchEvents = []
            for event in reversed(self._events):
                if event.resource_version <= resource_version:
                    break
                newer.append(event)
            return newer[::-1]

    def compact(self) -> None:
        """Forget all events, so that watches from before now have to list again."""
        with self.lock:
            self._events.clear()
            self._compacted = self._version

    # Writing

    def count_writes(self, actor: str | None = None, since: int = 0, *, events: bool = True) -> int:
        """Count the writes from the `since`-th on, of one actor or of all; `events` includes kind Event."""
        return sum(
            (actor is None or write.actor == actor) and (events or write.kind != "Event")
            for write in self.writes[since:]
        )

    def create(self, obj: Observed, *, actor: str = "kubectl") -> Manifest:
        """Store a new object and return it; generateName is honoured."""
        with self.lock:
            kind, new = self._parse(obj)
            metadata = new["metadata"]
            if not metadata.get("name") and metadata.get("generateName"):
                metadata["name"] = f"{metadata['generateName'][:58]}{suffix(self.random)}"
            with self._logged("create", kind, new, actor) as log:
                stored = self._create(kind, new, Manager(actor), actor)
                log.changed = True
                copy: Manifest = copy_json(stored)
                return copy

    def update(self, obj: Observed, *, actor: str = "kubectl") -> Manifest:
        """Replace an object, all but its status; 409 if its resourceVersion or uid is not the stored one."""
        return self._replace("update", obj, actor, "")

    def update_status(self, obj: Observed, *, actor: str = "kubectl") -> Manifest:
        """Replace the status of an object, and nothing else."""
        return self._replace("update_status", obj, actor, "status")

    def patch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        name: str,
        patch: Observed,
        *,
        subresource: str = "",
        actor: str = "kubectl",
    ) -> Manifest:
        """Apply a JSON merge patch (RFC 7386)."""
        with self.lock:
            wanted = self.kind(api_version, kind)
            reference = {"metadata": {"namespace": namespace or "", "name": name}}
            with self._logged("patch_status" if subresource else "patch", wanted, reference, actor) as log:
                old = self._stored(wanted, reference)
                new = _merge_patch(copy_json(old), patch)
                if "resourceVersion" not in patch.get("metadata", {}):
                    new["metadata"].pop("resourceVersion", None)
                stored = self._update(wanted, new, Manager(actor, "Update", subresource), actor, unconditional=True)
                log.changed = stored is not old
                copy: Manifest = copy_json(stored)
                return copy

    def apply(self, obj: Observed, field_manager: str, *, force: bool = False, actor: str | None = None) -> Manifest:
        """Server-side apply: create the object, or own and set exactly these fields of it.

        Raises Conflict naming the other manager of a field that would change, unless forced.
        """
        with self.lock:
            kind, applied = self._parse(obj)
            actor = actor or field_manager
            with self._logged("apply", kind, applied, actor) as log:
                if obj["metadata"].get("managedFields"):
                    raise bad_request("metadata.managedFields must be nil")
                applied = as_stored(kind.kind, applied) if kind.custom is None else applied
                old = self._tables[kind.api_version, kind.kind].objects.get(key_of(applied))
                manager = Manager(field_manager, "Apply")
                stored = self._apply(kind, applied, old, manager, actor, force=force)
                log.changed = stored is not old
                copy: Manifest = copy_json(stored)
                return copy

    def delete(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace_period: int | None = None,
        actor: str = "kubectl",
    ) -> Manifest:
        """Delete an object, or mark it as deleting while finalizers or a pod's grace hold it; return its last state."""
        with self.lock:
            wanted = self.kind(api_version, kind)
            reference = {"metadata": {"namespace": namespace or "", "name": name}}
            with self._logged("delete", wanted, reference, actor) as log:
                old = self._stored(wanted, reference)
                for field, want in (("uid", uid), ("resourceVersion", resource_version)):
                    have = old["metadata"][field]
                    if want is not None and want != have:
                        raise conflict(
                            wanted.resource,
                            name,
                            f"Precondition failed: {field} in precondition: {want}, in object meta: {have}",
                        )
                self._admit(AdmissionRequest("DELETE", wanted, copy_json(old), old, actor))
                stored = self._delete(wanted, old, propagation, grace_period)
                log.changed = stored is not old
                copy: Manifest = copy_json(stored)
                return copy

    def finalize_namespace(self, name: str, *, actor: str) -> None:
        """Take a Terminating namespace away; it has to be empty."""
        with self.lock:
            kind = self.kind("v1", "Namespace")
            old = self._stored(kind, {"metadata": {"name": name}})
            with self._logged("finalize", kind, old, actor) as log:
                if self.everything_in(name):
                    raise conflict(kind.resource, name, "there is content in it")
                self._remove(kind, old)
                log.changed = True

    # How a write is done

    def _logged(self, verb: str, kind: Kind, obj: Observed, actor: str) -> _LogEntry:
        return _LogEntry(self, verb, kind, obj, actor)

    def _parse(self, obj: Observed) -> tuple[Kind, Manifest]:
        try:
            # Who owns what is for the server to say.
            sent = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}
            new: dict[str, Any] = copy_json(sent)
        except (TypeError, KeyError, AttributeError) as error:
            raise bad_request(f"the object is not JSON with metadata: {error}") from None
        if not isinstance(new.get("apiVersion"), str) or not isinstance(new.get("kind"), str):
            raise bad_request("Object 'Kind' is missing: apiVersion and kind must be set")
        kind = self.kind(new["apiVersion"], new["kind"])
        metadata = new["metadata"]
        if kind.namespaced and not metadata.get("namespace"):
            raise bad_request(f"{kind.kind}: an empty namespace may not be set during creation")
        if not kind.namespaced and metadata.pop("namespace", None):
            raise bad_request(f"{kind.kind} is cluster-scoped: metadata.namespace must not be set")
        return kind, new

    def _stored(self, kind: Kind, obj: Observed) -> Manifest:
        metadata = obj["metadata"]
        key = (metadata.get("namespace") or "", metadata.get("name") or "")
        found = self._tables[kind.api_version, kind.kind].objects.get(key)
        if found is None:
            raise not_found(kind.resource, key[1])
        return found

    def _admit(self, request: AdmissionRequest) -> None:
        for step in self.admission:
            step(request)

    def _require_live_namespace(self, kind: Kind, obj: Observed) -> None:
        if not kind.namespaced:
            return
        name = obj["metadata"]["namespace"]
        namespace = self.peek("v1", "Namespace", None, name)
        if namespace is None:
            raise not_found("namespaces", name)
        if is_deleting(namespace):
            raise forbidden(
                kind.resource,
                obj["metadata"].get("name", ""),
                f"unable to create new content in namespace {name} because it is being terminated",
            )

    def _create(
        self, kind: Kind, new: Manifest, manager: Manager, actor: str, applied: Owners | None = None
    ) -> Manifest:
        self._require_live_namespace(kind, new)
        metadata = new["metadata"]
        for name in (*_SET_BY_SERVER, "managedFields"):
            metadata.pop(name, None)
        if metadata.pop("resourceVersion", None):
            raise bad_request("resourceVersion should not be set on objects to be created")
        if kind.status:
            new.pop("status", None)
        metadata["uid"] = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = self.clock.timestamp()
        if kind.generation:
            metadata["generation"] = 1
        new = self._complete(kind, new)
        request = AdmissionRequest("CREATE", kind, new, None, actor)
        self._admit(request)
        problems = [*metadata_problems(kind.names, new), *creation_problems(kind.kind, new)]
        if kind.custom is not None:
            problems += kind.custom.problems(new, None)
        if problems:
            raise invalid(kind.qualified, metadata.get("name") or "", problems)
        if key_of(new) in self._tables[kind.api_version, kind.kind].objects:
            raise already_exists(kind.resource, metadata["name"])
        for step in self.validating:
            step(request)
        lists = _lists(kind)
        owners = record_update({}, manager, {}, flatten(new, lists), self.clock.timestamp())
        return self._store("ADDED", kind, new, None, applied or owners)

    def _complete(self, kind: Kind, obj: Manifest) -> Manifest:
        """Return the object as it is stored: pruned, with quantities in canonical form and defaults filled in.

        It shares nothing with what it was made from but managedFields, which nobody edits.
        """
        metadata = dict(obj["metadata"])
        managed = metadata.pop("managedFields", None)
        obj = {**obj, "metadata": metadata}
        if kind.custom is not None:
            complete = kind.custom.complete(obj)
        else:
            complete = add_defaults(kind.kind, as_stored(kind.kind, obj), self.random)
        if managed is not None:
            complete["metadata"]["managedFields"] = managed
        return complete

    def _replace(self, verb: str, obj: Observed, actor: str, subresource: str) -> Manifest:
        with self.lock:
            kind, new = self._parse(obj)
            with self._logged(verb, kind, new, actor) as log:
                if subresource and not kind.status:
                    raise not_found(f"{kind.resource}/status", new["metadata"].get("name") or "")
                old = self._stored(kind, new)
                stored = self._update(kind, new, Manager(actor, "Update", subresource), actor)
                log.changed = stored is not old
                copy: Manifest = copy_json(stored)
                return copy

    def _update(
        self,
        kind: Kind,
        new: Manifest,
        manager: Manager,
        actor: str,
        *,
        unconditional: bool = False,
        applied: Owners | None = None,
    ) -> Manifest:
        """Store a changed object; return the stored one as it is where nothing changed."""
        old = self._stored(kind, new)
        self._check_preconditions(kind, old, new, unconditional=unconditional)
        new = _with_untouchables(kind, old, new, status_only=bool(manager.subresource))
        new = self._complete(kind, new)
        metadata, old_metadata = new["metadata"], old["metadata"]
        if is_deleting(old) and set(metadata.get("finalizers", ())) - set(old_metadata.get("finalizers", ())):
            problem = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"
            raise invalid(kind.qualified, metadata["name"], [problem])
        request = AdmissionRequest("STATUS" if manager.subresource else "UPDATE", kind, new, old, actor)
        self._admit(request)
        problems = [*metadata_problems(kind.names, new), *update_problems(kind.kind, old, new)]
        if kind.custom is not None:
            problems += kind.custom.problems(new, old)
        if problems:
            raise invalid(kind.qualified, metadata["name"], problems)
        for step in self.validating:
            step(request)
        if kind.generation and _spec_changed(old, new, by_spec=kind.custom is None):
            metadata["generation"] = old_metadata["generation"] + 1
        owners = self._owners[metadata["uid"]]
        if same_json(old, new):
            if applied is None or applied == owners:
                return old
        elif applied is None:
            before, after = (flatten(each, _lists(kind)) for each in changes(old, new))
            owners = record_update(owners, manager, before, after, self.clock.timestamp())
        stored = self._store("MODIFIED", kind, new, old, applied or owners)
        if is_deleting(stored) and not stored["metadata"].get("finalizers") and not _in_grace(kind, stored):
            self._remove(kind, stored)
        return stored

    def _check_preconditions(self, kind: Kind, old: Observed, new: Observed, *, unconditional: bool) -> None:
        metadata = new["metadata"]
        name = metadata["name"]
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if uid and uid != old["metadata"]["uid"]:
            message = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise conflict(kind.resource, name, message)
        if version and version != old["metadata"]["resourceVersion"]:
            message = "the object has been modified; please apply your changes to the latest version and try again"
            raise conflict(kind.resource, name, message)
        if not version and kind.custom is not None and not unconditional:
            problem = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            raise invalid(kind.qualified, name, [problem])

    def _apply(
        self, kind: Kind, applied: Manifest, old: Manifest | None, manager: Manager, actor: str, *, force: bool
    ) -> Manifest:
        lists = _lists(kind)
        fields = flatten(applied, lists)
        mine = frozenset(fields)
        now = self.clock.timestamp()
        if old is None:
            return self._create(kind, applied, manager, actor, record_apply({}, manager, mine, set(), now))
        live = flatten(old, lists)
        owners = self._owners[old["metadata"]["uid"]]
        conflicts = find_conflicts(owners, manager, live, fields)
        if conflicts and not force:
            text = "; ".join(
                f'conflict with "{name}": {", ".join(map(field_name, paths))}' for name, paths in conflicts.items()
            )
            raise ApiError(409, "Conflict", f"Apply failed with {len(conflicts)} conflicts: {text}")
        new: Manifest = merge_applied(copy_json(old), applied, lists)
        before = owners.get(manager)
        if before is not None:
            others = {path for other, claim in owners.items() if other != manager for path in claim.fields}
            remove_fields(new, before.fields - mine, others, lists)
        taken = {path for paths in conflicts.values() for path in paths}
        after = record_apply(owners, manager, mine, taken, now)
        return self._update(kind, new, manager, actor, unconditional=True, applied=after)

    def _delete(self, kind: Kind, old: Manifest, propagation: str, grace_period: int | None) -> Manifest:
        new: Manifest = copy_json(old)
        metadata = new["metadata"]
        finalizers = [name for name in metadata.get("finalizers", ()) if name not in {"orphan", "foregroundDeletion"}]
        finalizers += {"Orphan": ["orphan"], "Foreground": ["foregroundDeletion"]}.get(propagation, [])
        grace = _grace(kind, old, grace_period)
        held = bool(finalizers) or grace > 0 or kind.kind == "Namespace"
        if is_deleting(old):
            shorter = grace < old["metadata"].get("deletionGracePeriodSeconds", 0)
            if not shorter:
                return old
        if not held:
            return self._remove(kind, old)
        if finalizers:
            metadata["finalizers"] = finalizers
        metadata["deletionTimestamp"] = self.clock.timestamp(grace)
        if kind.kind == "Namespace":
            new["status"] = {**new["status"], "phase": "Terminating"}
        else:
            metadata["deletionGracePeriodSeconds"] = grace
        if kind.generation:
            metadata["generation"] += 1
        return self._store("MODIFIED", kind, new, old, self._owners[metadata["uid"]])

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
        self._tell(WatchEvent(event, kind, new, old, self._version))
        return new

    def _remove(self, kind: Kind, old: Manifest) -> Manifest:
        self._version += 1
        key = key_of(old)
        uid = old["metadata"]["uid"]
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self._version)}}
        self._tables[kind.api_version, kind.kind].remove(key)
        del self._owners[uid], self._by_uid[uid]
        self._index_owners(kind, key, old, None)
        self._tell(WatchEvent("DELETED", kind, last, None, self._version))
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

    def _tell(self, event: WatchEvent) -> None:
        self._events.append(event)
        if len(self._events) > self._history:
            self._compacted = self._events.popleft().resource_version
        for callback in tuple(self._subscribers):
            callback(event)


class _LogEntry:
    """Writes down one write, however it ends."""

    def __init__(self, api: ApiServer, verb: str, kind: Kind, obj: Observed, actor: str) -> None:
        self._api = api
        self._verb = verb
        self._kind = kind
        self._metadata: Mapping[str, Any] = obj["metadata"]
        self._actor = actor
        self.changed = False

    def __enter__(self) -> _LogEntry:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        code = "ok"
        if error is not None:
            code = error.reason if isinstance(error, ApiError) else type(error).__name__
        write = Write(
            self._verb,
            self._kind.kind,
            str(self._metadata.get("namespace") or ""),
            str(self._metadata.get("name") or ""),
            self._actor,
            code,
            self.changed,
            self._api.clock.elapsed,
        )
        self._api.writes.append(write)


def _with_untouchables(kind: Kind, old: Manifest, new: Manifest, *, status_only: bool) -> Manifest:
    """Return the object that was sent, with what its sender has no say in put back as it was."""
    if status_only:
        return {**old, "status": new.get("status", {})}
    kept = {name: old["metadata"][name] for name in _KEPT if name in old["metadata"]}
    sent = {name: value for name, value in new["metadata"].items() if name not in _KEPT}
    result = {**new, "metadata": {**sent, **kept}}
    if kind.status:
        result.pop("status", None)
        if "status" in old:
            result["status"] = old["status"]
    return result


def _lists(kind: Kind) -> Lists:
    return BUILT_IN_LISTS if kind.custom is None else kind.custom.lists


def _merge_patch(target: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy_json(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merge_patch(result.get(name), value)
    return result


def _spec_changed(old: Observed, new: Observed, *, by_spec: bool) -> bool:
    """Return whether the generation moves: a custom resource's for everything but metadata and status."""

    def content(obj: Observed) -> Iterator[tuple[str, Any]]:
        for name, value in obj.items():
            if name == "spec" and by_spec:
                # Binding a pod to a node is not a change of its spec.
                yield name, {field: part for field, part in value.items() if field != "nodeName"}
            elif name not in {"metadata", "status"} and (not by_spec or name in {"endpoints", "ports"}):
                yield name, value

    return not same_json(dict(content(old)), dict(content(new)))


def _grace(kind: Kind, obj: Observed, asked: int | None) -> int:
    """Return how many seconds a deleted pod may still run; everything else has none."""
    if kind.kind != "Pod" or not obj["spec"].get("nodeName"):
        return 0
    if obj.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    grace: int = obj["spec"]["terminationGracePeriodSeconds"] if asked is None else asked
    return grace


def _in_grace(kind: Kind, obj: Observed) -> bool:
    return kind.kind == "Pod" and bool(obj["metadata"].get("deletionGracePeriodSeconds"))
