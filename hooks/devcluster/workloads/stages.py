"""The stages that a pod goes through, from its creation to its end, and what each writes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devcluster.apiserver import ApiServer
from devcluster.events import record_event
from devcluster.faults import Faults, Trouble
from devcluster.objects import Manifest, Observed, copy_json, key_of, set_condition
from devcluster.workloads.claims import ClaimController
from devcluster.workloads.containers import (
    missing_config,
    missing_volume,
    named_objects,
    new_statuses,
    running,
    summarize,
    terminated,
    termination_message,
    waiting,
    write_status,
)
from devcluster.workloads.runs import Run, Runs
from devcluster.workloads.scheduler import Scheduler

ACTOR = "kubelet"


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


class Stages:
    """Takes pods from one stage to the next; where something is missing or a fault strikes, a pod waits."""

    def __init__(self, api: ApiServer, faults: Faults, claims: ClaimController, timings: Timings) -> None:
        self.runs = Runs(api.clock, self._step)
        self._api = api
        self._clock = api.clock
        self._faults = faults
        self._timings = timings
        self._scheduler = Scheduler(api, faults, claims, self.runs)
        self._addresses = 0
        self._stages: dict[str, Callable[[Observed, Run], None]] = {
            "schedule": self._schedule,
            "prepare": self._prepare,
            "init": self._start_init,
            "init-done": self._finish_init,
            "start": self._start,
            "ready": self._become_ready,
            "running": self._look_after,
            "work": self._finish_work,
        }

    def pod(self, run: Run) -> Observed:
        """Return the stored pod; it is there as long as its run is."""
        return self._api.peek_uid(run.uid)

    def _step(self, run: Run) -> None:
        run.timer = None
        run.backoff = None
        pod = self.pod(run)
        if pod["status"]["phase"] not in {"Succeeded", "Failed"}:
            self._stages[run.stage](pod, run)

    def _schedule(self, pod: Observed, run: Run) -> None:
        if self._scheduler.bind(pod, run):
            self.runs.next(run, "prepare", self._timings.prepare)

    def _prepare(self, pod: Observed, run: Run) -> None:
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
        problem = missing_volume(self._api, pod)
        set_condition(status, "PodReadyToStartContainers", not problem, now)
        if not problem:
            self._addresses += 1
            status["podIP"] = f"10.244.{self._addresses // 254 % 256}.{self._addresses % 254 + 1}"
            status["podIPs"] = [{"ip": status["podIP"]}]
        self._write(pod, status)
        if problem:
            record_event(self._api, pod, "Warning", "FailedMount", problem, source=ACTOR)
            self._wait_for_objects(pod, run)
            return
        self.runs.next(run, "init" if inits else "start", self._timings.start)

    def _wait_for_objects(self, pod: Observed, run: Run) -> None:
        """Look again when a Secret or ConfigMap that the pod names appears."""
        namespace, _ = key_of(pod)
        for kind, name in named_objects(pod):
            self.runs.wait_for(run, kind, namespace, name)

    def _blocked(self, pod: Observed, run: Run, container: Observed) -> Manifest | None:
        """Return the waiting state of a container that cannot be started, None for one that can."""
        problem = missing_config(self._api, key_of(pod)[0], container)
        if problem:
            self._wait_for_objects(pod, run)
            return waiting("CreateContainerConfigError", problem)
        if self._faults.find(Trouble.IMAGE_PULL, pod):
            return waiting("ImagePullBackOff", f'Back-off pulling image "{container["image"]}"')
        return None

    def _start_init(self, pod: Observed, run: Run) -> None:
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        blocked = self._blocked(pod, run, pod["spec"]["initContainers"][run.init])
        run.started = now
        status["initContainerStatuses"][run.init]["state"] = blocked or running(now)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)
        if blocked is None:
            self.runs.next(run, "init-done", self._timings.init)

    def _finish_init(self, pod: Observed, run: Run) -> None:
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        container = pod["spec"]["initContainers"][run.init]
        entry = status["initContainerStatuses"][run.init]
        fault = self._faults.find(Trouble.INIT_FAILURE, pod) if run.init == 0 else None
        code = fault.exit_code if fault else 0
        message = termination_message(container, code, fault.message if fault else "")
        entry["state"] = terminated(code, "Error" if code else "Completed", message, run.started, now)
        if code and pod["spec"]["restartPolicy"] != "Never":
            self._back_off(pod, run, entry, "init", Trouble.INIT_FAILURE)
        elif not code:
            run.init += 1
            done = run.init == len(status["initContainerStatuses"])
            self.runs.next(run, "start" if done else "init", self._timings.start if done else 0)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)

    def _start(self, pod: Observed, run: Run) -> None:
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
            self.runs.next(run, "ready", self._timings.ready)
        else:
            self.runs.next(run, "work", self._timings.job)

    def _become_ready(self, pod: Observed, run: Run) -> None:
        if self._crashes(pod, run):
            return
        run.stage = "running"
        self.set_ready(pod, ready=self._faults.find(Trouble.NEVER_READY, pod) is None)

    def _look_after(self, pod: Observed, run: Run) -> None:
        if not self._crashes(pod, run):
            self.set_ready(pod, ready=self._faults.find(Trouble.NEVER_READY, pod) is None)

    def set_ready(self, pod: Observed, *, ready: bool) -> None:
        """Write whether a pod passes its readiness probe."""
        status = copy_json(pod["status"])
        summarize(pod, status, self._clock.timestamp(), probe_passes=ready)
        self._write(pod, status)

    def _crashes(self, pod: Observed, run: Run) -> bool:
        fault = self._faults.find(Trouble.CRASH_LOOP, pod)
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

    def _back_off(self, pod: Observed, run: Run, entry: Manifest, stage: str, trouble: Trouble) -> None:
        """Restart a container that failed: after 10 s, doubling, up to five minutes."""
        entry["restartCount"] += 1
        seconds = min(10 * 2 ** (entry["restartCount"] - 1), 300)
        entry["lastState"] = entry["state"]
        name = f"container={entry['name']} pod={pod['metadata']['name']}_{pod['metadata']['namespace']}({run.uid})"
        entry["state"] = waiting("CrashLoopBackOff", f"back-off {_duration(seconds)} restarting failed {name}")
        run.backoff = trouble
        self.runs.next(run, stage, seconds, background=True)

    def _finish_work(self, pod: Observed, run: Run) -> None:
        """End the containers of what runs to its end: well, but for a fault."""
        if self._faults.find(Trouble.JOB_STUCK, pod) is not None:
            return
        fault = self._faults.find(Trouble.JOB_FAILS, pod)
        code, reason, text = (fault.exit_code, fault.reason, fault.message) if fault else (0, "Completed", "")
        status = copy_json(pod["status"])
        now = self._clock.timestamp()
        for entry, container in zip(status["containerStatuses"], pod["spec"]["containers"], strict=True):
            entry["state"] = terminated(code, reason, termination_message(container, code, text), run.started, now)
        summarize(pod, status, now, probe_passes=False)
        self._write(pod, status)

    def end(self, run: Run) -> None:
        """Stop what runs in a deleted pod, and take the pod away."""
        run.timer = None
        pod = self.pod(run)
        if pod["metadata"].get("finalizers"):
            # Who holds it wants to see how it ended.
            status = copy_json(pod["status"])
            now = self._clock.timestamp()
            for entry in status.get("containerStatuses", ()):
                entry["state"] = terminated(143, "Error", "", run.started or now, now)
            status["phase"] = "Failed"
            self._write(pod, status)
        self._api.delete("v1", "Pod", *key_of(pod), uid=run.uid, grace_period=0, actor=ACTOR)

    def _write(self, pod: Observed, status: Manifest) -> None:
        write_status(self._api, pod, status, actor=ACTOR)


def _duration(seconds: float) -> str:
    """Return seconds as Go prints a duration: 10s, 2m40s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
