"""A roll-out of 20 and of 50 swarms by the command's own client, on a cluster with controller and kubelet at work."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from devcluster.faults import Trouble
from devcluster.objects import Observed
from devcluster.rest import RestServer
from unit.backend.world import SOON, alongside, eventually, make_api_client
from userswarm.backend import UserSwarmClient
from userswarm.cli.demo.cluster import Cluster
from userswarm.cli.rollout.plan import Choice
from userswarm.cli.rollout.report import Report
from userswarm.cli.rollout.roll import Limits, roll
from userswarm.reaper.amounts import Share
from userswarm.reaper.progress import Progress
from userswarm.spec.settings import Settings
from userswarm.spec.template.loading import read_templates
from userswarm.spec.template.revisions import Templates
from userswarm.wire.k8s import Manifest

SWARMS = 20
MANY = 50

TEMPLATE = """
name: agent
revision: {revision}
containers:
  - name: runtime
    image: example.org/agent:{revision}
    ports: [{{name: http, port: 8080}}]
    resources: {{requests: {{cpu: 10m, memory: 32Mi}}, limits: {{cpu: 100m, memory: 64Mi}}}}
    readiness: {{http: {{path: /health, port: http}}, periodSeconds: 1}}
    mounts: [{{volume: tmp, path: /tmp}}]
