"""The parents: which there are, whose a child may be, and what is written to them: the finalizer and the status.

A write is made on top of the parent as it is by now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from devcluster.apiserver import ApiServer
from devcluster.errors import ApiError, not_found
from devcluster.metacontroller.spec import ControllerSpec
from devcluster.metacontroller.words import name_of
from devcluster.objects import (
    Key,
    Manifest,
    Observed,
    controller_of,
    group_of,
    is_deleting,
    key_of,
    labels_of,
    same_json,
    uid_of,
)
from devcluster.related import SyncError


class Parents:
    """Finds and writes the parents of one controller."""

    def __init__(self, api: ApiServer, spec: ControllerSpec, actor: str) -> None:
        self._api = api
        self._spec = spec
        self._actor = actor
        self._kind = spec.parent

    def all(self) -> list[Manifest]:
        """Return every object of the parent's kind."""
        return self._api.scan(self._kind.api_version, self._kind.kind)

    def find(self, key: Key) -> Observed | None:
        """Return the parent of this namespace and name."""
        return self._api.peek(self._kind.api_version, self._kind.kind, *key)

    def owner_of(self, child: Observed) -> Observed | None:
        """Return the parent that controls a child; None where that is something else, or another one by now."""
        owner = controller_of(child)
        if owner is None or owner["kind"] != self._kind.kind:
            return None
        if group_of(owner["apiVersion"]) != group_of(self._kind.api_version):
            return None
        namespace = child["metadata"].get("namespace", "") if self._kind.namespaced else ""
        found = self.find((namespace, owner["name"]))
        return found if found is not None and uid_of(found) == owner["uid"] else None

    def possible_for(self, orphan: Observed) -> Iterator[Observed]:
        """Yield the parents whose selector matches an orphan."""
        labels = labels_of(orphan)
        if self._spec.generate_selector:
            found = self._api.find_uid(labels.get("controller-uid", ""))
            if found is not None and found["kind"] == self._kind.kind:
                yield found
            return
        namespace = orphan["metadata"].get("namespace") if self._kind.namespaced else None
        for parent in self._api.scan(self._kind.api_version, self._kind.kind, namespace):
            try:
                if self._spec.selector(parent).matches(labels):
                    yield parent
            except SyncError:
                continue

    def sync_finalizer(self, parent: Observed) -> Observed:
        """Put the finalizer on where there is a finalize hook, take it off where there is none; return the parent."""
        wanted = "finalize" in self._spec.hooks
        if self._spec.has_finalizer(parent) == wanted or (wanted and is_deleting(parent)):
            return parent
        return self.edit_finalizers(parent, add=wanted)

    def edit_finalizers(self, parent: Observed, *, add: bool) -> Observed:
        """Put the finalizer on or take it off, unless that is done already; return the parent."""
        current = live(self._api, parent)
        others = [name for name in current["metadata"].get("finalizers", ()) if name != self._spec.finalizer]
        if self._spec.has_finalizer(current) == add:
            return current
        finalizers = [*others, self._spec.finalizer] if add else others
        return self._api.update(with_metadata(current, finalizers=finalizers), actor=self._actor)

    def update_status(self, parent: Observed, status: Manifest) -> None:
        """Replace the status of a parent, unless it is so already."""
        status["observedGeneration"] = parent["metadata"]["generation"]
        try:
            current = live(self._api, parent)
            if same_json(current.get("status"), status):
                return
            write = self._api.update_status if self._kind.status else self._api.update
            write({**current, "status": status}, actor=self._actor)
        except ApiError as error:
            # Gone, or changed meanwhile: neither is worth a retry.
            if error.code not in {404, 409}:
                raise SyncError(f"can't update status for {name_of(parent)}: {error}") from error


def live(api: ApiServer, obj: Observed) -> Observed:
    """Return an object as it is stored now; 404 where it is gone, or another one by now."""
    current = api.peek(obj["apiVersion"], obj["kind"], *key_of(obj))
    if current is None or uid_of(current) != uid_of(obj):
        raise not_found(api.kind(obj["apiVersion"], obj["kind"]).resource, obj["metadata"]["name"])
    return current


def with_metadata(obj: Observed, **fields: Any) -> Manifest:
    """Return an object with other values of some fields of its metadata."""
    return {**obj, "metadata": {**obj["metadata"], **fields}}
