"""Swarms fall asleep, wake and expire on a cluster; each has begun its two minutes when the first test looks."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from e2e.cluster import NAMESPACE, Cluster
from e2e.lab import Lab
from e2e.story import Object, Run, condition, controller_for_run, is_in_phase, is_verified, versions, writes
from userswarm.backend import UserSwarmClient
from userswarm.backend.naming import swarm_name
from userswarm.cli.demo.cluster import composite_controller
from userswarm.cli.demo.gate_world import open_door
from userswarm.reaper.commands import reap
from userswarm.spec.settings import PREFIX
from userswarm.wire.k8s import written_time

pytestmark = pytest.mark.e2e

IDLE = "2m"
"""The shortest that the CRD allows."""

SLEEPS: dict[str, Object] = {
    "Idle": {"idleAfter": IDLE, "activityCheck": {"path": "/free"}},
    "MaxAwake": {"maxAwake": IDLE},
    "MaxBusy": {"idleAfter": IDLE, "activityCheck": {"path": "/busy", "maxBusy": "1m"}},
}
"""By the reason for which they sleep."""

WAKES: dict[str, Object] = {
    "Appointment": {"idleAfter": IDLE, "lead": "10s", "activityCheck": {"path": "/appointment"}},
    "Schedule": {"idleAfter": IDLE, "lead": "10s", "wakeSchedule": {"cron": "* * * * *"}},
}
"""By what they wake for."""

OTHERS: dict[str, Object] = {
    "Leased": {"idleAfter": IDLE},
    "Mute": {"idleAfter": IDLE, "activityCheck": {"path": "/mute"}},
    "Forgotten": {"idleAfter": IDLE, "expireAfter": "1h"},
    "Visited": {"idleAfter": IDLE},
}


class Runtime(http.server.BaseHTTPRequestHandler):
    """What runs in every Pod: it says of itself what it is asked for."""

    def do_GET(self) -> None:
        soon = written_time(datetime.now(UTC) + timedelta(seconds=60))
        answers: dict[str, Object] = {
            "/free": {"busy": False},
            "/busy": {"busy": True},
            "/appointment": {"busy": False, "wakeAt": soon},
            "/health": {"status": "ok"},
        }
        body = json.dumps(answers.get(self.path, {})).encode()
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@dataclass
class Sleepers:
    """The swarms by what they are told for, what their runtimes were asked, and who uses them."""

    run: Run
    cluster: Cluster
    client: UserSwarmClient
    address: str
    asked: list[str]
    names: dict[str, str] = field(default_factory=dict)

    def apply(self, title: str, lifecycle: Object) -> None:
        """Apply a swarm that sleeps by these rules."""
        manifest = self.run.swarm(title.lower(), lifecycle=lifecycle)
        self.names[title] = manifest["metadata"]["name"] = swarm_name(self.workspace(title))
        self.cluster.apply(manifest)

    def let_answer(self, title: str) -> None:
        """Let our runtime answer in the place of the container of a swarm's Pod."""
        pod = self.cluster.wait_for_pod({"metadata": {"name": self.names[title]}})
        self.cluster.annotate("Pod", pod["metadata"]["name"], {"lab/upstream": self.address}, NAMESPACE)

    def workspace(self, title: str) -> str:
        return f"{self.run.name}-{title.lower()}"

    @property
    def user(self) -> str:
        return f"e2e-{self.run.name}"

    def touch(self, title: str) -> bool:
        return self.client.touch(self.workspace(title), self.user)

    def wait(self, title: str, what: str, holds: Any) -> Object:
        return self.cluster.wait(self.names[title], what, holds)


@pytest.fixture(scope="module")
def sleepers(
    cluster: Cluster, controller: str, run: Run, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sleepers]:
    """Swarms of a controller of their own, whose hooks spread nobody over time."""
    own = Run(f"{run.name}z", run.image, run.args)
    hooks = lab.new_hooks({f"{PREFIX}LIFECYCLE_SPREAD": "0"}, tmp_path_factory.mktemp("sleep") / "log")
    with ExitStack() as stack:
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runtime))
        server.asked = asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        stack.callback(hooks.kill)
        hooks.start()
        made = cluster.apply(controller_for_run(composite_controller(), own.name, hooks.url))
        stack.callback(cluster.delete, "CompositeController", made["metadata"]["name"])
        stack.callback(cluster.remove_swarms, own.name)
        client = stack.enter_context(UserSwarmClient())
        found = Sleepers(own, cluster, client, f"127.0.0.1:{server.server_port}", asked)
        everybody = SLEEPS | WAKES | OTHERS
        for title, lifecycle in everybody.items():
            found.apply(title, lifecycle)
        for title in everybody:
            found.let_answer(title)
        stack.enter_context(client.busy(found.workspace("Leased"), found.user))
        yield found


def is_asleep(swarm: Object) -> bool:
    return is_in_phase(swarm, "Asleep")


def lifecycle(swarm: Object) -> Object:
    found: Object = swarm["status"]["lifecycle"]
    return found


def test_a_swarm_that_says_it_is_busy_stays_awake(sleepers: Sleepers) -> None:
    asked = sleepers.wait("MaxBusy", "asked", lambda each: "/busy" in sleepers.asked)
    assert lifecycle(asked)["reason"] in {"Created", "MaxBusy"}, "it slept as if it were idle"


