"""`UserSwarmClient.resolve` from the cache, per second: ``cd tests && python -m benchmarks.resolve``.

The API server is the dev cluster's, over HTTP. While the calls are counted it also changes swarms, as a platform
does; the table says how many requests the calls themselves cost.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import click
from kubernetes import client as kubernetes_client

from benchmarks.report import Report, Value, machine
from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.rest import RestServer
from userswarm.backend import OwnershipError, UserSwarmClient
from userswarm.cli.demo.rules import RULES
from userswarm.spec.schema import load_crd

KIND = ("crawbl.ai/v1alpha1", "UserSwarm")


def run(report: Report, swarms: int, seconds: float, changes: int) -> None:
    """Measure with 1 to 8 threads, with and without changes under way, and strangers' refusals."""
    api = ApiServer(Clock())
    api.register_crd(load_crd(), RULES)
    for number in range(swarms):
        _make(api, number)
    configuration = kubernetes_client.Configuration()
    rows: list[dict[str, Value]] = []
    with RestServer(api) as rest:
        configuration.host = rest.url
        with kubernetes_client.ApiClient(configuration) as api_client:
            live = UserSwarmClient(api_client=api_client)
            rows.append(_measure(rest, live, "no cache: one GET each", 1, swarms, seconds, "user"))
            started = time.perf_counter()
            with UserSwarmClient(api_client=api_client).cached(wait=60.0) as client:
                filled = time.perf_counter() - started
                rows += [
                    _measure(rest, client, f"cache, {threads} threads", threads, swarms, seconds, "user")
                    for threads in (1, 2, 4, 8)
                ]
                rows.append(_measure(rest, client, "cache, a stranger asks", 1, swarms, seconds, "stranger"))
                stop = threading.Event()
                writer = threading.Thread(target=_change, args=(api, swarms, changes, stop))
                writer.start()
                what = f"cache, {changes} changes a second"
                rows.append(_measure(rest, client, what, 1, swarms, seconds, "user"))
                stop.set()
                writer.join()
    report.add(f"resolve() over {swarms:,} swarms; the first list took {filled:.2f} s", rows)


def _make(api: ApiServer, number: int) -> None:
    name = f"workspace-{number}"
    spec = {"userId": "user", "workspaceId": str(number)}
    made = api.create({"apiVersion": KIND[0], "kind": KIND[1], "metadata": {"name": name}, "spec": spec})
    url = f"http://swarm-{name}.userswarms.svc:42617"
    status = {"observedGeneration": 1, "phase": "Ready", "verified": True, "verifiedGeneration": 1, "endpoint": url}
    api.update_status({**made, "status": status})


def _change(api: ApiServer, swarms: int, changes: int, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(1 / changes):
        number += 1
        patch = {"metadata": {"annotations": {"n": str(number)}}}
        api.patch(*KIND, None, f"workspace-{number % swarms}", patch)


def _measure(
    rest: RestServer, client: UserSwarmClient, what: str, threads: int, swarms: int, seconds: float, user: str
) -> dict[str, Value]:
    before = len(rest.requests)
    with ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(lambda first: _count(client, first, swarms, seconds, user), range(threads)))
    calls = sum(counts)
    return {
        "": what,
        "calls": calls,
        "calls/s": calls / seconds,
        "us each": seconds / calls * 1e6,
        "requests": len(rest.requests) - before,
    }


def _count(client: UserSwarmClient, first: int, swarms: int, seconds: float, user: str) -> int:
    ids = [str(number) for number in range(swarms)]
    calls = first * 997
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(20):
            calls += 1
            try:
                client.resolve(ids[calls % swarms], user)
            except OwnershipError:
                assert user != "user"
    return calls - first * 997


@click.command()
@click.option("--swarms", default=5_000, show_default=True, help="How many there are.")
@click.option("--seconds", default=2.0, show_default=True, help="How long each row is measured.")
@click.option("--changes", default=200, show_default=True, help="Changes a second in the last row.")
def main(swarms: int, seconds: float, changes: int) -> None:
    """Measure resolve() on this machine."""
    click.echo(", ".join(f"{name} {value}" for name, value in machine().items()))
    run(Report(), swarms, seconds, changes)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.resolve")
