"""A swarm's sleep on the dev cluster: the story that the demo tells, and what a day of it costs."""

from __future__ import annotations

from datetime import timedelta

from devcluster.faults import Trouble
from stories import NAME, created, pod_uid, status
from userswarm.cli.demo.cluster import Cluster
from userswarm.cli.demo.sleep import Sleep
from userswarm.wire.k8s import written_time


def touch(cluster: Cluster, ahead: timedelta = timedelta()) -> None:
    stamp = written_time(cluster.clock.now() + ahead)
    cluster.edit(NAME, {"metadata": {"annotations": {"crawbl.ai/last-activity": stamp}}})


def asleep(**lifecycle: str) -> Cluster:
    cluster = created(lifecycle={"idleAfter": "30m", **lifecycle})
    assert status(cluster)["verified"] is True
    cluster.run(1925)
    assert status(cluster)["phase"] == "Asleep"
    return cluster


def test_the_story_that_the_demo_tells_holds() -> None:
    told: list[str] = []
    Sleep(told.append).tell()
    assert len(told) == 6


def test_falling_asleep_costs_three_writes_and_waking_as_few_as_coming_up() -> None:
    cluster = created(lifecycle={"idleAfter": "30m"})
    before = len(cluster.api.writes)
    cluster.run(1925)
    ours = [str(write) for write in cluster.api.writes[before:] if write.actor == "metacontroller"]
    assert len(ours) <= 3, ours
    assert pod_uid(cluster) is None

    before, asked = len(cluster.api.writes), len(cluster.traffic.requests)
    touch(cluster)
    cluster.run(60)
    assert status(cluster)["verified"] is True
    ours = [str(write) for write in cluster.api.writes[before:] if write.actor == "metacontroller"]
    assert len(ours) <= 4, ours
    assert len(cluster.traffic.requests) == asked + 1
    assert cluster.gatherer.reads == {}


def test_a_swarm_in_use_costs_a_call_and_no_write_for_a_touch() -> None:
    cluster = created(lifecycle={"idleAfter": "30m"})
    touch(cluster)
    cluster.settle()
    before, calls = len(cluster.api.writes), cluster.metacontroller.calls["sync"]
    for _ in range(20):
        touch(cluster)
        cluster.run(300)
    ours = [str(write) for write in cluster.api.writes[before:] if write.actor == "metacontroller"]
    assert ours == []
    # One for each touch, and one for the end of each window that a touch has put off meanwhile.
    assert cluster.metacontroller.calls["sync"] - calls <= 20 + 20 * 300 // 1800 + 1


def test_a_clock_that_is_an_hour_behind_does_not_put_a_swarm_to_sleep_early() -> None:
    cluster = created(lifecycle={"idleAfter": "30m"})
    cluster.run(1700)
    touch(cluster, ahead=-timedelta(hours=1))
    cluster.run(1700)
    assert status(cluster)["phase"] == "Ready"
    cluster.run(300)
    assert status(cluster)["phase"] == "Asleep"


def test_one_that_wakes_to_a_sick_runtime_is_not_served() -> None:
    cluster = asleep()
    cluster.faults.inject(Trouble.UNHEALTHY, message="degraded")
    touch(cluster)
    cluster.run(60)
    assert status(cluster)["verified"] is False
    assert status(cluster)["phase"] in ("Verifying", "Failed")


def test_a_sleeping_swarm_is_deleted_without_waking() -> None:
    cluster = asleep()
    before = len(cluster.api.writes)
    cluster.delete(NAME)
    cluster.run(120)
    assert cluster.api.peek("crawbl.ai/v1alpha1", "UserSwarm", None, NAME) is None
    assert not [write for write in cluster.api.writes[before:] if write.kind == "Pod" and write.verb == "create"]


def test_a_restart_of_metacontroller_wakes_nobody_and_forgets_no_waking() -> None:
    cluster = asleep(expireAfter="2h")
    cluster.metacontroller.resync()
    cluster.settle()
    assert status(cluster)["phase"] == "Asleep"
    cluster.run(2 * 3600)
    said = {each["type"]: each["reason"] for each in status(cluster)["conditions"]}
    assert said["ExpiresSoon"] == "Expired"
