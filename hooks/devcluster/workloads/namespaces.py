"""What Kubernetes itself puts into every namespace: the ServiceAccount `default` and the cluster's root certificate."""

from __future__ import annotations

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import Manifest, Observed, is_deleting
from devcluster.workloads.reconciler import ACTOR, Reconciler

_CERTIFICATE = "-----BEGIN CERTIFICATE-----\n(the dev cluster has none)\n-----END CERTIFICATE-----\n"

CONTENTS: tuple[Manifest, ...] = (
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "kube-root-ca.crt",
            "annotations": {
                "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when "
                "using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage "
                "is guaranteed across distributions of Kubernetes clusters."
            },
        },
        "data": {"ca.crt": _CERTIFICATE},
    },
)


class ContentController(Reconciler):
    """Makes these objects where they are missing, as long as the namespace stays."""

    api_version = "v1"
    kind = "Namespace"

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        metadata = event.object["metadata"]
        if event.kind.kind == self.kind and event.type == "ADDED":
            self.enqueue(("", metadata["name"]))
        elif event.type == "DELETED" and any(_is(each, event.object) for each in CONTENTS):
            self.enqueue(("", metadata["namespace"]))

    def reconcile(self, obj: Observed) -> None:
        """Fill one namespace."""
        if is_deleting(obj):
            return
        namespace = obj["metadata"]["name"]
        for content in CONTENTS:
            if self.api.peek(content["apiVersion"], content["kind"], namespace, content["metadata"]["name"]) is None:
                metadata = {**content["metadata"], "namespace": namespace}
                self.api.create({**content, "metadata": metadata}, actor=ACTOR)


def _is(content: Manifest, obj: Observed) -> bool:
    return bool(content["kind"] == obj["kind"] and content["metadata"]["name"] == obj["metadata"]["name"])
