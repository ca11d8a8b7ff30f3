"""A whole run, over a cluster and a source of owners that misbehave in every way we know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from unit.reaper.fakes import NOW, FakeCluster, FakeSource, FakeTime, make_swarm, run, stamp
from userswarm.reaper.amounts import parse_share
from userswarm.reaper.cluster import ClusterError, Deletion
from userswarm.reaper.decide import Rules
from userswarm.reaper.owners import PAUSE, OwnersError
from userswarm.reaper.reap import Options
from userswarm.reaper.report import ExitCode
from userswarm.wire.k8s import Observed

ALIVE = {"w8": "u8", "w9": "u9"}
MANY = Options(rules=Rules(max_delete=parse_share("100%")))
UNREACHABLE = ClusterError("DELETE: connection refused", unreachable=True)


def small_cluster() -> FakeCluster:
    return FakeCluster.of(make_swarm("w9", "u9"), make_swarm("w8", "u8"), make_swarm("gone"))


def test_an_orphan_goes_and_the_others_stay() -> None:
    cluster = small_cluster()
    outcome = run(cluster, FakeSource([ALIVE]))

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions == {
        "workspace-gone": ("deleted", "owner-gone"),
        "workspace-w8": ("left", "owner-alive"),
        "workspace-w9": ("left", "owner-alive"),
    }
    assert cluster.deleted == [("workspace-gone", "uid-gone", "7")]


def test_a_line_says_what_which_whose_and_how_old() -> None:
    (line,) = [line for line in run(small_cluster(), FakeSource([ALIVE])).lines if line.get("workspaceId") == "gone"]

    assert line == {
        "kind": "decision",
        "name": "workspace-gone",
        "decision": "deleted",
        "reason": "owner-gone",
        "message": "its workspace is not listed, in two reads",
        "uid": "uid-gone",
        "workspaceId": "gone",
        "userId": "u1",
        "createdAt": stamp(NOW - timedelta(days=2)),
        "ageSeconds": 172_800,
    }


def test_the_summary_counts_by_decision_and_reason() -> None:
    cluster = small_cluster()
    cluster.swarms["bad"] = {"metadata": {"name": "bad"}}

    assert run(cluster, FakeSource([ALIVE])).summary == {
        "kind": "summary",
        "exitCode": 0,
        "result": "done",
        "dryRun": False,
        "swarms": 4,
        "owners": {"first": 2, "second": 2},
        "maxDelete": 3,
        "wouldDelete": 1,
        "decisions": {"deleted": 1, "left": 3},
        "reasons": {"deleted": {"owner-gone": 1}, "left": {"malformed": 1, "owner-alive": 2}},
        "retainedClaims": 0,
        "durationSeconds": 60.0,
        "errors": [],
    }


def test_the_second_read_comes_after_the_pause_and_decides_with_the_first() -> None:
    cluster, source, time = small_cluster(), FakeSource([ALIVE, ALIVE | {"gone": "u1"}]), FakeTime()
    outcome = run(cluster, source, Options(confirm_after=timedelta(seconds=45)), time=time)

    assert outcome.decisions["workspace-gone"] == ("left", "owner-alive")
    assert sum(time.slept) == 45
    assert source.count == 2
    assert not cluster.deleted


def test_without_anything_to_confirm_there_is_no_second_read_and_no_pause() -> None:
    source, time = FakeSource([ALIVE | {"gone": "u1"}]), FakeTime()

    assert run(small_cluster(), source, time=time).code is ExitCode.DONE
    assert source.count == 1
    assert not time.slept


def test_the_swarms_are_listed_before_each_read_of_the_owners() -> None:
    order: list[str] = []

    class Cluster(FakeCluster):
        def list_swarms(self) -> Any:
            order.append("swarms")
            return super().list_swarms()

    class Source(FakeSource):
        def read(self, now: Any) -> Any:
            order.append("owners")
            return super().read(now)

    run(Cluster.of(make_swarm("gone")), Source([ALIVE]))

    assert order == ["swarms", "owners", "swarms", "owners"]


def test_what_changed_during_the_pause_is_judged_as_it_is_now() -> None:
    cluster, time = small_cluster(), FakeTime()

    def keep() -> None:
        cluster.swarms["workspace-gone"] = make_swarm("gone", labels={"crawbl.ai/keep": "true"})

    time.on_sleep = keep

    assert run(cluster, FakeSource([ALIVE]), time=time).decisions["workspace-gone"] == ("left", "keep-label")


def test_a_delete_carries_the_resource_version_of_the_second_list() -> None:
    cluster, time = small_cluster(), FakeTime()
    time.on_sleep = lambda: cluster.swarms["workspace-gone"]["metadata"].update(resourceVersion="8")
    run(cluster, FakeSource([ALIVE]), time=time)

    assert cluster.deleted == [("workspace-gone", "uid-gone", "8")]


def test_age_is_measured_from_the_start_of_the_run() -> None:
    cluster = FakeCluster.of(make_swarm("gone"), make_swarm("young", age=timedelta(minutes=59, seconds=30)))
    outcome = run(cluster, FakeSource([ALIVE]))

    assert outcome.decisions["workspace-young"] == ("left", "too-young")


def test_a_dry_run_says_what_would_go_after_both_reads_and_deletes_nothing() -> None:
    cluster, source = small_cluster(), FakeSource([ALIVE])
    outcome = run(cluster, source, dry_run=True)

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions["workspace-gone"] == ("would-delete", "owner-gone")
    assert outcome.summary["dryRun"] is True
    assert source.count == 2
    assert not [call for call in cluster.calls if call.startswith("delete")]


@pytest.mark.parametrize("dry_run", [False, True])
def test_more_than_max_delete_deletes_nothing_and_says_so(dry_run: bool) -> None:
    cluster = FakeCluster.of(*(make_swarm(f"gone-{number}") for number in range(4)))
    outcome = run(cluster, FakeSource([ALIVE]), dry_run=dry_run)

    assert outcome.code is ExitCode.TOO_MANY == 3
    assert outcome.summary["result"] == "too-many"
    assert outcome.summary["decisions"] == {"withheld": 4}
    assert outcome.summary["errors"] == ["4 of 4 swarms would be deleted, and --max-delete 10% allows 3: nothing was"]
    assert not cluster.deleted


@pytest.mark.parametrize(
    "reads",
    [
        [OwnersError("half a list")],
        [ALIVE, OwnersError("half a list")],
        [{}],
        [ALIVE, {}],
        [{f"w{number}": "u" for number in range(100)}, ALIVE],
    ],
)
def test_owners_that_cannot_be_used_in_either_read_delete_nothing(reads: list[dict[str, str] | Exception]) -> None:
    cluster = small_cluster()
    outcome = run(cluster, FakeSource(reads))

    assert outcome.code is ExitCode.OWNERS_UNUSABLE == 4
    assert outcome.summary["errors"]
    assert not outcome.decisions
    assert not cluster.deleted


def test_a_fault_that_may_pass_is_tried_again_after_a_pause() -> None:
    source, time = FakeSource([OwnersError("502", transient=True), ALIVE]), FakeTime()

    assert run(small_cluster(), source, time=time).code is ExitCode.DONE
    assert time.slept[0] == PAUSE


def test_a_fault_that_does_not_pass_ends_the_run_after_so_many_attempts() -> None:
    source = FakeSource([OwnersError("502", transient=True)])

    assert run(small_cluster(), source, Options(attempts=4)).code is ExitCode.OWNERS_UNUSABLE
    assert source.count == 4


def test_a_fault_that_will_not_pass_is_not_tried_again() -> None:
    source = FakeSource([OwnersError("wrong token"), ALIVE])

    assert run(small_cluster(), source).code is ExitCode.OWNERS_UNUSABLE
    assert source.count == 1


def test_a_cluster_that_cannot_be_listed_is_an_exit_code_of_its_own() -> None:
    cluster = small_cluster()
    cluster.list_error = ClusterError("connection refused", unreachable=True)
    source = FakeSource([ALIVE])
    outcome = run(cluster, source)

    assert outcome.code is ExitCode.CLUSTER_UNREACHABLE == 5
    assert outcome.summary["errors"] == ["connection refused"]
    assert source.count == 0


def test_a_list_that_breaks_off_in_the_middle_deletes_nothing() -> None:
    class Cluster(FakeCluster):
        def list_swarms(self) -> Any:
            def pages() -> Any:
                yield from super(Cluster, self).list_swarms()
                raise ClusterError("connection reset", unreachable=True)

            return pages()

    cluster = Cluster.of(make_swarm("gone"))

    assert run(cluster, FakeSource([ALIVE])).code is ExitCode.CLUSTER_UNREACHABLE
    assert not cluster.deleted


@pytest.mark.parametrize(("met", "reason"), [(Deletion.CHANGED, "changed"), (Deletion.GONE, "gone")])
def test_a_swarm_that_changed_or_went_since_it_was_listed_is_skipped(met: Deletion, reason: str) -> None:
    cluster = small_cluster()
    cluster.answers["workspace-gone"] = met
    outcome = run(cluster, FakeSource([ALIVE]))

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions["workspace-gone"] == ("skipped", reason)


def test_a_delete_that_fails_does_not_stop_the_rest() -> None:
    cluster = FakeCluster.of(*(make_swarm(name) for name in ("a", "b", "c")))
    cluster.refusals["workspace-b"] = ClusterError("DELETE: 500 InternalError")
    outcome = run(cluster, FakeSource([ALIVE]))

    assert outcome.code is ExitCode.SOME_FAILED == 1
    assert [name for name, _, _ in cluster.deleted] == ["workspace-a", "workspace-c"]
    assert outcome.decisions["workspace-b"] == ("failed", "delete-failed")
    assert "500 InternalError" in next(line["message"] for line in outcome.lines if line["name"] == "workspace-b")


def test_many_refused_deletes_stop_nothing_while_the_api_server_answers() -> None:
    cluster = FakeCluster.of(*(make_swarm(f"s{number}") for number in range(8)))
    cluster.refusals = {f"workspace-s{number}": ClusterError("403 Forbidden") for number in range(7)}

    assert run(cluster, FakeSource([ALIVE]), MANY).code is ExitCode.SOME_FAILED
    assert [name for name, _, _ in cluster.deleted] == ["workspace-s7"]


def test_an_api_server_that_went_away_ends_the_deleting() -> None:
    cluster = FakeCluster.of(*(make_swarm(f"s{number}") for number in range(8)))
    cluster.refusals = {f"workspace-s{number}": UNREACHABLE for number in range(2, 8)}
    outcome = run(cluster, FakeSource([ALIVE]), MANY)

    assert outcome.code is ExitCode.CLUSTER_UNREACHABLE
    assert outcome.summary["reasons"] == {"deleted": {"owner-gone": 2}, "failed": {"delete-failed": 3, "not-tried": 3}}
    assert len([call for call in cluster.calls if call.startswith("delete")]) == 5


def test_an_api_server_that_comes_back_in_between_is_asked_again() -> None:
    cluster = FakeCluster.of(*(make_swarm(f"s{number}") for number in range(6)))
    cluster.refusals = {f"workspace-s{number}": UNREACHABLE for number in (0, 1, 3, 4)}
    outcome = run(cluster, FakeSource([ALIVE]), MANY)

    assert outcome.code is ExitCode.SOME_FAILED
    assert outcome.summary["decisions"] == {"deleted": 2, "failed": 4}


def test_a_refusal_is_an_answer_too() -> None:
    cluster = FakeCluster.of(*(make_swarm(f"s{number}") for number in range(6)))
    cluster.refusals = {f"workspace-s{number}": UNREACHABLE for number in (0, 1, 3, 4)}
    cluster.refusals["workspace-s2"] = ClusterError("403 Forbidden")
    outcome = run(cluster, FakeSource([ALIVE]), MANY)

    assert outcome.code is ExitCode.SOME_FAILED
    assert outcome.decisions["workspace-s5"] == ("deleted", "owner-gone")


def test_a_run_that_is_stopped_still_sums_up() -> None:
    cluster = FakeCluster.of(*(make_swarm(name) for name in ("a", "b", "c")))
    cluster.refusals["workspace-b"] = KeyboardInterrupt()
    outcome = run(cluster, FakeSource([ALIVE]))

    assert outcome.code is ExitCode.STOPPED == 130
    assert outcome.summary["decisions"] == {"deleted": 1}
    assert outcome.summary["errors"] == ["stopped before it was done; the lines above say what was"]


class TestRetainedClaims:
    OPTIONS = Options(claim_max_age=timedelta(days=7), claim_namespaces=("one", "two"))

    @staticmethod
    def cluster() -> FakeCluster:
        cluster = small_cluster()
        cluster.claims = {
            namespace: [
                {
                    "metadata": {
                        "name": "swarm-x-data",
                        "namespace": namespace,
                        "creationTimestamp": stamp(NOW - timedelta(days=8)),
                    }
                }
            ]
            for namespace in ("one", "two", "three")
        }
        return cluster

    def test_are_listed_in_the_namespaces_given_and_never_deleted(self) -> None:
        cluster = self.cluster()
        outcome = run(cluster, FakeSource([ALIVE]), self.OPTIONS)
        lines = [line for line in outcome.lines if line["kind"] == "retained-claim"]

        assert outcome.code is ExitCode.DONE
        assert [(line["namespace"], line["name"], line["decision"]) for line in lines] == [
            ("one", "swarm-x-data", "listed"),
            ("two", "swarm-x-data", "listed"),
        ]
        assert lines[0]["ageSeconds"] == 8 * 86_400
        assert outcome.summary["retainedClaims"] == 2
        assert cluster.calls[-2:] == ["claims one crawbl.ai/swarm", "claims two crawbl.ai/swarm"]

    def test_are_not_asked_for_unless_an_age_is_given(self) -> None:
        cluster = self.cluster()
        run(cluster, FakeSource([ALIVE]))

        assert not [call for call in cluster.calls if call.startswith("claims")]

    def test_that_cannot_be_listed_fail_the_run_after_the_swarms_are_done(self) -> None:
        cluster = self.cluster()
        cluster.claim_error = ClusterError("403 Forbidden")
        outcome = run(cluster, FakeSource([ALIVE]), self.OPTIONS)

        assert outcome.code is ExitCode.SOME_FAILED
        assert outcome.decisions["workspace-gone"] == ("deleted", "owner-gone")
        assert "the claims of namespace one cannot be listed: 403 Forbidden" in outcome.summary["errors"]


def test_an_unexpected_error_is_not_taken_for_any_of_this() -> None:
    class Broken(FakeCluster):
        def list_swarms(self) -> list[Observed]:
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(Broken(), FakeSource([ALIVE]))
