"""How Metacontroller brings the children that it observes to what a hook wants: it deletes, creates and updates.

Source: pkg/controller/common/manage_children.go, with its quirks. What it applied last it remembers until it restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver import ApiServer
from devcluster.errors import ApiError
from devcluster.merge import LAST_APPLIED, apply_update, set_last_applied, without_last_applied
from devcluster.objects import (
    Key,
    Manifest,
    Observed,
    controller_reference,
    copy_json,
    dump,
    group_of,
    is_deleting,
    key_of,
    qualified_name,
    same_json,
    uid_of,
)
from devcluster.related import SyncError

Groups = dict[str, dict[str, Any]]
"""Objects by kind (``Pod.v1``) and key."""


@dataclass(frozen=True, slots=True)
class _Applied:
    """What server-side apply sent last for a child, and what the child was after it."""

    body: bytes
    generation: int
    version: str
    uid: str


class Children:
    """Writes the children of one controller's parents; `methods` says for each kind how an update is made."""

    def __init__(
        self, api: ApiServer, actor: str, methods: Mapping[tuple[str, str], str], *, server_side: bool
    ) -> None:
        self._api = api
        self._actor = actor
        self._methods = methods
        self._server_side = server_side
        self._applied: dict[tuple[str, str, Key], _Applied] = {}
        self._unchanged: dict[str, tuple[str, bytes]] = {}

    def manage(self, parent: Observed, observed: Groups, desired: Groups) -> list[str]:
        """Delete, create and update; what fails is told at the end, the rest goes on."""
        problems: list[str] = []
        by_name = {group: {qualified_name(obj): obj for obj in objects.values()} for group, objects in observed.items()}
        for group in sorted(by_name, key=_group_order):
            for name, obj in by_name[group].items():
                if not is_deleting(obj) and name not in desired.get(group, {}):
                    self._attempt(problems, self._delete, obj)
        for group in sorted(desired, key=_group_order):
            for name, child in desired[group].items():
                self._attempt(problems, self._apply, parent, by_name.get(group, {}).get(name), child)
        return problems

    @staticmethod
    def _attempt(problems: list[str], step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except (ApiError, SyncError, ValueError) as error:
            problems.append(str(error))

    def _delete(self, obj: Observed) -> None:
        try:
            namespace, name = key_of(obj)
            self._api.delete(obj["apiVersion"], obj["kind"], namespace, name, uid=uid_of(obj), actor=self._actor)
        except ApiError as error:
            if error.code != 404:
                raise
        self._applied.pop(_cache_key(obj), None)

    def _apply(self, parent: Observed, observed: Observed | None, desired: Manifest) -> None:
        if self._server_side:
            self._apply_server_side(parent, observed, desired)
        elif observed is None:
            set_last_applied(desired, copy_json(desired))
            _claim_ownership(parent, desired)
            try:
                self._api.create(desired, actor=self._actor)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        else:
            self._update_child(observed, desired)

    def _update_child(self, observed: Observed, desired: Manifest) -> None:
        # The merge is a function of the two, so the same two need not be merged again.
        seen = (observed["metadata"]["resourceVersion"], dump(desired))
        if self._unchanged.get(uid_of(observed)) == seen:
            return
        merged = apply_update(observed, desired)
        if same_json(merged, observed):
            self._unchanged[uid_of(observed)] = seen
            return
        if is_deleting(observed):
            return
        method = self._method(desired)
        if method == "Recreate":
            self._delete(observed)
        elif method == "InPlace":
            try:
                self._api.update(merged, actor=self._actor)
            except ApiError as error:
                # Gone, or changed meanwhile: the next sync sees it.
                if error.code not in {404, 409}:
                    raise

    def _method(self, obj: Observed) -> str:
        return self._methods.get((obj["apiVersion"], obj["kind"]), "OnDelete")

    def _apply_server_side(self, parent: Observed, observed: Observed | None, desired: Manifest) -> None:
        if observed is not None and is_deleting(observed):
            return
        _claim_ownership(parent, desired)
        wanted = without_last_applied(desired)
        wanted.pop("status", None)
        body = dump(wanted)
        cache_key = _cache_key(wanted)
        if observed is not None:
            if self._is_as_applied(cache_key, observed, body):
                return
            if self._method(wanted) == "OnDelete":
                self._remember(cache_key, observed, body)
                return
            if LAST_APPLIED in observed["metadata"].get("annotations", {}):
                self._drop_last_applied(observed)
        try:
            stored = self._api.apply(wanted, self._actor, force=True, actor=self._actor)
        except ApiError as error:
            if error.code != 409:
                raise
            return
        self._remember(cache_key, stored, body)

    def _drop_last_applied(self, observed: Observed) -> None:
        namespace, name = key_of(observed)
        patch = {"metadata": {"annotations": {LAST_APPLIED: None}}}
        self._api.patch(observed["apiVersion"], observed["kind"], namespace, name, patch, actor=self._actor)

    def _is_as_applied(self, key: tuple[str, str, Key], observed: Observed, body: bytes) -> bool:
        applied = self._applied.get(key)
        metadata = observed["metadata"]
        generation = metadata.get("generation", 0)
        return (
            applied is not None
            and (applied.uid, applied.body, applied.generation) == (metadata["uid"], body, generation)
            and (generation != 0 or applied.version == metadata["resourceVersion"])
        )

    def _remember(self, key: tuple[str, str, Key], obj: Observed, body: bytes) -> None:
        metadata = obj["metadata"]
        applied = _Applied(body, metadata.get("generation", 0), metadata["resourceVersion"], metadata["uid"])
        self._applied[key] = applied


def _claim_ownership(parent: Observed, desired: Manifest) -> None:
    metadata = desired["metadata"]
    owners = metadata.get("ownerReferences") or []
    if all(owner["uid"] != uid_of(parent) for owner in owners):
        metadata["ownerReferences"] = [*owners, controller_reference(parent)]


def _cache_key(obj: Observed) -> tuple[str, str, Key]:
    return group_of(obj["apiVersion"]), obj["kind"], key_of(obj)


def _group_order(name: str) -> tuple[str, str, str]:
    """Sort groups as Metacontroller goes through them: by API group, version and kind."""
    kind, _, api_version = name.partition(".")
    return group_of(api_version), api_version.rpartition("/")[2], kind
