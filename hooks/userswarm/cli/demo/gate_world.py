"""The world of the gate's story: a dev cluster that lives by the wall's clock, an issuer of tokens, the gate and Envoy.

The hooks run in this process, since two hours pass before the story begins: one workspace is asleep by then.
"""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from devcluster.rest import RestServer
from devcluster.traffic import UPSTREAM
from userswarm.cli.demo.cluster import Cluster
from userswarm.cli.demo.runtimes import Runtime
from userswarm.cli.demo.world import running
from userswarm.spec.settings import PREFIX

BEFORE = timedelta(hours=2)
"""How long the cluster has lived when the story begins."""

AUDIENCE = "userswarm-demo"
SLEEPS = {"idleAfter": "30m"}

_STEP = 0.1


class Issuer:
    """An issuer of access tokens whose key nobody keeps: it publishes the public half on loopback."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa
        from jwt.algorithms import RSAAlgorithm

        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True) | {"kid": "demo", "use": "sig"}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _says(json.dumps({"keys": [public]}).encode()))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def token(self, user: str, key: Any = None, **claims: Any) -> str:
        """Return a token for ten minutes, signed by another key where one is given."""
        import jwt

        now = int(time.time())
        told = {"iss": self.url, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + 600, **claims}
        return jwt.encode(told, key or self._key, algorithm="RS256", headers={"kid": "demo"})

    def toml(self) -> str:
        """Return what the gate has to be told of it."""
        return f'[[issuer]]\nissuer = "{self.url}"\naudience = ["{AUDIENCE}"]\njwks_url = "{self.url}jwks.json"\n'

    @contextmanager
    def published(self) -> Iterator[Issuer]:
        """Publish the key for a while."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@dataclass(frozen=True, slots=True)
class Door:
    """Where Envoy lets users in, and who gives them tokens."""

    port: int
    issuer: Issuer


@dataclass(frozen=True, slots=True)
class GateWorld:
    """All of it: `runtimes` by workspace, `port` where Envoy lets users in."""

    cluster: Cluster
    issuer: Issuer
    runtimes: Mapping[str, Runtime]
    port: int


@contextmanager
def gate_world(owners: Mapping[str, str], sleeping: str = "", **settings: str) -> Iterator[GateWorld]:
    """Start a swarm for each workspace and its owner, the gate and Envoy; one of them is asleep.

    `settings` are more of the gate's and Envoy's, without USERSWARM_. Raises DemoError where they do not come up.
    """
    cluster = Cluster(start=datetime.now(UTC) - BEFORE)
    for workspace, user in owners.items():
        spec = {"userId": user} | ({"lifecycle": SLEEPS} if workspace == sleeping else {})
        name = {"name": f"workspace-{workspace}"}
        cluster.apply({"apiVersion": "crawbl.ai/v1alpha1", "kind": "UserSwarm", "metadata": name, "spec": spec})
    cluster.settle()
    with ExitStack() as stack:
        runtimes = {name: stack.enter_context(Runtime.running(name)) for name in owners}
        _play(cluster, runtimes)
        rest = stack.enter_context(RestServer(cluster.api))
        stack.enter_context(_living(cluster))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="userswarm-demo-")))
        kubeconfig = _write(folder / "kubeconfig", yaml.safe_dump(rest.kubeconfig()))
        door = stack.enter_context(open_door(folder, kubeconfig, _hosts(cluster, runtimes), **settings))
        yield GateWorld(cluster, door.issuer, runtimes, door.port)


@contextmanager
def open_door(folder: Path, kubeconfig: str, hosts: str, **settings: str) -> Iterator[Door]:
    """Start the gate and Envoy for the cluster of a kubeconfig, with a folder for their files; `hosts` is a hosts file.

    `settings` are more of the gate's and Envoy's, without USERSWARM_. Raises DemoError where they do not come up.
    """
    with ExitStack() as stack:
        issuer = stack.enter_context(Issuer().published())
        port = _free_port()
        environment = {
            "KUBECONFIG": kubeconfig,
            f"{PREFIX}GATE_ISSUERS_FILE": _write(folder / "issuers.toml", issuer.toml()),
            f"{PREFIX}GATE_HOSTS_FILE": _write(folder / "hosts", hosts),
            f"{PREFIX}GATE_AUDIT": str(folder / "audit.log"),
            f"{PREFIX}GATE_BIND": f"127.0.0.1:{_free_port()}",
            f"{PREFIX}GATE_LOG_LEVEL": "error",
            f"{PREFIX}ENVOY_LISTEN": f"127.0.0.1:{port}",
            f"{PREFIX}ENVOY_STATUS": f"127.0.0.1:{_free_port()}",
            f"{PREFIX}ENVOY_ACCESS_LOG": "",
            **{f"{PREFIX}{name}": value for name, value in settings.items()},
        }
        # It is up once it refuses a request without a token, and not for want of somebody who decides.
        nobody, refused = "/v1/workspaces/nobody/", http.HTTPStatus.UNAUTHORIZED
        stack.enter_context(running(["gate"], environment, port, nobody, refused))
        yield Door(port, issuer)


def _play(cluster: Cluster, runtimes: Mapping[str, Runtime]) -> None:
    """Let the runtimes answer in the place of the Pods' containers."""
    for workspace, runtime in runtimes.items():
        status = cluster.user_swarm(f"workspace-{workspace}")["status"]
        pod = status["runtimeNamespace"], f"{status['serviceName']}-0"
        cluster.api.patch("v1", "Pod", *pod, {"metadata": {"annotations": {UPSTREAM: runtime.address}}})


def _hosts(cluster: Cluster, runtimes: Mapping[str, Runtime]) -> str:
    """Return where Services are: here is no DNS that knew, and nobody that led from a Service to its Pod."""
    swarms = {name: cluster.user_swarm(f"workspace-{name}")["status"]["endpoint"] for name in runtimes}
    return "".join(f"{runtimes[name].address} {url.removeprefix('http://')}\n" for name, url in swarms.items())


@contextmanager
def _living(cluster: Cluster) -> Iterator[None]:
    """Let the cluster catch up with the wall's clock, and go with it from then on."""

    def behind() -> float:
        return (datetime.now(UTC) - cluster.clock.now()).total_seconds()

    over = threading.Event()

    def live() -> None:
        while not over.wait(_STEP):
            cluster.run(max(0.0, behind()))

    cluster.run(behind())
    thread = threading.Thread(target=live, name="demo-cluster", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _says(body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    return Handler
