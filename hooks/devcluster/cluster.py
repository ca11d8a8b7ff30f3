"""A whole cluster in memory, with one CompositeController and its hooks.

cluster = Cluster(controller, {"sync": sync}, crds=[crd])
cluster.apply({"apiVersion": "example.com/v1", "kind": "Widget", …})
cluster.settle()
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime

from devcluster.admission import (
    StorageAdmission,
    StorageClass,
    default_tolerations,
    pod_security,
    service_account,
)
from devcluster.apiserver import ApiServer
from devcluster.clock import START, Clock
from devcluster.crd import Rules
from devcluster.faults import Faults
from devcluster.garbage import GarbageCollector, NamespaceController
from devcluster.hooks import Hook, Hooks, connect
from devcluster.limit_ranges import default_limits, limit_range
from devcluster.metacontroller import DYNAMIC_APPLY, Metacontroller
from devcluster.objects import Manifest, Observed
from devcluster.quotas import resource_quota
from devcluster.traffic import Traffic
from devcluster.workloads.claims import ClaimController, ClaimTimings
from devcluster.workloads.deployments import DeploymentController
from devcluster.workloads.endpoints import EndpointController
from devcluster.workloads.jobs import JobController
from devcluster.workloads.kubelet import Kubelet, Timings
from devcluster.workloads.namespaces import ContentController
from devcluster.workloads.quotas import QuotaController
from devcluster.workloads.replica_sets import ReplicaSetController
from devcluster.workloads.stateful_sets import StatefulSetController

STORAGE_CLASSES = (
    StorageClass("standard"),
    StorageClass("first-consumer", immediate=False),
    StorageClass("fixed", expandable=False),
)
"""The classes of a cluster that is given none; the first is the default."""


class Cluster:
    """One cluster: everything runs on `clock`, and nothing happens until `run` or `settle` lets time pass."""

    def __init__(
        self,
        controller: Observed,
        hooks: Hooks | Mapping[str, Hook | str],
        objects: Iterable[Observed] = (),
        *,
        rules: Rules | None = None,
        apply_strategy: str = DYNAMIC_APPLY,
        seed: int = 0,
        timings: Timings | None = None,
        claim_timings: ClaimTimings | None = None,
        storage_classes: Iterable[StorageClass] = STORAGE_CLASSES,
        start: datetime = START,
    ) -> None:
        """Start it with these objects, CustomResourceDefinitions among them; `rules` says what their CEL means.

        The hooks of the CompositeController are functions or URLs by name, or whatever answers as they do.
        Raises ValueError for what is not modelled, and for a hook that nobody gave.
        """
        missing = controller["spec"]["hooks"].keys() - hooks.keys() if isinstance(hooks, Mapping) else set()
        if missing:
            raise ValueError(f"{controller['metadata']['name']}: no hook is given for {', '.join(sorted(missing))}")
        self.clock = Clock(start)
        self.api = ApiServer(self.clock, seed=seed)
        self.faults = Faults()
        classes = {each.name: each for each in storage_classes}
        self.api.admission += [
            StorageAdmission(classes, next(iter(classes))),
            service_account(self.api),
            default_limits(self.api),
            default_tolerations,
            pod_security(self.api),
        ]
        self.api.validating += [limit_range(self.api), resource_quota(self.api)]
        given = list(objects)
        for crd in filter(_is_crd, given):
            self.api.register_crd(crd, rules)
        self.garbage = GarbageCollector(self.api)
        self.namespaces = NamespaceController(self.api)
        self.quotas = QuotaController(self.api)
        self.stateful_sets = StatefulSetController(self.api)
        self.deployments = DeploymentController(self.api)
        self.replica_sets = ReplicaSetController(self.api)
        self.jobs = JobController(self.api)
        self.endpoints = EndpointController(self.api)
        self.claims = ClaimController(self.api, self.faults, classes, claim_timings)
        self.kubelet = Kubelet(self.api, self.faults, self.claims, timings)
        self.traffic = Traffic(self.api, self.faults)
        self.request = self.traffic.request
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        for obj in itertools.filterfalse(_is_crd, given):
            self.api.create(obj)
        # After them: what Kubernetes puts into a namespace matters where a quota counts it, and these have none.
        self.contents = ContentController(self.api)
        self.hooks = connect(hooks)
        self.metacontroller = Metacontroller(self.api, self.hooks, controller, apply_strategy=apply_strategy)

    def apply(self, manifest: Observed) -> Manifest:
        """Do as ``kubectl apply --server-side --force-conflicts``, and return the stored object."""
        return self.api.apply(manifest, "kubectl", force=True)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        with self.api.lock:
            self.clock.advance(seconds)

    def settle(self, max_seconds: float = 600) -> bool:
        """Let time pass until nobody has anything to do; return whether that came within `max_seconds`.

        Timers that may run for ever do not count: resyncs, resyncAfterSeconds, the back-off of a crashing container.
        """
        deadline = self.clock.elapsed + max_seconds
        with self.api.lock:
            while self.clock.pending:
                due = self.clock.next_due()
                if due is None or self.clock.elapsed + due > deadline:
                    return False
                self.clock.advance_to_next()
        return True


def _is_crd(obj: Observed) -> bool:
    return bool(obj["kind"] == "CustomResourceDefinition")
