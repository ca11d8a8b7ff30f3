"""The reaper against a real HTTP API: the dev cluster's API server, through the official client."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.rest import RestServer
from unit.reaper import postgres
from unit.reaper.backend import Backend, serve
from unit.reaper.fakes import FakeSource, FakeTime, run
from userswarm.backend.api import API_VERSION, KIND, RetryPolicy, UserSwarmApi, connect
from userswarm.cli import cli
from userswarm.cli.demo.rules import RULES
from userswarm.reaper.amounts import parse_share
from userswarm.reaper.cluster import ClusterError, Deletion, KubernetesCluster
from userswarm.reaper.decide import Rules
from userswarm.reaper.reap import Options
from userswarm.reaper.report import ExitCode
from userswarm.spec.schema import load_crd

ALL = Options(rules=Rules(max_delete=parse_share("100%")))
FINALIZER = "metacontroller.io/compositecontroller-userswarm"


class Cluster:
    """An API server over HTTP, and a reaper's way to it."""

    def __init__(self, rest: RestServer, kubeconfig: Path) -> None:
        self.rest = rest
        self.api = rest.api
        self.kubeconfig = kubeconfig
        policy = RetryPolicy(attempts=3, sleep=lambda _: None)
        self.client = connect(kubeconfig)
        self.reaper = KubernetesCluster(lambda: UserSwarmApi(self.client, policy))

    def add(self, workspace: str, user: str = "u", **metadata: Any) -> dict[str, Any]:
        return self.api.create(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": f"workspace-{workspace}", "finalizers": [FINALIZER], **metadata},
                "spec": {"userId": user},
            }
        )

    def touch(self, workspace: str, **metadata: Any) -> None:
        self.api.patch(API_VERSION, KIND, None, f"workspace-{workspace}", {"metadata": metadata})

    @property
    def names(self) -> set[str]:
        """The workspaces that nobody has asked to delete."""
        return {
            swarm["metadata"]["name"].removeprefix("workspace-")
            for swarm in self.api.list(API_VERSION, KIND)
            if "deletionTimestamp" not in swarm["metadata"]
        }

    def time(self) -> FakeTime:
        return FakeTime(moment=self.api.clock.now())

    def requests(self, method: str) -> list[str]:
        return [request for request in self.rest.requests if request.startswith(method)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster whose clock runs two days behind; `advance` brings it to the present."""
    api = ApiServer(Clock(datetime.now(UTC) - timedelta(days=2)))
    api.register_crd(load_crd(), RULES)
    with RestServer(api) as rest:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(rest.kubeconfig()))
        made = Cluster(rest, kubeconfig)
        yield made
        made.client.rest_client.pool_manager.clear()


def a_day_later(cluster: Cluster) -> FakeTime:
    cluster.api.clock.advance(86_400)
    return cluster.time()


def test_orphans_are_deleted_and_the_rest_stays(cluster: Cluster) -> None:
    for workspace in ("a", "b", "gone"):
        cluster.add(workspace)
    cluster.add("kept", labels={"crawbl.ai/keep": ""})
    later = a_day_later(cluster)
    cluster.add("young")
    outcome = run(cluster.reaper, FakeSource([{"a": "u", "b": "u"}]), time=later)

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions == {
        "workspace-a": ("left", "owner-alive"),
        "workspace-b": ("left", "owner-alive"),
        "workspace-gone": ("deleted", "owner-gone"),
        "workspace-kept": ("left", "keep-label"),
        "workspace-young": ("left", "too-young"),
    }
    assert cluster.names == {"a", "b", "kept", "young"}
    assert cluster.requests("DELETE") == [f"DELETE /apis/{API_VERSION}/userswarms/workspace-gone"]


def test_what_the_last_run_deleted_is_on_its_way_out_in_the_next(cluster: Cluster) -> None:
    cluster.add("gone")
    later = a_day_later(cluster)
    run(cluster.reaper, FakeSource([{"a": "u"}]), time=later)
    outcome = run(cluster.reaper, FakeSource([{"a": "u"}]), time=cluster.time())

    assert outcome.decisions == {"workspace-gone": ("left", "already-deleting")}
    assert len(cluster.requests("DELETE")) == 1


def test_a_swarm_that_changes_after_it_was_listed_is_left(cluster: Cluster) -> None:
    for workspace in ("a", "changed", "z"):
        cluster.add(workspace)
    later = a_day_later(cluster)

    class Source(FakeSource):
        def read(self, now: datetime) -> Any:
            owners = super().read(now)
            if self.count == 2:  # after the second list
                cluster.touch("changed", labels={"crawbl.ai/keep": "true"})
            return owners

    outcome = run(cluster.reaper, Source([{"b": "u"}]), time=later)

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions == {
        "workspace-a": ("deleted", "owner-gone"),
        "workspace-changed": ("skipped", "changed"),
        "workspace-z": ("deleted", "owner-gone"),
    }
    assert cluster.names == {"changed"}


def test_a_swarm_that_was_deleted_and_made_anew_is_another_one(cluster: Cluster) -> None:
    swarm = cluster.add("again", finalizers=[])
    metadata = swarm["metadata"]
    cluster.api.delete(API_VERSION, KIND, None, "workspace-again")
    anew = cluster.add("again", finalizers=[])

    met = cluster.reaper.delete_swarm("workspace-again", metadata["uid"], anew["metadata"]["resourceVersion"])

    assert met is Deletion.CHANGED
    assert cluster.names == {"again"}


def test_a_swarm_that_somebody_else_deleted_is_gone(cluster: Cluster) -> None:
    metadata = cluster.add("gone", finalizers=[])["metadata"]
    cluster.api.delete(API_VERSION, KIND, None, "workspace-gone")

    met = cluster.reaper.delete_swarm("workspace-gone", metadata["uid"], metadata["resourceVersion"])

    assert met is Deletion.GONE


@pytest.mark.parametrize(("status", "times"), [(403, 1), (500, 3)])
def test_a_delete_that_fails_does_not_stop_the_rest(cluster: Cluster, status: int, times: int) -> None:
    for workspace in ("a", "b", "c"):
        cluster.add(workspace)
    cluster.rest.faults.answer(status, times=times, method="DELETE", path="workspace-b")
    outcome = run(cluster.reaper, FakeSource([{"x": "u"}]), time=a_day_later(cluster))

    assert outcome.code is ExitCode.SOME_FAILED
    assert outcome.summary["reasons"] == {"deleted": {"owner-gone": 2}, "failed": {"delete-failed": 1}}
    assert cluster.names == {"b"}


def test_a_reaper_without_the_right_to_delete_has_tried_them_all(cluster: Cluster) -> None:
    for number in range(5):
        cluster.add(f"s{number}")
    cluster.rest.faults.answer(403, times=4, method="DELETE")
    outcome = run(cluster.reaper, FakeSource([{"x": "u"}]), ALL, time=a_day_later(cluster))

    assert outcome.code is ExitCode.SOME_FAILED
    assert outcome.summary["decisions"] == {"deleted": 1, "failed": 4}


@pytest.mark.parametrize("fault", ["reset", "lose", "cut"])
def test_a_broken_connection_is_tried_again(cluster: Cluster, fault: str) -> None:
    cluster.add("gone")
    getattr(cluster.rest.faults, fault)(method="DELETE")
    outcome = run(cluster.reaper, FakeSource([{"x": "u"}]), time=a_day_later(cluster))

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions == {"workspace-gone": ("deleted", "owner-gone")}


def test_a_429_is_waited_for(cluster: Cluster) -> None:
    cluster.add("gone")
    cluster.rest.faults.answer(429, method="DELETE", retry_after="1")
    cluster.rest.faults.answer(429, method="GET", retry_after="1")

    assert run(cluster.reaper, FakeSource([{"x": "u"}]), time=a_day_later(cluster)).code is ExitCode.DONE
    assert cluster.names == set()


def test_an_api_server_that_goes_away_while_deleting_ends_the_run(cluster: Cluster) -> None:
    for number in range(6):
        cluster.add(f"gone-{number}")
    cluster.rest.faults.reset(times=1000, method="DELETE")
    outcome = run(cluster.reaper, FakeSource([{"x": "u"}]), ALL, time=a_day_later(cluster))

    assert outcome.code is ExitCode.CLUSTER_UNREACHABLE
    assert outcome.summary["reasons"] == {"failed": {"delete-failed": 3, "not-tried": 3}}
    assert len(cluster.names) == 6


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_list_that_is_refused_is_exit_code_5_and_no_owners_are_read(cluster: Cluster, status: int) -> None:
    cluster.add("gone")
    cluster.rest.faults.answer(status, times=3, method="GET")
    source = FakeSource([{"x": "u"}])
    outcome = run(cluster.reaper, source, time=a_day_later(cluster))

    assert outcome.code is ExitCode.CLUSTER_UNREACHABLE
    assert source.count == 0
    assert cluster.names == {"gone"}


def test_a_list_that_expires_in_the_middle_is_begun_anew(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userswarm.reaper.cluster.PAGE", 2)
    for number in range(5):
        cluster.add(f"s{number}")
    cluster.rest.faults.answer(410, method="GET", path="continue=")

    assert len(cluster.reaper.list_swarms()) == 5


def test_a_list_that_always_expires_is_an_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userswarm.reaper.cluster.PAGE", 2)
    for number in range(5):
        cluster.add(f"s{number}")
    cluster.rest.faults.answer(410, times=3, method="GET", path="continue=")

    with pytest.raises(ClusterError, match="410"):
        cluster.reaper.list_swarms()


def make_claim(cluster: Cluster, name: str, **metadata: Any) -> None:
    labels = {"crawbl.ai/swarm": name, "crawbl.ai/user": "u"}
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"swarm-{name}-data", "namespace": "userswarms", "labels": labels, **metadata},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
        }
    )


def test_retained_claims_are_listed_and_never_deleted(cluster: Cluster) -> None:
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "userswarms"}})
    owner = cluster.add("a")
    make_claim(cluster, "released", annotations={"crawbl.ai/name": "workspace-released", "crawbl.ai/released": "true"})
    make_claim(cluster, "foreign", labels={"app": "database"})
    reference = {"apiVersion": API_VERSION, "kind": KIND, "name": "workspace-a", "uid": owner["metadata"]["uid"]}
    make_claim(cluster, "a", ownerReferences=[reference])
    later = a_day_later(cluster)
    make_claim(cluster, "lately")
    outcome = run(cluster.reaper, FakeSource([{"a": "u"}]), Options(claim_max_age=timedelta(hours=12)), time=later)
    listed = [line for line in outcome.lines if line["kind"] == "retained-claim"]

    assert [(line["name"], line["swarm"], line["size"]) for line in listed] == [
        ("swarm-released-data", "workspace-released", "2Gi")
    ]
    assert not cluster.requests("DELETE")


def test_claims_that_may_not_be_listed_are_exit_code_1(cluster: Cluster) -> None:
    cluster.rest.faults.answer(403, method="GET", path="persistentvolumeclaims")
    outcome = run(
        cluster.reaper, FakeSource([{"a": "u"}]), Options(claim_max_age=timedelta(hours=12)), time=cluster.time()
    )

    assert outcome.code is ExitCode.SOME_FAILED
    assert "claims of namespace userswarms cannot be listed" in outcome.summary["errors"][0]


# The command, with nothing replaced: its own clock, its own way to the cluster.


def invoke(cluster: Cluster, *words: str) -> Result:
    return CliRunner().invoke(cli, ["reap", "--kubeconfig", str(cluster.kubeconfig), "--confirm-after", "0s", *words])


def command(cluster: Cluster, owners: Path, *words: str) -> Result:
    return invoke(cluster, "--owners-file", str(owners), *words)


def fill(cluster: Cluster, total: int, orphans: int, owners: Path) -> None:
    """Make `total` swarms, a day old, the last `orphans` of them without an owner in the file."""
    listed = []
    for number in range(total):
        cluster.add(f"{number:05}", f"user-{number % 97}")
        if number < total - orphans:
            listed.append({"workspaceId": f"{number:05}", "userId": f"user-{number % 97}"})
    owners.write_text(json.dumps({"owners": listed, "total": len(listed)}))
    cluster.api.clock.advance(86_400)


def test_a_dry_run_over_a_thousand_swarms_says_what_would_go(cluster: Cluster, tmp_path: Path) -> None:
    fill(cluster, 1000, 40, tmp_path / "owners.json")
    result = command(cluster, tmp_path / "owners.json", "--dry-run")
    *lines, summary = map(json.loads, result.stdout.splitlines())

    assert result.exit_code == 0
    assert len(lines) == 1000
    assert summary["swarms"] == 1000
    assert summary["owners"] == {"first": 960, "second": 960}
    assert summary["maxDelete"] == 100
    assert summary["reasons"] == {"left": {"owner-alive": 960}, "would-delete": {"owner-gone": 40}}
    assert not cluster.requests("DELETE")
    # Two lists of two pages each.
    assert len(cluster.requests("GET")) == 4


def test_the_command_deletes(cluster: Cluster, tmp_path: Path) -> None:
    fill(cluster, 20, 2, tmp_path / "owners.json")
    result = command(cluster, tmp_path / "owners.json")

    assert result.exit_code == 0, result.output
    assert cluster.names == {f"{number:05}" for number in range(18)}
    assert result.stderr == ""


def test_the_command_deletes_nothing_where_too_many_would_go(cluster: Cluster, tmp_path: Path) -> None:
    fill(cluster, 20, 4, tmp_path / "owners.json")
    result = command(cluster, tmp_path / "owners.json")

    assert result.exit_code == 3
    assert result.stderr == (
        "userswarm reap: 4 of 20 swarms would be deleted, and --max-delete 10% allows 3: nothing was\n"
    )
    assert len(cluster.names) == 20


def test_the_command_deletes_nothing_on_the_word_of_half_a_file(cluster: Cluster, tmp_path: Path) -> None:
    owners = tmp_path / "owners.json"
    fill(cluster, 20, 0, owners)
    owners.write_text(owners.read_text()[:-100])
    result = command(cluster, owners)

    assert result.exit_code == 4
    assert "only half of it" in result.stderr
    assert len(cluster.names) == 20


def test_the_command_s_last_line_is_the_summary(cluster: Cluster, tmp_path: Path) -> None:
    fill(cluster, 3, 0, tmp_path / "owners.json")
    kinds = [json.loads(line)["kind"] for line in io.StringIO(command(cluster, tmp_path / "owners.json").stdout)]

    assert kinds == ["decision"] * 3 + ["summary"]


def test_the_command_asks_the_backend(cluster: Cluster, tmp_path: Path) -> None:
    fill(cluster, 30, 2, tmp_path / "owners.json")
    owners = [
        (entry["workspaceId"], entry["userId"])
        for entry in json.loads((tmp_path / "owners.json").read_text())["owners"]
    ]
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serve(Backend(owners, token="secret")) as backend:
        words = ["--owners-url", backend.url, "--owners-token-file", str(token), "--owners-page-size", "10"]
        result = invoke(cluster, *words)

    assert result.exit_code == 0, result.output
    assert len(backend.requests) == 6
    assert cluster.names == {workspace for workspace, _ in owners}


def test_the_command_asks_postgresql(cluster: Cluster, tmp_path: Path) -> None:
    try:
        postgres.find_binaries()
    except postgres.MissingError as error:
        pytest.skip(str(error))
    cluster.add("00001", "7")
    cluster.add("00002", "7")
    cluster.api.clock.advance(86_400)
    dsn = tmp_path / "dsn"
    with postgres.start() as database:
        dsn.write_text(database.dsn)
        query = "SELECT '00001' AS workspace_id, 7 AS user_id"
        result = invoke(cluster, "--owners-dsn-file", str(dsn), "--owners-query", query)

    assert result.exit_code == 0, result.output
    assert cluster.names == {"00001"}


def test_a_command_that_gets_sigterm_while_it_waits_deletes_nothing_and_sums_up(
    cluster: Cluster, tmp_path: Path
) -> None:
    owners = tmp_path / "owners.json"
    fill(cluster, 3, 1, owners)
    words = ["--kubeconfig", str(cluster.kubeconfig), "--owners-file", str(owners), "--confirm-after", "1h"]
    program = "from userswarm.reaper.commands import reap; reap()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as running:
        while not cluster.requests("GET") and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        stdout, stderr = running.communicate(timeout=60)

    assert running.returncode == ExitCode.STOPPED, stderr
    assert json.loads(stdout.splitlines()[-1])["result"] == "stopped"
    assert "stopped before it was done" in stderr
    assert len(cluster.names) == 3
