"""The world of the story: a dev cluster and the real webhook, each reaching the other over loopback."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from devcluster.proxy import ServiceProxy
from devcluster.rest import RestServer
from userswarm.cli.demo.cluster import Cluster, composite_controller
from userswarm.errors import UserSwarmError
from userswarm.spec.settings import PREFIX

START_SECONDS = 60


class DemoError(UserSwarmError):
    """A promise did not hold; the message says which."""


@dataclass(frozen=True, slots=True)
class World:
    """The cluster, its API as the webhook reads it, and where the webhook answers."""

    cluster: Cluster
    rest: RestServer
    url: str


@contextmanager
def world(*, dedicated: bool, templates: Path | None = None) -> Iterator[World]:
    """Start all of it; the controller knows the kinds of Dedicated swarms only if asked for."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    controller = composite_controller(dedicated=dedicated)
    cluster = Cluster(hooks={name: f"{url}/{name}" for name in controller["spec"]["hooks"]}, controller=controller)
    with (
        RestServer(cluster.api) as rest,
        ServiceProxy(cluster.traffic) as proxy,
        tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as kubeconfig,
    ):
        yaml.safe_dump(rest.kubeconfig(), kubeconfig)
        kubeconfig.flush()
        # One worker is enough for one caller, and a second one might still be starting when the first has to end.
        settings = {f"{PREFIX}SERVICE_PROXY": proxy.url, f"{PREFIX}WORKERS": "1"}
        if templates is not None:
            settings[f"{PREFIX}TEMPLATES_DIR"] = str(templates)
        with webhook(port, {"KUBECONFIG": kubeconfig.name, **settings}):
            yield World(cluster, rest, url)


@contextmanager
def webhook(port: int, environment: Mapping[str, str]) -> Iterator[None]:
    """Run `userswarm serve` on a loopback port; raises DemoError where it does not come up."""
    with running(["serve", "--bind", f"127.0.0.1:{port}", "--log-level", "error"], environment, port):
        yield


@contextmanager
def running(
    words: Sequence[str],
    environment: Mapping[str, str],
    port: int,
    path: str = "/readyz",
    code: int = http.HTTPStatus.OK,
) -> Iterator[None]:
    """Run `userswarm` with these words; it is up once it answers a GET of `path` on loopback with `code`.

    Raises DemoError where it does not come up.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-m", "userswarm.cli", *words]
    with subprocess.Popen(command, env={**own, **environment}) as server:
        try:
            _wait_until_ready(port, server, words[0], path, code)
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _wait_until_ready(
    port: int,
    server: subprocess.Popen[bytes],
    name: str = "serve",
    path: str = "/readyz",
    code: int = http.HTTPStatus.OK,
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise DemoError(f"userswarm {name} ended with exit code {server.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            if connection.getresponse().status == code:
                return
        time.sleep(0.05)
    raise DemoError(f"userswarm {name} is not ready after {START_SECONDS} s")
