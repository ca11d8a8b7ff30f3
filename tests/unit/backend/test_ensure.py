"""ensure: applies what is not so yet, and nothing of anybody else's."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from unit.backend.world import CRD, FINALIZER, World
from userswarm.backend import (
    ApiStatusError,
    BackendError,
    BeingDeletedError,
    ConflictError,
    FieldConflictError,
    InvalidSpecError,
    InvalidWorkspaceError,
    OwnershipError,
    RetryPolicy,
    UnreachableError,
    UserSwarmClient,
)
from userswarm.cli.demo.rules import RULES

SPEC: dict[str, Any] = {
    "runtime": {"image": "a/b:1", "env": [{"name": "TZ", "value": "UTC"}], "resources": {"limits": {"cpu": "1"}}},
    "placement": {"tolerations": [{"key": "crawbl.ai/runtimes"}], "nodeSelector": {"disk": "ssd"}},
    "config": {"defaultTemperature": 1.0, "agents": {"scribe": {"allowedTools": ["read"]}}, "files": {"SOUL.md": "x"}},
    "storage": {"size": "5Gi"},
}


def test_makes_the_swarm_with_its_labels(world: World) -> None:
    swarm = world.client(shard_count=3, labels={"crawbl.ai/e2e": "true"}).ensure("w1", "auth0|x", **SPEC)

    stored = world.get("workspace-w1")
    assert (swarm.name, swarm.uid, swarm.generation) == ("workspace-w1", stored["metadata"]["uid"], 1)
    assert (swarm.workspace_id, swarm.user_id, swarm.phase) == ("w1", "auth0|x", "")
    assert stored["spec"]["userId"] == "auth0|x"
    assert stored["spec"]["storage"] == {"size": "5Gi", "retainPolicy": "Delete"}
    labels = stored["metadata"]["labels"]
    assert labels.keys() == {"crawbl.ai/user", "crawbl.ai/shard", "crawbl.ai/e2e"}
    assert labels["crawbl.ai/user"].startswith("auth0-x--")
    [entry] = stored["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("userswarm-backend", "Apply")


@pytest.mark.parametrize("spec", [{}, SPEC, {"runtime": {}, "suspend": None}])
def test_second_ensure_sends_nothing_that_writes(world: World, client: UserSwarmClient, spec: dict[str, Any]) -> None:
    first = client.ensure("w1", "u", **spec)
    world.verify(first.name)

    second = client.ensure("w1", "u", **spec)

    assert world.count("PATCH") == 1
    assert (second.uid, second.generation, second.phase) == (first.uid, 1, "Ready")


def test_change_is_applied_and_what_is_left_out_goes_back_to_its_default(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1", "port": 8080})

    swarm = client.ensure("w1", "u", runtime={"image": "a/b:2"})

    assert swarm.generation == 2
    assert world.get(swarm.name)["spec"]["runtime"]["image"] == "a/b:2"
    assert world.get(swarm.name)["spec"]["runtime"]["port"] == 42617


def test_labels_and_fields_of_others_stay(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1"})
    world.patch("workspace-w1", {"metadata": {"labels": {"team": "x"}}, "spec": {"config": {"defaultModel": "m"}}})

    client.ensure("w1", "u", runtime={"image": "a/b:1"})
    assert world.count("PATCH") == 1
    client.ensure("w1", "u", runtime={"image": "a/b:2"})

    stored = world.get("workspace-w1")
    assert stored["metadata"]["labels"]["team"] == "x"
    assert stored["spec"]["config"]["defaultModel"] == "m"
    assert stored["spec"]["runtime"]["image"] == "a/b:2"


def test_field_that_somebody_else_set_is_reported_and_nothing_written(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1"})
    before = world.patch("workspace-w1", {"spec": {"runtime": {"image": "c/d:9"}}})

    with pytest.raises(FieldConflictError, match=r"\.spec\.runtime\.image.*kubectl.*force_conflicts") as caught:
        client.ensure("w1", "u", runtime={"image": "a/b:1"})

    assert [conflict.field for conflict in caught.value.conflicts] == [".spec.runtime.image"]
    assert world.get("workspace-w1") == before
    assert world.count("PATCH") == 2, "a conflict about fields is not tried again"


def test_field_that_somebody_else_set_is_taken_over_when_forced(world: World) -> None:
    client = world.client(force_conflicts=True)
    client.ensure("w1", "u", runtime={"image": "a/b:1"})
    world.patch("workspace-w1", {"spec": {"runtime": {"image": "c/d:9"}}})

    client.ensure("w1", "u", runtime={"image": "a/b:1"})

    assert world.get("workspace-w1")["spec"]["runtime"]["image"] == "a/b:1"


def test_swarm_of_another_user_is_refused_and_nothing_written(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "owner", runtime={"image": "a/b:1"})
    before = world.verify("workspace-w1")

    with pytest.raises(OwnershipError) as caught:
        client.ensure("w1", "stranger", runtime={"image": "a/b:2"})

    assert world.get("workspace-w1") == before
    assert world.count("PATCH") == 1
    assert not any(word in str(caught.value) for word in ("'owner'", "Ready", "http://"))


def test_name_that_serves_another_workspace_is_refused(world: World, client: UserSwarmClient) -> None:
    world.create("workspace-w1", {"userId": "u", "workspaceId": "other"})

    with pytest.raises(OwnershipError):
        client.ensure("w1", "u")

    assert world.count("PATCH") == 0


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("winner", ["a backend", "somebody with kubectl", "at the very same moment"])
def test_of_two_users_who_create_at_once_one_gets_it(world: World, winner: str, force: bool) -> None:
    # The loser has read that there is nothing, and its apply meets what the winner has just made.
    def create_first(_: object = None) -> None:
        world.api.admission.clear()
        if winner == "a backend":
            world.client().ensure("w1", "winner")
        else:
            world.create("workspace-w1", {"userId": "winner", "workspaceId": "w1"})

    if winner == "at the very same moment":
        world.api.admission.append(create_first)
    else:
        world.just_before("PATCH", create_first)

    with pytest.raises(OwnershipError):
        world.client(force_conflicts=force).ensure("w1", "loser", runtime={"image": "a/b:1"})

    assert world.get("workspace-w1")["spec"]["userId"] == "winner"
    assert "image" not in world.get("workspace-w1")["spec"]["runtime"]


def test_many_threads_of_one_user_make_one_swarm(world: World, client: UserSwarmClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        swarms = list(pool.map(lambda _: client.ensure("w1", "u", **SPEC), range(24)))

    assert len({swarm.uid for swarm in swarms}) == 1
    assert world.get("workspace-w1")["metadata"]["generation"] == 1


def test_immutable_field_is_reported_with_what_the_api_server_says(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", storage={"size": "5Gi"})

    with pytest.raises(InvalidSpecError, match="can only grow"):
        client.ensure("w1", "u", storage={"size": "1Gi"})

    assert world.get("workspace-w1")["spec"]["storage"]["size"] == "5Gi"


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"runtime": {"port": 80}}, "spec.runtime.port", "80"),
        ({"runtime": {"imgae": "a/b:1"}}, "spec.runtime.imgae", "image"),
        ({"storag": {"size": "1Gi"}}, "spec.storag", "storage"),
        ({"storage": {"size": "much"}}, "spec.storage.size", "much"),
        ({"suspend": "yes"}, "spec.suspend", "yes"),
        ({"userId": "somebody"}, "spec.userId", "first two arguments"),
        ({"workspaceId": "else"}, "spec.workspaceId", "first two arguments"),
        ({"config": {"defaultTemperature": float("nan")}}, "spec", "JSON"),
        ({"config": object()}, "spec", "JSON"),
    ],
)
def test_wrong_spec_names_the_field_before_any_request(
    world: World, client: UserSwarmClient, spec: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidSpecError, match=message) as caught:
        client.ensure("w1", "u", **spec)

    assert field in [problem.path for problem in caught.value.problems]
    assert not world.rest.requests


@pytest.mark.parametrize(
    ("workspace_id", "user_id", "error"),
    [
        ("", "u", InvalidWorkspaceError),
        ("w" * 254, "u", InvalidSpecError),
        ("w", "", InvalidSpecError),
        ("w", "u" * 257, InvalidSpecError),
        ("w", "\ud800", InvalidWorkspaceError),
    ],
)
def test_wrong_ids_are_refused_before_any_request(
    world: World, client: UserSwarmClient, workspace_id: str, user_id: str, error: type[BackendError]
) -> None:
    with pytest.raises(error):
        client.ensure(workspace_id, user_id)

    assert not world.rest.requests


def test_callers_data_stays_as_it_is(world: World, client: UserSwarmClient) -> None:
    runtime = {"image": "a/b:1", "args": ("x", "y")}

    client.ensure("w1", "u", runtime=runtime)

    assert runtime == {"image": "a/b:1", "args": ("x", "y")}
    assert world.get("workspace-w1")["spec"]["runtime"]["args"] == ["x", "y"]


def test_swarm_made_by_hand_is_adopted(world: World, client: UserSwarmClient) -> None:
    made = world.create("workspace-w1", {"userId": "u"})

    swarm = client.ensure("w1", "u", runtime={"image": "a/b:1"})
    client.ensure("w1", "u", runtime={"image": "a/b:1"})

    assert swarm.uid == made["metadata"]["uid"]
    assert "workspaceId" not in world.get("workspace-w1")["spec"], "it cannot be added later"
    assert world.count("PATCH") == 1


def test_swarm_that_is_being_deleted_is_not_touched(world: World, client: UserSwarmClient) -> None:
    world.create("workspace-w1", {"userId": "u", "workspaceId": "w1"}, finalizers=[FINALIZER])
    client.delete("w1", "u")

    with pytest.raises(BeingDeletedError):
        client.ensure("w1", "u")
    with pytest.raises(OwnershipError):
        client.ensure("w1", "stranger")

    assert world.count("PATCH") == 0


def test_swarm_made_anew_after_it_was_read_is_read_again(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1"})

    def make_anew() -> None:
        world.remove("workspace-w1")
        world.create("workspace-w1", {"userId": "u", "workspaceId": "w1"})

    world.just_before("PATCH", make_anew)
    swarm = client.ensure("w1", "u", runtime={"image": "a/b:2"})

    assert swarm.uid == world.get("workspace-w1")["metadata"]["uid"]
    assert world.get("workspace-w1")["spec"]["runtime"]["image"] == "a/b:2"


def test_swarm_made_anew_for_somebody_else_is_not_written_to(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1"})

    def make_anew() -> None:
        world.remove("workspace-w1")
        world.create("workspace-w1", {"userId": "somebody"})

    world.just_before("PATCH", make_anew)
    with pytest.raises(OwnershipError):
        client.ensure("w1", "u", runtime={"image": "a/b:2"})

    assert "image" not in world.get("workspace-w1")["spec"]["runtime"]


def test_that_holds_where_the_api_server_does_not_guard_the_owner(world: World, client: UserSwarmClient) -> None:
    # An older CRD, say: then the uid in what we apply is all that keeps us off.
    crd = copy.deepcopy(CRD)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["userId"]["x-kubernetes-validations"]
    world.api.register_crd(crd, RULES)
    client.ensure("w1", "u", runtime={"image": "a/b:1"})

    def make_anew() -> None:
        world.remove("workspace-w1")
        world.client().ensure("w1", "somebody")

    world.just_before("PATCH", make_anew)
    with pytest.raises(OwnershipError):
        client.ensure("w1", "u", runtime={"image": "a/b:2"})

    assert world.get("workspace-w1")["spec"]["userId"] == "somebody"


def test_own_swarm_that_another_process_made_first_is_updated(world: World, client: UserSwarmClient) -> None:
    world.just_before("PATCH", lambda: world.client().ensure("w1", "u", storage={"size": "1Gi"}))

    assert client.ensure("w1", "u", storage={"size": "5Gi"}).generation == 2


def test_own_swarm_that_another_process_made_larger_stays(world: World, client: UserSwarmClient) -> None:
    world.just_before("PATCH", lambda: world.client().ensure("w1", "u", storage={"size": "9Gi"}))

    with pytest.raises(InvalidSpecError, match="can only grow"):
        client.ensure("w1", "u", storage={"size": "5Gi"})


def test_swarm_that_vanishes_while_it_is_refused_is_made_anew(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", storage={"size": "9Gi"})
    world.rest.faults.answer(422, method="PATCH", reason="Invalid")
    world.just_before("PATCH", lambda: world.remove("workspace-w1"))

    assert client.ensure("w1", "u", storage={"size": "5Gi"}).generation == 1


def test_suspension_stays_where_suspend_is_left_out(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", suspend=True)

    assert client.ensure("w1", "u").suspended
    assert client.ensure("w1", "u", runtime={"image": "a/b:1"}).suspended
    assert not client.ensure("w1", "u", suspend=False).suspended
    assert not client.ensure("w1", "u").suspended


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_refusals_that_pass_are_survived(world: World, client: UserSwarmClient, status: int) -> None:
    world.rest.faults.answer(status, times=3)
    world.rest.faults.answer(status, times=3, method="PATCH")

    assert client.ensure("w1", "u").generation == 1


def test_storm_of_conflicts_is_survived(world: World, client: UserSwarmClient) -> None:
    world.rest.faults.answer(409, times=8, method="PATCH", reason="Conflict")

    assert client.ensure("w1", "u").generation == 1
    assert world.count("PATCH") == 9


def test_endless_storm_of_conflicts_ends(world: World) -> None:
    world.rest.faults.answer(409, times=1000, method="PATCH", reason="Conflict")

    with pytest.raises(ConflictError):
        world.client(policy=RetryPolicy(attempts=5, base=0.001)).ensure("w1", "u")

    assert world.count("PATCH") == 5


def test_resets_and_cut_answers_are_survived(world: World, client: UserSwarmClient) -> None:
    world.rest.faults.reset(times=2)
    world.rest.faults.reset(times=1, method="PATCH")
    world.rest.faults.cut(times=1, method="PATCH")
    world.rest.faults.lose(times=1, method="PATCH")

    assert client.ensure("w1", "u").generation == 1
    assert len(world.api.list("crawbl.ai/v1alpha1", "UserSwarm")) == 1


def test_broken_connections_without_end_end(world: World) -> None:
    world.rest.faults.reset(times=1000)

    with pytest.raises(UnreachableError, match="workspace-w1"):
        world.client(policy=RetryPolicy(attempts=4, base=0.001)).ensure("w1", "u")

    assert len(world.rest.requests) == 4


def test_retry_after_is_honoured(world: World) -> None:
    slept: list[float] = []
    world.rest.faults.answer(429, retry_after="7")

    world.client(policy=RetryPolicy(sleep=slept.append, base=0.5)).ensure("w1", "u")

    assert len(slept) == 1
    assert 7.0 <= slept[0] <= 7.5


@pytest.mark.parametrize("status", [400, 401, 403])
def test_what_does_not_pass_is_not_tried_again(world: World, client: UserSwarmClient, status: int) -> None:
    world.rest.faults.answer(status, times=5, reason="No")

    with pytest.raises(ApiStatusError) as caught:
        client.ensure("w1", "u")

    assert (caught.value.status, caught.value.reason) == (status, "No")
    assert len(world.rest.requests) == 1


def test_missing_crd_is_not_taken_for_a_missing_swarm(world: World, client: UserSwarmClient) -> None:
    world.rest.faults.answer(404, times=5, reason="NotFound")

    with pytest.raises(ApiStatusError) as caught:
        client.ensure("w1", "u")

    assert caught.value.status == 404


def test_shard_count_must_be_a_count(world: World) -> None:
    with pytest.raises(ValueError, match="shard_count=0"):
        world.client(shard_count=0)


def test_description_is_kept_as_an_annotation_of_ours_beside_those_of_others(
    world: World, client: UserSwarmClient
) -> None:
    words = "Fix the login page, please.\nAnd its tests: ä"
    name = client.ensure("w1", "u", description=words).name
    world.patch(name, {"metadata": {"annotations": {"team": "x"}}})

    client.ensure("w1", "u", description=words)
    assert world.count("PATCH") == 1
    assert world.get(name)["metadata"]["annotations"] == {"crawbl.ai/description": words, "team": "x"}

    client.suspend("w1", "u")
    assert world.get(name)["metadata"]["annotations"]["crawbl.ai/description"] == words
    client.ensure("w1", "u")
    assert world.get(name)["metadata"]["annotations"] == {"team": "x"}
