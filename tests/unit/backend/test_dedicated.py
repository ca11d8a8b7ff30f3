"""ensure with a namespace of its own, and deploy: what is written, what is refused, and what stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from devcluster.rest import RestServer
from unit.backend.world import FINALIZER, SOON, World, alongside, make_api_client
from userswarm.backend import (
    BeingDeletedError,
    ConflictError,
    InvalidSpecError,
    NotFound,
    OwnershipError,
    SwarmInvalidError,
    UserSwarmClient,
)
from userswarm.cli.demo.cluster import Cluster, composite_controller

NAME = "workspace-w1"
MEMBERS = [{"kind": "User", "name": "ann@example.com", "role": "view"}]


def config_map(name: str = "files", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def deployment(**pod: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "registry.example/web:1"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


@pytest.fixture
def dedicated(client: UserSwarmClient) -> UserSwarmClient:
    client.ensure("w1", "u", isolation="Dedicated")
    return client


# ensure


def test_a_namespace_of_its_own_is_one_word(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", isolation="Dedicated", quota={"pods": 6, "memory": "2Gi"}, members=MEMBERS)

    spec = world.get(NAME)["spec"]
    assert spec["placement"]["isolation"] == "Dedicated"
    assert spec["quota"] == {"pods": 6, "memory": "2Gi"}
    assert spec["access"] == {"members": MEMBERS}


def test_the_same_again_writes_nothing(world: World, client: UserSwarmClient) -> None:
    for _ in range(2):
        client.ensure("w1", "u", isolation="Dedicated", quota={"pods": 6}, members=tuple(MEMBERS))
    assert world.count("PATCH") == 1


def test_the_short_words_stand_beside_the_sections(world: World, client: UserSwarmClient) -> None:
    client.ensure(
        "w1",
        "u",
        isolation="Dedicated",
        members=MEMBERS,
        placement={"nodeSelector": {"disk": "ssd"}},
        access={"role": "view"},
    )

    spec = world.get(NAME)["spec"]
    assert spec["placement"]["nodeSelector"] == {"disk": "ssd"}
    assert spec["access"] == {"role": "view", "members": MEMBERS}


def test_members_who_are_left_out_are_members_no_more(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", isolation="Dedicated", members=MEMBERS)
    client.ensure("w1", "u", isolation="Dedicated")
    assert "members" not in world.get(NAME)["spec"].get("access", {})


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no such isolation": ({"isolation": "Total"}, "spec.placement.isolation", "Dedicated"),
    "said twice": (
        {"isolation": "Dedicated", "placement": {"isolation": "Shared"}},
        "spec.placement.isolation",
        "said twice",
    ),
    "members twice": ({"members": [], "access": {"members": []}}, "spec.access.members", "said twice"),
    "no section": ({"isolation": "Dedicated", "placement": "here"}, "spec.placement", "here"),
    "a role that is none": (
        {"isolation": "Dedicated", "members": [{"kind": "User", "name": "a", "role": "owner"}]},
        "spec.access.members[0].role",
        "owner",
    ),
    "the cluster's own group": (
        {"isolation": "Dedicated", "members": [{"kind": "Group", "name": "system:masters", "role": "admin"}]},
        "spec.access.members[0].name",
        "system:masters",
    ),
    "a quota of the shared namespace": (
        {"isolation": "Shared", "quota": {"pods": 1}},
        "spec.quota",
        "isolation to Dedicated",
    ),
    "a default beyond the maximum": (
        {"isolation": "Dedicated", "limitRange": {"default": {"cpu": 2}, "max": {"cpu": 1}}},
        "spec.limitRange.default.cpu",
        "by 1",
    ),
    "another namespace": (
        {"isolation": "Dedicated", "placement": {"runtimeNamespace": "lent"}},
        "spec.placement.runtimeNamespace",
        "namespaceMode to operator",
    ),
    "a workload": (
        {"isolation": "Dedicated", "workloads": [deployment(hostNetwork=True)]},
        "spec.workloads[0].spec.template.spec.hostNetwork",
        "must be false",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_every_controller_would_refuse_is_refused_before_any_request(
    world: World, client: UserSwarmClient, what: str
) -> None:
    spec, path, words = REFUSED[what]
    with pytest.raises(InvalidSpecError) as caught:
        client.ensure("w1", "u", **spec)

    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in problem.message
    assert list(world.rest.requests) == []


def test_isolation_is_for_good(dedicated: UserSwarmClient) -> None:
    with pytest.raises(InvalidSpecError, match="isolation is immutable"):
        dedicated.ensure("w1", "u", isolation="Shared")


def test_a_quota_may_be_given_where_somebody_else_has_said_dedicated(world: World, client: UserSwarmClient) -> None:
    world.create(NAME, {"userId": "u", "placement": {"isolation": "Dedicated"}})
    client.ensure("w1", "u", quota={"pods": 5})
    assert world.get(NAME)["spec"]["quota"] == {"pods": 5}


# deploy


def test_deploy_sets_the_workloads_and_nothing_else(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", isolation="Dedicated", runtime={"image": "a/b:1"}, quota={"pods": 6})
    before = world.get(NAME)["spec"]

    swarm = client.deploy("w1", "u", [config_map(), deployment()])

    assert swarm.generation == 2
    assert world.get(NAME)["spec"] == {**before, "workloads": [config_map(), deployment()]}


def test_deploying_the_same_again_writes_nothing(world: World, dedicated: UserSwarmClient) -> None:
    for _ in range(3):
        dedicated.deploy("w1", "u", iter([config_map()]))
    assert world.count("PATCH") == 2
    dedicated.deploy("w1", "u", [config_map(a="2")])
    assert world.count("PATCH") == 3


def test_an_answer_that_got_lost_is_no_second_deployment(world: World, dedicated: UserSwarmClient) -> None:
    world.rest.faults.lose(method="PATCH")
    swarm = dedicated.deploy("w1", "u", [config_map()])
    assert swarm.generation == world.get(NAME)["metadata"]["generation"] == 2


def test_deploying_nothing_takes_everything_away(world: World, dedicated: UserSwarmClient) -> None:
    dedicated.deploy("w1", "u", [])
    assert world.count("PATCH") == 1
    dedicated.deploy("w1", "u", [config_map()])
    dedicated.deploy("w1", "u", [])
    assert not world.get(NAME)["spec"].get("workloads")


def test_what_was_deployed_stays_where_ensure_leaves_it_out(world: World, dedicated: UserSwarmClient) -> None:
    dedicated.deploy("w1", "u", [config_map()])
    dedicated.ensure("w1", "u", isolation="Dedicated")
    assert world.count("PATCH") == 2
    dedicated.ensure("w1", "u", isolation="Dedicated", runtime={"image": "a/b:2"})
    assert world.get(NAME)["spec"]["workloads"] == [config_map()]
    dedicated.suspend("w1", "u")
    assert world.get(NAME)["spec"]["workloads"] == [config_map()]
    dedicated.ensure("w1", "u", isolation="Dedicated", workloads=[])
    assert not world.get(NAME)["spec"].get("workloads")


def test_what_python_takes_for_the_same_is_put_right(world: World, dedicated: UserSwarmClient) -> None:
    paused = deployment()
    paused["spec"]["paused"] = True
    dedicated.deploy("w1", "u", [paused])
    by_hand = deployment()
    by_hand["spec"]["paused"] = 1
    world.patch(NAME, {"spec": {"workloads": [by_hand]}})

    dedicated.deploy("w1", "u", [paused])

    assert world.get(NAME)["spec"]["workloads"][0]["spec"]["paused"] is True


BAD: dict[str, tuple[Any, str]] = {
    "not an object": ("web", "spec.workloads[0]"),
    "no JSON": ({"a": {1}}, "spec"),
    "a kind that is not allowed": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}},
        "spec.workloads[0].kind",
    ),
    "our own name": (config_map("swarm-w1-config"), "spec.workloads[0].metadata.name"),
    "root": (
        deployment(securityContext={"runAsUser": 0}),
        "spec.workloads[0].spec.template.spec.securityContext.runAsUser",
    ),
    "the node's files": (
        deployment(volumes=[{"name": "h", "hostPath": {"path": "/"}}]),
        "spec.workloads[0].spec.template.spec.volumes[0].hostPath",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_workload_that_is_refused_is_named_by_its_field(world: World, dedicated: UserSwarmClient, what: str) -> None:
    manifest, path = BAD[what]
    before = len(world.rest.requests)
    with pytest.raises(InvalidSpecError) as caught:
        dedicated.deploy("w1", "u", [manifest])

    assert path in {problem.path for problem in caught.value.problems}
    assert len(world.rest.requests) == before


def test_too_many_workloads_are_refused(dedicated: UserSwarmClient) -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.workloads"):
        dedicated.deploy("w1", "u", [config_map(f"c{number}") for number in range(21)])


def test_a_shared_swarm_takes_no_workloads(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    with pytest.raises(InvalidSpecError, match="isolation='Dedicated'"):
        client.deploy("w1", "u", [config_map()])
    assert world.count("PATCH") == 1


def test_only_the_owner_deploys(world: World, dedicated: UserSwarmClient) -> None:
    before = world.get(NAME)
    with pytest.raises(OwnershipError):
        dedicated.deploy("w1", "stranger", [config_map()])
    with pytest.raises(NotFound):
        dedicated.deploy("other", "u", [config_map()])
    assert world.get(NAME) == before


def test_nothing_is_deployed_into_what_goes(world: World, dedicated: UserSwarmClient) -> None:
    world.patch(NAME, {"metadata": {"finalizers": [FINALIZER]}})
    dedicated.delete("w1", "u")
    with pytest.raises(BeingDeletedError):
        dedicated.deploy("w1", "u", [config_map()])


def test_a_change_meanwhile_is_read_and_kept(world: World, dedicated: UserSwarmClient) -> None:
    world.just_before("PATCH", lambda: world.patch(NAME, {"spec": {"suspend": True}}))
    dedicated.deploy("w1", "u", [config_map()])
    spec = world.get(NAME)["spec"]
    assert (spec["suspend"], spec["workloads"]) == (True, [config_map()])


def test_changes_without_end_are_a_conflict(world: World, dedicated: UserSwarmClient) -> None:
    world.rest.faults.answer(409, times=1000, method="PATCH", reason="Conflict")
    with pytest.raises(ConflictError):
        dedicated.deploy("w1", "u", [config_map()])


# On a whole cluster


@pytest.fixture
def running() -> Iterator[tuple[Cluster, UserSwarmClient]]:
    cluster = Cluster(controller=composite_controller(dedicated=True))
    stop = threading.Event()

    def live() -> None:
        while not stop.wait(0.005):
            cluster.settle()

    with RestServer(cluster.api) as rest, alongside(live):
        api_client = make_api_client(rest.url)
        with UserSwarmClient(api_client=api_client, policy=SOON) as made:
            try:
                yield cluster, made
            finally:
                stop.set()
        api_client.close()


def test_life_of_a_dedicated_swarm(running: tuple[Cluster, UserSwarmClient]) -> None:
    cluster, client = running
    namespace = f"swarm-{NAME}"
    swarm = client.ensure(
        "w1", "u", isolation="Dedicated", quota={"cpu": 2, "memory": "2Gi", "pods": 6}, members=MEMBERS
    )
    client.wait_verified(swarm, 60.0)
    assert client.resolve("w1", "u").url == f"http://{namespace}.{namespace}.svc:42617"

    deployed = client.deploy("w1", "u", [config_map(), deployment()])
    client.wait_verified(deployed, 60.0)
    with cluster.api.lock:
        cluster.settle()
        assert cluster.api.get("v1", "ConfigMap", namespace, "files")["data"] == {"a": "1"}
        assert cluster.api.get("apps/v1", "Deployment", namespace, "web")["status"]["availableReplicas"] == 1

    assert client.delete("w1", "u", wait=60.0)
    with cluster.api.lock:
        cluster.settle()
        assert cluster.api.peek("v1", "Namespace", None, namespace) is None


def test_what_only_the_controller_can_judge_is_told_by_waiting(running: tuple[Cluster, UserSwarmClient]) -> None:
    _, client = running
    swarm = client.ensure("w1", "u", isolation="Dedicated", quota={"cpu": "1m"})

    with pytest.raises(SwarmInvalidError, match=r"spec\.quota\.cpu"):
        client.wait_verified(swarm, 60.0)
