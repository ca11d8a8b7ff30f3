"""Which children are a parent's: the stored ones that it owns or adopts, and the desired ones by their labels."""

from __future__ import annotations

from devcluster.apiserver import ApiServer
from devcluster.children import Groups
from devcluster.errors import ApiError
from devcluster.metacontroller.parents import live, with_metadata
from devcluster.metacontroller.spec import ControllerSpec
from devcluster.metacontroller.words import aggregate, group_name, group_name_of, name_of
from devcluster.objects import (
    Manifest,
    Observed,
    controller_of,
    controller_reference,
    is_deleting,
    labels_of,
    owners_of,
    qualified_name,
    uid_of,
)
from devcluster.related import SyncError
from devcluster.selectors import Selector


class Claims:
    """Finds the children of one controller's parents."""

    def __init__(self, api: ApiServer, spec: ControllerSpec, actor: str) -> None:
        self._api = api
        self._spec = spec
        self._actor = actor

    def claim_children(self, parent: Observed) -> Groups:
        """Return the children by group and key, after adopting orphans and releasing what no longer matches."""
        selector = self._spec.selector(parent)
        namespace = parent["metadata"].get("namespace") if self._spec.parent.namespaced else None
        groups: Groups = {}
        for child in self._spec.children.values():
            kind = child.kind
            group = groups.setdefault(group_name(kind), {})
            owned = self._api.controlled_by(kind.api_version, kind.kind, uid_of(parent))
            matching = self._api.scan(kind.api_version, kind.kind, namespace, selector)
            orphans = [obj for obj in matching if controller_of(obj) is None]
            problems = []
            for obj in (*owned, *orphans):
                if namespace is not None and obj["metadata"]["namespace"] != namespace:
                    continue
                try:
                    if self.claim(parent, obj, selector):
                        group[self._spec.child_key(parent, "sync", obj)] = obj
                except (ApiError, SyncError) as error:
                    problems.append(str(error))
            if problems:
                raise SyncError(f"can't claim {kind.kind} children: {aggregate(problems)}")
        return groups

    def claim(self, parent: Observed, obj: Observed, selector: Selector) -> bool:
        """Return whether a child is the parent's, after it was adopted or released where that is due."""
        matches = selector.matches(labels_of(obj))
        if controller_of(obj) is not None:
            if not matches and not is_deleting(parent):
                self._release(parent, obj)
            return matches
        if is_deleting(parent) or is_deleting(obj):
            return False
        if is_deleting(live(self._api, parent)):
            raise SyncError(f"can't adopt {name_of(obj)}: {name_of(parent)} has just been deleted")
        current = live(self._api, obj)
        others = [owner for owner in owners_of(current) if owner["uid"] != uid_of(parent)]
        return self._unless_gone(with_metadata(current, ownerReferences=[*others, controller_reference(parent)]))

    def _release(self, parent: Observed, obj: Observed) -> None:
        current = live(self._api, obj)
        others = [owner for owner in owners_of(current) if owner["uid"] != uid_of(parent)]
        self._unless_gone(with_metadata(current, ownerReferences=others))

    def _unless_gone(self, obj: Manifest) -> bool:
        try:
            self._api.update(obj, actor=self._actor)
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        return True

    def label_children(self, parent: Observed, children: list[Manifest]) -> Groups:
        """Return the desired children by group and key; of two of one name the later one stays."""
        selector = self._spec.selector(parent)
        groups: Groups = {}
        for child in children:
            labels = child["metadata"].get("labels") or {}
            if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
                raise SyncError(f"invalid labels on desired child {name_of(child)}")
            if self._spec.generate_selector and "controller-uid" not in labels:
                child["metadata"]["labels"] = labels = {**labels, "controller-uid": uid_of(parent)}
            if not selector.matches(labels):
                raise SyncError(f"labels on desired child {name_of(child)} don't match parent selector")
            groups.setdefault(group_name_of(child), {})[qualified_name(child)] = child
        return groups
