"""N swarms that fall asleep on a real cluster, cost nothing while they sleep, and are woken: by a touch, by a request.

Seconds to wake depend on how fast the cluster brings Pods up, and on who else uses the machine; requests hardly do.
"""

from __future__ import annotations

import http.client
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.audit import Asked
from benchmarks.following import follow
from benchmarks.lab import SETTLE, Bench, Spent, user_of, user_swarm
from benchmarks.report import Report, Value
from e2e.story import Object, is_in_phase, is_verified, path_of
from userswarm.backend import UserSwarmClient
from userswarm.backend.naming import swarm_name
from userswarm.cli.demo.gate_world import open_door
from userswarm.cli.demo.runtimes import Runtime

LIFECYCLE = {"idleAfter": "5m"}
"""Longer than hundreds of swarms take to come up, so that nobody sleeps before all are verified."""

ASLEEP = 60.0
"""Seconds for which all sleep."""


@dataclass(frozen=True, slots=True)
class Wake:
    """How long each of some swarms took from its touch until it was verified, and what that cost."""

    seconds: list[float]
    spent: Spent


@dataclass(frozen=True, slots=True)
class Sleep:
    """The measured sleep of N swarms: falling asleep, sleeping, and those that wake.

    `one` is touched; for `asked_for` a request waits at the gate, until it is answered; `many` are touched at once.
    """

    swarms: int
    load: tuple[float, float]
    falling: Spent
    asleep: Spent
    one: Wake
    asked_for: Wake
    many: Wake


class SleepBench(Bench):
    """Measures one crowd of swarms that may sleep."""

    def measure_sleep(self, swarms: int, wakes: int) -> Sleep:
        """Let so many swarms fall asleep, leave them alone, and wake two of them alone and then `wakes` at once."""
        workspaces = [f"{number:08x}-52c7-4a39-b0e8-6a7f9c3d2e15" for number in range(swarms)]
        names = [swarm_name(each) for each in workspaces]
        load = os.getloadavg()[0]
        with follow(self._transport, path_of("UserSwarm"), is_verified) as verified:
            self._for_each(names, lambda name: self._cluster.apply(user_swarm(name, lifecycle=LIFECYCLE)))
            verified.until(lambda: len(verified.awaited) >= swarms, self._lab.patience)
        with follow(self._transport, path_of("UserSwarm"), _is_asleep) as sleeping:
            time.sleep(SETTLE)
            began = self._moment()
            sleeping.until(lambda: len(sleeping.awaited) >= swarms, self._lab.patience)
        time.sleep(SETTLE)
        asleep = self._moment()
        time.sleep(ASLEEP)
        rested = self._moment()
        one = self._wake(workspaces[:1])
        asked_for = self._ask_for(workspaces[1])
        many = self._wake(workspaces[2 : wakes + 2])
        self._for_each(names, lambda name: self._cluster.delete("UserSwarm", name))
        self._wait_for_nothing()
        return Sleep(
            swarms,
            (load, os.getloadavg()[0]),
            self._spent(began, asleep),
            self._spent(asleep, rested),
            one,
            asked_for,
            many,
        )

    def _ask_for(self, workspace: str) -> Wake:
        """Ask the real gate and its Envoy for a swarm, as its user does."""
        name = swarm_name(workspace)
        found = self._cluster.get("UserSwarm", name) or {}
        with ExitStack() as stack:
            runtime = stack.enter_context(Runtime.running(workspace))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            hosts = f"{runtime.address} {found['status']['endpoint'].removeprefix('http://')}\n"
            door = stack.enter_context(open_door(folder, os.environ["KUBECONFIG"], hosts, GATE_HOLD="300"))
            connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=400)
            stack.callback(connection.close)
            bearer = {"Authorization": f"Bearer {door.issuer.token(user_of(name))}"}
            began, asked = self._moment(), time.perf_counter()
            connection.request("GET", f"/v1/workspaces/{workspace}/", headers=bearer)
            status = connection.getresponse().status
            seconds = time.perf_counter() - asked
            if status != 200:
                raise RuntimeError(f"the gate answered {status} after {seconds:.1f} s")
            time.sleep(SETTLE)
            return Wake([seconds], self._spent(began, self._moment()))

    def _wake(self, workspaces: list[str]) -> Wake:
        """Touch swarms, all at once, as a backend does, and wait until they are verified."""
        woken: dict[str, float] = {}
        touched: dict[str, float] = {}

        def is_woken(found: Object) -> bool:
            if not is_verified(found):
                return False
            woken.setdefault(found["metadata"]["name"], time.perf_counter())
            return True

        def touch(workspace: str) -> None:
            touched[workspace] = time.perf_counter()
            # The API server is asked whose it is: the memory of `cached` would spare that.
            client.touch(workspace, user_of(swarm_name(workspace)))

        with (
            UserSwarmClient() as client,
            follow(self._transport, path_of("UserSwarm"), is_woken) as followed,
            ThreadPoolExecutor(len(workspaces)) as pool,
        ):
            began = self._moment()
            list(pool.map(touch, workspaces))
            names = {swarm_name(each) for each in workspaces}
            followed.until(lambda: names <= followed.awaited, self._lab.patience)
            time.sleep(SETTLE)
            spent = self._spent(began, self._moment())
        return Wake([woken[swarm_name(each)] - touched[each] for each in workspaces], spent)


