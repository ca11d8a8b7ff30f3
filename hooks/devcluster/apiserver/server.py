"""The API server's verbs, each of them logged."""

from __future__ import annotations

from devcluster.apiserver.steps import AdmissionRequest
from devcluster.apiserver.transitions import merge_patch
from devcluster.apiserver.writes import LogEntry
from devcluster.apiserver.writing import Writing
from devcluster.defaults import as_stored
from devcluster.errors import bad_request, conflict, not_found
from devcluster.kinds import Kind
from devcluster.objects import Manifest, Observed, copy_json, key_of, suffix
from devcluster.ownership import Manager


class ApiServer(Writing):
    """An in-memory Kubernetes API server."""

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
                new = merge_patch(copy_json(old), patch)
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

    def _logged(self, verb: str, kind: Kind, obj: Observed, actor: str) -> LogEntry:
        return LogEntry(self.writes, self.clock, verb, kind, obj, actor)
