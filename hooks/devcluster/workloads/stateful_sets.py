"""The StatefulSet controller, for sets without volumeClaimTemplates: revisions, ordinals, rolling updates.

Source: kubernetes/pkg/controller/statefulset/stateful_set_control.go. A field of the status that is 0 is left out
where Go's omitempty leaves it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import (
    Manifest,
    Observed,
    condition,
    controller_reference,
    copy_json,
    hash_suffix,
    is_deleting,
    key_of,
    labels_of,
    same_json,
    uid_of,
)
from devcluster.workloads.reconciler import ACTOR, Reconciler

REVISION_LABEL = "controller-revision-hash"


class StatefulSetController(Reconciler):
    """Makes and replaces the pods of StatefulSets, one after the other."""

    api_version = "apps/v1"
    kind = "StatefulSet"

    def __init__(self, api: ApiServer, *, latency: float = 0.005) -> None:
        super().__init__(api, latency=latency)
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        if event.kind.kind == self.kind:
            self.enqueue(key_of(event.object))
        elif event.kind.kind == "Pod":
            self.enqueue_owner(event.object)

    def reconcile(self, obj: Observed) -> None:
        """Take the one next step towards the wanted pods, then write the status."""
        if is_deleting(obj):
            return
        revision = f"{obj['metadata']['name']}-{hash_suffix(obj['spec']['template'])}"
        try:
            self._step(obj, self._pods(obj), revision)
        finally:
            self._write_status(obj, self._pods(obj), revision)

    def _pods(self, found: Observed) -> dict[int, Observed]:
        """Return the set's pods by ordinal."""
        pods = self.api.controlled_by("v1", "Pod", uid_of(found))
        return {int(pod["metadata"]["name"].rpartition("-")[2]): pod for pod in pods}

    def _step(self, found: Observed, pods: Mapping[int, Observed], revision: str) -> None:
        replicas = found["spec"]["replicas"]
        ordered = found["spec"]["podManagementPolicy"] == "OrderedReady"
        for ordinal in range(replicas):
            pod = pods.get(ordinal)
            if pod is None:
                self._create_pod(found, ordinal, revision)
                if ordered:
                    return
            elif pod["status"]["phase"] in {"Failed", "Succeeded"} and not is_deleting(pod):
                self._delete_pod(pod)
                return
            elif ordered and (is_deleting(pod) or not is_ready(pod)):
                # This is what keeps a broken pod from being replaced by its own fix.
                return
        for ordinal in sorted(pods, reverse=True):
            if ordinal >= replicas:
                if not is_deleting(pods[ordinal]):
                    self._delete_pod(pods[ordinal])
                if ordered:
                    return
        if found["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            self._roll(found, pods, revision)

    def _roll(self, found: Observed, pods: Mapping[int, Observed], revision: str) -> None:
        partition = found["spec"]["updateStrategy"].get("rollingUpdate", {}).get("partition", 0)
        for ordinal in range(found["spec"]["replicas"] - 1, partition - 1, -1):
            pod = pods.get(ordinal)
            if pod is None:
                return
            if labels_of(pod)[REVISION_LABEL] != revision and not is_deleting(pod):
                self._delete_pod(pod)
                return
            if is_deleting(pod) or not is_ready(pod):
                return

    def _create_pod(self, found: Observed, ordinal: int, revision: str) -> None:
        template = found["spec"]["template"]
        namespace, name = key_of(found)
        pod_name = f"{name}-{ordinal}"
        metadata: Manifest = copy_json(template["metadata"])
        metadata["labels"] = {
            **metadata.get("labels", {}),
            REVISION_LABEL: revision,
            "statefulset.kubernetes.io/pod-name": pod_name,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        metadata |= {
            "name": pod_name,
            "namespace": namespace,
            "generateName": f"{name}-",
            "ownerReferences": [controller_reference(found)],
        }
        spec: Manifest = copy_json(template["spec"])
        spec |= {"hostname": pod_name, "subdomain": found["spec"].get("serviceName", "")}
        self.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, actor=ACTOR)

    def _delete_pod(self, pod: Observed) -> None:
        self.api.delete("v1", "Pod", *key_of(pod), uid=uid_of(pod), actor=ACTOR)

    def _write_status(self, found: Observed, pods: Mapping[int, Observed], revision: str) -> None:
        wanted = found["spec"]["replicas"]
        current = found["status"].get("currentRevision", revision)
        standing = [pod for pod in pods.values() if not is_deleting(pod)]
        ready = sum(map(is_ready, standing))
        counts = {
            "readyReplicas": ready,
            "currentReplicas": sum(labels_of(pod)[REVISION_LABEL] == current for pod in standing),
            "updatedReplicas": sum(labels_of(pod)[REVISION_LABEL] == revision for pod in standing),
        }
        rolling = found["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        if rolling and counts["updatedReplicas"] == ready == len(pods) == wanted:
            current = revision
            counts["currentReplicas"] = counts["updatedReplicas"]
        status: dict[str, Any] = {
            "replicas": len(pods),
            "availableReplicas": ready,
            "collisionCount": 0,
            "currentRevision": current,
            "updateRevision": revision,
            "observedGeneration": found["metadata"]["generation"],
            **{name: count for name, count in counts.items() if count},
        }
        if not same_json(found["status"], status):
            self.api.update_status({**found, "status": status}, actor=ACTOR)


def is_ready(pod: Observed) -> bool:
    """Return whether a pod runs and passes its readiness probe."""
    return pod["status"]["phase"] == "Running" and condition(pod, "Ready").get("status") == "True"