volumes: [{{name: tmp, emptyDir: {{sizeLimit: 16Mi}}}}]
"""


def templates(*revisions: int) -> Templates:
    found, problems = read_templates("---".join(TEMPLATE.format(revision=each) for each in revisions), "test")
    assert not problems
    return Templates("", {(each.name, each.number): each for each in found})


@dataclass
class Running:
    """A cluster whose simulated time flies while somebody waits for it."""

    cluster: Cluster
    client: UserSwarmClient

    def roll(self, to: int, **options: Any) -> tuple[int, dict[str, Any]]:
        out = io.StringIO()
        code = roll(
            self.client,
            Choice("agent", to, options.pop("percent", 100), Share(10, percent=True), **options),
            Limits(timeout=120.0),
            Report(out, {}),
            Progress(io.StringIO()),
            clock=time.monotonic,
        )
        summary = json.loads(out.getvalue().splitlines()[-1])
        assert isinstance(summary, dict)
        return int(code), summary

    def swarms(self) -> list[Manifest]:
        return self.cluster.api.list("crawbl.ai/v1alpha1", "UserSwarm")

    def at(self, revision: int) -> set[str]:
        return {
            each["metadata"]["name"] for each in self.swarms() if each["status"]["template"]["revision"] == revision
        }

    def in_phase(self, phase: str) -> set[str]:
        return {each["metadata"]["name"] for each in self.swarms() if each["status"]["phase"] == phase}

    def pods(self) -> dict[str, str]:
        """Return the uid of each Pod by its name."""
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in self.cluster.api.list("v1", "Pod")}

    def break_image(self, image: str) -> None:
        def has_it(pod: Observed) -> bool:
            return bool(pod["spec"]["containers"][0]["image"] == image)

        with self.cluster.api.lock:
            self.cluster.faults.inject(Trouble.CRASH_LOOP, selector=has_it, exit_code=3)


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    cluster, count = Cluster(Settings(templates=templates(1))), getattr(request, "param", SWARMS)
    for number in range(count):
        name = f"workspace-{number:02}"
        cluster.apply(
            {
                "apiVersion": "crawbl.ai/v1alpha1",
                "kind": "UserSwarm",
                "metadata": {"name": name},
                "spec": {"userId": "u", "template": {"name": "agent"}},
            }
        )
    cluster.settle()
    # A revision that is newer than all of them.
    cluster.settings = Settings(templates=templates(1, 2))
    stop = threading.Event()

    def live() -> None:
        while not stop.wait(0.005):
            cluster.run(5)

    with RestServer(cluster.api) as rest, alongside(live):
        api_client = make_api_client(rest.url)
        with UserSwarmClient(api_client=api_client, policy=SOON) as client:
            try:
                yield Running(cluster, client)
            finally:
                stop.set()
        api_client.close()


def test_a_new_revision_restarts_nobody_until_a_roll_out_does(running: Running) -> None:
    assert running.at(1) == {each["metadata"]["name"] for each in running.swarms()}
    assert all(each["status"]["verified"] for each in running.swarms())
    pods = running.pods()
    assert len(pods) == SWARMS

    code, summary = running.roll(2)

    assert (code, summary["outcomes"]) == (0, {"verified": SWARMS})
    assert len(running.at(2)) == SWARMS
    assert not set(pods.values()) & set(running.pods().values())
    images = {pod["spec"]["containers"][0]["image"] for pod in running.cluster.api.list("v1", "Pod")}
    assert images == {"example.org/agent:2"}


@pytest.mark.parametrize("running", [MANY], indirect=True)
def test_a_bad_revision_stops_after_the_first_batch_and_is_taken_back(running: Running) -> None:
    running.break_image("example.org/agent:2")
    pods = running.pods()
    batch, others = MANY // 10, MANY - MANY // 10

    code, summary = running.roll(2)

    first = running.at(2)
    assert (code, len(first)) == (1, batch)
    assert summary["outcomes"] == {"failed": batch, "not-moved": others}
    assert {each["name"] for each in summary["failed"]} == first
    assert {each["reason"] for each in summary["failed"]} == {"CrashLoop"}
    assert all("code 3" in each["message"] for each in summary["failed"]), summary["failed"]
    # Nobody else has noticed.
    assert all(each["status"]["verified"] for each in running.swarms() if each["metadata"]["name"] not in first)
    kept = {name: uid for name, uid in running.pods().items() if pods.get(name) == uid}
    assert len(kept) == others

    assert running.roll(2)[0] == 1, "it stops again, and moves nobody more"
    assert running.at(2) == first

    code, summary = running.roll(1)
    assert (code, summary["outcomes"]) == (0, {"skipped": others, "verified": batch})
    assert len(running.at(1)) == MANY
    assert all(each["status"]["verified"] for each in running.swarms())


def test_a_revision_that_is_not_there_stops_after_the_first_batch_and_breaks_nobody(running: Running) -> None:
    pods = running.pods()

    code, summary = running.roll(7)

    assert (code, summary["outcomes"]) == (1, {"failed": SWARMS // 10, "not-moved": SWARMS - SWARMS // 10})
    assert {each["reason"] for each in summary["failed"]} == {"InvalidSpec"}
    assert "revision 7" in summary["failed"][0]["message"]
    assert running.pods() == pods
    assert running.roll(1)[0] == 0
    assert all(each["status"]["verified"] for each in running.swarms())


def test_those_without_a_pod_may_be_moved_alone_and_come_back_with_the_new_revision(running: Running) -> None:
    resting = {f"workspace-{number:02}" for number in (3, 5, 14, 15)}
    for name in resting:
        running.cluster.edit(name, {"spec": {"suspend": True}})
    eventually(lambda: running.in_phase("Suspended") == resting, seconds=120)
    pods = running.pods()

    code, summary = running.roll(2, only_asleep=True)

    assert (code, summary["outcomes"]) == (0, {"resting": len(resting), "skipped": SWARMS - len(resting)})
    assert running.at(2) == resting
    assert running.pods() == pods
    for name in resting:
        running.cluster.edit(name, {"spec": {"suspend": False}})
    eventually(lambda: all(each["status"]["verified"] for each in running.swarms()), seconds=120)
    images = {pod["spec"]["containers"][0]["image"] for pod in running.cluster.api.list("v1", "Pod")}
    assert images == {"example.org/agent:1", "example.org/agent:2"}
    assert running.at(2) == resting
