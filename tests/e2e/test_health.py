"""Users are sent only to a runtime that answers as a healthy one does, asked by the webhook through its Service."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.cluster import NAMESPACE, Cluster
from e2e.lab import Lab
from e2e.story import Object, Run, condition, is_in_phase, is_verified
from e2e.troubles import Scene

pytestmark = pytest.mark.e2e


@pytest.fixture
def scene(swarms: Cluster, run: Run, lab: Lab) -> Scene:
    return Scene(swarms, run, lab, run.swarm("health"))


def apply_with(scene: Scene, annotations: dict[str, str]) -> str:
    """Apply a swarm whose Pod has these annotations from its first moment on, and return the Pod's name."""
    pod = scene.apply_failing(scene.run.args, annotations)
    return str(pod["metadata"]["name"])


def wait_for_failure(scene: Scene, told: str) -> Object:
    """Return the swarm once an attempt has failed for this reason; the first may find a Service without endpoints."""

    def is_told(swarm: Object) -> bool:
        ready = condition(swarm, "Ready")
        return ready.get("reason") == "SmokeTestFailed" and told in ready["message"]

    return scene.cluster.wait(scene.name, f"SmokeTestFailed for {told}", is_told)


def annotate(scene: Scene, pod: str, **annotations: str | None) -> None:
    told = {f"lab/{name}": value for name, value in annotations.items()}
    scene.cluster.annotate("Pod", pod, told, NAMESPACE)


@pytest.mark.parametrize(
    ("health", "told"),
    [("degraded", '"degraded", not "ok"'), ("500", "status 500, not 200"), ("hang", "no answer within 2 s")],
)
def test_a_runtime_that_does_not_answer_well_is_not_served_until_it_does(scene: Scene, health: str, told: str) -> None:
    pod = apply_with(scene, {"lab/health": health})
    failed = wait_for_failure(scene, told)
    assert condition(failed, "WorkloadReady")["status"] == "True"
    assert failed["status"]["verified"] is False
    annotate(scene, pod, health="ok")
    scene.cluster.wait(scene.name, "verified once it answers well", is_verified)
    (same,) = scene.cluster.pods(scene.swarm)
    assert same["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_runtime_that_was_away_is_asked_again(scene: Scene) -> None:
    scene.apply()
    before = scene.cluster.wait(scene.name, "verified", is_verified)
    pod = scene.cluster.pods(before)[0]["metadata"]["name"]
    annotate(scene, pod, fail="true", health="degraded")
    scene.cluster.wait(scene.name, "not verified", lambda each: not each["status"]["verified"])
    annotate(scene, pod, fail=None)
    failed = wait_for_failure(scene, "degraded")
    assert failed["status"]["verified"] is False
    annotate(scene, pod, health=None)
    after = scene.cluster.wait(scene.name, "verified again", is_verified)
    assert after["status"]["verifiedAt"] > before["status"]["verifiedAt"]
    assert after["status"]["verifiedChecksum"] == before["status"]["verifiedChecksum"]


def test_after_its_attempts_a_swarm_is_failed_until_somebody_asks_to_try_again(scene: Scene) -> None:
    scene.swarm["spec"]["verification"] = {"maxAttempts": 2}
    pod = apply_with(scene, {"lab/health": "500"})
    failed = scene.cluster.wait(scene.name, "Failed", lambda each: is_in_phase(each, "Failed"))
    assert "attempt 2 of 2 failed" in condition(failed, "Ready")["message"]
    annotate(scene, pod, health="ok")
    scene.cluster.annotate("UserSwarm", scene.name, {"crawbl.ai/retry-verification": "1"})
    scene.cluster.wait(scene.name, "verified after another try", is_verified)


@contextmanager
def runtime(answer: bytes) -> Iterator[tuple[str, list[tuple[str, Object]]]]:
    """Play a runtime on the loopback; yield its address, and what it was asked."""
    asked: list[tuple[str, Object]] = []

    class Runtime(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers.items())))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runtime) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_healthy_runtime_is_asked_once_at_its_own_path_and_told_nothing(scene: Scene) -> None:
    scene.swarm["spec"]["verification"] = {"path": "/ready?deep=1"}
    with runtime(b'{"status": "ok"}') as (address, asked):
        apply_with(scene, {"lab/upstream": address})
        scene.cluster.wait(scene.name, "verified", is_verified)
        for number in range(3):
            # Each makes Metacontroller call.
            scene.cluster.annotate("UserSwarm", scene.name, {"example.com/nudge": str(number)})
            scene.cluster.wait(scene.name, "still verified", is_verified)
    ((path, headers),) = asked
    assert path == "/ready?deep=1"
    assert not {name.lower() for name in headers} & {"authorization", "cookie"}


def test_an_answer_that_is_too_large_is_no_good_one(scene: Scene) -> None:
    with runtime(b"x" * 200_000) as (address, _):
        apply_with(scene, {"lab/upstream": address})
        wait_for_failure(scene, "too large")


def test_runtimes_that_hang_hold_up_nobody_else(swarms: Cluster, run: Run, lab: Lab) -> None:
    hanging = [Scene(swarms, run, lab, run.swarm(f"hanging-{number}")) for number in range(6)]
    for each in hanging:
        each.swarm["spec"]["verification"] = {"timeoutSeconds": 5, "maxAttempts": 20}
        apply_with(each, {"lab/health": "hang"})
    for number in range(6):
        swarms.apply(run.swarm(f"well-{number}"))
    for number in range(6):
        swarms.wait(f"e2e-{run.name}-well-{number}", "verified beside those that hang", is_verified)
    for each in hanging:
        now = swarms.get("UserSwarm", each.name)
        assert now is not None
        assert now["status"]["verified"] is False
