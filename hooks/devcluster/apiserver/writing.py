"""What the server makes of a write: it completes the object, asks the admission steps, and refuses what is wrong."""

from __future__ import annotations

import random
import uuid
from typing import Any

from devcluster.apiserver.contents import Contents
from devcluster.apiserver.steps import Admission, AdmissionRequest
from devcluster.apiserver.transitions import (
    SET_BY_SERVER,
    check_preconditions,
    grace_of,
    in_grace,
    lists_of,
    spec_changed,
    with_untouchables,
)
from devcluster.apiserver.writes import Write
from devcluster.clock import Clock
from devcluster.defaults import add_defaults, as_stored
from devcluster.errors import ApiError, already_exists, bad_request, forbidden, invalid, not_found
from devcluster.kinds import Kind
from devcluster.metadata import metadata_problems
from devcluster.objects import Manifest, Observed, copy_json, is_deleting, key_of, same_json
from devcluster.ownership import (
    Manager,
    Owners,
    changes,
    field_name,
    find_conflicts,
    flatten,
    merge_applied,
    record_apply,
    record_update,
    remove_fields,
)
from devcluster.validation import creation_problems, update_problems


class Writing(Contents):
    """Contents that change by the rules.

    All times are the clock's; all uids and name suffixes come from `seed`; `history` events are kept for watches.
    """

    def __init__(self, clock: Clock, *, seed: int = 0, history: int = 20_000) -> None:
        super().__init__(history)
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311 - names and uids that a test can repeat
        self.writes: list[Write] = []
        self.admission: list[Admission] = []
        # The last steps, for an object that is valid and new: quotas are not charged for any other.
        self.validating: list[Admission] = []

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
        for name in (*SET_BY_SERVER, "managedFields"):
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
        lists = lists_of(kind)
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
        check_preconditions(kind, old, new, unconditional=unconditional)
        new = with_untouchables(kind, old, new, status_only=bool(manager.subresource))
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
        if kind.generation and spec_changed(old, new, by_spec=kind.custom is None):
            metadata["generation"] = old_metadata["generation"] + 1
        owners = self._owners[metadata["uid"]]
        if same_json(old, new):
            if applied is None or applied == owners:
                return old
        elif applied is None:
            before, after = (flatten(each, lists_of(kind)) for each in changes(old, new))
            owners = record_update(owners, manager, before, after, self.clock.timestamp())
        stored = self._store("MODIFIED", kind, new, old, applied or owners)
        if is_deleting(stored) and not stored["metadata"].get("finalizers") and not in_grace(kind, stored):
            self._remove(kind, stored)
        return stored

    def _apply(
        self, kind: Kind, applied: Manifest, old: Manifest | None, manager: Manager, actor: str, *, force: bool
    ) -> Manifest:
        lists = lists_of(kind)
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
        grace = grace_of(kind, old, grace_period)
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
