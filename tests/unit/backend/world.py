"""A dev cluster's API server over HTTP, a client of it, and what the controller would write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client as kubernetes_client

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.rest import RestServer
from devcluster.rest_faults import Fault
from userswarm.backend import RetryPolicy, UserSwarmClient
from userswarm.backend.api import UserSwarmApi
from userswarm.cli.demo.rules import RULES
from userswarm.spec.schema import load_crd
from userswarm.wire.k8s import Manifest

API_VERSION = "crawbl.ai/v1alpha1"
COLLECTION = "/apis/crawbl.ai/v1alpha1/userswarms"
FINALIZER = "metacontroller.io/compositecontroller-userswarm"

CRD = load_crd()

SOON = RetryPolicy(attempts=20, base=0.001, cap=0.02)
"""Tries again almost at once."""


FRESH = 600.0
"""Seconds of staleness for a test in which memory has to stay fresh: no test takes so long."""


def eventually(condition: Callable[[], object], *, seconds: float = 120.0) -> None:
    """Wait until the condition holds; fail where it never does, however slow the machine may be."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("it never came about")
        time.sleep(0.005)


def make_api() -> ApiServer:
    """Return an API server that knows our kind, and the namespace of the runtimes."""
    api = ApiServer(Clock())
    api.register_crd(CRD, RULES)
    return api


def make_api_client(url: str) -> Any:
    configuration = kubernetes_client.Configuration()
    configuration.host = url
    configuration.api_key["authorization"] = "Bearer any"
    configuration.api_key["BearerToken"] = "Bearer any"
    return kubernetes_client.ApiClient(configuration)


@contextmanager
def alongside(work: Callable[[], None]) -> Iterator[None]:
    """Do some work in another thread meanwhile; what it raises is raised at the end."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        if failures:
            raise failures[0]


@dataclass
class World:
    """Everything that a test of the client needs."""

    api: ApiServer
    rest: RestServer
    api_client: Any
    clients: list[UserSwarmClient] = field(default_factory=list)

    def client(self, **options: Any) -> UserSwarmClient:
        """Return a client that is quick to try again and to renew its watches; closed at the end of the test."""
        settings = {"policy": SOON, "watch_window": 1.0, "watch_silence": 60.0, **options}
        made = UserSwarmClient(api_client=self.api_client, **settings)
        self.clients.append(made)
        return made

    def requests_api(self, policy: RetryPolicy = SOON) -> UserSwarmApi:
        return UserSwarmApi(self.api_client, policy)

    def get(self, name: str) -> Manifest:
        return self.api.get(API_VERSION, "UserSwarm", None, name)

    def create(self, name: str, spec: Manifest, **metadata: Any) -> Manifest:
        """Create a UserSwarm by hand."""
        obj = {"apiVersion": API_VERSION, "kind": "UserSwarm", "metadata": {"name": name, **metadata}, "spec": spec}
        return self.api.create(obj)

    def patch(self, name: str, patch: Manifest, actor: str = "kubectl") -> Manifest:
        return self.api.patch(API_VERSION, "UserSwarm", None, name, patch, actor=actor)

    def remove(self, name: str) -> None:
        """Delete a UserSwarm by hand, finalizers or not."""
        self.api.delete(API_VERSION, "UserSwarm", None, name)
        if self.exists(name):
            self.patch(name, {"metadata": {"finalizers": []}})

    def exists(self, name: str) -> bool:
        return self.api.peek(API_VERSION, "UserSwarm", None, name) is not None

    def report(self, name: str, phase: str, *, generation: int | None = None, **more: Any) -> Manifest:
        """Write a status as the controller would, about the newest generation or an older one."""
        obj = self.get(name)
        seen = obj["metadata"]["generation"] if generation is None else generation
        status = {"observedGeneration": seen, "phase": phase, "verified": False, **more}
        return self.api.update_status({**obj, "status": status}, actor="metacontroller")

    def verify(self, name: str, *, generation: int | None = None) -> Manifest:
        """Let the controller find that all is well."""
        obj = self.get(name)
        seen = obj["metadata"]["generation"] if generation is None else generation
        return self.report(
            name, "Ready", generation=generation, verified=True, verifiedGeneration=seen, endpoint=url_of(name)
        )

    def block(self, name: str, phase: str, reason: str, message: str, **more: Any) -> Manifest:
        """Let the controller say what is in the way."""
        condition = {
            "type": "Ready",
            "status": "False",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": reason,
            "message": message,
        }
        return self.report(name, phase, conditions=[condition], **more)

    def just_before(self, method: str, work: Callable[[], object], path: str = "") -> None:
        """Do some work when the next such request has arrived, before it is carried out."""
        faults = self.rest.faults
        take = faults.take
        pending = [work]

        def first(asked: str, target: str) -> Fault | None:
            if asked == method and path in target and pending:
                pending.pop()()
            return take(asked, target)

        faults.take = first  # type: ignore[method-assign, assignment]

    def count(self, method: str, path: str = "") -> int:
        """Count the requests so far."""
        return sum(request.startswith(f"{method} ") and path in request for request in list(self.rest.requests))

    def is_watched(self) -> bool:
        return self.count("GET", "watch=true") > 0


def url_of(name: str) -> str:
    return f"http://swarm-{name}.userswarms.svc:42617"
