"""Scheduler and kubelet of a cluster with one node: what becomes of a pod between its creation and its end.

A pod goes through stages, each some simulated time after the one before; where something is missing or a fault
strikes, it waits, and looks again when what it lacks appears or the fault is taken back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.clock import Timer
from devcluster.events import record_event
from devcluster.faults import Faults, Trouble
from devcluster.objects import Manifest, Observed, copy_json, is_deleting, key_of, same_json, set_condition, uid_of
from devcluster.workloads.claims import ClaimController
from devcluster.workloads.containers import (
    claims_of,
    missing_config,
    missing_volume,
    named_objects,
    new_statuses,
    running,
    summarize,
    terminated,
    termination_message,
    waiting,
)

ACTOR = "kubelet"
SCHEDULER = "default-scheduler"
NODE = "node-1"


@dataclass(frozen=True, slots=True)
class Timings:
    """How long what takes on the node, in seconds."""

    schedule: float = 0.1
    prepare: float = 0.3
    init: float = 0.5
    start: float = 0.6
    ready: float = 2.0
    job: float = 1.0
    terminate: float = 1.0


@dataclass(slots=True)
class _Run:
    """One pod on its way: the stage that comes next, and what may make it look again."""

    uid: str
    stage: str = "schedule"
    init: int = 0
    started: str = ""
    timer: Timer | None = None
    ending: bool = False
    # In back-off: the wait is over early once the trouble is taken back.
    backoff: Trouble | None = None


class Kubelet:
    """Runs pods."""

    def __init__(self, api: ApiServer, faults: Faults, claims: ClaimController, timings: Timings | None = None) -> None:
        self.api = api
        self.faults = faults
        self.timings = timings or Timings()
        self._claims = claims
        self._clock = api.clock
        self._runs: dict[str, _Run] = {}
        self._waiting: dict[tuple[str, str, str], dict[str, None]] = {}
        self._addresses = 0
        self._stages: dict[str, Callable[[Observed, _Run], None]] = {
            "schedule": self._schedule,
            "prepare": self._prepare,
            "init": self._start_init,
            "init-done": self._finish_init,
            "start": self._start,
            "ready": self._become_ready,
            "running": self._look_after,
            "work": self._finish_work,
        }
        api.subscribe(self._on_event)
        faults.listeners.append(self._on_faults)

    def blip(self, namespace: str, name: str, seconds: float) -> None:
        """Let a pod that is ready fail its readiness probe for so long; any other is not ready anyway."""
        pod = self.api.get("v1", "Pod", namespace, name)
        run = self._runs[uid_of(pod)]
        if run.stage == "running" and not run.ending:
            self._set_ready(pod, ready=False)
            self._next(run, "ready", seconds)

    # What makes it look at a pod

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == "Pod":
            self._on_pod(event)
        elif event.type != "DELETED" and event.kind.kind in {"PersistentVolumeClaim", "Secret", "ConfigMap"}:
            self._wake((event.kind.kind, *key_of(obj)))

    def _on_pod(self, event: WatchEvent) -> None:
        uid = uid_of(event.object)
        if event.type == "ADDED":
            run = self._runs[uid] = _Run(uid)
            self._next(run, "schedule", self.timings.schedule)
        elif event.type == "DELETED":
            run = self._runs.pop(uid)
            if run.timer is not None:
                self._clock.cancel(run.timer)
        elif is_deleting(event.object) and not self._runs[uid].ending:
            run = self._runs[uid]
            run.ending = True
            grace = event.object["metadata"]["deletionGracePeriodSeconds"]
            fault = self.faults.find(Trouble.SLOW_TERMINATION, event.object)
            seconds = min(grace, self.timings.terminate)
            if fault is not None:
                seconds = grace if fault.seconds is None else fault.seconds
            self._set_timer(run, seconds, self._end)

    def _on_faults(self) -> None:
        for run in self._runs.values():
            if run.ending:
                continue
            if run.backoff is None:
                if run.timer is None:
                    self._next(run, run.stage, 0)
            elif self.faults.find(run.backoff, self._pod(run)) is None:
                run.backoff = None
                self._next(run, run.stage, self.timings.start)

    def _pod(self, run: _Run) -> Observed:
        """Return the stored pod; it is there as long as its run is."""
        return self.api.peek_uid(run.uid)

    def _wait_for(self, run: _Run, kind: str, namespace: str, name: str) -> None:
        self._waiting.setdefault((kind, namespace, name), {})[run.uid] = None

    def _wake(self, what: tuple[str, str, str]) -> None:
        for uid in self._waiting.pop(what, {}):
            run = self._runs.get(uid)
            if run is not None and run.timer is None:
                self._next(run, run.stage, 0)

    # How a pod gets on

    def _next(self, run: _Run, stage: str, seconds: float, *, background: bool = False) -> None:
        run.stage = stage
        self._set_timer(run, seconds, self._step, background=background)

    def _set_timer(
        self, run: _Run, seconds: float, action: Callable[[_Run], None], *, background: bool = False
    ) -> None:
        if run.timer is not None:
            self._clock.cancel(run.timer)
        run.timer = self._clock.after(seconds, functools.partial(action, run), background=background)

    def _step(self, run: _Run) -> None:
        run.timer = None
        run.backoff = None
        pod = self._pod(run)
        if pod["status"]["phase"] not in {"Succeeded", "Failed"}:
            self._stages[run.stage](pod, run)

    def _schedule(self, pod: Observed, run: _Run) -> None:
        namespace, _ = key_of(pod)
        now = self._clock.timestamp()
        status = copy_json(pod["status"])
        fault = self.faults.find(Trouble.UNSCHEDULABLE, pod)
        problem: str | None = ""
        if fault is not None:
            problem = f"0/1 nodes are available: {fault.message or '1 Insufficient memory.'}"
        else:
            for name in claims_of(pod):
                problem = self._claims.unschedulable(namespace, name)
                if problem != "":
                    self._wait_for(run, "PersistentVolumeClaim", namespace, name)
                    break
        if problem is None:
            return
        if problem:
            set_condition(status, "PodScheduled", False, now, "Unschedulable", problem)
            self._write(pod, status, actor=SCHEDULER)
            return
        bound = self.api.update({**pod, "spec": {**pod["spec"], "nodeName": NODE}}, actor=SCHEDULER)
        set_condition(status, "PodScheduled", True, now)
        self._write(bound, status, actor=SCHEDULER)
        self._next(run, "prepare", self.timings.prepare)

    def _prepare(self, pod: Observed, run: _Run) -> None:
        spec = pod["spec"]
        now = self._clock.timestamp()
        status = copy_json(pod["status"])
        inits = spec.get("initContainers", [])
        reason = "PodInitializing" if inits else "ContainerCreating"
        status |= {"hostIP": "10.245.0.1", "hostIPs": [{"ip": "10.245.0.1"}], "observedGeneration": 1}
        status.setdefault("startTime", now)
        if inits:
            status["initContainerStatuses"] = new_statuses(inits, "PodInitializing")
        status["containerStatuses"] = new_statuses(spec["containers"], reason)
        summarize(pod, status, now, probe_passes=False)
        problem = missing_volume(self.api, pod)
        set_condition(status, "PodReadyToStartContainers", not problem, now)
        if not problem:
            self._addresses += 1
            status["podIP"] = f"10.244.{self._addresses // 254 % 256}.{self._addresses % 254 + 1}"
            status["podIPs"] = [{"ip": status["podIP"]}]
        self._write(pod, status)
        if problem:
            record_event(self.api, pod, "Warning", "FailedMount", problem, source=ACTOR)
            self._wait_for_objects(pod, run)
            return
        self._next(run, "init" if inits else "start", self.timings.start)

    def _wait_for_objects(self, pod: Observed, run: _Run) -> None:
        """Look again when a Secret or ConfigMap that the pod names appears."""
        namespace, _ = key_of(pod)
        for kind, name in named_objects(pod):
            self._wait_for(run, kind, namespace, name)

    def _blocked(self, pod: Observed, run: _Run, container: Observed) -> Manifest | None:
        """Return the waiting state of a container that cannot be started, None for one that can."""
        problem = missing_config(self.api, key_of(pod)[0], container)
        if problem:
            self._wait_for_objects(pod, run)
            return waiting("CreateContainerConfigError", problem)
        if self.faults.find(Trouble.IMAGE_PULL, pod):
            return waiting("ImagePullBackOff", f'Back-off pulling image "{container["image"]}"')
        return None

    def _start_init(self, pod: Observed, run: _Run) -> None:
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        blocked = self._blocked(pod, run, pod["spec"]["initContainers"][run.init])
        run.started = now
        status["initContainerStatuses"][run.init]["state"] = blocked or running(now)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)
        if blocked is None:
            self._next(run, "init-done", self.timings.init)

    def _finish_init(self, pod: Observed, run: _Run) -> None:
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        container = pod["spec"]["initContainers"][run.init]
        entry = status["initContainerStatuses"][run.init]
        fault = self.faults.find(Trouble.INIT_FAILURE, pod) if run.init == 0 else None
        code = fault.exit_code if fault else 0
        message = termination_message(container, code, fault.message if fault else "")
        entry["state"] = terminated(code, "Error" if code else "Completed", message, run.started, now)
        if code and pod["spec"]["restartPolicy"] != "Never":
            self._back_off(pod, run, entry, "init", Trouble.INIT_FAILURE)
        elif not code:
            run.init += 1
            done = run.init == len(status["initContainerStatuses"])
            self._next(run, "start" if done else "init", self.timings.start if done else 0)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)

    def _start(self, pod: Observed, run: _Run) -> None:
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        blocks = [self._blocked(pod, run, container) for container in pod["spec"]["containers"]]
        run.started = now
        for entry, blocked in zip(status["containerStatuses"], blocks, strict=True):
            entry["state"] = blocked or running(now)
            entry["imageID"] = "" if blocked else f"containerd://{entry['image']}"
        serves = pod["spec"]["restartPolicy"] == "Always"
        # What runs to its end has no readiness probe.
        summarize(pod, status, now, probe_passes=not serves)
        self._write(pod, status)
        if any(blocks):
            return
        if serves:
            self._next(run, "ready", self.timings.ready)
        else:
            self._next(run, "work", self.timings.job)

    def _become_ready(self, pod: Observed, run: _Run) -> None:
        if self._crashes(pod, run):
            return
        run.stage = "running"
        self._set_ready(pod, ready=self.faults.find(Trouble.NEVER_READY, pod) is None)

    def _look_after(self, pod: Observed, run: _Run) -> None:
        if not self._crashes(pod, run):
            self._set_ready(pod, ready=self.faults.find(Trouble.NEVER_READY, pod) is None)

    def _set_ready(self, pod: Observed, *, ready: bool) -> None:
        status = copy_json(pod["status"])
        summarize(pod, status, self._clock.timestamp(), probe_passes=ready)
        self._write(pod, status)

    def _crashes(self, pod: Observed, run: _Run) -> bool:
        fault = self.faults.find(Trouble.CRASH_LOOP, pod)
        if fault is None:
            return False
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        for entry, container in zip(status["containerStatuses"], pod["spec"]["containers"], strict=True):
            message = termination_message(container, fault.exit_code, fault.message)
            entry["state"] = terminated(fault.exit_code, fault.reason, message, run.started, now)
            self._back_off(pod, run, entry, "start", Trouble.CRASH_LOOP)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)
        return True

    def _back_off(self, pod: Observed, run: _Run, entry: Manifest, stage: str, trouble: Trouble) -> None:
        """Restart a container that failed: after 10 s, doubling, up to five minutes."""
        entry["restartCount"] += 1
        seconds = min(10 * 2 ** (entry["restartCount"] - 1), 300)
        entry["lastState"] = entry["state"]
        name = f"container={entry['name']} pod={pod['metadata']['name']}_{pod['metadata']['namespace']}({run.uid})"
        entry["state"] = waiting("CrashLoopBackOff", f"back-off {_duration(seconds)} restarting failed {name}")
        run.backoff = trouble
        self._next(run, stage, seconds, background=True)

    def _finish_work(self, pod: Observed, run: _Run) -> None:
        """End the containers of what runs to its end: well, but for a fault."""
        if self.faults.find(Trouble.JOB_STUCK, pod) is not None:
            return
        fault = self.faults.find(Trouble.JOB_FAILS, pod)
        code, reason, text = (fault.exit_code, fault.reason, fault.message) if fault else (0, "Completed", "")
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        for entry, container in zip(status["containerStatuses"], pod["spec"]["containers"], strict=True):
            entry["state"] = terminated(code, reason, termination_message(container, code, text), run.started, now)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)

    def _end(self, run: _Run) -> None:
        run.timer = None
        pod = self._pod(run)
        if pod["metadata"].get("finalizers"):
            # Who holds it wants to see how it ended.
            status = copy_json(pod["status"])
            now = self._clock.timestamp()
            for entry in status.get("containerStatuses", ()):
                entry["state"] = terminated(143, "Error", "", run.started or now, now)
            status["phase"] = "Failed"
            self._write(pod, status)
        self.api.delete("v1", "Pod", *key_of(pod), uid=run.uid, grace_period=0, actor=ACTOR)

    def _write(self, pod: Observed, status: Manifest, *, actor: str = ACTOR) -> None:
        # The defaults that the API server adds are in both: only a real change is written.
        if not same_json(pod["status"], status):
            fresh = self.api.peek_uid(uid_of(pod))
            self.api.update_status({**fresh, "status": status}, actor=actor)


def _duration(seconds: float) -> str:
    """Return seconds as Go prints a duration: 10s, 2m40s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
