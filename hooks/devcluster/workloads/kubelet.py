"""Kubelet of a cluster with one node: what becomes of a pod between its creation and its end.

A pod goes through stages, each some simulated time after the one before; where something is missing or a fault
strikes, it waits, and looks again when what it lacks appears or the fault is taken back.
"""

from __future__ import annotations

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.faults import Faults, Trouble
from devcluster.objects import is_deleting, key_of, uid_of
from devcluster.workloads.claims import ClaimController
from devcluster.workloads.stages import Stages, Timings

__all__ = ["Kubelet", "Timings"]


class Kubelet:
    """Runs pods."""

    def __init__(self, api: ApiServer, faults: Faults, claims: ClaimController, timings: Timings | None = None) -> None:
        self.api = api
        self.faults = faults
        self.timings = timings or Timings()
        self._stages = Stages(api, faults, claims, self.timings)
        self._runs = self._stages.runs
        api.subscribe(self._on_event)
        faults.listeners.append(self._on_faults)

    def blip(self, namespace: str, name: str, seconds: float) -> None:
        """Let a pod that is ready fail its readiness probe for so long; any other is not ready anyway."""
        pod = self.api.get("v1", "Pod", namespace, name)
        run = self._runs[uid_of(pod)]
        if run.stage == "running" and not run.ending:
            self._stages.set_ready(pod, ready=False)
            self._runs.next(run, "ready", seconds)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == "Pod":
            self._on_pod(event)
        elif event.type != "DELETED" and event.kind.kind in {"PersistentVolumeClaim", "Secret", "ConfigMap"}:
            self._runs.wake(event.kind.kind, *key_of(obj))

    def _on_pod(self, event: WatchEvent) -> None:
        uid = uid_of(event.object)
        if event.type == "ADDED":
            run = self._runs.begin(uid)
            self._runs.next(run, "schedule", self.timings.schedule)
        elif event.type == "DELETED":
            self._runs.drop(uid)
        elif is_deleting(event.object) and not self._runs[uid].ending:
            run = self._runs[uid]
            run.ending = True
            grace = event.object["metadata"]["deletionGracePeriodSeconds"]
            fault = self.faults.find(Trouble.SLOW_TERMINATION, event.object)
            seconds = min(grace, self.timings.terminate)
            if fault is not None:
                seconds = grace if fault.seconds is None else fault.seconds
            self._runs.call(run, seconds, self._stages.end)

    def _on_faults(self) -> None:
        for run in self._runs.all():
            if run.ending:
                continue
            if run.backoff is None:
                if run.timer is None:
                    self._runs.next(run, run.stage, 0)
            elif self.faults.find(run.backoff, self._stages.pod(run)) is None:
                run.backoff = None
                self._runs.next(run, run.stage, self.timings.start)
