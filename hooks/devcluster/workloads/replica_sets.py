"""The ReplicaSet controller: as many pods of one template as are asked for.

Source: kubernetes/pkg/controller/replicaset/replica_set.go. Adoption, minReadySeconds and the order in which surplus
pods are chosen, but for those that are not ready first, are not modelled.
"""

from __future__ import annotations

from typing import Any

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import (
    Manifest,
    Observed,
    controller_reference,
    copy_json,
    is_deleting,
    key_of,
    same_json,
    suffix,
    uid_of,
)
from devcluster.workloads.reconciler import ACTOR, Reconciler
from devcluster.workloads.stateful_sets import is_ready


class ReplicaSetController(Reconciler):
    """Makes and deletes the pods of ReplicaSets."""

    api_version = "apps/v1"
    kind = "ReplicaSet"

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == self.kind:
            self.enqueue(key_of(obj))
        elif event.kind.kind == "Pod":
            self.enqueue_owner(obj)

    def reconcile(self, obj: Observed) -> None:
        """Make what is missing, delete what is too much, then write the status."""
        if is_deleting(obj):
            return
        pods = self._pods(obj)
        wanted = obj["spec"]["replicas"]
        try:
            for _ in range(wanted - len(pods)):
                self._create_pod(obj)
            for pod in sorted(pods, key=is_ready)[: max(0, len(pods) - wanted)]:
                self.api.delete("v1", "Pod", *key_of(pod), uid=uid_of(pod), actor=ACTOR)
        finally:
            self._write_status(obj)

    def _pods(self, obj: Observed) -> list[Manifest]:
        """Return the pods that count: those that neither ended nor end."""
        pods = self.api.controlled_by("v1", "Pod", uid_of(obj))
        return [pod for pod in pods if not is_deleting(pod) and pod["status"]["phase"] not in {"Succeeded", "Failed"}]

    def _create_pod(self, obj: Observed) -> None:
        template = obj["spec"]["template"]
        namespace, name = key_of(obj)
        metadata: Manifest = copy_json(template["metadata"])
        metadata |= {
            "name": f"{name[:57]}-{suffix(self.api.random)}",
            "generateName": f"{name}-",
            "namespace": namespace,
            "ownerReferences": [controller_reference(obj)],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy_json(template["spec"])}
        self.api.create(pod, actor=ACTOR)

    def _write_status(self, obj: Observed) -> None:
        pods = self._pods(obj)
        ready = sum(map(is_ready, pods))
        counts = {"fullyLabeledReplicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        status: dict[str, Any] = {
            "replicas": len(pods),
            "observedGeneration": obj["metadata"]["generation"],
            **{name: count for name, count in counts.items() if count},
        }
        if not same_json(obj["status"], status):
            self.api.update_status({**obj, "status": status}, actor=ACTOR)
