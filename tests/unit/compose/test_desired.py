"""In which order a swarm's children come about, and what must never be touched."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

import scenes
import workload_samples as samples
from scenes import Json, Scene, condition
from userswarm.errors import CannotFreezeError
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, JOB, NETWORK_POLICY, SERVICE, STATEFUL_SET

NAME = "swarm-workspace-a"
GONE = {"deletionTimestamp": "2026-11-20T11:59:59Z"}


def edit(scene: Scene, **spec: Any) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def only(response: Json, kind: scenes.Kind) -> Json:
    (found,) = scenes.children_of(response, kind)
    return found


def names(response: Json) -> list[tuple[str, str]]:
    return [(child["kind"], child["metadata"]["name"]) for child in response["children"]]


ALL = [
    ("PersistentVolumeClaim", f"{NAME}-data"),
    ("ServiceAccount", NAME),
    ("ConfigMap", f"{NAME}-config"),
    ("Service", f"{NAME}-headless"),
    ("Service", NAME),
    ("StatefulSet", NAME),
]


def test_a_first_sync_asks_for_everything_but_the_pod_and_a_second_one_for_all() -> None:
    scene = Scene()
    first = scene.sync()
    assert names(first) == [each for each in ALL if each[0] != "StatefulSet"]
    scene.apply(first)
    assert names(scene.sync()) == ALL


def test_a_settled_swarm_is_asked_for_as_it_was_created() -> None:
    scene = scenes.verified()
    desired = {(child["kind"], child["metadata"]["name"]): child for child in scene.sync()["children"]}
    for objects in scene.children.values():
        for stored in objects.values():
            applied = json.loads(stored["metadata"]["annotations"][scenes.LAST_APPLIED])
            del applied["metadata"]["labels"]["controller-uid"]
            assert desired.pop((stored["kind"], stored["metadata"]["name"])) == applied
    assert desired == {}


# --- what is beside the plan -----------------------------------------------------------------------------------------


def _beside(scene: Scene, kind: str, api_version: str, name: str, namespace: str = "userswarms") -> Json:
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": {}}
    scene.children.setdefault(f"{kind}.{api_version}", {})
    scene.resources.append({"apiVersion": api_version, "resource": kind.lower() + "s"})
    stored = scene.add_child(manifest)
    applied: Json = json.loads(stored["metadata"]["annotations"][scenes.LAST_APPLIED])
    return applied


@pytest.mark.parametrize(
    ("kind", "api_version", "name", "namespace"),
    [
        ("PersistentVolumeClaim", "v1", "older-name-data", "userswarms"),
        ("PersistentVolumeClaim", "v1", f"{NAME}-data", "elsewhere"),
        # With it all that is in it would go, whatever that is.
        ("Namespace", "v1", "swarm-workspace-a", ""),
        # A later release made it, before this one was put back.
        ("VolumeSnapshot", "snapshot.storage.k8s.io/v1", "daily", "userswarms"),
    ],
)
def test_what_is_owned_beside_the_plan_and_must_not_be_lost_stays_as_it_was_applied(
    kind: str, api_version: str, name: str, namespace: str
) -> None:
    scene = scenes.verified()
    applied = _beside(scene, kind, api_version, name, namespace)
    response = scene.sync()

    assert applied in response["children"]
    assert len(response["children"]) == len(ALL) + 1
    assert response["status"]["verified"] is True
    # A volume that is not used is worth a word.
    assert (f"not used: {name}" in condition(response, "StorageReady")["message"]) is (kind == "PersistentVolumeClaim")


@pytest.mark.parametrize(("kind", "name"), [(CONFIG_MAP, "older-config"), (SERVICE, "older"), (JOB, "verify-old-1")])
def test_what_an_older_release_made_without_data_of_its_own_is_cleared_away(kind: scenes.Kind, name: str) -> None:
    scene = scenes.verified()
    _beside(scene, kind.kind, kind.api_version, name)
    assert names(scene.sync()) == ALL


# --- what the controller is not told to manage -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        (CLAIM, "StorageReady"),
        (STATEFUL_SET, "WorkloadReady"),
        (CONFIG_MAP, "WorkloadReady"),
        (SERVICE, "ServiceReady"),
    ],
)
def test_a_kind_the_controller_does_not_manage_is_never_returned_and_named(kind: scenes.Kind, stage: str) -> None:
    scene = Scene()
    scene.resources = [each for each in scene.resources if each["resource"] != kind.resource]
    del scene.children[kind.group]
    response = scene.sync()

    assert not scenes.children_of(response, kind)
    assert response["status"]["verified"] is False
    assert condition(response, "Ready")["reason"] == "KindNotManaged"
    found = next(each for each in response["status"]["conditions"] if each["reason"] == "KindNotManaged")
    assert found["type"] == stage
    assert f"{kind.resource} ({kind.api_version}) are not among the CompositeController's" in found["message"]


# --- a gate ----------------------------------------------------------------------------------------------------------


def walled(**spec: Any) -> Json:
    return scenes.user_swarm(placement={"isolation": "Dedicated"}, **spec)


WALLS = {"ResourceQuota", "LimitRange", "NetworkPolicy"}


def kinds(response: Json) -> set[str]:
    return {child["kind"] for child in response["children"]}


def test_a_namespace_then_its_walls_then_the_claim_then_the_pod() -> None:
    scene = Scene(walled())
    seen: set[str] = set()
    rounds = []
    for _ in range(4):
        response = scenes.step(scene)
        rounds.append(kinds(response) - seen)
        seen |= kinds(response)
        scene.apply(response)
    assert rounds == [
        {"Namespace"},
        WALLS,
        {"PersistentVolumeClaim", "ServiceAccount", "ConfigMap", "Service"},
        {"StatefulSet"},
    ]


def test_while_a_wall_is_missing_it_alone_is_made_and_nothing_else_is_changed_or_deleted() -> None:
    scene = scenes.verified(walled(workloads=[samples.config_map(), samples.service()]))
    applied = last_applied(scene)
    scene.drop(NETWORK_POLICY, f"{NAME}-deny")
    # A tenant's object less, another image, and one thing beside the plan that would be cleared away.
    edit(scene, workloads=[samples.config_map()], runtime={"image": "newer:1"}, suspend=True)
    beside = _beside(scene, "Service", "v1", "older")
    response = scene.sync()

    assert sorted(map(json.dumps, response["children"])) != sorted(map(json.dumps, applied))
    in_place = {(each["kind"], each["metadata"]["name"]): each for each in response["children"]}
    for each in [*applied, beside]:
        key = each["kind"], each["metadata"]["name"]
        if each["kind"] not in ("Namespace", *WALLS):
            assert in_place[key] == each
    assert in_place["NetworkPolicy", f"{NAME}-deny"]
    assert condition(response, "NamespaceReady")["reason"] == "ChildMissing"


def test_under_server_side_apply_a_wall_that_is_lost_comes_again() -> None:
    scene = scenes.verified(walled())
    for objects in scene.children.values():
        for each in objects.values():
            del each["metadata"]["annotations"][scenes.LAST_APPLIED]
    before = scene.sync()["children"]
    scene.drop(NETWORK_POLICY, f"{NAME}-deny")
    after = scene.sync()["children"]
    assert sorted(map(json.dumps, after)) == sorted(map(json.dumps, before))

    # Nothing that was not there comes about with it.
    scene.drop(SERVICE, NAME)
    assert ("Service", NAME) not in names(scene.sync())


def last_applied(scene: Scene) -> list[Json]:
    return [
        json.loads(each["metadata"]["annotations"][scenes.LAST_APPLIED])
        for objects in scene.children.values()
        for each in objects.values()
    ]


# --- a spec that cannot be built -------------------------------------------------------------------------------------


def broken(scene: Scene) -> Scene:
    edit(scene, config={"tomlOverrides": "BAD"})
    return scene


@pytest.mark.parametrize("state", [Scene, scenes.created, scenes.ready, scenes.verified])
def test_a_broken_spec_leaves_every_child_exactly_as_it_was_applied(state: Callable[[], Scene]) -> None:
    scene = state()
    applied = last_applied(scene)
    response = broken(scene).sync()

    assert response["status"]["phase"] == "Invalid"
    assert sorted(map(json.dumps, response["children"])) == sorted(map(json.dumps, applied))
    assert "resyncAfterSeconds" not in response


def test_a_broken_spec_freezes_kinds_that_the_controller_alone_knows() -> None:
    scene = scenes.verified()
    applied = _beside(scene, "Ingress", "networking.k8s.io/v1", "later-release")
    assert applied in broken(scene).sync()["children"]


def test_the_next_good_spec_recovers() -> None:
    scene = scenes.verified()
    good = copy.deepcopy(scene.parent["spec"])
    scenes.step(broken(scene))
    scene.parent["spec"] = good
    scene.parent["metadata"]["generation"] += 1
    assert scene.sync()["status"]["verified"] is True


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        "",
        "not JSON",
        "null",
        "[]",
        "{}",
        '{"kind": "Service", "metadata": {"name": "swarm-workspace-a-config", "namespace": "userswarms"}}',
        '{"kind": "ConfigMap", "metadata": {"name": "other", "namespace": "userswarms"}}',
        '{"kind": "ConfigMap", "metadata": {"name": "swarm-workspace-a-config", "namespace": "other"}}',
        '{"kind": "ConfigMap", "metadata": null}',
        7,
    ],
)
def test_a_child_that_does_not_say_how_it_was_applied_cannot_be_frozen(annotation: object) -> None:
    scene = broken(scenes.verified())
    metadata = scene.child(CONFIG_MAP)["metadata"]
    if annotation is None:
        del metadata["annotations"]
    else:
        metadata["annotations"][scenes.LAST_APPLIED] = annotation
    with pytest.raises(CannotFreezeError) as caught:
        scene.sync()
    assert f"ConfigMap userswarms/{NAME}-config" in str(caught.value)
    assert "--apply-strategy" in str(caught.value)


# --- both versions of hooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [scenes.created, scenes.ready, scenes.verified])
def test_the_keys_of_a_request_do_not_matter(state: Callable[[], Scene]) -> None:
    scene = state()
    before = scene.sync()
    for groups in (scene.children, scene.related):
        for objects in groups.values():
            renamed = {f"key-{number}": each for number, each in enumerate(objects.values())}
            objects.clear()
            objects.update(renamed)
    assert scene.sync() == before


def test_an_object_under_anothers_key_is_taken_for_what_it_is() -> None:
    scene = scenes.verified()
    before = scene.sync()
    services = scene.children[SERVICE.group]
    one, other = services
    services[one], services[other] = services[other], services[one]
    assert scene.sync() == before
