"""The hooks, Metacontroller or the API server die in the midst of their work: nothing is lost, nothing made twice."""

from __future__ import annotations

import time

import pytest

from e2e.cluster import NAMESPACE, Cluster
from e2e.lab import Lab
from e2e.story import Object, Run, is_verified, versions, writes

pytestmark = pytest.mark.e2e

COMING = 8
"""Swarms that come about while something dies."""


def kill(lab: Lab, name: str) -> None:
    if name == "hooks":
        lab.hooks.kill()
    else:
        lab.kill(name)


def start(lab: Lab, name: str) -> None:
    if name == "hooks":
        lab.hooks.start()
    else:
        lab.start(name)


@pytest.mark.parametrize("victim", ["hooks", "metacontroller", "kube-apiserver"])
def test_whoever_dies_midway_what_was_begun_is_finished_once_it_is_back(
    swarms: Cluster, run: Run, lab: Lab, victim: str
) -> None:
    def create(name: str) -> Object:
        return swarms.apply(run.swarm(f"{victim}-{name}"))

    settled, leaving = create("settled"), create("leaving")
    settled, leaving = (swarms.wait(each["metadata"]["name"], "verified", is_verified) for each in (settled, leaving))
    before = versions(swarms.children(settled))
    pod = versions(swarms.pods(settled))
    kinds = sorted(each["kind"] for each in swarms.children(settled))

    coming = [create(str(number)) for number in range(COMING)]
    swarms.delete("UserSwarm", leaving["metadata"]["name"])
    kill(lab, victim)
    try:
        if victim != "kube-apiserver":
            # Longer than Metacontroller waits for hooks, so that calls under way fail.
            time.sleep(12)
            assert not all(is_verified(each) for each in swarms.all("UserSwarm")), "nothing was left to be done"
    finally:
        start(lab, victim)

    for swarm in coming:
        now = swarms.wait(swarm["metadata"]["name"], "verified", is_verified)
        assert now["metadata"]["uid"] == swarm["metadata"]["uid"]
        assert len(swarms.pods(now)) == 1
        assert sorted(each["kind"] for each in swarms.children(now)) == kinds
    swarms.wait_gone("UserSwarm", leaving["metadata"]["name"])
    swarms.wait_gone("PersistentVolumeClaim", leaving["status"]["claimName"], NAMESPACE)
    assert writes(before, versions(swarms.children(settled))) == []
    assert writes(pod, versions(swarms.pods(settled))) == []
