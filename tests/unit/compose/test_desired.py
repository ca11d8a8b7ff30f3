"""In which order a swarm's children come about, and what must never be touched."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

import scenes
from scenes import Json, Scene, condition
from userswarm.errors import CannotFreezeError
from userswarm.spec.identity import template_checksum
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, JOB, POD, SERVICE, STATEFUL_SET

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
    ("ServiceAccount", NAME),
    ("ConfigMap", f"{NAME}-config"),
    ("PersistentVolumeClaim", f"{NAME}-data"),
    ("Service", f"{NAME}-headless"),
    ("Service", NAME),
    ("StatefulSet", NAME),
]


def test_a_first_sync_asks_for_everything_but_the_smoke_test() -> None:
    assert names(Scene().sync()) == ALL


def test_a_settled_swarm_is_asked_for_as_it_was_created() -> None:
    scene = scenes.verified()
    desired = {(child["kind"], child["metadata"]["name"]): child for child in scene.sync()["children"]}
    for objects in scene.children.values():
        for stored in objects.values():
            applied = json.loads(stored["metadata"]["annotations"][scenes.LAST_APPLIED])
            del applied["metadata"]["labels"]["controller-uid"]
            assert desired.pop((stored["kind"], stored["metadata"]["name"])) == applied
    assert desired == {}


# --- storage ---------------------------------------------------------------------------------------------------------


def test_growth_is_asked_for_and_awaited() -> None:
    scene = scenes.verified()
    edit(scene, storage={"size": "4Gi"})
    response = scene.sync()
    assert only(response, CLAIM)["spec"]["resources"]["requests"]["storage"] == "4Gi"
    assert condition(response, "StorageReady")["reason"] == "ClaimResizing"

    claim = scene.child(CLAIM)
    claim["spec"]["resources"]["requests"]["storage"] = "4Gi"
    assert condition(scene.sync(), "StorageReady")["reason"] == "ClaimResizing"
    claim["status"]["capacity"]["storage"] = "4Gi"
    assert scene.sync()["status"]["verified"] is True


def test_growth_rolls_nothing_and_tests_nothing() -> None:
    scene = scenes.verified()
    before = only(scene.sync(), STATEFUL_SET)
    edit(scene, storage={"size": "4Gi"})
    response = scene.sync()
    assert only(response, STATEFUL_SET) == before
    assert not scenes.children_of(response, JOB)


@pytest.mark.parametrize(
    ("storage", "stored", "told"),
    [
        ({"size": "1Gi"}, {}, "spec.storage.size is 1Gi, but the volume has 2Gi and can only grow"),
        (
            {"storageClassName": "fast"},
            {},
            "spec.storage.storageClassName is fast, but the volume's is standard for good",
        ),
        ({"size": "1Gi", "storageClassName": "fast"}, {}, "can only grow; spec.storage.storageClassName is fast"),
    ],
)
def test_what_a_claim_cannot_become_is_clamped_to_what_it_is_and_reported(
    storage: Json, stored: Json, told: str
) -> None:
    scene = scenes.verified()
    edit(scene, storage=storage)
    response = scene.sync()

    claim = only(response, CLAIM)
    observed = scene.child(CLAIM)["spec"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert claim["spec"].get("storageClassName", "standard") == observed["storageClassName"]
    assert condition(response, "StorageReady")["reason"] == "ClaimClamped"
    assert told in condition(response, "StorageReady")["message"]
    assert response["status"]["verified"] is True


def test_the_size_that_was_granted_not_the_one_asked_for_has_to_be_there() -> None:
    scene = scenes.verified()
    edit(scene, storage={"size": "1Gi"})
    scene.child(CLAIM)["status"]["capacity"]["storage"] = "1Gi"
    assert condition(scene.sync(), "StorageReady")["reason"] == "ClaimResizing"


def test_access_modes_stay_what_they_are() -> None:
    scene = scenes.verified()
    scene.child(CLAIM)["spec"]["accessModes"] = ["ReadWriteOncePod"]
    assert only(scene.sync(), CLAIM)["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_a_claim_that_says_little_of_itself_is_asked_for_as_wished() -> None:
    scene = scenes.verified()
    edit(scene, storage={"size": "3Gi", "storageClassName": "fast"})
    scene.child(CLAIM)["spec"] = {}
    spec = only(scene.sync(), CLAIM)["spec"]
    assert (spec["resources"]["requests"]["storage"], spec["storageClassName"]) == ("3Gi", "fast")


@pytest.mark.parametrize("running", [True, False])
def test_no_pod_is_started_on_a_claim_that_is_being_deleted_and_none_that_runs_is_touched(running: bool) -> None:
    scene = scenes.verified()
    scene.child(CLAIM)["metadata"].update(GONE)
    before = json.loads(scene.child(STATEFUL_SET)["metadata"]["annotations"][scenes.LAST_APPLIED])
    edit(scene, runtime={"image": "newer:1"}, suspend=True)
    if not running:
        scene.drop(STATEFUL_SET)
    response = scene.sync()

    assert scenes.children_of(response, STATEFUL_SET) == ([before] if running else [])
    assert scenes.children_of(response, CLAIM)
    assert response["status"]["verified"] is False
    assert "that is being deleted" in condition(response, "WorkloadReady")["message"]


def test_under_server_side_apply_a_workload_that_must_stay_cannot_be_answered() -> None:
    scene = scenes.verified()
    scene.child(CLAIM)["metadata"].update(GONE)
    del scene.child(STATEFUL_SET)["metadata"]["annotations"][scenes.LAST_APPLIED]
    with pytest.raises(CannotFreezeError, match=f"StatefulSet userswarms/{NAME}"):
        scene.sync()


def retained(annotations: Json | None = None, owners: list[Json] | None = None) -> Scene:
    """Return a new swarm under whose claim's name a claim lies that it does not own."""
    earlier = scenes.verified()
    claim = copy.deepcopy(earlier.child(CLAIM))
    del claim["metadata"]["ownerReferences"]
    del claim["metadata"]["annotations"][scenes.LAST_APPLIED]
    claim["metadata"]["labels"]["controller-uid"] = "an-earlier-life"
    claim["metadata"]["annotations"]["crawbl.ai/released"] = "true"
    claim["metadata"]["annotations"] |= annotations or {}
    if owners is not None:
        claim["metadata"]["ownerReferences"] = owners
    scene = Scene()
    scene.relate(claim)
    return scene


