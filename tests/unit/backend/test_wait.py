"""wait_verified: for this object and this generation, through whatever happens to the watch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from unit.backend.world import FINALIZER, World, alongside, eventually, url_of
from userswarm.backend import (
    ApiStatusError,
    BackendError,
    RetryPolicy,
    Swarm,
    SwarmFailedError,
    SwarmGoneError,
    SwarmInvalidError,
    UnreachableError,
    UserSwarmClient,
    WaitTimeoutError,
)

LONG = 120.0
"""Seconds; no test waits so long unless it fails."""


def test_returns_at_once_what_is_verified(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")
    world.verify(swarm.name)

    verified = client.wait_verified(swarm, LONG)

    assert (verified.uid, verified.phase, verified.url) == (swarm.uid, "Ready", url_of(swarm.name))
    assert not world.is_watched()


def test_waits_by_watch_and_tells_of_every_step(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")
    seen: list[tuple[str, str, str]] = []

    def progress() -> None:
        eventually(world.is_watched)
        world.block(swarm.name, "Progressing", "ClaimPending", "no volume yet")
        world.patch(swarm.name, {"metadata": {"labels": {"touched": "by-nobody"}}})
        world.block(swarm.name, "Verifying", "SmokeTestRunning", "attempt 1")
        eventually(lambda: len(seen) == 3)
        world.verify(swarm.name)

    with alongside(progress):
        client.wait_verified(swarm, LONG, lambda now: seen.append((now.phase, now.reason, now.message)))

    assert seen == [
        ("", "", ""),
        ("Progressing", "ClaimPending", "no volume yet"),
        ("Verifying", "SmokeTestRunning", "attempt 1"),
        ("Ready", "", ""),
    ]
    assert world.count("GET", "fieldSelector=metadata.name%3Dworkspace-w1") == len(world.rest.requests) - 2


def test_old_verification_does_not_count(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1"})
    world.verify("workspace-w1")
    swarm = client.ensure("w1", "u", runtime={"image": "a/b:2"})
    seen: list[Swarm] = []

    def progress() -> None:
        eventually(lambda: seen)
        world.verify(swarm.name)

    with alongside(progress):
        verified = client.wait_verified(swarm, LONG, seen.append)

    assert verified.verified_generation == 2
    assert seen[0].verified
    assert seen[0].verified_generation == 1


@pytest.mark.parametrize(("phase", "error"), [("Failed", SwarmFailedError), ("Invalid", SwarmInvalidError)])
def test_fails_at_once_with_phase_reason_and_message(
    world: World, client: UserSwarmClient, phase: str, error: type[SwarmFailedError]
) -> None:
    swarm = client.ensure("w1", "u")
    world.block(swarm.name, phase, "ImagePull", "no such image")

    with pytest.raises(error, match=f"{phase}.*ImagePull.*no such image") as caught:
        client.wait_verified(swarm, LONG)

    assert (caught.value.phase, caught.value.reason, caught.value.message) == (phase, "ImagePull", "no such image")
    assert caught.value.name == swarm.name


def test_failure_of_an_older_generation_does_not_count(world: World, client: UserSwarmClient) -> None:
    client.ensure("w1", "u", runtime={"image": "a/b:1"})
    world.block("workspace-w1", "Failed", "ImagePull", "no such image")
    swarm = client.ensure("w1", "u", runtime={"image": "a/b:2"})

    def repair() -> None:
        eventually(world.is_watched)
        world.verify(swarm.name)

    with alongside(repair):
        assert client.wait_verified(swarm, LONG).phase == "Ready"


def gone_at_once(world: World) -> None:
    world.remove("workspace-w1")


def going(world: World) -> None:
    world.api.delete("crawbl.ai/v1alpha1", "UserSwarm", None, "workspace-w1")


def made_anew(world: World) -> None:
    world.remove("workspace-w1")
    world.create("workspace-w1", {"userId": "u", "workspaceId": "w1"})
    world.verify("workspace-w1")


@pytest.mark.parametrize("while_watching", [True, False])
@pytest.mark.parametrize(
    ("happens", "message"), [(gone_at_once, "is gone|deleted"), (going, "being deleted"), (made_anew, "made anew|gone")]
)
def test_fails_at_once_when_the_swarm_goes(
    world: World, client: UserSwarmClient, happens: Callable[[World], None], message: str, while_watching: bool
) -> None:
    world.create("workspace-w1", {"userId": "u", "workspaceId": "w1"}, finalizers=[FINALIZER] * (happens is going))
    swarm = client.ensure("w1", "u")

    def work() -> None:
        if while_watching:
            eventually(world.is_watched)
            happens(world)

    if not while_watching:
        happens(world)
    with alongside(work), pytest.raises(SwarmGoneError, match=message):
        client.wait_verified(swarm, LONG)


def test_time_is_up_says_where_it_stood(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")
    world.block(swarm.name, "Progressing", "Unschedulable", "no node fits")

    with pytest.raises(WaitTimeoutError, match=r"not verified after 0.3 s .*Unschedulable: no node fits") as caught:
        client.wait_verified(swarm, 0.3)

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.phase == "Progressing"


def test_time_that_is_up_already_still_looks_once(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")

    with pytest.raises(WaitTimeoutError, match="not reported yet"):
        client.wait_verified(swarm, 0.0)

    world.verify(swarm.name)
    assert client.wait_verified(swarm, 0.0).verified


def test_watch_is_renewed_from_where_it_ended(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")

    def later() -> None:
        eventually(lambda: world.count("GET", "watch=true") >= 2)
        world.verify(swarm.name)

    with alongside(later):
        client.wait_verified(swarm, LONG)

    assert world.count("GET", "limit=") == 1


def test_restart_of_the_api_server_is_survived(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")

    def restart() -> None:
        eventually(world.is_watched)
        world.rest.restart()
        world.rest.restart()
        world.verify(swarm.name)

    with alongside(restart):
        assert client.wait_verified(swarm, LONG).phase == "Ready"


def test_api_server_that_is_away_for_a_while_is_waited_for(world: World) -> None:
    client = world.client(policy=RetryPolicy(attempts=2, base=0.001, cap=0.02))
    swarm = client.ensure("w1", "u")

    def leave() -> None:
        eventually(world.is_watched)
        world.rest.faults.reset(times=30)
        world.rest.restart()
        eventually(lambda: world.rest.faults.take("GET", "") is None)
        world.verify(swarm.name)

    with alongside(leave):
        assert client.wait_verified(swarm, LONG).phase == "Ready"


def test_silent_watch_is_replaced_by_a_list(world: World) -> None:
    client = world.client(watch_silence=0.3, watch_window=30.0)
    swarm = client.ensure("w1", "u")
    world.rest.bookmark_interval = 60.0

    def fall_silent() -> None:
        eventually(world.is_watched)
        world.rest.set_silent(True)
        world.verify(swarm.name)

    with alongside(fall_silent):
        assert client.wait_verified(swarm, LONG).phase == "Ready"

    assert world.count("GET", "limit=") >= 2
    world.rest.set_silent(False)


def test_expired_watch_is_replaced_by_a_list(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")
    world.rest.faults.answer(410, path="watch=true", reason="Expired")

    def expire() -> None:
        eventually(lambda: world.count("GET", "watch=true") >= 2)
        with world.api.lock:
            world.verify(swarm.name)
            # The watch learns that what it missed is forgotten.
            world.api.compact()

    with alongside(expire):
        assert client.wait_verified(swarm, LONG).phase == "Ready"

    assert world.count("GET", "limit=") == 3


def test_errors_that_do_not_pass_end_the_wait(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")
    world.rest.faults.answer(403, path="watch=true", reason="Forbidden")

    with pytest.raises(ApiStatusError) as caught:
        client.wait_verified(swarm, LONG)

    assert caught.value.status == 403


def test_no_answer_from_the_beginning_is_said(world: World) -> None:
    client = world.client(policy=RetryPolicy(attempts=3, base=0.001))
    swarm = client.ensure("w1", "u")
    world.rest.faults.reset(times=100)

    with pytest.raises(UnreachableError):
        client.wait_verified(swarm, LONG)


def test_error_of_the_callback_ends_the_wait(world: World, client: UserSwarmClient) -> None:
    swarm = client.ensure("w1", "u")

    def fail(now: Swarm) -> None:
        raise RuntimeError(now.name)

    with pytest.raises(RuntimeError, match="workspace-w1"):
        client.wait_verified(swarm, LONG, fail)


def test_all_errors_are_of_one_tree() -> None:
    from userswarm import backend
    from userswarm.errors import UserSwarmError

    errors = [getattr(backend, name) for name in backend.__all__ if name.endswith(("Error", "Found", "Verified"))]

    assert len(errors) > 15
    assert all(issubclass(error, BackendError) and issubclass(error, UserSwarmError) for error in errors)
