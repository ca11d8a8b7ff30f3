"""The Job controller, for Jobs of one pod at a time: retries, deadlines, and the end.

Source: kubernetes/pkg/controller/job/job_controller.go. A pod counts once it has ended, and is held by a finalizer
until it has been counted.
"""

from __future__ import annotations

import functools
from datetime import datetime

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import (
    Manifest,
    Observed,
    condition,
    controller_of,
    controller_reference,
    copy_json,
    is_deleting,
    key_of,
    same_json,
    set_condition,
    suffix,
    uid_of,
)
from devcluster.workloads.reconciler import ACTOR, Reconciler
from devcluster.workloads.stateful_sets import is_ready

TRACKING = "batch.kubernetes.io/job-tracking"

_LIMIT = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
_DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
_REACHED = ("CompletionsReached", "Reached expected number of succeeded pods")


class JobController(Reconciler):
    """Makes the pods of Jobs, and says how they ended."""

    api_version = "batch/v1"
    kind = "Job"

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == self.kind:
            self.enqueue(key_of(obj))
            if event.type == "DELETED":
                for _, pod in self.api.dependents(uid_of(obj)):
                    self._untrack_soon(pod)
        elif event.kind.kind == "Pod":
            self.enqueue_owner(obj)
            owner = controller_of(obj)
            if event.type != "DELETED" and (owner is None or self.api.find_uid(owner["uid"]) is None):
                self._untrack_soon(obj)

    def _untrack_soon(self, pod: Observed) -> None:
        """Let a pod go that nobody will count any more."""
        if TRACKING in pod["metadata"].get("finalizers", ()):
            self.clock.after(0, functools.partial(self._untrack, uid_of(pod)))

    def _untrack(self, uid: str) -> None:
        pod = self.api.find_uid(uid)
        if pod is not None and TRACKING in pod["metadata"].get("finalizers", ()):
            rest = [name for name in pod["metadata"]["finalizers"] if name != TRACKING]
            self.api.patch("v1", "Pod", *key_of(pod), {"metadata": {"finalizers": rest}}, actor=ACTOR)

    def reconcile(self, obj: Observed) -> None:
        """Count what ended, and begin or end what has to be."""
        job = obj
        if is_deleting(job) or condition(job, "Complete") or condition(job, "Failed"):
            return
        status: Manifest = copy_json(job["status"])
        now = self.clock.timestamp()
        status.setdefault("startTime", now)
        self._count(job, status)
        pods = [pod for pod in self.api.controlled_by("v1", "Pod", uid_of(job)) if not _ended(pod)]
        active = [pod for pod in pods if not is_deleting(pod)]
        self._judge(job, status, now)
        target = condition({"status": status}, "FailureTarget")
        succeeded = condition({"status": status}, "SuccessCriteriaMet")
        if target or succeeded:
            for pod in active:
                self.api.delete("v1", "Pod", *key_of(pod), uid=uid_of(pod), actor=ACTOR)
            # A pod that has no node yet is gone at once.
            pods = [pod for pod in self.api.controlled_by("v1", "Pod", uid_of(job)) if not _ended(pod)]
            active = []
            if not pods and target:
                set_condition(status, "Failed", True, now, target["reason"], target["message"])
            elif not pods:
                set_condition(status, "Complete", True, now, *_REACHED)
                status["completionTime"] = now
        terminating = len(pods) - len(active)
        try:
            if not (pods or target or succeeded) and self._may_retry(job, status):
                active = [self._create_pod(job)]
        finally:
            # Also when no pod could be made: what was counted is counted once.
            self._write(job, status, active, terminating)

    def _count(self, job: Observed, status: Manifest) -> None:
        for pod in self.api.controlled_by("v1", "Pod", uid_of(job)):
            if _ended(pod) and TRACKING in pod["metadata"].get("finalizers", ()):
                name = "succeeded" if pod["status"]["phase"] == "Succeeded" else "failed"
                status[name] = status.get(name, 0) + 1
                self._untrack(uid_of(pod))

    def _judge(self, job: Observed, status: Manifest, now: str) -> None:
        if condition({"status": status}, "FailureTarget"):
            # Failed for one reason; what its pods do while they are ended is no other.
            return
        if status.get("succeeded", 0) >= job["spec"]["completions"]:
            set_condition(status, "SuccessCriteriaMet", True, now, *_REACHED)
        elif status.get("failed", 0) > job["spec"]["backoffLimit"]:
            set_condition(status, "FailureTarget", True, now, *_LIMIT)
        elif "activeDeadlineSeconds" in job["spec"]:
            began = datetime.fromisoformat(status["startTime"])
            left = job["spec"]["activeDeadlineSeconds"] - (self.clock.now() - began).total_seconds()
            if left <= 0:
                set_condition(status, "FailureTarget", True, now, *_DEADLINE)
            else:
                self.enqueue(key_of(job), left)

    def _may_retry(self, job: Observed, status: Manifest) -> bool:
        """Return whether the next pod may be made: at once the first time, then after 10 s, doubling."""
        failed = status.get("failed", 0)
        if not failed:
            return True
        ended = [
            entry["state"]["terminated"]["finishedAt"]
            for pod in self.api.controlled_by("v1", "Pod", uid_of(job))
            for entry in pod["status"].get("containerStatuses", ())
        ]
        if not ended:
            # Somebody took the failed pods away.
            return True
        wait = min(10.0 * 2 ** (failed - 1), 600.0)
        left = wait - (self.clock.now() - datetime.fromisoformat(max(ended))).total_seconds()
        if left <= 0:
            return True
        self.enqueue(key_of(job), left)
        return False

    def _create_pod(self, job: Observed) -> Manifest:
        template = job["spec"]["template"]
        namespace, name = key_of(job)
        metadata: Manifest = copy_json(template["metadata"])
        metadata |= {
            "name": f"{name[:57]}-{suffix(self.api.random)}",
            "generateName": f"{name}-",
            "namespace": namespace,
            "finalizers": [TRACKING],
            "ownerReferences": [controller_reference(job)],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy_json(template["spec"])}
        return self.api.create(pod, actor=ACTOR)

    def _write(self, job: Observed, status: Manifest, active: list[Manifest], terminating: int) -> None:
        counts = {"active": len(active), "ready": sum(map(is_ready, active)), "terminating": terminating}
        for name, count in counts.items():
            status.pop(name, None)
            # `active` is left out when it is 0; the other two are pointers, and stay.
            if count or name != "active":
                status[name] = count
        status["uncountedTerminatedPods"] = {}
        if not same_json(job["status"], status):
            self.api.update_status({**job, "status": status}, actor=ACTOR)


def _ended(pod: Observed) -> bool:
    return pod["status"]["phase"] in {"Succeeded", "Failed"}