def test_a_claim_of_an_earlier_life_is_mounted_reported_and_never_returned() -> None:
    scene = retained()
    response = scene.sync()

    assert names(response) == [each for each in ALL if each[0] != "PersistentVolumeClaim"]
    assert condition(response, "StorageReady")["reason"] == "ClaimRetained"
    assert condition(response, "StorageReady")["status"] == "True"
    volumes = only(response, STATEFUL_SET)["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": f"{NAME}-data"}} in volumes


def test_a_retained_claim_that_is_too_small_is_told_and_left_alone() -> None:
    scene = retained()
    edit(scene, storage={"size": "9Gi"})
    found = condition(scene.sync(), "StorageReady")
    assert found["reason"] == "ClaimResizing"
    assert "do it by hand" in found["message"]


@pytest.mark.parametrize(
    "scene",
    [
        pytest.param(retained({"crawbl.ai/user-id": "another-user"}), id="another user"),
        pytest.param(retained({"crawbl.ai/workspace-id": "another"}), id="another workspace"),
        pytest.param(retained({"crawbl.ai/name": "another"}), id="another swarm"),
        pytest.param(retained(owners=[{"kind": "UserSwarm", "name": "b", "uid": "b"}]), id="owned by another"),
    ],
)
def test_a_claim_that_is_not_this_users_is_never_mounted(scene: Scene) -> None:
    response = scene.sync()

    assert condition(response, "StorageReady")["reason"] == "NameConflict"
    assert not scenes.children_of(response, STATEFUL_SET)
    assert not scenes.children_of(response, CLAIM)
    assert "not this swarm's" in condition(response, "WorkloadReady")["message"]
    assert response["status"]["verified"] is False


def test_a_claim_that_says_nothing_of_itself_is_nobodys_to_mount() -> None:
    scene = retained()
    del next(iter(scene.related[CLAIM.group].values()))["metadata"]["annotations"]
    assert condition(scene.sync(), "StorageReady")["reason"] == "NameConflict"


def test_a_claim_of_ours_that_is_not_among_the_children_yet_is_ours_all_the_same() -> None:
    scene = retained(owners=[{"kind": "UserSwarm", "name": "workspace-a", "uid": "uid-of-workspace-a"}])
    assert condition(scene.sync(), "StorageReady")["status"] == "True"

    # One that was never stored owns nothing.
    del scene.parent["metadata"]["uid"]
    assert condition(scene.sync(), "StorageReady")["reason"] == "NameConflict"


