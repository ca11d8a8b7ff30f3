"""What the gate adds on the way of a request, and what open streams cost: the real gate, the real Envoy, over loopback.

A runtime that costs next to nothing is an Envoy too, which answers by itself. "Envoy alone" is our own configuration
less the question to the gate; "an Envoy for a gate" lets everybody in, and shows what is the question's and not the
gate's. All ways are asked in turn, so that they meet the same neighbours.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from benchmarks.gate import USERS, issuer, running_gate, write_settings
from benchmarks.processes import cpu_seconds
from benchmarks.report import Report, Value
from benchmarks.serving import memory_of
from benchmarks.wrk import has_wrk, run_wrk
from contract.serving import eventually, free_port
from devcluster.rest import RestServer
from gate.door import Door
from gate.plays import Request, Stage
from unit.backend.world import World, make_api, make_api_client
from unit.gate.gates import make_swarm, token
from userswarm.cli.demo.gate import OWNERS, SLEEPING
from userswarm.cli.demo.gate_world import gate_world
from userswarm.gate.answers import UPSTREAM_HEADER, USER_HEADER, WORKSPACE_HEADER
from userswarm.gate.envoy.bootstrap import build_bootstrap
from userswarm.gate.envoy.http import SWARM
from userswarm.gate.envoy.running import command, find_envoy
from userswarm.gate.envoy.settings import EnvoySettings
from userswarm.gate.envoy.words import Config, socket_address

_PACED = """
local ffi = require("ffi")
ffi.cdef[[typedef struct {{ long s, ns; }} moment; int clock_gettime(int, moment *);]]
local found, next = ffi.new("moment"), 0
delay = function()
    ffi.C.clock_gettime(1, found)
    local now = tonumber(found.s) * 1000 + tonumber(found.ns) / 1e6
    next = math.max(next + {every}, now)
    return math.floor(next - now + 0.5)
