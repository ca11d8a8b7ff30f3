"""`status.verified`, clause by clause: each test breaks one thing of a verified swarm."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import scenes
from scenes import Json, Scene, condition
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET

GONE = {"deletionTimestamp": "2026-11-20T11:59:59Z"}
NAME = "swarm-workspace-a"


def stateful_set(scene: Scene) -> Json:
    return scene.child(STATEFUL_SET)


def status(**fields: object) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        stateful_set(scene)["status"] |= fields

    return change


def without(field: str) -> Callable[[Scene], None]:
    def change(scene: Scene) -> None:
        del stateful_set(scene)["status"][field]

    return change


def _edit(scene: Scene, **spec: object) -> None:
    scene.parent["spec"] |= spec
    scene.parent["metadata"]["generation"] += 1


def _old_template(scene: Scene) -> None:
    stateful_set(scene)["spec"]["template"]["metadata"]["annotations"]["crawbl.ai/checksum"] = "0" * 64


def _no_revisions(scene: Scene) -> None:
    without("currentRevision")(scene)
    without("updateRevision")(scene)


def _no_annotations(scene: Scene) -> None:
    del stateful_set(scene)["spec"]["template"]["metadata"]["annotations"]


def _forget_test(scene: Scene) -> None:
    del scene.parent["status"]["verifiedChecksum"]


def _other_test(scene: Scene) -> None:
    scene.parent["status"]["verifiedChecksum"] = "0" * 64


def _marked(*where: object) -> Callable[[Scene], None]:
    kind, name = where if len(where) == 2 else (where[0], None)

    def change(scene: Scene) -> None:
        scene.child(kind, name)["metadata"].update(GONE)  # type: ignore[arg-type]

    return change


def _dropped(*where: object) -> Callable[[Scene], None]:
    kind, name = where if len(where) == 2 else (where[0], None)

    def change(scene: Scene) -> None:
        scene.drop(kind, name)  # type: ignore[arg-type]

    return change


def _claim(change: Callable[[Json], None]) -> Callable[[Scene], None]:
    return lambda scene: change(scene.child(CLAIM))


CLAUSES: dict[str, tuple[Callable[[Scene], None], str, str, str]] = {
    # not deleting, suspended or invalid
    "deleting": (lambda scene: scene.parent["metadata"].update(GONE) or None, "Verified", "Terminating", "deleted"),
    "suspended": (lambda scene: _edit(scene, suspend=True), "Verified", "Suspended", "spec.suspend is true"),
    "invalid": (
        lambda scene: _edit(scene, config={"tomlOverrides": "BAD"}),
        "SpecValid",
        "InvalidSpec",
        "spec.config.tomlOverrides",
    ),
    # every desired child observed and owned
    "no ServiceAccount": (
        _dropped(SERVICE_ACCOUNT),
        "WorkloadReady",
        "ChildMissing",
        f"ServiceAccount userswarms/{NAME}",
    ),
    "no ConfigMap": (_dropped(CONFIG_MAP), "WorkloadReady", "ChildMissing", f"ConfigMap userswarms/{NAME}-config"),
    "no claim": (_dropped(CLAIM), "StorageReady", "ChildMissing", f"PersistentVolumeClaim userswarms/{NAME}-data"),
    "no Service": (_dropped(SERVICE, NAME), "ServiceReady", "ChildMissing", f"Service userswarms/{NAME} "),
    "no headless Service": (
        _dropped(SERVICE, f"{NAME}-headless"),
        "ServiceReady",
        "ChildMissing",
        f"Service userswarms/{NAME}-headless",
    ),
    "no StatefulSet": (_dropped(STATEFUL_SET), "WorkloadReady", "ChildMissing", f"StatefulSet userswarms/{NAME}"),
    "ServiceAccount deleted": (_marked(SERVICE_ACCOUNT), "WorkloadReady", "Terminating", "ServiceAccount"),
    "ConfigMap deleted": (_marked(CONFIG_MAP), "WorkloadReady", "Terminating", "ConfigMap"),
    "claim deleted": (_marked(CLAIM), "StorageReady", "Terminating", "save what is needed"),
    "Service deleted": (_marked(SERVICE, NAME), "ServiceReady", "Terminating", "will be made again"),
    "headless Service deleted": (_marked(SERVICE, f"{NAME}-headless"), "ServiceReady", "Terminating", "headless"),
    "StatefulSet deleted": (_marked(STATEFUL_SET), "WorkloadReady", "RolloutInProgress", "is being deleted"),
    # the StatefulSet's counts and revisions, a missing field being 0
    "generation not seen": (
        lambda scene: stateful_set(scene)["metadata"].update(generation=2) or None,
        "WorkloadReady",
        "RolloutInProgress",
        "not ready yet",
    ),
    "observedGeneration missing": (
        without("observedGeneration"),
        "WorkloadReady",
        "RolloutInProgress",
        "not ready yet",
    ),
    "another revision rolls out": (status(updateRevision="x"), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "currentRevision missing": (without("currentRevision"), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "updateRevision missing": (without("updateRevision"), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "both revisions missing": (
        _no_revisions,
        "WorkloadReady",
        "RolloutInProgress",
        "not ready yet",
    ),
    "updatedReplicas 0": (status(updatedReplicas=0), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "updatedReplicas missing": (
        without("updatedReplicas"),
        "WorkloadReady",
        "RolloutInProgress",
        "not ready yet",
    ),
    "updatedReplicas 2": (status(updatedReplicas=2), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "readyReplicas 0": (status(readyReplicas=0), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "readyReplicas missing": (without("readyReplicas"), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "readyReplicas 2": (status(readyReplicas=2), "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "no status at all": (
        lambda scene: stateful_set(scene).pop("status") and None,
        "WorkloadReady",
        "RolloutInProgress",
        "not ready yet",
    ),
    # the template carries the checksum wanted now
    "an old template": (_old_template, "WorkloadReady", "RolloutInProgress", "not ready yet"),
    "a template without checksum": (
        _no_annotations,
        "WorkloadReady",
        "RolloutInProgress",
        "not ready yet",
    ),
    # the claim Bound and large enough
    "claim pending": (
        _claim(lambda claim: claim["status"].update(phase="Pending")),
        "StorageReady",
        "ClaimPending",
        "is Pending, not Bound",
    ),
    "claim lost": (
        _claim(lambda claim: claim["status"].update(phase="Lost")),
        "StorageReady",
        "ClaimPending",
        "is Lost, not Bound",
    ),
    "claim without status": (_claim(lambda claim: claim.pop("status")), "StorageReady", "ClaimPending", "is Pending"),
    "claim too small": (
        _claim(lambda claim: claim["status"]["capacity"].update(storage="2047Mi")),
        "StorageReady",
        "ClaimResizing",
        "has 2047Mi of 2Gi: waiting for the volume to grow",
    ),
    "claim without capacity": (
        _claim(lambda claim: claim["status"].pop("capacity")),
        "StorageReady",
        "ClaimResizing",
        "has 0 of 2Gi",
    ),
    # the runtime has answered since its Pod became ready
    "no test recorded": (_forget_test, "Verified", "SmokeTestRunning", "attempt 1 of 5"),
    "a test of another checksum": (_other_test, "Verified", "SmokeTestRunning", "attempt 1 of 5"),
    # a new spec, while the old Pod is still ready
    "new image": (
        lambda scene: _edit(scene, runtime={"image": "other:1"}),
        "WorkloadReady",
        "RolloutInProgress",
        "wanted now",
    ),
    "new configuration": (
        lambda scene: _edit(scene, config={"defaultModel": "m"}),
        "WorkloadReady",
        "RolloutInProgress",
        "wanted now",
    ),
    "new file": (
        lambda scene: _edit(scene, config={"files": {"SOUL.md": "kind"}}),
        "WorkloadReady",
        "RolloutInProgress",
        "wanted now",
    ),
    "larger volume": (
        lambda scene: _edit(scene, storage={"size": "3Gi"}),
        "StorageReady",
        "ClaimResizing",
        "2Gi of 3Gi",
    ),
}

STAGES = ("SpecValid", "StorageReady", "WorkloadReady", "ServiceReady")


def test_all_clauses_together_are_verified() -> None:
    response = scenes.verified().sync()

    assert response["status"]["verified"] is True
    assert response["status"]["phase"] == "Ready"
    assert [each["status"] for each in response["status"]["conditions"]] == ["True"] * 6
    assert "resyncAfterSeconds" not in response


@pytest.mark.parametrize("clause", CLAUSES)
def test_one_broken_clause_makes_verified_false_at_once_and_is_named(clause: str) -> None:
    change, stage, reason, message = CLAUSES[clause]
    scene = scenes.verified()
    change(scene)

    response = scene.sync()

    assert response["status"]["verified"] is False
    assert condition(response, "Ready")["status"] == "False"
    assert condition(response, "Verified")["status"] == "False"
    assert condition(response, stage)["reason"] == reason
    assert message in condition(response, stage)["message"]
    assert condition(response, "Verified")["reason"] == reason
    # Only that clause fails: every other stage is as good as before.
    others = [each for each in STAGES if each != stage and condition(response, each)["status"] != "True"]
    assert others == {"no StatefulSet": []}.get(clause, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.update(labels={"team": "a", "crawbl.ai/keep": "true"}),
        lambda metadata: metadata.update(annotations={"note": "x"}),
        lambda metadata: metadata.update(annotations={"crawbl.ai/retry-verification": "again"}),
        lambda metadata: metadata.update(resourceVersion="7", managedFields=[{}]),
    ],
)
def test_labels_and_annotations_of_the_parent_roll_nothing_and_test_nothing(change: Callable[[Json], None]) -> None:
    scene = scenes.verified()
    before = scene.sync()
    change(scene.parent["metadata"])

    assert scene.sync() == before
    assert "needs" not in before


@pytest.mark.parametrize(
    ("kind", "name", "stage"),
    [
        (STATEFUL_SET, NAME, "WorkloadReady"),
        (SERVICE, f"{NAME}-headless", "ServiceReady"),
        (CONFIG_MAP, f"{NAME}-config", "WorkloadReady"),
    ],
)
@pytest.mark.parametrize(
    ("owners", "told"),
    [([{"kind": "Release", "name": "other", "uid": "u"}], "belongs to Release other"), ([], "nobody we know of")],
)
def test_a_foreign_object_under_a_childs_name_is_a_name_conflict_where_it_can_be_seen(
    kind: scenes.Kind, name: str, stage: str, owners: list[Json], told: str
) -> None:
    scene = scenes.verified()
    foreign = scene.child(kind, name)
    scene.drop(kind, name)
    foreign["metadata"]["ownerReferences"] = owners
    scene.relate(foreign)

    found = condition(scene.sync(), stage)
    assert found["reason"] == "NameConflict"
    assert told in found["message"]
