"""The client on a whole dev cluster, its controller and kubelet at work: also the README's backend, as shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from devcluster.rest import RestServer
from unit.backend.world import SOON, alongside, eventually, make_api_client
from userswarm.backend import NotFound, NotVerified, SwarmInvalidError, UserSwarmClient
from userswarm.cli.demo.cluster import Cluster

ROOT = Path(__file__).parents[3]

PATIENCE = 300.0
"""Seconds; no test waits so long unless it fails."""


@dataclass
class Running:
    """A cluster whose simulated time flies as long as there is anything to do."""

    cluster: Cluster
    rest: RestServer
    client: UserSwarmClient


@pytest.fixture
def running() -> Iterator[Running]:
    cluster = Cluster()
    stop = threading.Event()

    def live() -> None:
        while not stop.wait(0.005):
            cluster.settle()

    with RestServer(cluster.api) as rest, alongside(live):
        api_client = make_api_client(rest.url)
        with UserSwarmClient(api_client=api_client, policy=SOON) as client:
            try:
                yield Running(cluster, rest, client)
            finally:
                stop.set()
        api_client.close()


def test_life_of_a_swarm(running: Running) -> None:
    client = running.client.cached(max_staleness=2.0)
    seen: list[str] = []

    swarm = client.ensure("w1", "auth0|alice", storage={"size": "3Gi"})
    verified = client.wait_verified(swarm, PATIENCE, lambda now: seen.append(now.phase))
    assert seen[-1] == "Ready"
    assert client.resolve("w1", "auth0|alice").url == "http://swarm-workspace-w1.userswarms.svc:42617"

    # A new image rolls the Pod, and what was verified before does not count.
    changed = client.ensure("w1", "auth0|alice", storage={"size": "3Gi"}, runtime={"image": "ghcr.io/other/runtime:2"})
    assert changed.generation > verified.generation
    assert client.wait_verified(changed, PATIENCE).verified_generation >= changed.generation

    # What changes no Pod is verified again all the same, for its own generation.
    same_pod = client.ensure(
        "w1",
        "auth0|alice",
        storage={"size": "3Gi"},
        runtime={"image": "ghcr.io/other/runtime:2"},
        verification={"maxAttempts": 7},
    )
    assert same_pod.generation > changed.generation
    client.wait_verified(same_pod, PATIENCE)

    client.suspend("w1", "auth0|alice")
    with pytest.raises(NotVerified):
        client.resolve("w1", "auth0|alice")
    eventually(lambda: client.get("w1", "auth0|alice").phase == "Suspended")
    client.wait_verified(client.resume("w1", "auth0|alice"), PATIENCE)

    assert client.delete("w1", "auth0|alice", wait=PATIENCE)
    with pytest.raises(NotFound):
        client.get("w1", "auth0|alice")
    assert running.cluster.api.list("v1", "Pod") == []


def test_settled_swarm_is_left_alone(running: Running) -> None:
    client = running.client
    client.wait_verified(client.ensure("w1", "u"), PATIENCE)
    with running.cluster.api.lock:
        before = len(running.cluster.api.writes)

    for _ in range(3):
        client.ensure("w1", "u")

    with running.cluster.api.lock:
        ours = [write for write in running.cluster.api.writes[before:] if write.kind == "UserSwarm"]
    assert not [write for write in ours if write.verb in {"apply", "patch", "create", "update"}]


def test_spec_that_only_the_controller_can_judge_fails_at_once(running: Running) -> None:
    swarm = running.client.ensure("w1", "u", placement={"runtimeNamespace": "kube-system"})

    with pytest.raises(SwarmInvalidError, match="kube-system"):
        running.client.wait_verified(swarm, PATIENCE)


# The README


class Runtime(BaseHTTPRequestHandler):
    """Stands for every runtime: the backend's HTTP proxy, as names in .svc lead nowhere on this machine."""

    seen: list[str]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append(f"{self.path} {body}")
        answer = b'{"response": "hi"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def shown_program() -> str:
    """Return the first Python block of the README's section for backends."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## For backends\n")[2]
    block = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block, "README.md shows a program under the heading For backends"
    return block[1]


def test_backend_in_the_readme_runs_as_shown(running: Running, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(running.rest.kubeconfig()))
    program = tmp_path / "backend.py"
    program.write_text(shown_program())
    Runtime.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Runtime) as runtime:
        thread = threading.Thread(target=runtime.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT / "hooks"),
            "http_proxy": f"http://127.0.0.1:{runtime.server_port}",
            "no_proxy": "127.0.0.1",
        }
        ended = subprocess.run(
            [sys.executable, "-W", "error", str(program)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        runtime.shutdown()
        thread.join()

    assert ended.returncode == 0, ended.stderr
    *progress, proxied = ended.stdout.splitlines()
    assert progress[-1].startswith("Ready")
    assert proxied == '200 {"response": "hi"}'
    assert Runtime.seen == ['http://swarm-workspace-8f14e45f.userswarms.svc:42617/webhook {"message": "hello"}']
    assert running.cluster.api.list("crawbl.ai/v1alpha1", "UserSwarm") == []
