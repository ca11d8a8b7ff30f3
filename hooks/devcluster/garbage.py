"""What deletes objects that nobody asked to delete: the garbage collector, and the end of a namespace.

An object whose owners are all gone goes too, in the background. Foreground deletion and orphaning are the two
finalizers that Kubernetes has for them. A namespace goes when everything in it has gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.errors import ApiError
from devcluster.objects import Observed, is_deleting, key_of, owners_of, uid_of

ACTOR = "garbage-collector"
NAMESPACE_ACTOR = "namespace-controller"

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"


class GarbageCollector:
    """Deletes dependents whose owners are gone; `latency` is how long it takes to notice, in seconds."""

    def __init__(self, api: ApiServer, *, latency: float = 0.05) -> None:
        self._api = api
        self._latency = latency
        self._queued: set[str] = set()
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.type == "DELETED":
            for _, dependent in self._api.dependents(uid_of(obj)):
                self._later(uid_of(dependent))
            for owner in owners_of(obj):
                self._wake_foreground(owner["uid"])
            return
        waits = {_FOREGROUND, _ORPHAN} & set(obj["metadata"].get("finalizers", ()))
        if owners_of(obj) or (is_deleting(obj) and waits):
            self._later(uid_of(obj))

    def _wake_foreground(self, uid: str) -> None:
        owner = self._api.find_uid(uid)
        if owner is not None and is_deleting(owner):
            self._later(uid)

    def _later(self, uid: str) -> None:
        if uid not in self._queued:
            self._queued.add(uid)
            self._api.clock.after(self._latency, lambda: self._collect(uid))

    def _collect(self, uid: str) -> None:
        self._queued.discard(uid)
        obj = self._api.find_uid(uid)
        if obj is None:
            return
        if is_deleting(obj):
            self._finish(obj)
        owners = owners_of(obj)
        present = [owner for owner in owners if self._api.find_uid(owner["uid"]) is not None]
        if len(present) == len(owners) or is_deleting(obj):
            return
        namespace, name = key_of(obj)
        if present:
            patch = {"metadata": {"uid": uid, "ownerReferences": present}}
            self._api.patch(obj["apiVersion"], obj["kind"], namespace, name, patch, actor=ACTOR)
        else:
            self._api.delete(obj["apiVersion"], obj["kind"], namespace, name, uid=uid, actor=ACTOR)

    def _finish(self, owner: Observed) -> None:
        """Do what a deletion's propagation policy left to do, and take its finalizer off."""
        finalizers = owner["metadata"].get("finalizers", [])
        dependents = self._api.dependents(uid_of(owner))
        if _ORPHAN in finalizers:
            for _, dependent in dependents:
                others = [each for each in owners_of(dependent) if each["uid"] != uid_of(owner)]
                namespace, name = key_of(dependent)
                patch = {"metadata": {"ownerReferences": others}}
                self._api.patch(dependent["apiVersion"], dependent["kind"], namespace, name, patch, actor=ACTOR)
        elif _FOREGROUND in finalizers:
            for _, dependent in dependents:
                if not is_deleting(dependent):
                    namespace, name = key_of(dependent)
                    self._api.delete(dependent["apiVersion"], dependent["kind"], namespace, name, actor=ACTOR)
            if self._api.dependents(uid_of(owner)):
                return
        else:
            return
        namespace, name = key_of(owner)
        rest = [each for each in finalizers if each not in {_FOREGROUND, _ORPHAN}]
        patch = {"metadata": {"finalizers": rest}}
        self._api.patch(owner["apiVersion"], owner["kind"], namespace, name, patch, actor=ACTOR)


class NamespaceController:
    """Empties a namespace that is being deleted, then lets it go; `seconds` is the time between two looks."""

    def __init__(self, api: ApiServer, *, seconds: float = 2.5) -> None:
        self._api = api
        self._seconds = seconds
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        if event.kind.kind == "Namespace" and event.old is not None and _just_deleted(event.old, event.object):
            name = event.object["metadata"]["name"]
            self._api.clock.after(self._seconds, self._sweeper(name))

    def _sweeper(self, name: str) -> Callable[[], None]:
        def sweep() -> None:
            for kind, obj in self._api.everything_in(name):
                # Deleting one may have taken others along.
                if not is_deleting(obj) and self._api.find_uid(uid_of(obj)) is not None:
                    # An admission step may say no for now; the next look tries again.
                    with contextlib.suppress(ApiError):
                        self._api.delete(
                            kind.api_version, kind.kind, name, obj["metadata"]["name"], actor=NAMESPACE_ACTOR
                        )
            if self._api.everything_in(name):
                self._api.clock.after(self._seconds, sweep)
            else:
                self._api.clock.after(self._seconds, finish)

        def finish() -> None:
            if self._api.peek("v1", "Namespace", None, name) is not None:
                self._api.finalize_namespace(name, actor=NAMESPACE_ACTOR)

        return sweep


def _just_deleted(old: Observed, new: Observed) -> bool:
    return is_deleting(new) and not is_deleting(old)
