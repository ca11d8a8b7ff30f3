"""Scheduler of a cluster with one node: a pod is bound to it once its claims let it."""

from __future__ import annotations

from devcluster.apiserver import ApiServer
from devcluster.faults import Faults, Trouble
from devcluster.objects import Observed, copy_json, key_of, set_condition
from devcluster.workloads.claims import ClaimController
from devcluster.workloads.containers import claims_of, write_status
from devcluster.workloads.runs import Run, Runs

SCHEDULER = "default-scheduler"
NODE = "node-1"


class Scheduler:
    """Binds pods."""

    def __init__(self, api: ApiServer, faults: Faults, claims: ClaimController, runs: Runs) -> None:
        self._api = api
        self._faults = faults
        self._claims = claims
        self._runs = runs

    def bind(self, pod: Observed, run: Run) -> bool:
        """Return whether a pod was bound; where not, it says why, and looks again when its claim changes."""
        status = copy_json(pod["status"])
        now = self._api.clock.timestamp()
        problem = self._problem(pod, run)
        if problem is None:
            return False
        if problem:
            set_condition(status, "PodScheduled", False, now, "Unschedulable", problem)
            write_status(self._api, pod, status, actor=SCHEDULER)
            return False
        bound = self._api.update({**pod, "spec": {**pod["spec"], "nodeName": NODE}}, actor=SCHEDULER)
        set_condition(status, "PodScheduled", True, now)
        write_status(self._api, bound, status, actor=SCHEDULER)
        return True

    def _problem(self, pod: Observed, run: Run) -> str | None:
        """Return why a pod cannot be bound, "" if it can, None where that is not known yet."""
        fault = self._faults.find(Trouble.UNSCHEDULABLE, pod)
        if fault is not None:
            return f"0/1 nodes are available: {fault.message or '1 Insufficient memory.'}"
        namespace, _ = key_of(pod)
        for name in claims_of(pod):
            problem = self._claims.unschedulable(namespace, name)
            if problem != "":
                self._runs.wait_for(run, "PersistentVolumeClaim", namespace, name)
                return problem
        return ""
