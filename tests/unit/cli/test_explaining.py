"""`userswarm explain` says first whether users are served, then the one thing that blocks, then what to do."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from datetime import timedelta

import pytest

import scenes
import template_samples
from userswarm import compose, parts
from userswarm.cli.explaining import ADVICE, explain
from userswarm.cli.rendering import InputError
from userswarm.compose import judging
from userswarm.errors import RequestError
from userswarm.parts import lifecycle, storage, verification
from userswarm.parts.dedicated import namespace
from userswarm.parts.runtime.trouble import REASONS
from userswarm.parts.shape import AWAKE
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import CONFIG_MAP, STATEFUL_SET


def explained(scene: scenes.Scene) -> str:
    return explain(json.dumps(scene.parent), "swarm.json", scene.settings, scene.now, is_request=False)


def explained_request(scene: scenes.Scene) -> str:
    return explain(json.dumps(scene.request()), "request.json", scene.settings, scene.now, is_request=True)


def test_a_verified_swarm_serves_its_user_and_awaits_nothing() -> None:
    text = explained(scenes.verified())

    assert text.startswith("UserSwarm workspace-a: Ready, serves its user\n")
    assert "endpoint http://swarm-workspace-a.userswarms.svc:42617\n" in text
    assert "awaited" not in text


def test_what_blocks_is_said_with_what_to_do() -> None:
    scene = scenes.created()
    scene.now += timedelta(seconds=61)
    scenes.step(scene)
    text = explained(scene)

    assert "does NOT serve its user" in text
    assert "awaited: PersistentVolumeClaim userswarms/swarm-workspace-a-data is Pending, not Bound" in text
    assert "to do:   kubectl -n userswarms describe pvc swarm-workspace-a-data" in text


def test_every_problem_of_a_spec_is_listed() -> None:
    scene = scenes.Scene(scenes.user_swarm(storage={"size": "much"}, runtime={"prot": 1}))

    text = explained(scene)

    assert "2 problem(s) in the spec:\n" in text
    assert "  spec.runtime.prot:" in text
    assert "port" in text
    assert '  spec.storage.size: is "much"' in text
    assert "is Metacontroller running" in text


def test_a_status_of_an_older_generation_is_said_to_be_one() -> None:
    scene = scenes.verified()
    scene.parent["metadata"]["generation"] = 7

    assert "its spec is of generation 7, this status of 1" in explained(scene)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        ("2026-11-20T11:59:55Z", "5s"),
        ("2026-11-20T11:50:00Z", "10m"),
        ("2026-11-20T06:00:00Z", "6h"),
        ("2026-11-10T12:00:00Z", "10d"),
        ("2026-11-20T12:00:30Z", "0s"),
        ("yesterday", "?"),
    ],
)
def test_conditions_say_for_how_long(at: str, shown: str) -> None:
    scene = scenes.verified()
    scene.parent["status"]["conditions"] = [
        {"type": "Ready", "status": "True", "lastTransitionTime": at, "reason": "R", "message": "m"}
    ]

    rows = [line.split() for line in explained(scene).splitlines() if line.startswith("Ready")]
    assert rows == [["Ready", "True", shown, "R", "m"]]


def test_a_reason_of_another_release_gets_no_advice_but_is_shown() -> None:
    scene = scenes.verified()
    scene.parent["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "lastTransitionTime": "x", "reason": "Novel", "message": "m"}
    ]

    text = explained(scene)

    assert "awaited: m" in text
    assert "to do" not in text


def test_a_request_shows_every_child_and_what_the_answer_means_for_it() -> None:
    scene = scenes.created()
    scene.drop(CONFIG_MAP)
    scene.child(STATEFUL_SET)["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:59Z"
    scene.add_child(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": "userswarms"}, "data": {}}
    )

    lines = explained_request(scene).splitlines()

    states = {tuple(line.split(maxsplit=2)[:2]): line.split(maxsplit=2)[2] for line in lines if line.count("  ") >= 2}
    assert states["ConfigMap", "swarm-workspace-a-config"] == "asked for, not there"
    assert states["ConfigMap", "old"] == "there, and let go by this answer"
    assert states["StatefulSet", "swarm-workspace-a"] == "being deleted"
    assert states["ServiceAccount", "swarm-workspace-a"] == "there"
    assert "asked again after 15 s, if nothing changes before" in lines


def test_a_request_to_finalize_tells_when_all_is_done() -> None:
    scene = scenes.Scene().deleted()

    assert "finalized: the UserSwarm may go" in explained_request(scene)


def test_several_swarms_are_explained_one_after_the_other() -> None:
    two = [scenes.verified().parent, scenes.created(scenes.user_swarm("workspace-b")).parent]

    text = explain("\n---\n".join(map(json.dumps, two)), "two.yaml", scenes.SETTINGS, scenes.NOW, is_request=False)

    assert [line.split(":")[0] for line in text.splitlines() if line.startswith("UserSwarm")] == [
        "UserSwarm workspace-a",
        "UserSwarm workspace-b",
    ]


@pytest.mark.parametrize(("text", "error"), [("{", InputError), ("[]", RequestError), ("{}", RequestError)])
def test_what_is_no_request_is_refused_by_name(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        explain(text, "request.json", scenes.SETTINGS, scenes.NOW, is_request=True)


def reasons() -> set[str]:
    """Return every reason that a part or the composition has a name for."""
    found: set[str] = set(REASONS)
    for package in (parts, compose):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if (
                    name.isupper()
                    and name[0] != "_"
                    and isinstance(value, str)
                    and re.fullmatch("[A-Z][A-Za-z]+", value)
                ):
                    found.add(value)
    return {each for each in found if not each.endswith("Ready")}  # conditions


INFORMATIVE = {
    storage.CLAIM_RETAINED,
    storage.CLAIM_CLAMPED,
    namespace.NAMESPACE_RETAINED,
    namespace.LENT,
    verification.PASSED,
    verification.WAITING,  # in no condition that is written: what it waits for is
    judging.DELETING,
    # Of a swarm that is awake, or that is said to expire; and the words for what happened to it.
    *(lifecycle.IN_USE, lifecycle.BUSY, lifecycle.CHECK_FAILED, lifecycle.NOT_VERIFIED, lifecycle.CREATED),
    *(*lifecycle.WAKES, lifecycle.ASLEEP, AWAKE, lifecycle.EXPIRES_SOON, lifecycle.EXPIRED),
}


def test_there_is_advice_for_every_reason_that_blocks() -> None:
    assert len(reasons()) > 20
    assert reasons() - INFORMATIVE == ADVICE.keys()


def test_a_swarm_that_may_sleep_says_when_it_does_and_when_it_wakes() -> None:
    rules = {"idleAfter": "30m", "expireAfter": "720h", "wakeSchedule": {"cron": "0 8 * * *"}}
    scene = scenes.verified(scenes.user_swarm(lifecycle=rules), Settings(lifecycle_spread=0))
    scenes.step(scene)
    text = explained(scene)
    assert "awake since 2026-11-20T12:00:00Z (Created)" in text
    assert "falls asleep, or is asked whether it is busy, at 2026-11-20T12:30:00Z" in text

    scene.now += timedelta(minutes=30)
    scenes.step(scene)
    text = explained(scene)
    assert "asleep since 2026-11-20T12:30:00Z (Idle)" in text
    assert "wakes by itself at 2026-11-21T07:59:00Z" in text
    assert "expires, if nobody uses it, at 2026-12-20T12:30:00Z" in text
    assert "to do:   nothing: it wakes when somebody uses it" in text


def test_a_swarm_that_stays_awake_says_why() -> None:
    rules = {"idleAfter": "30m", "activityCheck": {"path": "/activity"}}
    scene = scenes.verified(scenes.user_swarm(lifecycle=rules), Settings(lifecycle_spread=0))
    scenes.step(scene)
    scene.now += timedelta(minutes=30)
    scene.http = {"status": 503, "body": ""}
    scenes.step(scene)
    text = explained(scene)
    assert "asked at 2026-11-20T12:30:00Z whether it is busy: status 503, not 200; asked again at" in text


def test_a_swarm_of_a_template_says_which_revision_it_has_and_what_is_offered_by_now() -> None:
    scene = scenes.verified(*template_samples.swarm("small"))

    def told(*texts: str) -> str:
        settings = template_samples.swarm("small", template_samples.read(*texts))[1] if texts else Settings()
        return explain(json.dumps(scene.parent), "-", settings, scene.now, is_request=False)

    small = template_samples.SMALL
    assert "made of template small, revision 1\n" in told(small)
    newer = template_samples.changed(small, revision=2)
    assert "revision 1; the platform's current one is 2, and userswarm rollout moves to it\n" in told(small, newer)
    old = template_samples.changed(small, deprecated=True, replacedBy="big")
    assert "revision 1, which is deprecated: use template big\n" in told(old)
    assert "problem(s)" not in told(small)
    assert "spec.template.revision: revision 1 of 'small', which it has, is not there" in told(newer)


def test_where_no_templates_are_known_none_is_said_to_be_missing() -> None:
    scene = scenes.verified(*template_samples.swarm("small"))
    told = explain(json.dumps(scene.parent), "-", Settings(), scene.now, is_request=False)
    assert "its template is not checked here: USERSWARM_TEMPLATES_DIR names the folder" in told
    assert "problem(s)" not in told
