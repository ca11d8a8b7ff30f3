"""A whole cluster in memory: `Cluster()` has the UserSwarm CRD, its namespaces, its controller and its hooks.

cluster = Cluster()
cluster.apply({"apiVersion": "crawbl.ai/v1alpha1", "kind": "UserSwarm", …})
cluster.settle()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from userswarm.devcluster.admission import (
    StorageAdmission,
    StorageClass,
    default_tolerations,
    pod_security,
    service_account,
)
from userswarm.devcluster.apiserver import ApiServer
from userswarm.devcluster.clock import Clock
from userswarm.devcluster.faults import Faults
from userswarm.devcluster.garbage import GarbageCollector, NamespaceController
from userswarm.devcluster.hooks import Hooks, InProcessHooks
from userswarm.devcluster.limit_ranges import default_limits, limit_range
from userswarm.devcluster.metacontroller import DYNAMIC_APPLY, Metacontroller
from userswarm.devcluster.quotas import resource_quota
from userswarm.devcluster.workloads.claims import ClaimController, ClaimTimings
from userswarm.devcluster.workloads.deployments import DeploymentController
from userswarm.devcluster.workloads.endpoints import EndpointController
from userswarm.devcluster.workloads.jobs import JobController
from userswarm.devcluster.workloads.kubelet import Kubelet, Timings
from userswarm.devcluster.workloads.namespaces import ContentController
from userswarm.devcluster.workloads.quotas import QuotaController
from userswarm.devcluster.workloads.replica_sets import ReplicaSetController
from userswarm.devcluster.workloads.stateful_sets import StatefulSetController
from userswarm.spec.manifests import manifest_path
from userswarm.spec.schema import load_crd
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import Manifest, Observed

USER_SWARM = ("crawbl.ai/v1alpha1", "UserSwarm")

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
        settings: Settings | None = None,
        hooks: Hooks | None = None,
        controller: Observed | None = None,
        crd: Observed | None = None,
        *,
        apply_strategy: str = DYNAMIC_APPLY,
        seed: int = 0,
        timings: Timings | None = None,
        claim_timings: ClaimTimings | None = None,
        storage_classes: Iterable[StorageClass] = STORAGE_CLASSES,
    ) -> None:
        """Start it; hooks, controller and CRD are this project's own where none are given."""
        self.settings = settings or Settings()
        self.clock = Clock()
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
        self.user_swarms = self.api.register_crd(crd or load_crd())
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
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        for namespace in load_manifests("namespace", "Namespace"):
            self.api.create(namespace)
        # After them: what Kubernetes puts into a namespace matters where a quota counts it, and these have none.
        self.contents = ContentController(self.api)
        self.hooks: Hooks = hooks or InProcessHooks(self.settings, self.clock)
        self.metacontroller = Metacontroller(
            self.api,
            self.hooks,
            controller or composite_controller(),
            apply_strategy=apply_strategy,
        )

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

    def user_swarm(self, name: str) -> Manifest:
        """Return a UserSwarm; 404 if there is none."""
        return self.api.get(*USER_SWARM, None, name)

    def edit(self, name: str, patch: Mapping[str, Any]) -> Manifest:
        """Apply a merge patch to a UserSwarm, as ``kubectl patch`` does."""
        return self.api.patch(*USER_SWARM, None, name, patch)

    def delete(self, name: str, *, propagation: str = "Background") -> None:
        """Delete a UserSwarm."""
        self.api.delete(*USER_SWARM, None, name, propagation=propagation)


def composite_controller(*, dedicated: bool = False) -> Manifest:
    """Return this project's CompositeController, for Dedicated swarms too if asked for."""
    controller = next(load_manifests("controller", "CompositeController"))
    if dedicated:
        patch = manifest_path("components/dedicated/compositecontroller.yaml").read_text(encoding="utf-8")
        controller["spec"]["childResources"] += [step["value"] for step in yaml.safe_load(patch)]
    return controller


def load_manifests(directory: str, kind: str) -> Iterator[Manifest]:
    """Yield the objects of one kind from the files of a directory of this project's manifests, by file name."""
    for path in sorted(Path(manifest_path(directory)).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] == kind:
                yield document