def test_a_running_pod_is_not_restarted_when_its_claim_becomes_anothers() -> None:
    scene = scenes.verified()
    claim = copy.deepcopy(scene.child(CLAIM))
    before = json.loads(scene.child(STATEFUL_SET)["metadata"]["annotations"][scenes.LAST_APPLIED])
    scene.drop(CLAIM)
    claim["metadata"]["ownerReferences"] = [{"kind": "Backup", "name": "b", "uid": "b"}]
    scene.relate(claim)
    edit(scene, runtime={"image": "newer:1"})
    assert only(scene.sync(), STATEFUL_SET) == before


def test_a_retained_claim_that_is_being_deleted_is_awaited() -> None:
    scene = retained()
    next(iter(scene.related[CLAIM.group].values()))["metadata"].update(GONE)
    response = scene.sync()
    assert condition(response, "StorageReady")["reason"] == "Terminating"
    assert not scenes.children_of(response, STATEFUL_SET)
    assert not scenes.children_of(response, CLAIM)


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
    assert name in condition(response, "StorageReady")["message"]


@pytest.mark.parametrize(("kind", "name"), [(CONFIG_MAP, "older-config"), (SERVICE, "older"), (JOB, "verify-old-1")])
def test_what_an_older_release_made_without_data_of_its_own_is_cleared_away(kind: scenes.Kind, name: str) -> None:
    scene = scenes.verified()
    _beside(scene, kind.kind, kind.api_version, name)
    assert names(scene.sync()) == ALL


# --- the configuration comes before its Pod --------------------------------------------------------------------------


def template(response: Json) -> Json:
    found: Json = only(response, STATEFUL_SET)["spec"]["template"]
    return found


@pytest.mark.parametrize("spec", [{"config": {"defaultModel": "m"}}, {"config": {"files": {"SOUL.md": "x"}}}])
def test_the_template_waits_until_the_new_configuration_is_stored(spec: Json) -> None:
    scene = scenes.verified()
    before = template(scene.sync())
    edit(scene, **spec)

    first = scene.sync()
    assert template(first) == before
    assert only(first, CONFIG_MAP)["data"] != scene.child(CONFIG_MAP)["data"]
    assert condition(first, "WorkloadReady")["message"].endswith("; the new configuration is stored first")

    scene.child(CONFIG_MAP)["data"] = only(first, CONFIG_MAP)["data"]
    second = scene.sync()
    assert template(second) != before
    assert template(second) == template(Scene(scene.parent).sync())


def _store(scene: Scene, response: Json) -> Json:
    """Let Metacontroller update the ConfigMap as an answer desires it."""
    config = scene.child(CONFIG_MAP)
    wanted = only(response, CONFIG_MAP)
    config["metadata"]["annotations"][scenes.LAST_APPLIED] = json.dumps(wanted)
    config["data"] |= wanted["data"]
    return config


def test_a_key_that_somebody_added_to_the_configuration_does_not_hold_its_roll_out_for_ever() -> None:
    scene = scenes.verified()
    scene.child(CONFIG_MAP)["data"]["added-by-hand"] = "x"
    edit(scene, config={"defaultModel": "m"})
    held = scene.sync()
    assert "crawbl.ai/checksum" in template(held)["metadata"]["annotations"]
    _store(scene, held)
    assert template(scene.sync()) == template(Scene(scene.parent).sync())


def test_a_file_that_we_took_out_has_to_be_gone_before_the_pod_starts_anew() -> None:
    scene = scenes.verified(scenes.user_swarm(config={"files": {"SOUL.md": "x"}}))
    before = template(scene.sync())
    edit(scene, config={})
    assert template(scene.sync()) == before


def test_a_suspension_does_not_wait_for_the_configuration() -> None:
    scene = scenes.verified()
    edit(scene, config={"defaultModel": "m"}, suspend=True)
    held = only(scene.sync(), STATEFUL_SET)
    assert held["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda scene: scene.drop(CONFIG_MAP), id="no ConfigMap yet"),
        pytest.param(
            lambda scene: scene.child(STATEFUL_SET)["metadata"]["annotations"].pop(scenes.LAST_APPLIED),
            id="server-side apply",
        ),
    ],
)
def test_where_nothing_can_be_held_the_new_template_is_asked_for_at_once(change: Callable[[Scene], None]) -> None:
    scene = scenes.verified()
    change(scene)
    edit(scene, config={"defaultModel": "m"})
    assert template(scene.sync()) == template(Scene(scene.parent).sync())


def test_a_configuration_edited_by_hand_is_put_back_and_rolls_nothing() -> None:
    scene = scenes.verified()
    before = scene.sync()
    scene.child(CONFIG_MAP)["data"]["config.toml"] = "edited = true"
    after = scene.sync()
    assert only(after, CONFIG_MAP) == only(before, CONFIG_MAP)
    assert template(after) == template(before)


