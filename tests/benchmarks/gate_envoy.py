"""What the gate adds on the way of a request, and what open streams cost: the real gate, the real Envoy, over loopback.

A runtime that costs next to nothing is an Envoy too, which answers by itself. "Envoy alone" is our own configuration
less the question to the gate. The three ways are asked in turn, so that all of them meet the same neighbours.
"""

from __future__ import annotations

import asyncio
import copy
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from benchmarks.gate import USERS, issuer, running_gate, write_settings
from benchmarks.processes import cpu_seconds
from benchmarks.report import Report, Value
from benchmarks.serving import memory_of
from contract.serving import eventually, free_port
from devcluster.rest import RestServer
from gate.door import Door
from gate.plays import Request, Stage
from unit.backend.world import World, make_api, make_api_client
from unit.gate.gates import make_swarm, token
from userswarm.cli.demo.gate import OWNERS, SLEEPING
from userswarm.cli.demo.gate_world import gate_world
from userswarm.gate.envoy.bootstrap import build_bootstrap
from userswarm.gate.envoy.http import SWARM
from userswarm.gate.envoy.running import command, find_envoy
from userswarm.gate.envoy.settings import EnvoySettings
from userswarm.gate.envoy.words import socket_address

_RATE = 500
_CONNECTIONS = 16
_STREAMS = 1_000


def run(report: Report, seconds: float, rounds: int) -> None:
    """Measure latency by three ways, the memory of idle streams, and a wake."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = stack.enter_context(Stage.open())
        runtime = stack.enter_context(_answering(folder))
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
        alone = stack.enter_context(_alone(folder, through.settings, runtime))
        bearer = token(sub="user-1", exp=int(time.time()) + 3600)
        head = f"GET /v1/workspaces/w1/ HTTP/1.1\r\nHost: gate.example.com\r\nAuthorization: Bearer {bearer}\r\n\r\n"
        ways = {"direct": int(runtime.rpartition(":")[2]), "Envoy alone": alone, "Envoy and the gate": through.port}
        report.add(
            f"Latency at {_RATE} requests/s, {_CONNECTIONS} connections", _latencies(ways, head, seconds, rounds)
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


def _latencies(ways: dict[str, int], head: str, seconds: float, rounds: int) -> list[dict[str, Value]]:
    found: dict[str, list[list[int]]] = {name: [] for name in ways}
    for port in ways.values():
        _load(port, head, 1)
    for _ in range(rounds):
        for name, port in ways.items():
            found[name].append(_load(port, head, max(1, round(seconds))))
    rows: list[dict[str, Value]] = []
    for name, each in found.items():
        # The best round is the one that nobody disturbed.
        p50, p99 = (min(_at(times, share) for times in each) / 1000 for share in (0.5, 0.99))
        rows.append({"": name, "p50 ms": p50, "p99 ms": p99, "requests": sum(map(len, each))})
    for row in rows:
        for share in ("p50 ms", "p99 ms"):
            row[f"{share} added"] = float(str(rows[-1][share])) - float(str(row[share]))
    return rows


def _load(port: int, head: str, seconds: int) -> list[int]:
    words = [sys.executable, "-m", "benchmarks.load", str(port), str(_RATE), str(seconds), str(_CONNECTIONS)]
    done = subprocess.run(words, input=head.encode(), capture_output=True, check=True, cwd=Path(__file__).parents[1])
    times: list[int] = sorted(json.loads(done.stdout))
    return times


def _at(times: list[int], share: float) -> int:
    return times[min(len(times) - 1, int(len(times) * share))]


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
def _running(configuration: Path, document: dict[str, Any], port: int) -> Iterator[None]:
    configuration.write_text(yaml.safe_dump(document), encoding="utf-8")
    with subprocess.Popen(command(find_envoy(), configuration, workers=2)) as process:
        try:
            eventually(lambda: _listens(port))
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _answering(folder: Path) -> Iterator[str]:
    """Run an Envoy that answers everything with a few bytes; yields its address."""
    address = f"127.0.0.1:{free_port()}"
    bootstrap = build_bootstrap(EnvoySettings(listen=address, status=f"127.0.0.1:{free_port()}", run_dir=str(folder)))
    listener = bootstrap["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["http_filters"][0]
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
    manager["route_config"]["virtual_hosts"][0]["routes"] = [answer]
    manager["access_log"] = []
    with _running(folder / "answering.yaml", bootstrap, int(address.rpartition(":")[2])):
        yield address


@contextmanager
def _alone(folder: Path, settings: EnvoySettings, runtime: str) -> Iterator[int]:
    """Run our Envoy without a question to the gate; yields its port."""
    (folder / "alone").mkdir()
    bootstrap = copy.deepcopy(build_bootstrap(settings))
    port = free_port()
    listener, status = bootstrap["static_resources"]["listeners"]
    listener["address"] = socket_address(f"127.0.0.1:{port}")
    status["address"] = socket_address(f"127.0.0.1:{free_port()}")
    bootstrap["admin"]["address"] = socket_address(f"unix:{folder}/alone/admin.sock")
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["http_filters"][0]
    manager["access_log"] = []
    for cluster in bootstrap["static_resources"]["clusters"]:
        if cluster["name"] == SWARM:
            del cluster["original_dst_lb_config"], cluster["lb_policy"]
            endpoint = {"endpoint": {"address": socket_address(runtime)}}
            assignment = {"cluster_name": SWARM, "endpoints": [{"lb_endpoints": [endpoint]}]}
            cluster |= {"type": "STATIC", "load_assignment": assignment}
    with _running(folder / "alone" / "envoy.yaml", bootstrap, port):
        yield port


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