end
"""
"""Whichever connection is free takes the next moment; wrk waits in whole milliseconds."""

_RATE = 500
_CONNECTIONS = 16
_STREAMS = 1_000


def run(report: Report, seconds: float, rounds: int) -> None:
    """Measure latency by each way, the memory of idle streams, and a wake."""
    if not has_wrk(report):
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = stack.enter_context(Stage.open())
        runtime = stack.enter_context(_envoy(folder / "runtime", EnvoySettings(), _answers()))
        sleeper = stage.start(_stay_open)
        rest = stack.enter_context(RestServer(make_api()))
        world = World(rest.api, rest, make_api_client(rest.url))
        for number in range(1, USERS + 1):
            make_swarm(world, f"w{number}", f"user-{number}")
        keys = stack.enter_context(issuer())
        pipe = {"USERSWARM_GATE_ACCESS_LOG": str(folder / "gate" / "streams")}
        (folder / "gate").mkdir()
        fast = stack.enter_context(running_gate(write_settings(folder, rest, keys, runtime) | pipe, 1))
        through = stack.enter_context(_door(folder / "gate", fast.port))
        alone = stack.enter_context(_envoy(folder / "alone", through.settings, _leads_to(runtime)))
        # A gate that lets everybody in and costs next to nothing: what the question itself takes on this machine.
        yes = _answers(**{UPSTREAM_HEADER: runtime, USER_HEADER: "user-1", WORKSPACE_HEADER: "w1"})
        gate = stack.enter_context(_envoy(folder / "yes", EnvoySettings(), yes))
        asking = stack.enter_context(_envoy(folder / "asking", replace(through.settings, gate=gate)))
        bearer = token(sub="user-1", exp=int(time.time()) + 3600)
        ways = {
            "direct": _port(runtime),
            "Envoy alone": _port(alone),
            "Envoy and an Envoy for a gate": _port(asking),
            "Envoy and the gate": through.port,
        }
        report.add(
            f"Latency at {_RATE} requests/s, {_CONNECTIONS} connections",
            _latencies(ways, bearer, seconds, rounds),
        )

        (folder / "sleep").mkdir()
        slow_files = write_settings(folder / "sleep", rest, keys, sleeper.address)
        slow_files["USERSWARM_GATE_ACCESS_LOG"] = str(folder / "sleep" / "streams")
        slow = stack.enter_context(running_gate(slow_files, 1))
        door = stack.enter_context(_door(folder / "sleep", slow.port))
        report.add(f"{_STREAMS} idle WebSockets", _streams(door, slow.workers()[0], bearer))
        world.api_client.close()
    report.add("A workspace that sleeps is asked for (dev cluster)", _wake())


def _wake() -> list[dict[str, Value]]:
    """Ask for a workspace that sleeps, and see when the answer is there, and when the cluster said that it is verified.

    The dev cluster goes by the wall's clock; what its Pod takes to start is part of both.
    """
    with gate_world(OWNERS, SLEEPING) as made:
        bearer = {"Authorization": f"Bearer {made.issuer.token('bob')}"}
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", made.port, timeout=120)
        connection.request("GET", f"/v1/workspaces/{SLEEPING}/", headers=bearer)
        status = connection.getresponse().status
        answered = time.monotonic() - begun
        connection.close()
        verified = made.cluster.user_swarm(f"workspace-{SLEEPING}")["status"]["verifiedAt"]
        since = (datetime.now(UTC) - datetime.fromisoformat(verified)).total_seconds()
        return [{"": "one request", "status": status, "seconds": answered, "after verified, at most s": since}]


def _latencies(ways: dict[str, int], bearer: str, seconds: float, rounds: int) -> list[dict[str, Value]]:
    script = _PACED.format(every=1000 / _RATE)
    headers = {"Host": "gate.example.com", "Authorization": f"Bearer {bearer}"}

    def load(port: int, seconds: float) -> dict[str, float]:
        found = run_wrk(script, f"http://127.0.0.1:{port}/v1/workspaces/w1/", _CONNECTIONS, seconds, **headers)
        if found["failed"]:
            raise RuntimeError(f"{found['failed']} requests failed")
        return found

    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for port in ways.values():
        load(port, 1)
    for _ in range(rounds):
        for name, port in ways.items():
            found[name].append(load(port, seconds))
    # The best round is the one that nobody disturbed.
    best = {
        name: {share: min(each[share] for each in rounds) / 1000 for share in ("p50", "p99")}
        for name, rounds in found.items()
    }
    last = best[list(ways)[-1]]
    return [
        {
            "": name,
            **{f"{share} ms": value for share, value in each.items()},
            **{f"{share} ms less than the last": last[share] - value for share, value in each.items()},
            "requests": sum(int(each["requests"]) for each in found[name]),
        }
        for name, each in best.items()
    ]


@contextmanager
def _door(folder: Path, gate: int) -> Iterator[Door]:
    door = Door(
        folder, read=False, gate=f"127.0.0.1:{gate}", access_log="/dev/null", stream_log=str(folder / "streams")
    )
    try:
        yield door
    finally:
        door.close()


@contextmanager
def _envoy(folder: Path, settings: EnvoySettings, change: Callable[[Config], None] | None = None) -> Iterator[str]:
    """Run an Envoy with our configuration, changed, and without logs; yields its address."""
    folder.mkdir()
    address, status = (f"127.0.0.1:{free_port()}" for _ in range(2))
    own = replace(settings, listen=address, status=status, run_dir=str(folder), access_log="", stream_log="")
    bootstrap = build_bootstrap(own)
    if change is not None:
        change(bootstrap)
    configuration = folder / "envoy.yaml"
    configuration.write_text(yaml.safe_dump(bootstrap), encoding="utf-8")
    with subprocess.Popen(command(find_envoy(), configuration, workers=2)) as process:
        try:
            eventually(lambda: _listens(_port(address)))
            yield address
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _answers(**headers: str) -> Callable[[Config], None]:
    """Return the change by which an Envoy answers everything by itself, with a few bytes and these headers."""

    def change(bootstrap: Config) -> None:
        manager = _asks_nobody(bootstrap)
        told = [{"header": {"key": name, "value": value}} for name, value in headers.items()]
        answer = {"status": 200, "body": {"inline_string": "hello"}}
        routes = [{"match": {"prefix": "/"}, "direct_response": answer, "response_headers_to_add": told}]
        manager["route_config"]["virtual_hosts"][0]["routes"] = routes

    return change


def _leads_to(runtime: str) -> Callable[[Config], None]:
    """Return the change by which an Envoy lets everybody through to one runtime."""

    def change(bootstrap: Config) -> None:
        _asks_nobody(bootstrap)
        swarm = next(each for each in bootstrap["static_resources"]["clusters"] if each["name"] == SWARM)
        del swarm["original_dst_lb_config"], swarm["lb_policy"]
        endpoint = {"endpoint": {"address": socket_address(runtime)}}
        assignment = {"cluster_name": SWARM, "endpoints": [{"lb_endpoints": [endpoint]}]}
        swarm |= {"type": "STATIC", "load_assignment": assignment}

    return change


def _asks_nobody(bootstrap: Config) -> Config:
    """Take the question to the gate out of a configuration, and return its connection manager."""
    listener = bootstrap["static_resources"]["listeners"][0]
    manager: Config = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["http_filters"][0]
    return manager


async def _stay_open(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    await writer.drain()
    await request.reader.read()


def _streams(door: Door, gate: int, bearer: str) -> list[dict[str, Value]]:
    """Open them all, leave them alone for two periods of the stream log, and see what they cost."""
    pids = {"Envoy": door.process.pid, "gate": gate}
    before = {name: memory_of(pid)["VmRSS"] for name, pid in pids.items()}
    head = (
        "GET /v1/workspaces/w1/ HTTP/1.1\r\nHost: gate.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Authorization: Bearer {bearer}\r\n\r\n"
    )
    connections = []
    try:
        for _ in range(_STREAMS):
            connection = door.connect()
            connections.append(connection)
            connection.sendall(head.encode())
            if not connection.recv(65536).startswith(b"HTTP/1.1 101 "):
                raise RuntimeError("a WebSocket is not opened")
        opened = {name: memory_of(pid)["VmRSS"] for name, pid in pids.items()}
        cpu, begun = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(2 * door.settings.stream_log_interval)
        passed = time.monotonic() - begun
        return [
            {
                "": name,
                "RSS MB before": before[name],
                "RSS MB with them": opened[name],
                "KB each": (opened[name] - before[name]) * 1024 / _STREAMS,
                "CPU % while idle": (cpu_seconds(pid) - cpu[name]) / passed * 100,
            }
            for name, pid in pids.items()
        ]
    finally:
        for connection in connections:
            connection.close()
