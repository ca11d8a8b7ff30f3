"""The dev cluster with thousands of swarms: from create to verified, and one resync of all."""

from __future__ import annotations

import gc
from collections import Counter
from time import perf_counter

import orjson

from benchmarks.report import Report, Value
from benchmarks.samples import SETTINGS, user_swarm
from devcluster.hooks import HookResponse
from userswarm.cli.demo.cluster import Cluster
from userswarm.finalize import finalize
from userswarm.server.gathering import answer
from userswarm.sync import sync

_HOOKS = {"sync": sync, "finalize": finalize}
_ACTOR = "metacontroller"


class TimedHooks:
    """The hooks in process, and how long their JSON and they themselves take."""

    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, body: bytes) -> HookResponse:
        """Answer as the server would."""
        assert self.cluster is not None
        hook, now = _HOOKS[name], self.cluster.clock.now()
        began = perf_counter()
        request = orjson.loads(body)
        decoded = perf_counter()
        response = answer(hook, request, SETTINGS, now, self.cluster.gatherer)
        answered = perf_counter()
        encoded = orjson.dumps(response)
        self._spend("JSON", (decoded - began) + (perf_counter() - answered))
        self._spend("hooks", answered - decoded)
        return HookResponse(200, encoded, {"content-type": "application/json"})

    def _spend(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


def run(report: Report, counts: tuple[int, ...]) -> None:
    """Measure every number of swarms on a cluster of its own."""
    # A cluster is one large heap that lives: to search it again and again for garbage would be most of the time.
    gc.disable()
    try:
        for swarms in counts:
            report.add(f"Dev cluster, {swarms:,} swarms: round trips per swarm, and seconds", _measure(swarms))
            gc.collect()
    finally:
        gc.enable()


def _measure(swarms: int) -> list[dict[str, Value]]:
    hooks = TimedHooks()
    cluster = Cluster(SETTINGS, hooks)
    hooks.cluster = cluster
    names = [f"workspace-{number:08x}-52c7-4a39-b0e8-6a7f9c3d2e15" for number in range(swarms)]

    def step(title: str) -> dict[str, Value]:
        controller = cluster.metacontroller
        hooks.seconds.clear()
        calls, written = Counter(controller.calls), len(cluster.api.writes)
        began, simulated = perf_counter(), cluster.clock.elapsed
        if title == "create to verified":
            for name in names:
                cluster.apply(user_swarm(name))
        else:
            controller.resync()
        if not cluster.settle():
            raise RuntimeError("the cluster does not come to rest")
        total = perf_counter() - began
        made = Counter(controller.calls) - calls
        writes = [write for write in cluster.api.writes[written:] if write.actor == _ACTOR]
        verbs = Counter("status" if write.verb == "update_status" else "other" for write in writes)
        return {
            "": title,
            "syncs": made["sync"] / swarms,
            "status writes": verbs["status"] / swarms,
            "other writes": verbs["other"] / swarms,
            "hooks s": hooks.seconds["hooks"],
            "JSON s": hooks.seconds["JSON"],
            "rest s": total - hooks.seconds["hooks"] - hooks.seconds["JSON"],
            "simulated s": cluster.clock.elapsed - simulated,
        }

    rows = [step("create to verified"), step("one resync of all")]
    unverified = [name for name in names if cluster.user_swarm(name)["status"].get("verified") is not True]
    if unverified:
        raise RuntimeError(f"{len(unverified)} swarms are not verified: {unverified[:3]}")
    return rows
