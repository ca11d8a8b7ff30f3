"""The Deployment controller: one ReplicaSet for each template, and the way from one to the next.

Source: kubernetes/pkg/controller/deployment. Modelled are both strategies, with maxSurge and maxUnavailable, the
revision that is written on everything, and the history of old ReplicaSets. Not modelled: pausing, progress deadlines,
minReadySeconds, roll-backs, hash collisions, and spreading a change of scale over a roll-out under way.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import (
    Manifest,
    Observed,
    controller_of,
    controller_reference,
    copy_json,
    hash_suffix,
    is_deleting,
    key_of,
    labels_of,
    same_json,
    set_condition,
    uid_of,
)
from devcluster.workloads.reconciler import ACTOR, Reconciler

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


class DeploymentController(Reconciler):
    """Makes, scales and removes the ReplicaSets of Deployments."""

    api_version = "apps/v1"
    kind = "Deployment"

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == self.kind:
            self.enqueue(key_of(obj))
            return
        if event.kind.kind == "Pod" and event.type == "DELETED":
            # For Recreate: the last old pod is gone.
            owner = controller_of(obj)
            found = self.api.find_uid(owner["uid"]) if owner is not None else None
            obj = found if found is not None else obj
        if obj["kind"] == "ReplicaSet":
            self.enqueue_owner(obj)

    def reconcile(self, obj: Observed) -> None:
        """Take the next step towards the wanted template and number, then write the status."""
        if is_deleting(obj):
            return
        owned = self.api.controlled_by("apps/v1", "ReplicaSet", uid_of(obj))
        template = hash_suffix(obj["spec"]["template"])
        old = [each for each in owned if labels_of(each)[HASH_LABEL] != template]
        new = next((each for each in owned if each not in old), None)
        obj = self._write_revision(obj, new, old)
        if obj["spec"]["strategy"]["type"] == "Recreate":
            self._recreate(obj, new, old, template)
        else:
            self._roll(obj, new, old, template)
        self._forget(obj, old)
        self._write_status(obj, template)

    def _write_revision(self, obj: Observed, new: Observed | None, old: list[Manifest]) -> Observed:
        """Write the number of the newest template on the Deployment; a template that comes back gets a new one."""
        newest = max(map(_revision, old), default=0)
        wanted = str(max(newest + 1, _revision(new) if new is not None else 0))
        if new is not None and str(_revision(new)) != wanted:
            self._annotate("ReplicaSet", new, wanted)
        if obj["metadata"].get("annotations", {}).get(REVISION) == wanted:
            return obj
        return self._annotate(self.kind, obj, wanted)

    def _annotate(self, kind: str, obj: Observed, revision: str) -> Observed:
        patch = {"metadata": {"annotations": {REVISION: revision}}}
        return self.api.patch(self.api_version, kind, *key_of(obj), patch, actor=ACTOR)

    def _recreate(self, obj: Observed, new: Observed | None, old: list[Manifest], template: str) -> None:
        for each in old:
            self._scale(each, 0)
        if not any(self.api.controlled_by("v1", "Pod", uid_of(each)) for each in old):
            self._ensure(obj, new, template, obj["spec"]["replicas"])

    def _roll(self, obj: Observed, new: Observed | None, old: list[Manifest], template: str) -> None:
        wanted = obj["spec"]["replicas"]
        surge, unavailable = _bounds(obj["spec"]["strategy"]["rollingUpdate"], wanted)
        others = sum(each["spec"]["replicas"] for each in old)
        size = new["spec"]["replicas"] if new is not None else 0
        size = min(wanted, max(size, wanted + surge - others)) if wanted >= size else wanted
        self._ensure(obj, new, template, size)
        if new is None:
            return
        available = new["status"].get("availableReplicas", 0)
        # What the new ReplicaSet lacks counts as unavailable already.
        spare = size + others - (wanted - unavailable) - (size - available)
        # Pods that never got ready go first: nobody misses them.
        for ready in (False, True):
            for each in old:
                live = each["status"].get("availableReplicas", 0)
                have = each["spec"]["replicas"]
                gone = max(0, min(spare, have, live if ready else have - live))
                if gone:
                    spare -= gone
                    self._scale(each, have - gone)
            old = self.api.controlled_by("apps/v1", "ReplicaSet", uid_of(obj))
            old = [each for each in old if labels_of(each)[HASH_LABEL] != template]

    def _ensure(self, obj: Observed, new: Observed | None, template: str, size: int) -> None:
        if new is not None:
            self._scale(new, size)
            return
        namespace, name = key_of(obj)
        pod_template: Manifest = copy_json(obj["spec"]["template"])
        labels = {**pod_template["metadata"].get("labels", {}), HASH_LABEL: template}
        pod_template["metadata"]["labels"] = labels
        selector: Manifest = copy_json(obj["spec"]["selector"])
        selector["matchLabels"] = {**selector.get("matchLabels", {}), HASH_LABEL: template}
        self.api.create(
            {
                "apiVersion": self.api_version,
                "kind": "ReplicaSet",
                "metadata": {
                    "name": f"{name}-{template}",
                    "namespace": namespace,
                    "labels": labels,
                    "annotations": {REVISION: obj["metadata"]["annotations"][REVISION]},
                    "ownerReferences": [controller_reference(obj)],
                },
                "spec": {"replicas": size, "selector": selector, "template": pod_template},
            },
            actor=ACTOR,
        )

    def _scale(self, found: Observed, size: int) -> None:
        if found["spec"]["replicas"] != size:
            patch = {"spec": {"replicas": size}}
            self.api.patch(self.api_version, "ReplicaSet", *key_of(found), patch, actor=ACTOR)

    def _forget(self, obj: Observed, old: list[Manifest]) -> None:
        """Delete the oldest ReplicaSets without pods beyond the history that is to be kept."""
        empty = [each for each in old if each["spec"]["replicas"] == each["status"]["replicas"] == 0]
        for each in sorted(empty, key=_revision)[: max(0, len(empty) - obj["spec"]["revisionHistoryLimit"])]:
            self.api.delete(self.api_version, "ReplicaSet", *key_of(each), uid=uid_of(each), actor=ACTOR)

    def _write_status(self, obj: Observed, template: str) -> None:
        owned = self.api.controlled_by("apps/v1", "ReplicaSet", uid_of(obj))
        current = [each for each in owned if labels_of(each)[HASH_LABEL] == template]
        wanted = obj["spec"]["replicas"]
        total, available = (_sum(owned, name) for name in ("replicas", "availableReplicas"))
        updated = _sum(current, "replicas")
        counts = {
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": _sum(owned, "readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(0, wanted - available),
        }
        status: dict[str, Any] = {
            "observedGeneration": obj["metadata"]["generation"],
            **{name: count for name, count in counts.items() if count},
            "conditions": copy_json(obj["status"].get("conditions", [])),
        }
        now = self.clock.timestamp()
        _, unavailable = _bounds(obj["spec"]["strategy"].get("rollingUpdate", {}), wanted)
        enough = available >= wanted - unavailable
        told = "has minimum availability" if enough else "does not have minimum availability"
        reason = "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable"
        set_condition(status, "Available", enough, now, reason, f"Deployment {told}.")
        complete = updated == total == available == wanted
        reason = "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated"
        set_condition(status, "Progressing", True, now, reason)
        if not same_json(obj["status"], status):
            self.api.update_status({**obj, "status": status}, actor=ACTOR)


def _revision(obj: Observed) -> int:
    return int(obj["metadata"].get("annotations", {}).get(REVISION, 0))


def _sum(found: list[Manifest], name: str) -> int:
    return sum(each["status"].get(name, 0) for each in found)


def _bounds(strategy: Observed, replicas: int) -> tuple[int, int]:
    """Return how many pods a roll-out may have too many, and too few; without either it could not move."""
    surge = math.ceil(_share(strategy.get("maxSurge", 0), replicas))
    unavailable = math.floor(_share(strategy.get("maxUnavailable", 0), replicas))
    return surge, unavailable if surge or unavailable else 1


def _share(value: int | str, replicas: int) -> Fraction:
    if isinstance(value, int):
        return Fraction(value)
    return Fraction(int(value.removesuffix("%")) * replicas, 100)
