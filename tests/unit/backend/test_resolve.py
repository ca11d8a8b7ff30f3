"""resolve: whose it is, whether it is verified, where it is; from memory without ever being wrong about it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from unit.backend.world import FINALIZER, FRESH, SOON, World, eventually, url_of
from userswarm.backend import Endpoint, NotFound, NotVerified, OwnershipError, RetryPolicy, UserSwarmClient
from userswarm.backend.api import WatchEvent
from userswarm.backend.cache import SwarmCache
from userswarm.backend.model import parse_swarm

STALENESS = 2.0


@pytest.fixture(params=["live", "cached"])
def resolver(request: pytest.FixtureRequest, world: World) -> UserSwarmClient:
    client = world.client()
    return client.cached(max_staleness=STALENESS) if request.param == "cached" else client


def make(world: World, workspace_id: str = "w1", user_id: str = "u", **metadata: Any) -> str:
    name = f"workspace-{workspace_id}"
    world.create(name, {"userId": user_id, "workspaceId": workspace_id}, **metadata)
    world.verify(name)
    return str(world.get(name)["metadata"]["uid"])


def can_resolve(client: UserSwarmClient, workspace_id: str = "w1", user_id: str = "u") -> bool:
    try:
        client.resolve(workspace_id, user_id)
    except (NotFound, NotVerified):
        return False
    return True


def test_verified_swarm_has_its_endpoint(world: World, resolver: UserSwarmClient) -> None:
    uid = make(world)
    eventually(lambda: can_resolve(resolver))

    assert resolver.resolve("w1", "u") == Endpoint(url_of("workspace-w1"), "w1", "u", uid)


def test_no_swarm_is_not_found(resolver: UserSwarmClient) -> None:
    with pytest.raises(NotFound):
        resolver.resolve("nowhere", "u")


@pytest.mark.parametrize("verified", [True, False])
def test_stranger_learns_nothing_about_the_swarm(world: World, resolver: UserSwarmClient, verified: bool) -> None:
    make(world, user_id="secret-owner")
    if not verified:
        world.block("workspace-w1", "Failed", "ImagePull", "secret image")

    def refusal() -> str:
        try:
            resolver.resolve("w1", "stranger")
        except OwnershipError as error:
            return str(error)
        except NotFound:
            return ""
        raise AssertionError("a stranger got an endpoint, or was told about verification")

    eventually(refusal)
    assert "secret" not in refusal()
    assert "http" not in refusal()
    assert "Failed" not in refusal()


def test_unverified_swarm_says_why(world: World, resolver: UserSwarmClient) -> None:
    make(world)
    eventually(lambda: can_resolve(resolver))
    world.block("workspace-w1", "Progressing", "RolloutInProgress", "0 of 1 ready")
    eventually(lambda: not can_resolve(resolver))

    with pytest.raises(NotVerified, match="RolloutInProgress: 0 of 1 ready") as caught:
        resolver.resolve("w1", "u")
    assert (caught.value.phase, caught.value.reason) == ("Progressing", "RolloutInProgress")


def test_a_swarm_is_found_whatever_its_state_and_by_its_owner_only(world: World, resolver: UserSwarmClient) -> None:
    uid = make(world)
    eventually(lambda: can_resolve(resolver))
    world.block("workspace-w1", "Failed", "ImagePull", "no such image")
    eventually(lambda: not can_resolve(resolver))

    assert (resolver.find("w1", "u").uid, resolver.find("w1", "u").phase) == (uid, "Failed")
    with pytest.raises(OwnershipError):
        resolver.find("w1", "stranger")
    with pytest.raises(NotFound):
        resolver.find("nowhere", "u")


def test_the_age_of_memory_is_told(world: World) -> None:
    client = world.client()
    assert client.cache_age == float("inf")
    client.cached(max_staleness=STALENESS)
    assert 0 <= client.cache_age < float("inf")


def test_ids_that_differ_in_case_are_different_workspaces(world: World, client: UserSwarmClient) -> None:
    lower, upper = client.ensure("team", "u"), client.ensure("Team", "u")
    world.verify(lower.name)

    assert can_resolve(client, "team")
    assert not can_resolve(client, "Team")
    assert lower.uid != upper.uid


def test_cache_needs_no_request(world: World) -> None:
    for number in range(7):
        make(world, f"w{number}")
    client = world.client().cached(max_staleness=FRESH)
    before = world.count("GET", "/userswarms/")

    assert client.cache_is_fresh
    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(lambda number: client.resolve(f"w{number % 7}", "u").url, range(700)))

    assert len(urls) == 7
    assert world.count("GET", "/userswarms/") == before == 0


def test_cache_reads_page_by_page(world: World) -> None:
    for number in range(7):
        make(world, f"w{number}")
    cache = SwarmCache(world.requests_api(), max_staleness=STALENESS, page_size=3)
    cache.start()

    assert cache.wait_filled(120)
    assert len(cache) == 7
    cache.close()
    assert world.count("GET", "continue=") == 2


@pytest.mark.parametrize("by_us", [True, False])
def test_never_verified_after_a_suspend_was_seen(world: World, by_us: bool) -> None:
    make(world)
    client = world.client().cached(max_staleness=STALENESS)
    assert can_resolve(client)

    if by_us:
        client.suspend("w1", "u")
    else:
        world.patch("workspace-w1", {"spec": {"suspend": True}})
        eventually(lambda: not can_resolve(client))

    # The controller has said nothing yet: its old word still reads verified.
    assert world.get("workspace-w1")["status"]["verified"] is True
    assert not can_resolve(client)
    client.resume("w1", "u")
    assert not can_resolve(client)
    world.verify("workspace-w1")
    eventually(lambda: can_resolve(client))


@pytest.mark.parametrize("by_us", [True, False])
def test_never_verified_after_a_delete_was_seen(world: World, by_us: bool) -> None:
    make(world, finalizers=[FINALIZER])
    client = world.client().cached(max_staleness=STALENESS)
    assert can_resolve(client)

    if by_us:
        client.delete("w1", "u")
    else:
        world.api.delete("crawbl.ai/v1alpha1", "UserSwarm", None, "workspace-w1")
        eventually(lambda: not can_resolve(client))

    assert world.get("workspace-w1")["status"]["verified"] is True
    with pytest.raises(NotVerified, match="Deleting"):
        client.resolve("w1", "u")
    world.patch("workspace-w1", {"metadata": {"finalizers": []}})

    def is_not_found() -> bool:
        try:
            client.resolve("w1", "u")
        except NotFound:
            return True
        except NotVerified:
            return False
        raise AssertionError("it is gone")

    eventually(is_not_found)


def test_never_verified_after_it_was_made_anew(world: World) -> None:
    old = make(world)
    client = world.client().cached(max_staleness=STALENESS)
    assert client.resolve("w1", "u").uid == old

    world.remove("workspace-w1")
    new = client.ensure("w1", "u")

    with pytest.raises(NotVerified):
        client.resolve("w1", "u")
    world.verify("workspace-w1")
    eventually(lambda: can_resolve(client))
    assert client.resolve("w1", "u").uid == new.uid != old


def test_what_we_made_ourselves_is_known_at_once(world: World) -> None:
    client = world.client().cached(max_staleness=STALENESS)

    swarm = client.ensure("w1", "u")
    with pytest.raises(NotVerified):
        client.resolve("w1", "u")
    world.verify(swarm.name)
    client.wait_verified(swarm, 120.0)

    assert can_resolve(client)


def test_silent_watch_is_replaced_by_lists(world: World) -> None:
    make(world)
    client = world.client().cached(max_staleness=STALENESS)
    world.rest.set_silent(True)

    world.block("workspace-w1", "Progressing", "CrashLoop", "again")

    eventually(lambda: not can_resolve(client))
    world.rest.set_silent(False)


def test_when_nothing_can_be_read_any_more_every_answer_is_a_live_one(world: World) -> None:
    make(world)
    client = world.client().cached(max_staleness=STALENESS)
    world.rest.faults.answer(503, times=1_000_000, path="watch=true")
    world.rest.faults.answer(503, times=1_000_000, path="limit=")
    world.rest.set_silent(True)
    eventually(lambda: not client.cache_is_fresh)

    world.block("workspace-w1", "Progressing", "CrashLoop", "again")

    assert not can_resolve(client)
    assert world.count("GET", "/userswarms/workspace-w1") == 1
    world.rest.faults.clear()
    world.rest.set_silent(False)

    def answers_from_memory() -> bool:
        before = world.count("GET", "/userswarms/workspace-w1")
        assert not can_resolve(client)
        return world.count("GET", "/userswarms/workspace-w1") == before

    eventually(answers_from_memory)


def test_restart_and_expiry_are_survived(world: World) -> None:
    make(world)
    client = world.client().cached(max_staleness=STALENESS)

    world.rest.restart()
    world.block("workspace-w1", "Progressing", "CrashLoop", "once")
    eventually(lambda: not can_resolve(client))
    with world.api.lock:
        world.verify("workspace-w1")
        world.api.compact()
    eventually(lambda: can_resolve(client))
    world.rest.faults.answer(429, times=1, path="watch=true", retry_after="0")
    world.rest.faults.answer(403, times=2, path="watch=true")
    world.block("workspace-w1", "Progressing", "CrashLoop", "twice")
    eventually(lambda: client.cache_is_fresh and not can_resolve(client))


def test_no_first_list_means_live_answers(world: World) -> None:
    make(world)
    world.rest.faults.answer(503, times=1_000_000, path="limit=")
    client = world.client().cached(max_staleness=STALENESS, wait=0.05)

    assert not client.cache_is_fresh
    assert can_resolve(client)
    world.rest.faults.clear()
    eventually(lambda: client.cache_is_fresh)


def test_unreadable_answer_does_not_end_the_cache(world: World) -> None:
    world.rest.faults.cut(times=2, path="limit=")
    make(world)
    cache = SwarmCache(world.requests_api(), max_staleness=STALENESS)
    errors: list[str] = []

    def spoilt(event: object) -> None:
        errors.append(str(cache.error))
        if len(errors) == 1:
            raise KeyError("uid")
        take(event)

    take: Any = cache._take
    cache._take = spoilt  # type: ignore[method-assign]
    cache.start()
    assert cache.wait_filled(120)
    world.verify("workspace-w1")
    world.patch("workspace-w1", {"metadata": {"labels": {"a": "b"}}})

    # It is said until a watch has ended well.
    eventually(lambda: len(errors) > 1)
    assert "unreadable" in errors[1]
    eventually(lambda: cache.error is None and cache.is_fresh())
    cache.close()


def test_closing_is_prompt_and_leaves_no_thread(world: World) -> None:
    before = threading.active_count()
    client = UserSwarmClient(api_client=world.api_client, policy=SOON)
    with client.cached(max_staleness=FRESH) as same:
        assert same is client
        assert client.cached() is client
        eventually(lambda: client.cache_is_fresh and world.is_watched())

    assert client.cache_is_fresh is False
    assert not [thread for thread in threading.enumerate() if thread.name == "userswarm-cache"]
    assert threading.active_count() <= before + 2, "the server's own threads for two connections"


def test_closing_is_prompt_while_nothing_answers(world: World) -> None:
    world.rest.faults.answer(503, times=1_000_000, retry_after="20")
    client = UserSwarmClient(api_client=world.api_client)

    client.cached(wait=0.05)
    client.close()

    assert not [thread for thread in threading.enumerate() if thread.name == "userswarm-cache"]


@pytest.mark.parametrize("seconds", [0, 1.9, -1])
def test_bound_that_no_watch_can_keep_is_refused(world: World, seconds: float) -> None:
    with pytest.raises(ValueError, match="at least 2 seconds"):
        world.client().cached(max_staleness=seconds)


def test_older_answers_do_not_undo_newer_events(world: World) -> None:
    make(world)
    client = world.client().cached(max_staleness=STALENESS)
    old = client.get("w1", "u")
    cache = client._access.cache
    assert cache is not None

    world.block("workspace-w1", "Progressing", "CrashLoop", "again")
    eventually(lambda: not can_resolve(client))
    cache.observe(old)
    assert not can_resolve(client)

    world.remove("workspace-w1")
    eventually(lambda: cache.find("workspace-w1") is None)
    cache.observe(old)
    assert cache.find("workspace-w1") is None


def test_late_event_does_not_undo_what_our_own_request_has_shown(world: World) -> None:
    make(world)
    late = world.get("workspace-w1")
    world.patch("workspace-w1", {"spec": {"suspend": True}})
    now = [0.0]
    policy = RetryPolicy(clock=lambda: now[0])
    cache = SwarmCache(world.requests_api(policy), max_staleness=STALENESS)

    cache.observe(parse_swarm(world.get("workspace-w1")))
    cache._take(WatchEvent("MODIFIED", late))
    assert is_suspended(cache)

    # But not for ever: a cluster that was restored from a backup counts from an older number on.
    now[0] += 61.0
    cache._take(WatchEvent("MODIFIED", late))
    assert not is_suspended(cache)


def is_suspended(cache: SwarmCache) -> bool:
    swarm = cache.find("workspace-w1")
    assert swarm is not None
    return swarm.suspended


def test_list_does_not_undo_what_our_own_request_has_shown_since(world: World) -> None:
    make(world)
    client = world.client()
    api = world.requests_api()
    cache = SwarmCache(api, max_staleness=STALENESS)

    def suspend() -> None:
        cache.observe(client.suspend("w1", "u"))

    # The first page is of before; the second is asked for when the swarm is suspended already.
    make(world, "w2")
    cache._page_size = 1
    world.just_before("GET", suspend, path="continue=")
    cache._list()

    assert is_suspended(cache)
    assert len(cache) == 2