# --- what cannot be changed is replaced in order ---------------------------------------------------------------------


def _field(kind: scenes.Kind, name: str | None, field: str, value: Any) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        spec = scene.child(kind, name)["spec"]
        if value is None:
            spec.pop(field)
        else:
            spec[field] = value

    return change


REPLACED = {
    "another selector": (STATEFUL_SET, NAME, "selector", {"matchLabels": {"app": "old"}}),
    "another headless Service": (STATEFUL_SET, NAME, "serviceName", "old"),
    "ordered Pods": (STATEFUL_SET, NAME, "podManagementPolicy", "OrderedReady"),
    "claims of its own": (STATEFUL_SET, NAME, "volumeClaimTemplates", [{"metadata": {"name": "data"}}]),
    "a headless Service with an address": (SERVICE, f"{NAME}-headless", "clusterIP", "10.0.0.9"),
    "a Service without one": (SERVICE, NAME, "clusterIP", "None"),
}


@pytest.mark.parametrize("case", REPLACED)
def test_a_child_with_a_field_that_cannot_be_changed_goes_first_and_is_then_made_again(case: str) -> None:
    kind, name, field, value = REPLACED[case]
    scene = scenes.verified()
    claim = only(scene.sync(), CLAIM)
    _field(kind, name, field, value)(scene)

    removed = scenes.step(scene)
    assert (kind.kind, name) not in names(removed)
    assert len(removed["children"]) == len(ALL) - 1
    assert only(removed, CLAIM) == claim
    stage = condition(removed, "WorkloadReady" if kind is STATEFUL_SET else "ServiceReady")
    assert stage["reason"] == "RolloutInProgress"
    assert f"{kind.kind} userswarms/{name} differs in spec.{field}" in stage["message"]
    assert removed["status"]["verified"] is False

    scene.drop(kind, name)
    assert names(scene.sync()) == ALL


@pytest.mark.parametrize("defaulted", [{"revisionHistoryLimit": 10}, {"persistentVolumeClaimRetentionPolicy": {}}])
def test_what_can_be_changed_or_was_defaulted_is_no_reason_to_replace(defaulted: Json) -> None:
    scene = scenes.verified()
    scene.child(STATEFUL_SET)["spec"] |= {"volumeClaimTemplates": [], **defaulted}
    scene.child(SERVICE, NAME)["spec"] |= {"clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "ports": []}
    assert names(scene.sync()) == ALL


def test_a_stateful_set_is_not_made_while_the_pod_of_the_one_before_it_still_ends() -> None:
    scene = scenes.verified()
    scene.drop(STATEFUL_SET)
    scene.pod["metadata"].update(GONE)
    response = scene.sync()
    assert not scenes.children_of(response, STATEFUL_SET)
    assert f"waiting for the earlier Pod {NAME}-0 to be gone" in condition(response, "WorkloadReady")["message"]

    # One that does not end is adopted by the StatefulSet.
    del scene.pod["metadata"]["deletionTimestamp"]
    assert names(scene.sync()) == ALL
    scene.related[POD.group].clear()
    assert names(scene.sync()) == ALL


# --- a spec that cannot be built -------------------------------------------------------------------------------------


def broken(scene: Scene) -> Scene:
    edit(scene, config={"tomlOverrides": "BAD"})
    return scene


@pytest.mark.parametrize("state", [Scene, scenes.created, scenes.ready, scenes.under_test, scenes.verified])
def test_a_broken_spec_leaves_every_child_exactly_as_it_was_applied(state: Callable[[], Scene]) -> None:
    scene = state()
    applied = [
        json.loads(stored["metadata"]["annotations"][scenes.LAST_APPLIED])
        for objects in scene.children.values()
        for stored in objects.values()
    ]
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


@pytest.mark.parametrize("state", [scenes.created, scenes.ready, scenes.under_test, scenes.verified])
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


def test_a_stateful_set_whose_last_applied_was_edited_by_hand_is_rolled_out_all_the_same() -> None:
    scene = scenes.verified()
    metadata = scene.child(STATEFUL_SET)["metadata"]
    place = {"name": metadata["name"], "namespace": "userswarms"}
    edited = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": place}
    metadata["annotations"][scenes.LAST_APPLIED] = json.dumps(edited)
    scene.parent["spec"]["config"] = {"defaultModel": "another"}

    [wanted] = scenes.children_of(scene.sync(), STATEFUL_SET)

    assert template_checksum(wanted) != template_checksum(scene.child(STATEFUL_SET))
