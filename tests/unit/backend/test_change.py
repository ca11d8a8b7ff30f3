"""suspend, resume, delete, touch, get and list: only the owner's, and only the object that was meant."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from unit.backend.world import FINALIZER, FRESH, World, alongside, eventually
from userswarm.backend import (
    ApiStatusError,
    BeingDeletedError,
    ConflictError,
    ExpiredError,
    NotFound,
    NotVerified,
    OwnershipError,
    RetryPolicy,
    UserSwarmClient,
    WaitTimeoutError,
)
from userswarm.backend.model import OfTemplate

NAME = "workspace-w1"
SPEC: dict[str, Any] = {
    "runtime": {"image": "a/b:1", "env": [{"name": "B", "value": "1"}, {"name": "A", "value": "$(B)"}]},
    "config": {"agents": {"scribe": {}}},
}


@pytest.mark.parametrize(
    "call",
    [
        lambda client, user: client.suspend("w1", user),
        lambda client, user: client.resume("w1", user),
        lambda client, user: client.delete("w1", user),
        lambda client, user: client.delete("w1", user, wait=1.0),
        lambda client, user: client.touch("w1", user),
        lambda client, user: client.get("w1", user),
    ],
)
def test_stranger_can_do_nothing(
    world: World, client: UserSwarmClient, call: Callable[[UserSwarmClient, str], object]
) -> None:
    client.ensure("w1", "owner", **SPEC)
    before = world.get(NAME)

    for _ in range(2):
        with pytest.raises(OwnershipError):
            call(client, "stranger")

    assert world.get(NAME) == before
    assert world.count("PATCH") == 1
    assert world.count("DELETE") == 0


@pytest.mark.parametrize("call", ["suspend", "resume", "touch", "get"])
def test_what_is_not_there_is_not_found(client: UserSwarmClient, call: str) -> None:
    with pytest.raises(NotFound, match=NAME):
        getattr(client, call)("w1", "u")


# suspend and resume


def test_suspend_and_resume_change_that_and_nothing_else(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", **SPEC)
    before = world.patch(NAME, {"spec": {"config": {"defaultModel": "theirs"}}, "metadata": {"labels": {"a": "b"}}})

    suspended = client.suspend("w1", "u")

    after = world.get(NAME)
    assert suspended.suspended
    assert suspended.generation == before["metadata"]["generation"] + 1
    assert after["spec"] == {**before["spec"], "suspend": True}
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert not client.resume("w1", "u").suspended
    assert world.get(NAME)["spec"] == before["spec"]


def test_suspend_of_what_is_suspended_writes_nothing(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    client.suspend("w1", "u")
    writes = world.count("PATCH")

    client.suspend("w1", "u")

    assert world.count("PATCH") == writes


def test_ensure_without_suspend_does_not_resume(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", **SPEC)
    client.suspend("w1", "u")
    writes = world.count("PATCH")

    assert client.ensure("w1", "u", **SPEC).suspended
    assert world.count("PATCH") == writes
    assert client.ensure("w1", "u", runtime={"image": "a/b:2"}).suspended
    assert not client.ensure("w1", "u", suspend=False).suspended


def test_swarm_that_others_made_and_suspended_can_be_resumed(world: World, client: UserSwarmClient) -> None:
    made = world.create(NAME, {"userId": "u", "suspend": True, "runtime": {"image": "a/b:1"}})

    resumed = client.resume("w1", "u")

    assert not resumed.suspended
    assert world.get(NAME)["spec"] == {**made["spec"], "suspend": False}


def test_change_between_reading_and_writing_is_read_again(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    world.just_before("PATCH", lambda: world.patch(NAME, {"spec": {"runtime": {"image": "c/d:1"}}}))

    assert client.suspend("w1", "u").suspended

    assert world.get(NAME)["spec"]["runtime"]["image"] == "c/d:1"
    assert world.count("PATCH") == 3


def test_owner_is_checked_again_after_a_conflict(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")

    def hand_over() -> None:
        world.remove(NAME)
        world.create(NAME, {"userId": "somebody"})

    world.just_before("PATCH", hand_over)

    with pytest.raises(OwnershipError):
        client.suspend("w1", "u")
    assert world.get(NAME)["spec"]["suspend"] is False


def test_storm_of_conflicts_is_survived(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    world.rest.faults.answer(409, times=8, method="PATCH", reason="Conflict")

    assert client.suspend("w1", "u").suspended


def test_lost_answer_to_a_suspend_does_no_harm(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    world.rest.faults.lose(method="PATCH")

    assert client.suspend("w1", "u").generation == 2


def test_conflicts_without_end_end(world: World) -> None:
    client = world.client(policy=RetryPolicy(attempts=3, base=0.001))
    client.ensure("w1", "u")
    world.rest.faults.answer(409, times=100, method="PATCH", reason="Conflict")

    with pytest.raises(ConflictError):
        client.suspend("w1", "u")


def test_swarm_that_goes_cannot_be_suspended(world: World, client: UserSwarmClient) -> None:
    world.create(NAME, {"userId": "u"}, finalizers=[FINALIZER])
    client.delete("w1", "u")

    with pytest.raises(BeingDeletedError):
        client.suspend("w1", "u")


# delete


def test_delete_is_idempotent(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")

    assert client.delete("w1", "u") is True
    assert not world.exists(NAME)
    assert client.delete("w1", "u") is False


def test_delete_waits_until_all_is_gone(world: World, client: UserSwarmClient) -> None:
    world.create(NAME, {"userId": "u"}, finalizers=[FINALIZER])

    def finalize() -> None:
        eventually(world.is_watched)
        world.patch(NAME, {"metadata": {"finalizers": []}})

    with alongside(finalize):
        assert client.delete("w1", "u", wait=30.0)

    assert not world.exists(NAME)
    assert client.delete("w1", "u", wait=30.0) is False


def test_delete_of_what_is_going_only_waits(world: World, client: UserSwarmClient) -> None:
    world.create(NAME, {"userId": "u"}, finalizers=[FINALIZER])
    client.delete("w1", "u")

    with pytest.raises(WaitTimeoutError, match=r"not gone after 0\.2 s"):
        client.delete("w1", "u", wait=0.2)

    assert world.count("DELETE") == 1


def test_delete_does_not_wait_for_one_made_anew(world: World, client: UserSwarmClient) -> None:
    world.create(NAME, {"userId": "u"}, finalizers=[FINALIZER])

    def replace() -> None:
        eventually(world.is_watched)
        with world.api.lock:
            world.patch(NAME, {"metadata": {"finalizers": []}})
            world.create(NAME, {"userId": "u"})

    with alongside(replace):
        assert client.delete("w1", "u", wait=30.0)

    assert world.exists(NAME)


def test_delete_never_hits_one_made_anew(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")

    def make_anew() -> None:
        world.remove(NAME)
        world.create(NAME, {"userId": "u"})

    world.just_before("DELETE", make_anew)

    assert client.delete("w1", "u")
    assert world.exists(NAME)


@pytest.mark.parametrize("fault", ["reset", "lose", "cut"])
def test_delete_survives_broken_connections(world: World, client: UserSwarmClient, fault: str) -> None:
    client.ensure("w1", "u")
    getattr(world.rest.faults, fault)(method="DELETE")
    world.rest.faults.answer(429, method="DELETE", retry_after="0")
    world.rest.faults.answer(500, method="DELETE")

    assert client.delete("w1", "u")
    assert not world.exists(NAME)


def test_delete_that_is_refused_says_so(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    world.rest.faults.answer(403, method="DELETE", reason="Forbidden")

    with pytest.raises(ApiStatusError, match="403 Forbidden"):
        client.delete("w1", "u")


# The precondition on resourceVersion, as the reaper uses it


def test_delete_with_resource_version_spares_what_has_changed(world: World) -> None:
    metadata = world.create(NAME, {"userId": "u"})["metadata"]
    world.patch(NAME, {"metadata": {"labels": {"crawbl.ai/keep": "true"}}})

    with pytest.raises(ConflictError):
        world.requests_api().delete(NAME, uid=metadata["uid"], resource_version=metadata["resourceVersion"])

    assert world.exists(NAME)


def test_lost_answer_to_a_delete_with_resource_version_is_success(world: World) -> None:
    metadata = world.create(NAME, {"userId": "u"}, finalizers=[FINALIZER])["metadata"]
    world.rest.faults.lose(method="DELETE")

    assert world.requests_api().delete(NAME, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
    assert "deletionTimestamp" in world.get(NAME)["metadata"]


def test_lost_delete_does_not_hide_a_change(world: World) -> None:
    metadata = world.create(NAME, {"userId": "u"})["metadata"]
    world.rest.faults.reset(method="DELETE")

    def meddle(_: float) -> None:
        world.patch(NAME, {"metadata": {"labels": {"crawbl.ai/keep": "true"}}})

    with pytest.raises(ConflictError):
        world.requests_api(RetryPolicy(base=0.001, sleep=meddle)).delete(
            NAME, uid=metadata["uid"], resource_version=metadata["resourceVersion"]
        )

    assert world.exists(NAME)


@pytest.mark.parametrize("anew", [True, False])
def test_lost_delete_of_what_is_gone_is_success(world: World, anew: bool) -> None:
    metadata = world.create(NAME, {"userId": "u"})["metadata"]
    world.rest.faults.lose(method="DELETE")

    def make_anew(_: float) -> None:
        if anew:
            world.create(NAME, {"userId": "u"})

    policy = RetryPolicy(base=0.001, sleep=make_anew)
    assert world.requests_api(policy).delete(NAME, uid=metadata["uid"], resource_version=metadata["resourceVersion"])


def test_conflict_after_a_lost_answer_that_is_gone_by_the_second_look_is_success(world: World) -> None:
    metadata = world.create(NAME, {"userId": "u"})["metadata"]
    world.rest.faults.answer(500, method="DELETE")
    world.rest.faults.answer(409, method="DELETE")
    world.remove(NAME)

    assert world.requests_api().delete(NAME, uid=metadata["uid"])


def test_delete_of_nothing_says_so(world: World) -> None:
    assert world.requests_api().delete(NAME, uid="1") is False


# touch


class Wall:
    """A clock on the wall, and one that only runs on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, 0, 0, 999, tzinfo=UTC)

    def read(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


def toucher(world: World, wall: Wall) -> UserSwarmClient:
    return world.client(policy=RetryPolicy(base=0.001, clock=wall.seconds), now=wall.read)


def last_activity(world: World) -> str:
    return str(world.get(NAME)["metadata"]["annotations"]["crawbl.ai/last-activity"])


def test_touch_writes_at_most_once_a_minute(world: World) -> None:
    wall = Wall()
    client = toucher(world, wall)
    client.ensure("w1", "u")

    assert [client.touch("w1", "u") for _ in range(5)] == [True, False, False, False, False]
    assert last_activity(world) == "2026-01-01T12:00:00Z"
    wall.now += timedelta(seconds=61)
    assert client.touch("w1", "u")

    assert last_activity(world) == "2026-01-01T12:01:01Z"
    assert world.count("PATCH", NAME) == 3
    assert world.get(NAME)["metadata"]["generation"] == 1


def test_touch_of_another_process_counts_too(world: World) -> None:
    wall = Wall()
    toucher(world, wall).ensure("w1", "u")
    toucher(world, wall).touch("w1", "u")
    wall.now += timedelta(seconds=30)

    assert not toucher(world, wall).touch("w1", "u")
    wall.now += timedelta(seconds=31)
    assert toucher(world, wall).touch("w1", "u")


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01T12:00:00", ""])
def test_annotation_that_is_no_time_is_replaced(world: World, text: str) -> None:
    client = toucher(world, Wall())
    client.ensure("w1", "u")
    world.patch(NAME, {"metadata": {"annotations": {"crawbl.ai/last-activity": text}}})

    assert client.touch("w1", "u")
    assert last_activity(world) == "2026-01-01T12:00:00Z"


def test_touch_survives_the_next_ensure(world: World) -> None:
    client = toucher(world, Wall())
    client.ensure("w1", "u")
    client.touch("w1", "u")
    writes = world.count("PATCH")

    client.ensure("w1", "u")
    assert world.count("PATCH") == writes
    client.ensure("w1", "u", runtime={"image": "a/b:2"})

    assert last_activity(world)


def test_of_many_threads_one_touches(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: client.touch("w1", "u"), range(40))).count(True) == 1


