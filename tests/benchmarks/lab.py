"""N swarms at once on a real cluster: how long, how many requests, how much CPU, and what they cost when idle.

The cluster is the one in KUBECONFIG, with Metacontroller and nothing else to do; `userswarm serve` runs here. Seconds
on the clock depend on who else uses the machine; CPU seconds and requests hardly do. A swarm has come about when it is
verified and its last calls, within LAST_CALL seconds, are done.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from benchmarks.audit import Asked, requests_between
from benchmarks.following import Followed, follow
from benchmarks.processes import busy_seconds, cpu_by_name, cpu_seconds, pids_in
from benchmarks.serving import Server, server
from e2e.cluster import NAMESPACE, SWARM_LABEL, Cluster
from e2e.story import CHILD_KINDS, RUN_LABEL, Object, controller_for_run, is_verified, path_of
from userswarm.backend.transport import Transport, connect

SETTLE = 20.0
"""Seconds for what was asked for while the last swarm changed: a call 15 s later, say."""

LAST_CALL = 75.0
"""Seconds for what was asked for while a crowd came about: a call a minute later, say."""

IDLE = 30.0

_RUN = "benchmark"
_WRITERS = 8
_PACE = ("--workers", "--client-go", "--apply-strategy", "--cache-flush")


@dataclass(frozen=True, slots=True)
class Lab:
    """Where to measure: the processes, the audit log, which release's hooks and manifests, and how they are set."""

    pids: Path
    audit_log: Path
    release: Path
    python: str
    settings: dict[str, str]
    patience: float


