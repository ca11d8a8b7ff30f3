"""Whatever keeps a swarm from being ready is named, and the swarm recovers by itself once it is repaired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.cluster import Cluster
from e2e.lab import Lab
from e2e.story import RUN_LABEL, Run, condition, controller_for_run, is_verified
from e2e.troubles import STORIES, Scene
from userswarm.cli.demo.cluster import composite_controller

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("reason", STORIES)
def test_what_blocks_a_swarm_is_named_and_it_recovers_once_repaired(
    swarms: Cluster, run: Run, lab_if_any: Lab | None, reason: str
) -> None:
    scene = Scene(swarms, run, lab_if_any, run.swarm(reason.lower()))
    with STORIES[reason](scene):
        blocked = swarms.wait_for_reason(scene.name, reason)
        assert blocked["status"]["verified"] is False
        assert condition(blocked, "Verified")["reason"] == reason
    swarms.wait(scene.name, "verified after the repair", is_verified)


@pytest.fixture
def other_run(cluster: Cluster, controller: str, run: Run, webhook_url: str) -> Iterator[Run]:
    """Swarms of a controller that knows Shared ones only."""
    if not webhook_url:
        pytest.skip("the installed controller's kinds are as they are: --e2e-webhook-url or --e2e-lab")
    other = Run(f"{run.name}s", run.image, run.args)
    own = cluster.apply(controller_for_run(composite_controller(), other.name, webhook_url))
    yield other
    cluster.remove_swarms(other.name)
    cluster.delete("CompositeController", own["metadata"]["name"])


def test_a_controller_without_the_kinds_that_a_swarm_needs_is_named(cluster: Cluster, other_run: Run) -> None:
    swarm = cluster.apply(other_run.swarm("unmanaged", placement={"isolation": "Dedicated"}))
    assert swarm["metadata"]["labels"][RUN_LABEL] == other_run.name
    blocked = cluster.wait_for_reason(swarm["metadata"]["name"], "KindNotManaged")
    assert "namespaces" in condition(blocked, "Ready")["message"]
