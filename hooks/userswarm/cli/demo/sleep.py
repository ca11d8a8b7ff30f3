"""A swarm that falls asleep when nobody uses it and wakes when somebody does, told in simulated time.

The hooks run in this process: the webhook's own clock is the wall's, and nobody watches a demo for half an hour.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from devcluster.traffic import UPSTREAM
from userswarm.cli.demo.cluster import Cluster
from userswarm.cli.demo.world import DemoError
from userswarm.wire.k8s import written_time

NAME = "workspace-sleepy"
LIFECYCLE = {"idleAfter": "30m", "activityCheck": {"path": "/activity"}}
PATIENCE = 7200


class Sleep:
    """One swarm that may sleep, and the program in its Pod: `busy` is what that says of itself."""

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show
        self.cluster = Cluster()
        self.busy = True
        self.cluster.apply(
            {
                "apiVersion": "crawbl.ai/v1alpha1",
                "kind": "UserSwarm",
                "metadata": {"name": NAME},
                "spec": {"userId": "demo", "lifecycle": LIFECYCLE},
            }
        )

    def tell(self) -> None:
        """Go through its day; raises DemoError at the first promise that does not hold."""
        with self._runtime() as address:
            self._until("verified", lambda status: status["verified"])
            self._program(address)
            self._until("idle, asked, and busy", lambda status: self._reason(status) == "Busy")
            self.busy = False
            self._until("asked again, and asleep", lambda status: status["phase"] == "Asleep")
            self._promise(self._calls_during(24 * 3600) == (0, 0), "a day asleep: 0 calls to the hooks, 0 writes")
            self._touch()
            begun = self.cluster.clock.elapsed
            self._until("touched, and verified anew", lambda status: status["verified"])
            self._promise(True, f"that took {self.cluster.clock.elapsed - begun:.1f} s")

    def _touch(self) -> None:
        now = written_time(self.cluster.clock.now())
        self.cluster.edit(NAME, {"metadata": {"annotations": {"crawbl.ai/last-activity": now}}})

    def _program(self, address: str) -> None:
        """Let a program of ours answer in the place of the Pod's container."""
        namespace, pod = self._status()["runtimeNamespace"], f"{self._status()['serviceName']}-0"
        self.cluster.api.patch("v1", "Pod", namespace, pod, {"metadata": {"annotations": {UPSTREAM: address}}})

    def _calls_during(self, seconds: float) -> tuple[int, int]:
        calls, writes = self.cluster.metacontroller.calls["sync"], len(self.cluster.api.writes)
        self.cluster.run(seconds)
        return self.cluster.metacontroller.calls["sync"] - calls, len(self.cluster.api.writes) - writes

    def _until(self, what: str, reached: Callable[[Mapping[str, Any]], bool]) -> None:
        deadline = self.cluster.clock.elapsed + PATIENCE
        while not (self._status() and reached(self._status())):
            if self.cluster.clock.elapsed > deadline:
                raise DemoError(f"not {what} after {PATIENCE} simulated seconds: {self._status()}")
            self.cluster.run(0.5)
        self.cluster.settle()
        self._promise(reached(self._status()), f"{self.cluster.clock.elapsed:7.1f}s  {what}")

    def _promise(self, held: bool, what: str) -> None:
        if not held:
            raise DemoError(f"this did not hold: {what}")
        self._show(f"  ok     {what}")

    def _status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.cluster.user_swarm(NAME).get("status", {})
        return status

    @staticmethod
    def _reason(status: Mapping[str, Any]) -> str | None:
        return next((each["reason"] for each in status["conditions"] if each["type"] == "Awake"), None)

    @contextmanager
    def _runtime(self) -> Iterator[str]:
        """Serve what the program in the Pod answers; yields its address."""
        told = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"busy": told.busy} if self.path == "/activity" else {"status": "ok"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()