def add_sleep(report: Report, sleep: Sleep) -> None:
    """Add the tables of one measured sleep."""
    wakes = len(sleep.many.seconds)
    rows: list[Mapping[str, Value]] = [
        {"": name, "measured": value}
        for name, value in {
            "falling asleep, writes per swarm": _count(sleep.falling, writes=True) / sleep.swarms,
            "falling asleep, reads per swarm": _count(sleep.falling, writes=False) / sleep.swarms,
            f"all asleep for {ASLEEP:.0f} s, requests": sleep.asleep.count(lambda each: each.verb != "watch"),
            "of all asleep, watches that were renewed": sleep.asleep.count(lambda each: each.verb == "watch"),
            "one touched, s until verified": sleep.one.seconds[0],
            "one touched, writes": _count(sleep.one.spent, writes=True),
            "one asked for at the gate, s until answered": sleep.asked_for.seconds[0],
            "one asked for at the gate, writes": _count(sleep.asked_for.spent, writes=True),
            f"{wakes} touched at once, s until verified, median": statistics.median(sleep.many.seconds),
            f"{wakes} touched at once, s until verified, longest": max(sleep.many.seconds),
            f"{wakes} touched at once, writes per swarm": _count(sleep.many.spent, writes=True) / wakes,
            "load of the machine before": sleep.load[0],
            "load of the machine after": sleep.load[1],
        }.items()
    ]
    report.add(f"{sleep.swarms} swarms that sleep", rows)
    columns: dict[str, tuple[Counter[Asked], int]] = {
        "falling asleep, each": (sleep.falling.asked, sleep.swarms),
        "asleep, all": (sleep.asleep.asked, 1),
        "woken alone": (sleep.one.spent.asked, 1),
        "asked for": (sleep.asked_for.spent.asked, 1),
        f"one of {wakes} woken": (sleep.many.spent.asked, wakes),
    }
    kinds = sorted(_kinds(asked for asked, _ in columns.values()))
    report.add(
        f"{sleep.swarms} swarms that sleep: requests",
        [{"": " ".join(kind), **{name: asked[kind] / of for name, (asked, of) in columns.items()}} for kind in kinds],
    )


def _kinds(counters: Iterable[Counter[Asked]]) -> set[Asked]:
    return {asked for counter in counters for asked in counter}


def _count(spent: Spent, *, writes: bool) -> int:
    return spent.count(lambda each: each.is_read is not writes)


def _is_asleep(found: Object) -> bool:
    return is_in_phase(found, "Asleep")
