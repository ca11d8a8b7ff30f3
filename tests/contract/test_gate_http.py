"""`userswarm gate` as it runs: gunicorn, its gevent workers, real sockets, an API server in memory."""

from __future__ import annotations

import functools
import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import yaml

from devcluster.rest import RestServer
from unit.backend.world import World, make_api, make_api_client
from unit.backend.world import eventually as soon
from unit.gate.gates import make_swarm, static_tokens
from userswarm.gate.settings import PREFIX

A = "/check/v1/workspaces/a/chat"

# Processes start, and threads get their turn, when the machine lets them.
eventually = functools.partial(soon, seconds=120)


@dataclass
class Running:
    """A gate in its own processes."""

    world: World
    folder: Path
    port: int
    metrics_port: int
    process: subprocess.Popen[bytes]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, path: str, token: str = "one", **headers: str) -> tuple[int, http.client.HTTPMessage]:
        with closing(self.connect()) as connection:
            connection.putrequest("GET", path, skip_host=True)
            for name, value in {"host": "gate", "authorization": f"Bearer {token}", **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers

    def is_ready(self) -> bool:
        assert self.process.poll() is None, "the gate has ended"
        try:
            return self.ask("/readyz")[0] == 200
        except OSError:
            return False

    def audit(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for line in (self.folder / "audit").read_bytes().splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_gate(world: World, folder: Path, **settings: str) -> Iterator[Running]:
    (folder / "kubeconfig").write_text(yaml.safe_dump(world.rest.kubeconfig()), encoding="utf-8")
    hosts = "127.0.0.1:8001 swarm-workspace-a.userswarms.svc:42617\n[::1]:8002 swarm-workspace-b.userswarms.svc:42617\n"
    (folder / "hosts").write_text(hosts, encoding="utf-8")
    port, metrics_port = free_port(), free_port()
    given = {
        "BIND": f"127.0.0.1:{port}",
        "METRICS_BIND": f"127.0.0.1:{metrics_port}",
        "TOKEN_FILE": static_tokens(folder / "tokens", alice="one", bob="two"),
        "HOSTS_FILE": str(folder / "hosts"),
        "AUDIT": str(folder / "audit"),
        "LOG_LEVEL": "warning",
        **settings,
    }
    own = {name: value for name, value in os.environ.items() if not name.startswith("USERSWARM_")}
    environment = {
        **own,
        "KUBECONFIG": str(folder / "kubeconfig"),
        **{f"{PREFIX}{name}": text for name, text in given.items()},
    }
    command = [sys.executable, "-c", "from userswarm.cli import main; raise SystemExit(main())", "gate", "--no-envoy"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        running = Running(world, folder, port, metrics_port, process)
        try:
            eventually(running.is_ready)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


@pytest.fixture
def world() -> Iterator[World]:
    with RestServer(make_api(), bookmark_interval=0.2) as rest:
        api_client = make_api_client(rest.url)
        made = World(rest.api, rest, api_client)
        make_swarm(made, "a", "alice")
        make_swarm(made, "b", "bob")
        yield made
        api_client.close()


def test_checks_over_real_sockets(world: World, tmp_path: Path) -> None:
    with run_gate(world, tmp_path, WORKERS="2") as gate:
        code, headers = gate.ask(f"{A}?q=%2F", x_userswarm_upstream="6.6.6.6:1", x_request_id="r1")
        assert (code, headers.get_all("x-userswarm-upstream")) == (200, ["127.0.0.1:8001"])
        assert (headers["x-userswarm-user"], headers["x-request-id"], headers["content-length"]) == ("alice", "r1", "0")

        assert gate.ask(A, "two")[0] == 404
        assert gate.ask("/check/v1/workspaces/b/", "two")[1]["x-userswarm-upstream"] == "[::1]:8002"
        code, headers = gate.ask(A, "three")
        assert (code, headers["www-authenticate"]) == (401, "Bearer")
        # The path as it was sent, which gunicorn has decoded already.
        for path in ("/check/v1/workspaces/b%2f..%2fa/", "/check/v1/workspaces/b/../a/", "/check//v1/workspaces/a/"):
            assert gate.ask(path)[0] == 400
        assert (
            gate.ask("/auth", x_original_uri="/v1/workspaces/b/", x_original_method="GET")[1]["x-userswarm-code"]
            == "404"
        )
        assert gate.ask("/healthz")[0] == 200

        told = gate.audit()
        assert [line["code"] for line in told] == [200, 404, 200, 401, 400, 400, 400, 404]
        with urllib.request.urlopen(f"http://127.0.0.1:{gate.metrics_port}/metrics") as answer:
            counted = answer.read().decode()
        # Summed up over both workers.
        assert 'userswarm_gate_decisions_total{code="200",reason="owner"} 2.0' in counted
        assert 'userswarm_gate_decisions_total{code="400",reason="path"} 3.0' in counted
        for name in ("cache_age_seconds", "open_streams", "wakes_total", "key_reads_total", "hold_seconds_count"):
            assert f"userswarm_gate_{name}" in counted
    assert gate.process.returncode == 0
    assert "Traceback" not in (tmp_path / "log").read_text(encoding="utf-8")


def test_requests_wait_on_one_wake_while_others_are_answered(world: World, tmp_path: Path) -> None:
    world.report("workspace-a", "Asleep", lifecycle={"asleepSince": "2026-01-01T00:00:00Z", "mark": ""})
    with run_gate(world, tmp_path, HOLD="300") as gate:
        waiting = [gate.connect() for _ in range(100)]
        for connection in waiting:
            connection.request("GET", A, headers={"Authorization": "Bearer one"})
        eventually(lambda: world.count("PATCH", "userswarms/workspace-a") == 1)
        assert gate.ask("/check/v1/workspaces/b/", "two")[0] == 200

        world.verify("workspace-a")
        answers = [connection.getresponse() for connection in waiting]
        assert {answer.status for answer in answers} == {200}
        assert {answer.headers["x-userswarm-upstream"] for answer in answers} == {"127.0.0.1:8001"}
        for connection in waiting:
            connection.close()
    assert world.count("PATCH", "userswarms/workspace-a") == 1


def test_open_streams_keep_a_swarm_awake_and_ends_make_room(world: World, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    with run_gate(world, tmp_path, ACCESS_LOG=str(pipe), USER_OPEN="1") as gate:

        def tell(kind: str, request_id: str) -> None:
            line = {"type": kind, "requestId": request_id, "user": "alice", "workspace": "a"}
            with pipe.open("wb", buffering=0) as writer:
                writer.write(orjson.dumps(line) + b"\n")

        assert gate.ask(A, x_request_id="r1")[0] == 200
        assert gate.ask(A, x_request_id="r2")[0] == 429
        tell("DownstreamPeriodic", "r1")
        eventually(lambda: "crawbl.ai/busy-until" in world.get("workspace-a")["metadata"].get("annotations", {}))
        assert gate.ask(A, x_request_id="r3")[0] == 429
        tell("DownstreamEnd", "r1")
        eventually(lambda: gate.ask(A, x_request_id="r4")[0] == 200)


def test_when_the_api_server_ends_nobody_gets_in_once_memory_is_stale(world: World, tmp_path: Path) -> None:
    with run_gate(world, tmp_path, MAX_STALENESS="2") as gate:
        assert gate.ask(A)[0] == 200
        world.rest.stop()
        eventually(lambda: gate.ask(A)[0] == 503)
        assert gate.ask("/readyz")[0] == 503
        assert gate.ask("/healthz")[0] == 200
        world.rest.start()
        eventually(lambda: gate.ask(A)[0] == 200)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"USERSWARM_GATE_WORKERS": "none"}, "USERSWARM_GATE_WORKERS='none'"),
        ({}, "nobody can be let in"),
        ({"USERSWARM_GATE_TOKEN_FILE": "FILE", "USERSWARM_GATE_ACCESS_LOG": "FILE"}, "is no pipe"),
        ({"USERSWARM_GATE_TOKEN_FILE": "FILE", "KUBECONFIG": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_cannot_work_ends_at_once_and_says_why(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    file = static_tokens(tmp_path / "tokens", alice="one")
    own = {name: value for name, value in os.environ.items() if not name.startswith("USERSWARM_")}
    given = {name: file if text == "FILE" else text for name, text in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", "from userswarm.cli import main; raise SystemExit(main())", "gate", "--no-envoy"],
        env={**own, f"{PREFIX}BIND": f"127.0.0.1:{free_port()}", **given},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode not in {0, None}
    assert said in done.stderr
