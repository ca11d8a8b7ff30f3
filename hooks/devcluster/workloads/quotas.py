"""The controller of ResourceQuotas: keeps count, in their status, of what their namespaces use."""

from __future__ import annotations

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import Manifest, Observed, key_of, same_json
from devcluster.quotas import namespace_usage
from devcluster.resources import written
from devcluster.workloads.reconciler import ACTOR, Reconciler


class QuotaController(Reconciler):
    """Counts anew whenever anything in the namespace of a quota changed."""

    api_version = "v1"
    kind = "ResourceQuota"

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        namespace, _ = key_of(event.object)
        if namespace:
            for found in self.api.scan(self.api_version, self.kind, namespace):
                self.enqueue(key_of(found))

    def reconcile(self, obj: Observed) -> None:
        """Write one quota's status, if it changed."""
        hard = obj["spec"].get("hard", {})
        used = namespace_usage(self.api, obj["metadata"]["namespace"], hard)
        status: Manifest = {"hard": dict(hard), "used": {name: written(amount) for name, amount in used.items()}}
        if not same_json(obj["status"], status):
            self.api.update_status({**obj, "status": status}, actor=ACTOR)
