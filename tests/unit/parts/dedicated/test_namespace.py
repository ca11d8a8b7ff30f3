"""Where a Dedicated swarm lives: made by us, or lent; there or not; and that nothing is built without its walls."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import scenes
import workload_samples as samples
from scenes import LAST_APPLIED, Scene, children_of, condition
from userswarm.wire.k8s import (
    CLAIM,
    CONFIG_MAP,
    DEDICATED_KINDS,
    DEPLOYMENT,
    JOB,
    LIMIT_RANGE,
    NAMESPACE,
    NETWORK_POLICY,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    STATEFUL_SET,
    Kind,
)

Json = dict[str, Any]

MANAGED = {"isolation": "Dedicated"}
LENT = {"isolation": "Dedicated", "namespaceMode": "operator", "runtimeNamespace": "lent"}
OWN = "swarm-workspace-a"
ROOM = {"quota": {"cpu": 4, "memory": "4Gi", "pods": 20}}
ACCESS = {"role": "edit", "members": [{"kind": "User", "name": "ada", "role": "view"}]}


def managed(**spec: Any) -> Json:
    parent: Json = scenes.user_swarm(placement=MANAGED, **spec)
    return parent


def lent(**spec: Any) -> Json:
    parent: Json = scenes.user_swarm(placement=LENT, **spec)
    return parent


def kinds(response: Json) -> set[str]:
    return {child["kind"] for child in response["children"]}


def spec_valid(response: Json) -> str:
    assert response["status"]["phase"] == "Invalid"
    assert response["status"]["verified"] is False
    message: str = condition(response, "SpecValid")["message"]
    return message


def last_applied(scene: Scene) -> list[Json]:
    found = [
        json.loads(each["metadata"]["annotations"][LAST_APPLIED])
        for group in sorted(scene.children)
        for _, each in sorted(scene.children[group].items())
    ]
    assert found
    return found


# --- a namespace of our own ------------------------------------------------------------------------------------------


def test_the_namespace_comes_first_and_alone_and_all_else_once_it_is_active() -> None:
    scene = Scene(managed())
    response = scene.sync()
    assert kinds(response) == {"Namespace"}
    assert response["status"]["phase"] == "Pending"
    assert condition(response, "NamespaceReady")["status"] == "False"
    assert condition(response, "NamespaceReady")["reason"] == "ChildMissing"

    scene.apply(response)
    scene.adopt_status(response)
    scene.now += timedelta(seconds=61)
    namespace = scene.child(NAMESPACE)
    namespace["status"] = {}
    response = scene.sync()
    assert kinds(response) == {"Namespace"}
    assert "is not Active yet" in condition(response, "NamespaceReady")["message"]

    namespace["status"] = {"phase": "Active"}
    response = scene.sync()
    assert kinds(response) == {NAMESPACE.kind, *(kind.kind for kind in (NETWORK_POLICY, RESOURCE_QUOTA, LIMIT_RANGE))}
    response = scenes.verified(managed()).sync()
    assert {STATEFUL_SET.kind, CLAIM.kind} < kinds(response)
    assert all(child["metadata"].get("namespace", OWN) == OWN for child in response["children"])
    assert response["status"]["runtimeNamespace"] == OWN
    assert response["status"]["endpoint"] == f"http://{OWN}.{OWN}.svc:42617"


def test_a_settled_swarm_is_verified_and_asks_for_nothing_new() -> None:
    scene = scenes.verified(managed(access=ACCESS, workloads=[samples.config_map()]))
    response = scene.sync()
    assert condition(response, "NamespaceReady")["reason"] == "Active"
    assert condition(response, "WorkloadsReady")["status"] == "True"
    assert scene.sync() == response
    assert response["status"] == scene.parent["status"]


WALLS = (RESOURCE_QUOTA, LIMIT_RANGE, ROLE)


@pytest.mark.parametrize("kind", WALLS, ids=lambda kind: kind.kind)
def test_a_swarm_without_one_of_its_walls_is_not_verified(kind: Kind) -> None:
    scene = scenes.verified(managed(access=ACCESS))
    wall = scene.child(kind)
    wall["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:00Z"
    response = scene.sync()
    assert response["status"]["verified"] is False
    assert condition(response, "NamespaceReady")["reason"] == "Terminating"
    scene.drop(kind)
    response = scene.sync()
    assert response["status"]["verified"] is False
    assert condition(response, "NamespaceReady")["reason"] == "ChildMissing"
    assert f"{kind.kind} {OWN}/{OWN}" in condition(response, "Ready")["message"]
    # It is asked for, and everything else stays.
    assert children_of(response, kind)
    assert children_of(response, STATEFUL_SET)


def test_each_policy_counts() -> None:
    scene = scenes.verified(managed())
    for name in [each["metadata"]["name"] for each in children_of(scene.sync(), NETWORK_POLICY)]:
        lacking = copy.deepcopy(scene)
        lacking.drop(NETWORK_POLICY, name)
        assert f"{OWN}/{name}" in condition(lacking.sync(), "NamespaceReady")["message"]


def test_nobody_is_asked_before_the_walls_stand() -> None:
    scene = scenes.ready(managed())
    assert "http" in scene.sync()["needs"]
    scene.drop(NETWORK_POLICY, f"{OWN}-deny")
    assert "needs" not in scene.sync()


def foreign(**metadata: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": OWN, "uid": "other", **metadata},
        "status": {"phase": "Active"},
    }


def released_annotations(user: str = "user-1") -> dict[str, str]:
    return {
        "crawbl.ai/name": "workspace-a",
        "crawbl.ai/user-id": user,
        "crawbl.ai/workspace-id": "a",
        "crawbl.ai/released": "true",
    }


NOT_OURS: dict[str, Json] = {
    "anybody's": {},
    "another controller's": {"ownerReferences": [{"kind": "Other", "name": "x", "uid": "y"}]},
    "of an earlier life, but of another user": {"annotations": released_annotations("user-2")},
    "of an earlier life, but never released": {
        "annotations": {k: v for k, v in released_annotations().items() if k != "crawbl.ai/released"}
    },
    "released, and taken by somebody": {
        "annotations": released_annotations(),
        "ownerReferences": [{"kind": "Other", "name": "x", "uid": "y"}],
    },
}


def refused_to_make() -> Scene:
    """Return a swarm whose namespace was asked for and did not come about."""
    scene = Scene(managed())
    scenes.step(scene)
    return scene


def test_a_namespace_that_does_not_come_about_is_looked_up() -> None:
    assert "needs" not in Scene(managed()).sync()
    need = {"apiVersion": "v1", "kind": "Namespace", "resource": "namespaces", "names": [OWN]}
    assert refused_to_make().sync()["needs"] == {"objects": [need]}


@pytest.mark.parametrize("whose", NOT_OURS)
def test_a_namespace_that_is_not_ours_is_a_conflict_and_nothing_is_touched(whose: str) -> None:
    scene = refused_to_make()
    response = scene.ask(foreign(**NOT_OURS[whose]))
    assert response["children"] == []
    assert condition(response, "NamespaceReady")["reason"] == "NameConflict"
    assert condition(response, "Ready")["reason"] == "NameConflict"
    # It recovers.
    scene.adopt_status(response)
    assert kinds(scene.ask()) == {"Namespace"}


def test_what_cannot_be_looked_up_is_said_and_nothing_comes_about_for_it() -> None:
    scene = refused_to_make()
    scene.unavailable = {NAMESPACE.group: "the API answers 403"}
    scene.now += timedelta(seconds=60)
    response = scene.sync()
    assert kinds(response) == {"Namespace"}
    assert "cannot be looked up: the API answers 403" in condition(response, "NamespaceReady")["message"]


def test_a_namespace_that_was_just_made_is_no_conflict() -> None:
    scene = Scene(managed())
    owner = {"kind": "UserSwarm", "name": "workspace-a", "uid": "uid-of-workspace-a"}
    scene.relate(foreign(ownerReferences=[owner]))
    response = scene.sync()
    assert condition(response, "NamespaceReady")["reason"] == "ChildMissing"
    assert kinds(response) == {"Namespace"}
    never_stored = Scene(managed())
    del never_stored.parent["metadata"]["uid"]
    never_stored.relate(foreign(ownerReferences=[{"kind": "UserSwarm", "name": "workspace-a", "uid": "x"}]))
    assert condition(never_stored.sync(), "NamespaceReady")["reason"] == "NameConflict"


def test_a_namespace_released_by_an_earlier_life_of_this_users_swarm_is_used_and_not_owned() -> None:
    left = foreign(annotations=released_annotations())
    scene = refused_to_make()
    for _ in range(3):
        response = scene.ask(left)
        assert NAMESPACE.kind not in kinds(response)
        assert condition(response, "NamespaceReady")["reason"] in ("NamespaceRetained", "ChildMissing")
        scene.apply(response)
        scene.adopt_status(response)
        scene.now += timedelta(seconds=61)
    assert STATEFUL_SET.kind in kinds(response)
    assert condition(scene.ask(left), "NamespaceReady")["reason"] == "NamespaceRetained"

    # While it goes nothing is made in it, and nothing made for it.
    left["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:00Z"
    response = scene.ask(left)
    assert condition(response, "NamespaceReady")["reason"] == "Terminating"
    assert sorted(map(json.dumps, response["children"])) == sorted(map(json.dumps, last_applied(scene)))
    # Gone, it is made anew, with all that is in it.
    assert NAMESPACE.kind in kinds(scene.ask())


def test_a_retained_namespace_is_not_looked_up_once_the_swarm_is_settled_in_it() -> None:
    scene = scenes.verified(managed())
    left = scene.child(NAMESPACE)
    left["metadata"] |= {"annotations": released_annotations()}
    del left["metadata"]["ownerReferences"]
    scene.drop(NAMESPACE)
    for _ in range(2):
        scene.adopt_status(scene.ask(left, http=scenes.HEALTHY))
    assert scene.parent["status"]["verified"] is True
    assert condition(scene.parent, "NamespaceReady")["reason"] == "NamespaceRetained"
    assert "needs" not in scene.sync()


@pytest.mark.parametrize(
    "change",
    [
        lambda namespace: namespace["metadata"].update(deletionTimestamp="2026-11-20T11:59:00Z"),
        lambda namespace: namespace.update(status={"phase": "Terminating"}),
    ],
)
def test_while_the_namespace_goes_nothing_in_it_is_changed(change: Callable[[Json], None]) -> None:
    scene = scenes.verified(managed())
    scene.parent["spec"]["runtime"] = {"image": "registry.example/new:2"}
    change(scene.child(NAMESPACE))
    response = scene.sync()
    assert condition(response, "NamespaceReady")["reason"] == "Terminating"
    assert response["status"]["verified"] is False
    applied = last_applied(scene)
    assert [each for each in response["children"] if each["kind"] != "Namespace"] == [
        each for each in applied if each["kind"] != "Namespace"
    ]
    assert NAMESPACE.kind in kinds(response)


# --- a namespace that is lent ----------------------------------------------------------------------------------------


def test_a_lent_namespace_is_never_among_the_children() -> None:
    scene = scenes.verified(lent())
    response = scene.sync()
    assert NAMESPACE.kind not in kinds(response)
    assert condition(response, "NamespaceReady")["reason"] == "Lent"
    assert all(child["metadata"]["namespace"] == "lent" for child in response["children"])


NEED = {"apiVersion": "v1", "kind": "Namespace", "resource": "namespaces", "names": ["lent"]}


def asking(parent: Json | None = None) -> Scene:
    """Return a swarm of which nothing is known but what it asks for."""
    scene = Scene(lent() if parent is None else parent)
    scene.related.clear()
    return scene


def test_a_namespace_that_has_to_be_lent_is_looked_up_at_once() -> None:
    response = asking().sync()
    assert response["children"] == []
    assert response["needs"] == {"objects": [NEED]}
    assert kinds(asking().ask(scenes.lent_namespace("lent"))) == {NETWORK_POLICY.kind}


def test_a_swarm_in_a_lent_namespace_comes_up_by_what_is_looked_up_and_then_needs_nothing() -> None:
    namespace = scenes.lent_namespace("lent")
    scene = scenes.ready(lent())
    scene.related.clear()
    # Together with its consent, for a hook is asked only once more.
    assert scene.sync()["needs"]["objects"] == [NEED]
    assert "http" in scene.sync()["needs"]
    response = scene.ask(namespace, http=scenes.HEALTHY)
    assert response["status"]["verified"] is True

    scene.adopt_status(response)
    assert "needs" not in scene.sync()
    assert scene.sync()["status"] == response["status"]


def withdrawn(**changes: Any) -> Json:
    namespace = scenes.lent_namespace("lent")
    namespace["metadata"] |= changes
    return namespace


NOT_LENT: dict[str, tuple[list[Json], str]] = {
    "not there": ([], "there is no namespace 'lent'"),
    "unlabelled": ([withdrawn(labels=None)], "does not have the label crawbl.ai/allow-userswarms: 'true'"),
    "labelled otherwise": ([withdrawn(labels={"crawbl.ai/allow-userswarms": ""})], "does not have the label"),
    "going": ([withdrawn(deletionTimestamp="2026-11-20T11:59:00Z")], "is being deleted"),
}


@pytest.mark.parametrize("how", NOT_LENT)
def test_without_its_operators_consent_a_namespace_is_not_used(how: str) -> None:
    around, told = NOT_LENT[how]
    response = asking().ask(*around)
    assert response["children"] == []
    assert condition(response, "Ready")["reason"] == "NamespaceNotLent"
    assert told in condition(response, "NamespaceReady")["message"]


@pytest.mark.parametrize("how", NOT_LENT)
def test_a_consent_that_is_withdrawn_freezes_a_swarm_that_is_not_settled_and_given_back_frees_it(how: str) -> None:
    around, told = NOT_LENT[how]
    scene = scenes.verified(lent())
    scene.related.clear()
    scene.parent["spec"]["runtime"] = {"image": "registry.example/new:2"}
    # Settled so far, it is not looked up; what is new makes it look again.
    scene.adopt_status(scene.ask())
    response = scene.ask(*around)
    assert sorted(map(json.dumps, response["children"])) == sorted(map(json.dumps, last_applied(scene)))
    assert told in condition(response, "NamespaceReady")["message"]

    scene.adopt_status(response)
    wanted = children_of(scene.ask(scenes.lent_namespace("lent")), STATEFUL_SET)[0]
    assert wanted["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/new:2"


def test_a_consent_that_cannot_be_read_makes_nothing_and_takes_nothing_from_a_settled_swarm() -> None:
    scene = asking()
    scene.unavailable = {NAMESPACE.group: "the API answers 403"}
    response = scene.sync()
    assert response["children"] == []
    assert "is not known: the API answers 403" in condition(response, "NamespaceReady")["message"]

    settled = scenes.verified(lent())
    settled.related.clear()
    before = settled.sync()
    settled.unavailable = scene.unavailable
    assert settled.sync() == before

    # One that is not settled stays as it is.
    settled.parent["status"]["verified"] = False
    settled.parent["spec"]["runtime"] = {"image": "registry.example/new:2"}
    frozen = settled.sync()["children"]
    assert sorted(map(json.dumps, frozen)) == sorted(map(json.dumps, last_applied(settled)))


def test_several_swarms_in_one_lent_namespace_do_not_meet() -> None:
    first = scenes.verified(lent(access=ACCESS, limitRange={"max": {"cpu": 1}}))
    parent = scenes.user_swarm("workspace-b", placement=LENT, access=ACCESS, limitRange={"max": {"cpu": 1}})
    second = scenes.verified(parent)
    names = [
        {(each["kind"], each["metadata"]["name"]) for each in scene.sync()["children"]} for scene in (first, second)
    ]
    assert len(names[0]) == len(names[1]) == 15
    assert not names[0] & names[1]
    for scene, slug in ((first, "workspace-a"), (second, "workspace-b")):
        for policy in children_of(scene.sync(), NETWORK_POLICY):
            assert policy["spec"]["podSelector"]["matchLabels"]["crawbl.ai/swarm"] == slug


# --- what the controller has to be told ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parent", "needed"),
    [
        (managed(), {NAMESPACE, RESOURCE_QUOTA, LIMIT_RANGE, NETWORK_POLICY}),
        (lent(), {NETWORK_POLICY}),
        (lent(limitRange={"max": {"cpu": 1}}), {RESOURCE_QUOTA, LIMIT_RANGE, NETWORK_POLICY}),
        (lent(access={"role": "view"}), {NETWORK_POLICY, ROLE, ROLE_BINDING}),
        (lent(access={"members": ACCESS["members"]}), {NETWORK_POLICY, ROLE_BINDING}),
        (lent(workloads=[samples.deployment(), samples.config_map()]), {NETWORK_POLICY, DEPLOYMENT, CONFIG_MAP}),
    ],
)
def test_without_a_kind_that_it_needs_a_swarm_does_not_come_up_and_says_what_to_install(
    parent: Json, needed: set[Kind]
) -> None:
    for kind in DEDICATED_KINDS:
        scene = Scene(copy.deepcopy(parent))
        scene.resources = [rule for rule in scene.resources if rule["resource"] != kind.resource]
        for _ in range(4):
            response = scenes.step(scene)
            scene.apply(response)
        scene.now += timedelta(seconds=60)
        response = scene.sync()
        reasons = {each["reason"]: each["message"] for each in response["status"]["conditions"]}
        assert ("KindNotManaged" in reasons) is (kind in needed)
        if kind in needed:
            assert f"{kind.resource} ({kind.api_version}) are not among" in reasons["KindNotManaged"]
            assert "install manifests/components/dedicated" in reasons["KindNotManaged"]
            assert kind.kind not in kinds(response)
            # No Pod runs without its walls.
            assert (STATEFUL_SET.kind in kinds(response)) is (kind is DEPLOYMENT)


def test_a_shared_swarm_needs_none_of_it() -> None:
    scene = scenes.created()
    assert condition(scene.sync(), "SpecValid")["status"] == "True"
    assert not {each["type"] for each in scene.sync()["status"]["conditions"]} & {"NamespaceReady", "WorkloadsReady"}


# --- the tenant's own workloads --------------------------------------------------------------------------------------

DEPLOYED = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def with_workloads(*workloads: Json) -> Scene:
    """Return a verified swarm whose workloads were applied, and whose Deployments are ready."""
    scene = scenes.verified(managed(workloads=list(workloads), **ROOM))
    for each in scene.children[DEPLOYMENT.group].values():
        each["status"] = dict(DEPLOYED)
    return scene


def test_workloads_are_ready_each_by_its_own_controller() -> None:
    everything = [samples.deployment(), samples.service(), samples.config_map(), samples.job(), samples.cron_job()]
    scene = with_workloads(*everything)
    found = condition(scene.sync(), "WorkloadsReady")
    assert (found["status"], found["message"]) == ("True", "all 5 are there and ready")


UNREADY: dict[str, tuple[Callable[[Scene], Any], str, str]] = {
    "not there": (lambda scene: scene.drop(DEPLOYMENT), "ChildMissing", "is asked for and not there yet"),
    "going": (
        lambda scene: scene.child(DEPLOYMENT)["metadata"].update(deletionTimestamp="2026-11-20T11:59:00Z"),
        "RolloutInProgress",
        "is removed and made again",
    ),
    "of another state": (
        lambda scene: scene.parent["spec"]["workloads"][0]["spec"].update(replicas=1),
        "RolloutInProgress",
        "not yet the one wanted now",
    ),
    "of no known state": (
        lambda scene: scene.child(DEPLOYMENT)["metadata"].pop("annotations"),
        "RolloutInProgress",
        "not yet the one wanted now",
    ),
    "with another selector": (
        lambda scene: scene.child(DEPLOYMENT)["spec"].update(selector={"matchLabels": {"app": "old"}}),
        "RolloutInProgress",
        "is removed and made again",
    ),
    "not seen": (
        lambda scene: scene.child(DEPLOYMENT)["metadata"].update(generation=2),
        "WorkloadNotReady",
        "was not seen by its controller yet",
    ),
    "not updated": (
        lambda scene: scene.child(DEPLOYMENT)["status"].update(updatedReplicas=0),
        "WorkloadNotReady",
        "has 0 of 1 Pods ready",
    ),
    "not available": (
        lambda scene: scene.child(DEPLOYMENT)["status"].pop("availableReplicas"),
        "WorkloadNotReady",
        "has 0 of 1 Pods ready",
    ),
    "of too little quota": (
        lambda scene: scene.child(DEPLOYMENT)["status"].update(
            availableReplicas=0,
            conditions=[
                {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "x"},
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
            ],
        ),
        "WorkloadNotReady",
        "has 0 of 1 Pods ready: FailedCreate: exceeded quota",
    ),
    "a Job that failed": (
        lambda scene: scene.child(JOB).update(
            status={
                "conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "late"}]
            }
        ),
        "WorkloadNotReady",
        "Job swarm-workspace-a/migrate failed: DeadlineExceeded: late",
    ),
}


@pytest.mark.parametrize("how", UNREADY)
def test_a_workload_that_is_not_ready_has_a_condition_of_its_own_and_costs_no_verification(how: str) -> None:
    change, reason, told = UNREADY[how]
    scene = with_workloads(samples.deployment(), samples.job())
    change(scene)
    response = scene.sync()
    found = condition(response, "WorkloadsReady")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert told in found["message"]
    assert response["status"]["verified"] is True
    assert response["status"]["phase"] == "Ready"


def test_all_that_are_not_ready_are_named() -> None:
    scene = with_workloads(samples.deployment(), samples.config_map(), samples.deployment(name="api"))
    scene.drop(DEPLOYMENT, "web")
    scene.child(DEPLOYMENT)["status"] = {}
    found = condition(scene.sync(), "WorkloadsReady")
    assert found["reason"] == "ChildMissing"
    assert "Deployment swarm-workspace-a/web is asked for" in found["message"]
    assert "Deployment swarm-workspace-a/api was not seen" in found["message"]


def test_a_workload_that_is_refused_makes_the_swarm_invalid_without_touching_the_others() -> None:
    scene = with_workloads(samples.deployment(), samples.config_map())
    workloads = scene.parent["spec"]["workloads"]
    workloads[0]["spec"]["template"]["spec"]["hostPID"] = True
    workloads[1]["data"] = {"changed": "yes"}
    workloads.append(samples.service())
    response = scene.sync()
    assert "spec.workloads[0].spec.template.spec.hostPID" in spec_valid(response)
    assert response["children"] == last_applied(scene)


def test_a_selector_that_changes_is_made_again_in_two_steps() -> None:
    scene = with_workloads(samples.deployment(), samples.config_map())
    scene.parent["spec"]["workloads"][0] = samples.deployment(name="web")
    spec = scene.parent["spec"]["workloads"][0]["spec"]
    spec["selector"] = {"matchLabels": {"tier": "front"}}
    spec["template"]["metadata"]["labels"] = {"tier": "front"}
    response = scene.sync()
    assert not children_of(response, DEPLOYMENT)
    scene.apply(response)
    (made,) = children_of(scene.sync(), DEPLOYMENT)
    assert made["spec"]["selector"] == {"matchLabels": {"tier": "front"}}


def test_a_headless_service_that_gets_an_address_is_made_again() -> None:
    scene = with_workloads(samples.service(clusterIP="None"))
    scene.parent["spec"]["workloads"] = [samples.service()]
    names = {each["metadata"]["name"] for each in scene.sync()["children"] if each["kind"] == "Service"}
    assert "web" not in names


def test_a_job_runs_once_for_what_its_tenant_wrote() -> None:
    scene = with_workloads(samples.job())
    job = scene.child(JOB)
    job["status"] = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
    assert condition(scene.sync(), "WorkloadsReady")["status"] == "True"
    (kept,) = children_of(scene.sync(), JOB)
    assert kept["metadata"]["name"] == "migrate"

    # A release that makes something else of it, or a cluster that does, is no reason to run it again.
    job["spec"]["template"]["metadata"] = {"labels": {}}
    job["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/another:2"
    assert children_of(scene.sync(), JOB)

    # Its tenant is.
    scene.parent["spec"]["workloads"][0]["spec"]["parallelism"] = 2
    response = scene.sync()
    assert not children_of(response, JOB)
    assert condition(response, "WorkloadsReady")["reason"] == "RolloutInProgress"
    scene.apply(response)
    (made,) = children_of(scene.sync(), JOB)
    assert made["spec"]["parallelism"] == 2