@dataclass(slots=True)
class Moment:
    """The counters at one moment."""

    at: float = field(default_factory=time.perf_counter)
    cpu: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    log: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent between two moments."""

    seconds: float
    cpu: dict[str, float]
    others: float
    asked: Counter[Asked]

    def count(self, wanted: Callable[[Asked], bool]) -> int:
        """Return how many requests are as wanted."""
        return sum(number for asked, number in self.asked.items() if wanted(asked))


@dataclass(frozen=True, slots=True)
class Life:
    """The measured life of N swarms."""

    swarms: int
    load: tuple[float, float]
    ready: float
    verified: float
    create: Spent
    idle: Spent
    delete: Spent


class Bench:
    """A cluster with the hooks installed; measures one crowd of swarms after the other."""

    def __init__(self, lab: Lab, cluster: Cluster, transport: Transport, hooks: Server) -> None:
        self._lab = lab
        self._cluster = cluster
        self._transport = transport
        self._hooks = hooks

    def measure(self, swarms: int) -> Life:
        """Bring so many swarms up, leave them alone, and delete them."""
        names = [f"workspace-{number:08x}-52c7-4a39-b0e8-6a7f9c3d2e15" for number in range(swarms)]
        load = os.getloadavg()[0]
        with self._follow() as (user_swarms, pods):
            began = self._moment()
            self._for_each(names, lambda name: self._cluster.apply(user_swarm(name)))
            ready = pods.until(lambda: len(pods.awaited) >= swarms, self._lab.patience)
            verified = user_swarms.until(lambda: len(user_swarms.awaited) >= swarms, self._lab.patience)
            time.sleep(LAST_CALL)
            created = self._moment()
            time.sleep(IDLE)
            idled = self._moment()
            self._for_each(names, lambda name: self._cluster.delete("UserSwarm", name))
            user_swarms.until(lambda: not user_swarms.present, self._lab.patience)
            self._wait_for_nothing()
            gone = self._moment()
        return Life(
            swarms,
            (load, os.getloadavg()[0]),
            ready - began.at,
            verified - began.at,
            self._spent(began, created),
            self._spent(created, idled),
            self._spent(idled, gone),
        )

    def warm_up(self) -> None:
        """Have one swarm come and go: Metacontroller may take a while to notice a new controller."""
        with self._follow() as (user_swarms, _):
            self._cluster.apply(user_swarm("workspace-first"))
            user_swarms.until(lambda: bool(user_swarms.awaited), self._lab.patience)
            self._cluster.delete("UserSwarm", "workspace-first")
            user_swarms.until(lambda: not user_swarms.present, self._lab.patience)
        self._wait_for_nothing()

    @contextmanager
    def _follow(self) -> Iterator[tuple[Followed, Followed]]:
        runtimes = f"{SWARM_LABEL},app.kubernetes.io/component=runtime"
        with (
            follow(self._transport, path_of("UserSwarm"), is_verified) as user_swarms,
            follow(self._transport, path_of("Pod", NAMESPACE), _is_ready, runtimes) as pods,
        ):
            yield user_swarms, pods

    def metacontroller_flags(self) -> str:
        """Return the flags of Metacontroller that decide how much it does at once."""
        pid = pids_in(self._lab.pids)["metacontroller"]
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
        return " ".join(word for word in words if word.startswith(_PACE)) or "its defaults"

    def _wait_for_nothing(self) -> None:
        deadline = time.monotonic() + self._lab.patience
        # The first release had Jobs.
        for kind in ("Pod", "Job", *CHILD_KINDS):
            while self._cluster.all(kind, NAMESPACE, SWARM_LABEL):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"there are still objects of kind {kind}")
                time.sleep(0.3)

    def _for_each(self, names: list[str], do: Callable[[str], object]) -> None:
        with ThreadPoolExecutor(_WRITERS) as pool:
            list(pool.map(do, names))

    def _moment(self) -> Moment:
        cpu = cpu_by_name(pids_in(self._lab.pids)) | {
            "hooks": self._hooks.cpu_seconds(),
            "benchmark": cpu_seconds(os.getpid()),
        }
        return Moment(cpu=cpu, busy=busy_seconds(), log=self._lab.audit_log.stat().st_size)

    def _spent(self, start: Moment, end: Moment) -> Spent:
        cpu = {name: seconds - start.cpu[name] for name, seconds in end.cpu.items()}
        others = end.busy - start.busy - sum(cpu.values())
        return Spent(end.at - start.at, cpu, others, requests_between(self._lab.audit_log, start.log, end.log))


AnyBench = TypeVar("AnyBench", bound=Bench)


@contextmanager
def bench(lab: Lab, measuring: type[AnyBench] = Bench) -> Iterator[AnyBench]:
    """Start the release's hooks, install its controller and what of its CRD and namespace is not there, and remove in
    the end what was made.
    """
    transport = Transport(connect())
    transport.api_client.set_default_header("User-Agent", "userswarm-benchmark")
    cluster = Cluster(transport, lab.patience)
    made: list[Object] = []
    settings = {"PYTHONPATH": str(lab.release / "hooks"), **lab.settings}
    with server(("/healthz", b""), python=lab.python, settings=settings) as hooks:
        try:
            for relative in ("namespace/userswarms.yaml", "crd/userswarms.crawbl.ai.yaml"):
                manifest = _load(lab, relative)
                if cluster.get(manifest["kind"], manifest["metadata"]["name"]) is None:
                    made.append(cluster.apply(manifest))
            cluster.wait_for_crd("userswarms.crawbl.ai")
            base = _load(lab, "controller/compositecontroller.yaml")
            made.append(cluster.apply(controller_for_run(base, _RUN, f"http://127.0.0.1:{hooks.port}")))
            running = measuring(lab, cluster, transport, hooks)
            running.warm_up()
            yield running
        finally:
            # The order of uninstalling: the swarms, then who finalizes them, then what they are made of.
            cluster.remove_swarms(_RUN)
            for manifest in reversed(made):
                cluster.delete(manifest["kind"], manifest["metadata"]["name"])
            cluster.close()


def _load(lab: Lab, relative: str) -> Object:
    loaded: Object = yaml.safe_load((lab.release / "manifests" / relative).read_text(encoding="utf-8"))
    return loaded


def user_of(name: str) -> str:
    """Return the owner of a swarm of the benchmarks."""
    return f"user-of-{name}"


def user_swarm(name: str, **spec: Any) -> Object:
    """Return a small swarm; `spec` is what it wants besides."""
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": name, "labels": {RUN_LABEL: _RUN}},
        "spec": {"userId": user_of(name), **spec},
    }


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