@pytest.mark.parametrize("reason", SLEEPS)
def test_a_swarm_sleeps_for_its_reason_and_a_touch_wakes_it(sleepers: Sleepers, reason: str) -> None:
    asleep = sleepers.wait(reason, f"asleep for {reason}", is_asleep)
    assert asleep["status"]["verified"] is False
    for kind in ("Ready", "Verified"):
        assert condition(asleep, kind)["reason"] == reason
    assert sleepers.cluster.pods(asleep) == []
    assert sleepers.touch(reason), "nothing was written"
    awake = sleepers.wait(reason, "verified after the touch", is_verified)
    assert lifecycle(awake)["reason"] == "Activity"
    assert not sleepers.touch(reason), "written twice within a minute"


def test_a_sleeping_swarm_is_neither_written_nor_asked_and_keeps_its_volume(sleepers: Sleepers) -> None:
    asleep = sleepers.wait("Forgotten", "asleep", is_asleep)
    before = versions([asleep, *sleepers.cluster.children(asleep)])
    assert "PersistentVolumeClaim" in {each.partition("/")[0] for each in before}
    time.sleep(20)
    now = sleepers.cluster.get("UserSwarm", sleepers.names["Forgotten"])
    assert now is not None
    assert writes(before, versions([now, *sleepers.cluster.children(now)])) == []


def test_a_swarm_that_does_not_say_whether_it_is_busy_stays_awake_and_why_is_said(sleepers: Sleepers) -> None:
    told = sleepers.wait("Mute", "unknown", lambda each: condition(each, "Awake")["reason"] == "ActivityUnknown")
    assert told["status"]["verified"] is True
    assert '"busy"' in condition(told, "Awake")["message"]


@pytest.mark.parametrize("cause", WAKES)
def test_a_swarm_wakes_by_itself_for_its_instants(sleepers: Sleepers, cause: str) -> None:
    woken = sleepers.wait(
        cause, f"woken for {cause}", lambda each: lifecycle(each)["reason"] == cause and is_verified(each)
    )
    assert "crawbl.ai/last-activity" not in woken["metadata"].get("annotations", {})


def test_a_swarm_with_an_open_stream_never_slept(sleepers: Sleepers) -> None:
    sleepers.wait("Forgotten", "asleep", is_asleep)
    leased = sleepers.cluster.get("UserSwarm", sleepers.names["Leased"])
    assert leased is not None
    assert lifecycle(leased)["reason"] == "Created", "it woke, so it slept"
    assert is_verified(leased)


def test_a_swarm_that_nobody_came_back_to_expires_and_is_reaped(sleepers: Sleepers) -> None:
    """Its status is set back by two hours: nobody waits for them."""
    asleep = sleepers.wait("Forgotten", "asleep", is_asleep)
    assert condition(asleep, "ExpiresSoon")["reason"] == "ExpiresSoon"
    long_ago = written_time(datetime.now(UTC) - timedelta(hours=2))
    name = sleepers.names["Forgotten"]
    back = {"status": {"lifecycle": {"asleepSince": long_ago, "unusedSince": long_ago}}}
    sleepers.cluster.patch_object("UserSwarm", name, back, subresource="status")
    # Metacontroller does not look at a swarm for what is written into its status.
    sleepers.cluster.annotate("UserSwarm", name, {"example.com/nudge": "1"})
    sleepers.wait("Forgotten", "expired", lambda each: condition(each, "ExpiresSoon").get("reason") == "Expired")

    words = ["--expired", "--min-age", "0s", "--confirm-after", "1s"]
    looked = reaped([*words, "--dry-run"])
    assert looked["reasons"]["would-delete"] == {"expired": 1}
    assert sleepers.cluster.get("UserSwarm", name) is not None
    assert reaped(words)["reasons"]["deleted"] == {"expired": 1}
    sleepers.cluster.wait_gone("UserSwarm", name)


def test_requests_at_the_gate_wake_a_swarm_and_reach_it_and_a_strangers_do_neither(
    sleepers: Sleepers, tmp_path: Path
) -> None:
    endpoint = sleepers.wait("Visited", "asleep", is_asleep)["status"]["endpoint"].removeprefix("http://")
    with open_door(tmp_path, os.environ["KUBECONFIG"], f"{sleepers.address} {endpoint}\n", GATE_HOLD="120") as door:

        def ask(user: str, word: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=200)
            with closing(connection):
                path = f"/v1/workspaces/{sleepers.workspace('Visited')}/{word}"
                connection.request("GET", path, headers={"Authorization": f"Bearer {door.issuer.token(user)}"})
                return connection.getresponse().status

        assert ask("somebody-else", "stranger") == 404
        asleep = sleepers.cluster.get("UserSwarm", sleepers.names["Visited"])
        assert asleep is not None
        assert is_asleep(asleep)
        with ThreadPoolExecutor(20) as pool:
            assert set(pool.map(lambda number: ask(sleepers.user, f"friend-{number}"), range(20))) == {200}
    awake = sleepers.cluster.get("UserSwarm", sleepers.names["Visited"])
    assert awake is not None
    assert is_verified(awake), "they were let through before"
    assert lifecycle(awake)["reason"] == "Activity"
    arrived = sorted(path for path in sleepers.asked if path.startswith(("/friend", "/stranger")))
    assert arrived == sorted(f"/friend-{number}" for number in range(20))


def reaped(words: list[str]) -> Object:
    """Run the reaper as it comes, and return its summary."""
    result = CliRunner().invoke(reap, words)
    assert result.exit_code == 0, result.output
    summary: Object = json.loads(result.stdout.splitlines()[-1])
    return summary
