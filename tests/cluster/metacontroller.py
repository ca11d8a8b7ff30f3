"""Metacontroller's part against the real API server: a sync at a time, whenever a test asks for one.

It finds the children, calls the pure hook, and writes what Metacontroller would write, by its merge of what was applied
last, what is stored and what is desired. Nothing is caught: what the server refuses is for the test to see.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cluster.api import Api, Object, RefusedError
from devcluster.merge import LAST_APPLIED, apply_update, last_applied_text
from userswarm.spec.settings import Settings
from userswarm.sync import sync


@dataclass(slots=True)
class Metacontroller:
    """One CompositeController at work; `refused` is what the server would not take, by object."""

    api: Api
    controller: Object
    settings: Settings
    now: datetime
    refused: list[str] = field(default_factory=list)

    def settle(self, parent: Object) -> list[str]:
        """Sync until there is nothing to write; return all writes in their order."""
        written: list[str] = []
        for _ in range(20):
            writes = self.sync(parent)
            if not writes:
                return written
            written += writes
        raise AssertionError(f"still writing after 20 syncs: {written}")

    def sync(self, parent: Object) -> list[str]:
        """Call the hook once for the parent as it is stored, write its answer, and return what was written."""
        stored = self.api.get(parent)
        assert stored is not None
        observed = self.children(stored)
        answer = sync(self._request(stored, observed), self.settings, self.now)
        desired = {_key(child): child for child in answer["children"]}
        there = {_key(child): child for group in observed.values() for child in group.values()}
        writes = []
        for key, child in there.items():
            if key not in desired and "deletionTimestamp" not in child["metadata"]:
                self.api.delete(child)
                writes.append(f"delete {key}")
        for key, child in desired.items():
            # Other controllers write too: one that was quicker is no refusal, the next sync sees what it wrote.
            try:
                writes += [f"{verb} {key}" for verb in self._write(stored, there.get(key), child)]
            except RefusedError as error:
                if error.code != 409:
                    self.refused.append(f"{key}: {error}")
        if answer["status"] != stored.get("status"):
            latest = self.api.get(parent)
            assert latest is not None
            self.api.update({**latest, "status": answer["status"]}, "status")
        return writes

    def children(self, parent: Object) -> dict[str, dict[str, Object]]:
        """Return what a parent owns, grouped as in a hook's request."""
        groups: dict[str, dict[str, Object]] = {}
        for rule in self.controller["spec"]["childResources"]:
            kind = self.api.kind_of(rule["apiVersion"], rule["resource"])
            items = self.api.all(rule["apiVersion"], kind, f"controller-uid={parent['metadata']['uid']}")
            groups[f"{kind}.{rule['apiVersion']}"] = {_name(item): item for item in items}
        return groups

    def _request(self, parent: Object, observed: dict[str, dict[str, Object]]) -> Object:
        namespaces = self.api.all("v1", "Namespace")
        return copy.deepcopy(
            {
                "controller": self.controller,
                "parent": parent,
                "children": observed,
                "related": {"Namespace.v1": {_name(each): each for each in namespaces}},
                "finalizing": False,
            }
        )

    def _write(self, parent: Object, stored: Object | None, desired: Object) -> list[str]:
        labelled = copy.deepcopy(desired)
        labelled["metadata"].setdefault("labels", {})["controller-uid"] = parent["metadata"]["uid"]
        if stored is None:
            self.api.create(as_created(labelled, parent))
            return ["create"]
        merged = apply_update(stored, labelled)
        if "deletionTimestamp" in stored["metadata"] or merged == stored or not self._updates(stored):
            return []
        self.api.update(merged)
        return ["update"]

    def _updates(self, child: Object) -> bool:
        rules = self.controller["spec"]["childResources"]
        resource = self.api.resource_of(child)
        rule = next(each for each in rules if (each["apiVersion"], each["resource"]) == (child["apiVersion"], resource))
        return bool(rule.get("updateStrategy", {}).get("method") == "InPlace")


def as_created(desired: Object, parent: Object) -> Object:
    """Return a child as Metacontroller creates it: with its owner, and with what was applied."""
    made = copy.deepcopy(desired)
    metadata: dict[str, Any] = made["metadata"]
    metadata["annotations"] = {**metadata.get("annotations", {}), LAST_APPLIED: last_applied_text(desired)}
    metadata["ownerReferences"] = [
        {
            "apiVersion": parent["apiVersion"],
            "kind": parent["kind"],
            "name": parent["metadata"]["name"],
            "uid": parent["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    return made


def _key(child: Object) -> str:
    return f"{child['kind']} {_name(child)}"


def _name(child: Object) -> str:
    metadata = child["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