def test_touch_from_the_cache_needs_one_request(world: World) -> None:
    client = world.client()
    client.ensure("w1", "u")
    client.cached(max_staleness=FRESH)
    reads = world.count("GET", "/userswarms/")

    assert client.touch("w1", "u")
    assert world.count("GET", "/userswarms/") == reads


def test_touch_never_hits_one_made_anew(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")

    def make_anew() -> None:
        world.remove(NAME)
        world.create(NAME, {"userId": "u"})

    world.just_before("PATCH", make_anew)
    with pytest.raises(NotFound):
        client.touch("w1", "u")

    assert "annotations" not in world.get(NAME)["metadata"]


def test_failed_touch_is_not_tried_again_within_the_minute(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    world.rest.faults.answer(403, method="PATCH", reason="Forbidden")

    with pytest.raises(ApiStatusError):
        client.touch("w1", "u")
    assert client.touch("w1", "u") is False
    assert world.count("PATCH") == 2


def test_touch_of_what_vanishes_is_not_found(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    client.cached(max_staleness=FRESH)
    world.rest.set_silent(True)
    world.remove(NAME)

    with pytest.raises(NotFound):
        client.touch("w1", "u")
    world.rest.set_silent(False)


# get and list


def test_get_is_what_the_api_server_has_now(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u")
    world.block(NAME, "Progressing", "ClaimPending", "no volume")

    assert (client.get("w1", "u").phase, client.get("w1", "u").reason) == ("Progressing", "ClaimPending")


def test_list_is_paged_and_lazy(world: World, client: UserSwarmClient) -> None:
    for number in range(7):
        client.ensure(f"w{number}", f"user-{number % 2}")
    world.rest.requests.clear()

    swarms = client.list(page_size=3)
    assert not world.rest.requests
    first = next(swarms)
    assert len(world.rest.requests) == 1
    assert [first.workspace_id, *(swarm.workspace_id for swarm in swarms)] == [f"w{number}" for number in range(7)]
    assert len(world.rest.requests) == 3


def test_list_of_a_user_has_theirs_and_no_other(world: World, client: UserSwarmClient) -> None:
    for workspace_id, user_id in (("a", "u"), ("b", "U"), ("c", "u"), ("d", "auth0|u")):
        client.ensure(workspace_id, user_id)
    forged = world.get("workspace-a")["metadata"]["labels"]
    world.create("workspace-e", {"userId": "somebody"}, labels=forged)

    assert [swarm.workspace_id for swarm in client.list("u")] == ["a", "c"]
    assert [swarm.workspace_id for swarm in client.list(user_id="auth0|u")] == ["d"]
    assert [swarm.workspace_id for swarm in client.list("nobody")] == []
    assert "labelSelector=" in world.rest.requests[-1]


def test_list_that_expires_starts_again_and_yields_nothing_twice(world: World, client: UserSwarmClient) -> None:
    for number in range(6):
        client.ensure(f"w{number}", "u")
    swarms = client.list(page_size=2)
    found = [next(swarms), next(swarms)]
    world.rest.expire_lists()
    world.remove("workspace-w5")

    found += swarms

    assert [swarm.workspace_id for swarm in found] == ["w0", "w1", "w2", "w3", "w4"]


def test_list_that_always_expires_ends(world: World, client: UserSwarmClient) -> None:
    for number in range(3):
        client.ensure(f"w{number}", "u")
    world.rest.faults.answer(410, times=100, path="continue=", reason="Expired")

    with pytest.raises(ExpiredError):
        list(client.list(page_size=2))


def test_list_survives_faults_page_by_page(world: World, client: UserSwarmClient) -> None:
    for number in range(6):
        client.ensure(f"w{number}", "u")
    world.rest.faults.cut(path="limit=")
    world.rest.faults.reset(path="continue=")
    world.rest.faults.answer(503, path="continue=", times=2)

    assert len(list(client.list(page_size=2))) == 6


# sleep


def put_to_sleep(world: World) -> None:
    mark = (world.get(NAME)["metadata"].get("annotations") or {}).get("crawbl.ai/last-activity", "")
    world.report(NAME, "Asleep", lifecycle={"asleepSince": "2026-01-01T12:01:00Z", "mark": mark})


def annotations(world: World) -> dict[str, str]:
    return dict(world.get(NAME)["metadata"]["annotations"])


def test_a_swarm_is_touched_as_seldom_as_its_status_says(world: World) -> None:
    wall = Wall()
    client = toucher(world, wall)
    client.ensure("w1", "u")
    world.report(NAME, "Ready", lifecycle={"awakeSince": "2026-01-01T12:00:00Z", "touchEverySeconds": 300})

    assert client.touch("w1", "u")
    wall.now += timedelta(seconds=299)
    assert not client.touch("w1", "u")
    assert not toucher(world, wall).touch("w1", "u")
    wall.now += timedelta(seconds=2)
    assert client.touch("w1", "u")
    assert annotations(world)["crawbl.ai/previous-activity"] == "2026-01-01T12:00:00Z"


def test_a_sleeping_swarm_is_woken_by_the_first_touch_alone(world: World) -> None:
    wall = Wall()
    client = toucher(world, wall)
    client.ensure("w1", "u")
    client.touch("w1", "u")
    wall.now += timedelta(seconds=70)
    put_to_sleep(world)

    assert [client.touch("w1", "u") for _ in range(5)] == [True, False, False, False, False]
    assert not toucher(world, wall).touch("w1", "u")


def test_a_sleeping_swarm_in_memory_is_woken_at_once(world: World) -> None:
    wall = Wall()
    client = toucher(world, wall)
    client.ensure("w1", "u")
    client.cached(max_staleness=FRESH)
    client.touch("w1", "u")
    wall.now += timedelta(seconds=5)
    put_to_sleep(world)
    eventually(lambda: phase_in_memory(client) == "Asleep")

    assert [client.touch("w1", "u") for _ in range(3)] == [True, False, False]


def phase_in_memory(client: UserSwarmClient) -> str:
    with pytest.raises(NotVerified) as refused:
        client.resolve("w1", "u")
    return refused.value.phase


def test_wake_touches_and_waits_until_it_is_verified(world: World) -> None:
    wall = Wall()
    client = toucher(world, wall)
    client.ensure("w1", "u")
    put_to_sleep(world)
    assert client.wake("w1", "u").last_activity == "2026-01-01T12:00:00Z"
    assert world.count("PATCH", NAME) == 2
    world.verify(NAME)

    assert client.wake("w1", "u", wait=5).is_verified()
    assert world.count("PATCH", NAME) == 2
    with pytest.raises(OwnershipError):
        client.wake("w1", "someone else")


def test_busy_leases_the_swarm_for_longer_than_until_it_is_renewed(world: World) -> None:
    wall = Wall()
    client = toucher(world, wall)
    client.ensure("w1", "u")

    with client.busy("w1", "u"), client.busy("w1", "u"), toucher(world, wall).busy("w1", "u"):
        assert annotations(world) == {
            "crawbl.ai/last-activity": "2026-01-01T12:00:00Z",
            "crawbl.ai/busy-until": "2026-01-01T12:03:00Z",
        }
    assert world.count("PATCH", NAME) == 2


def test_a_touch_of_a_stream_notes_a_lease_once(world: World) -> None:
    client = toucher(world, Wall())
    client.ensure("w1", "u")

    assert client.touch("w1", "u", busy=True)
    assert not client.touch("w1", "u", busy=True)
    assert annotations(world)["crawbl.ai/busy-until"] == "2026-01-01T12:03:00Z"


def test_busy_is_renewed_while_it_lasts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("userswarm.backend.model.TOUCH_INTERVAL", 0.05)
    client = world.client()
    client.ensure("w1", "u")

    with client.busy("w1", "u"):
        first = annotations(world)["crawbl.ai/last-activity"]
        world.rest.faults.answer(403, method="PATCH", reason="Forbidden")
        eventually(lambda: annotations(world)["crawbl.ai/last-activity"] > first)
    with pytest.raises(OwnershipError), client.busy("w1", "someone else"):
        pass


def test_moving_to_a_revision_writes_an_annotation_and_nothing_else(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u", template={"name": "agent"})
    before = world.get(swarm.name)

    moved = client.move_template(swarm, 2, moved_while="Failed")

    stored = world.get(swarm.name)
    assert stored["metadata"].pop("annotations") == {
        "crawbl.ai/template-revision": "agent/2",
        "crawbl.ai/template-moved-while": "Failed",
    }
    assert (stored["spec"], stored["metadata"]["generation"]) == (before["spec"], 1)
    assert moved.template == OfTemplate("agent", pinned=0, asked=2, revision=0, moved_while="Failed")
    again = client.move_template(moved, 3)
    assert again.template == OfTemplate("agent", pinned=0, asked=3, revision=0)
    assert world.get(swarm.name)["metadata"]["annotations"] == {"crawbl.ai/template-revision": "agent/3"}


def test_a_swarm_is_moved_exactly_as_it_was_seen(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u", template={"name": "agent"})
    world.patch(swarm.name, {"metadata": {"labels": {"team": "x"}}})

    with pytest.raises(ConflictError):
        client.move_template(swarm, 2)
    assert "annotations" not in world.get(swarm.name)["metadata"]


@pytest.mark.parametrize("spec", [{}, {"template": {"name": "agent", "revision": 1}}])
def test_what_has_no_revision_to_be_chosen_is_not_moved(
    world: World, client: UserSwarmClient, spec: dict[str, Any]
) -> None:
    swarm = client.ensure("w1", "u", **spec)

    with pytest.raises(ValueError, match="no template, or pinned"):
        client.move_template(swarm, 2)
    assert world.count("PATCH") == 1
