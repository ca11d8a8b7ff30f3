"""Swarms with a namespace of their own, from creation to deletion, in a whole cluster with the project's own hooks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from devcluster.apiserver import Write
from devcluster.faults import Trouble
from devcluster.objects import labels_of
from devcluster.workloads.namespaces import CONTENTS
from fakes import Json
from userswarm.cli.demo.cluster import Cluster, composite_controller
from userswarm.parts.dedicated.namespace import ALLOW_LABEL
from userswarm.spec.manifests import manifest_path

NAME = "ann"
NAMESPACE = "swarm-ann"
RESYNCS = 100

POD: Json = {
    "containers": [
        {
            "name": "main",
            "image": "registry.example/app",
            "env": [
                {"name": "EMPTY", "value": ""},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}}},
            ],
            "args": [],
            "ports": [{"containerPort": 8080}, {"containerPort": 8443, "name": "tls", "protocol": "TCP"}],
            "resources": {
                "requests": {"cpu": "0.010", "memory": "1024Ki"},
                "limits": {"cpu": 0.05, "memory": "0.015625Gi"},
            },
            "readinessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 0},
            "livenessProbe": {"grpc": {"port": 8443}},
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp", "readOnly": False}],
            "stdin": False,
        }
    ],
    "initContainers": [
        {"name": "first", "image": "registry.example/app:1", "resources": {"limits": {"cpu": "50m", "memory": "16Mi"}}},
    ],
    "volumes": [
        {"name": "tmp", "emptyDir": {"sizeLimit": "1024Ki", "medium": ""}},
        {"name": "none", "emptyDir": {}},
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "about", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ],
    "terminationGracePeriodSeconds": 5,
    "nodeSelector": {},
    "hostNetwork": False,
    "imagePullSecrets": [],
}
"""A Pod as somebody might write it who has never seen how Kubernetes stores one."""


def _workload(api_version: str, kind: str, name: str, **content: Any) -> Json:
    metadata: Json = {"name": name, "labels": {"tier": "extra"}, "annotations": {}, "namespace": "elsewhere"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def workloads() -> list[Json]:
    """Every kind that a tenant may have, oddly spelled."""
    web = {"metadata": {"labels": {"app": "web"}}, "spec": POD}
    once = {"spec": {**POD, "restartPolicy": "Never"}}
    found = [
        _workload("v1", "ConfigMap", "files", data={"a.txt": "", "b": "x"}, binaryData={"c": "AAA="}),
        _workload(
            "apps/v1",
            "Deployment",
            "web",
            spec={
                "replicas": 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": web,
                "strategy": {"rollingUpdate": {"maxSurge": 0}},
                "minReadySeconds": 0,
                "paused": False,
            },
        ),
        _workload(
            "v1",
            "Service",
            "web",
            spec={
                "selector": {"app": "web"},
                "ports": [{"port": 80, "targetPort": 8080}],
                "sessionAffinity": "ClientIP",
            },
        ),
        _workload(
            "v1",
            "Service",
            "peers",
            spec={
                "clusterIP": "None",
                "publishNotReadyAddresses": False,
                "selector": {"app": "web"},
                "ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "b"}],
            },
        ),
        _workload("batch/v1", "Job", "once", spec={"template": once, "backoffLimit": 0, "suspend": False}),
        _workload(
            "batch/v1",
            "CronJob",
            "nightly",
            spec={"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": once}}},
        ),
    ]
    return copy.deepcopy(found)


def swarm(name: str = NAME, *, placement: Json | None = None, **spec: Any) -> Json:
    """A Dedicated swarm, with only what is said."""
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": name},
        "spec": {"userId": "ann", "placement": {"isolation": "Dedicated", **(placement or {})}, **spec},
    }


def with_everything(**spec: Any) -> Json:
    return swarm(
        **{
            "quota": {
                "cpu": 2,
                "memory": "2048Mi",
                "pods": 8,
                "persistentVolumeClaims": 1,
                "storage": "3072Mi",
                "services": 9,
                "secrets": 3,
                "counts": {"deployments.apps": 1, "jobs.batch": 3, "configmaps": 4},
            },
            "limitRange": {"default": {"cpu": "0.1", "memory": "65536Ki"}, "max": {"cpu": "1000m", "memory": "1Gi"}},
            "access": {
                "role": "edit",
                "members": [
                    {"kind": "User", "name": "ann@example.com", "role": "admin"},
                    {"kind": "Group", "name": "support", "role": "view"},
                ],
            },
            "workloads": workloads(),
            **spec,
        }
    )


def dedicated_cluster(**arguments: Any) -> Cluster:
    return Cluster(controller=composite_controller(dedicated=True), **arguments)


@pytest.fixture
def cluster() -> Cluster:
    return dedicated_cluster()


def status(cluster: Cluster, name: str = NAME) -> Json:
    found: Json = cluster.user_swarm(name)["status"]
    return found


def conditions(cluster: Cluster, name: str = NAME) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status(cluster, name)["conditions"]}


def message(cluster: Cluster, kind: str) -> str:
    return next(str(each["message"]) for each in status(cluster)["conditions"] if each["type"] == kind)


def ours(cluster: Cluster, since: int = 0) -> list[Write]:
    """What Metacontroller wrote, but for statuses and events."""
    return [
        write
        for write in cluster.api.writes[since:]
        if write.actor == "metacontroller" and write.kind not in ("Event", "UserSwarm")
    ]


def contents(cluster: Cluster, namespace: str = NAMESPACE) -> list[str]:
    """What is in a namespace, but for what Kubernetes puts into each, and for events."""
    usual = {(each["kind"], each["metadata"]["name"]) for each in CONTENTS}
    return [
        f"{kind.kind} {obj['metadata']['name']}"
        for kind, obj in cluster.api.everything_in(namespace)
        if kind.kind != "Event" and (kind.kind, obj["metadata"]["name"]) not in usual
    ]


def namespace(cluster: Cluster, name: str = NAMESPACE) -> Any:
    return cluster.api.peek("v1", "Namespace", None, name)


def look_again(cluster: Cluster, seconds: float = 60) -> None:
    """Let so much time pass that the hooks have looked once more for what they cannot watch."""
    cluster.run(seconds)
    assert cluster.settle()


def assert_settled(cluster: Cluster) -> None:
    """Resync many times, and see that nobody writes anything."""
    since = len(cluster.api.writes)
    for _ in range(RESYNCS):
        cluster.metacontroller.resync()
        assert cluster.settle()
    assert [str(write) for write in cluster.api.writes[since:]] == []


# --- how it comes about ------------------------------------------------------------------------------------------


def test_a_swarm_that_says_nothing_but_dedicated_is_verified_and_settles(cluster: Cluster) -> None:
    cluster.apply(swarm())
    assert cluster.settle()

    assert status(cluster)["verified"] is True
    assert status(cluster)["runtimeNamespace"] == NAMESPACE
    assert status(cluster)["endpoint"].startswith(f"http://swarm-ann.{NAMESPACE}.svc:")
    assert conditions(cluster)["NamespaceReady"] == ("True", "Active")
    assert cluster.metacontroller.sync_errors == 0
    assert_settled(cluster)


def test_the_namespace_comes_first_and_alone_and_nothing_is_refused(cluster: Cluster) -> None:
    cluster.apply(with_everything())
    assert cluster.settle()

    written = ours(cluster)
    assert (written[0].verb, written[0].kind, written[0].name) == ("create", "Namespace", NAMESPACE)
    assert written[1].at > written[0].at
    assert {write.code for write in written} == {"ok"}
    assert {write.namespace for write in written[1:]} == {NAMESPACE}
    assert status(cluster)["verified"] is True
    labels = labels_of(namespace(cluster))
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_with_all_there_is_a_settled_swarm_is_never_written(cluster: Cluster) -> None:
    cluster.apply(with_everything())
    assert cluster.settle()

    assert conditions(cluster)["WorkloadsReady"] == ("True", "Ready")
    kinds = {text.split()[0] for text in contents(cluster)}
    assert kinds >= {
        "ResourceQuota",
        "LimitRange",
        "NetworkPolicy",
        "Role",
        "RoleBinding",
        "Deployment",
        "ReplicaSet",
        "Service",
        "ConfigMap",
        "Job",
        "CronJob",
        "StatefulSet",
        "PersistentVolumeClaim",
    }
    assert cluster.metacontroller.sync_errors == 0
    assert_settled(cluster)


def test_the_sample_settles_too(cluster: Cluster) -> None:
    sample = yaml.safe_load(manifest_path("samples/dedicated.yaml").read_text(encoding="utf-8"))
    del sample["spec"]["config"]["envSecretRef"]
    cluster.apply(sample)
    assert cluster.settle()
    name = sample["metadata"]["name"]
    assert status(cluster, name)["verified"] is True
    assert conditions(cluster, name)["WorkloadsReady"] == ("True", "Ready")
    assert_settled(cluster)


def test_what_the_quota_counts_is_never_in_the_status(cluster: Cluster) -> None:
    cluster.apply(with_everything())
    assert cluster.settle()
    (quota,) = cluster.api.list("v1", "ResourceQuota", NAMESPACE)
    assert quota["status"]["used"]["pods"] == "2"
    since = len(cluster.api.writes)
    # Somebody's own Pod: the quota counts it, and the swarm's status has nothing to say about it.
    template = cluster.api.list("apps/v1", "Deployment", NAMESPACE)[0]["spec"]["template"]
    cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "own", "namespace": NAMESPACE},
            "spec": template["spec"],
        }
    )
    assert cluster.settle()
    (quota,) = cluster.api.list("v1", "ResourceQuota", NAMESPACE)
    assert quota["status"]["used"]["pods"] == "3"
    assert not [write for write in cluster.api.writes[since:] if write.kind == "UserSwarm" and write.changed]


# --- whose namespace it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [{}, {ALLOW_LABEL: "true"}, {"crawbl.ai/swarm": NAME}])
def test_a_namespace_of_somebody_else_is_a_conflict_and_nothing_is_touched(cluster: Cluster, labels: Json) -> None:
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    cluster.api.create(theirs)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": NAMESPACE}}
    cluster.api.create(config)
    assert cluster.settle()
    before = namespace(cluster)
    cluster.apply(with_everything())
    look_again(cluster)

    assert conditions(cluster)["NamespaceReady"] == ("False", "NameConflict")
    assert "not ours" in message(cluster, "NamespaceReady")
    assert status(cluster)["verified"] is False
    assert [str(write) for write in ours(cluster)] == [f"create Namespace {NAMESPACE} by metacontroller: AlreadyExists"]
    assert_settled(cluster)
    cluster.delete(NAME)
    assert cluster.settle()
    assert namespace(cluster) == before
    assert contents(cluster) == ["ConfigMap theirs"]


def test_a_conflict_is_over_when_the_other_namespace_goes(cluster: Cluster) -> None:
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.apply(swarm())
    look_again(cluster)
    cluster.api.delete("v1", "Namespace", None, NAMESPACE)
    look_again(cluster, 240)
    assert status(cluster)["verified"] is True


def test_a_namespace_that_somebody_deletes_is_made_again_with_all_that_is_in_it(cluster: Cluster) -> None:
    cluster.apply(swarm(storage={"retainPolicy": "Delete"}))
    assert cluster.settle()
    cluster.api.delete("v1", "Namespace", None, NAMESPACE)
    cluster.run(1)
    assert conditions(cluster)["NamespaceReady"] == ("False", "Terminating")
    assert cluster.settle()
    assert status(cluster)["verified"] is True
    assert conditions(cluster)["NamespaceReady"] == ("True", "Active")
    assert_settled(cluster)


LENT = {"namespaceMode": "operator", "runtimeNamespace": "lent"}


def lend(cluster: Cluster, **labels: str) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lent", "labels": labels}})


def test_a_lent_namespace_that_is_missing_or_not_meant_is_waited_for(cluster: Cluster) -> None:
    cluster.apply(swarm(placement=LENT))
    assert cluster.settle()
    assert conditions(cluster)["NamespaceReady"] == ("False", "NamespaceNotLent")
    assert "there is no namespace 'lent'" in message(cluster, "Ready")
    assert ours(cluster) == []

    lend(cluster)
    look_again(cluster)
    assert "does not have the label crawbl.ai/allow-userswarms" in message(cluster, "Ready")
    assert ours(cluster) == []
    assert_settled(cluster)

    lend(cluster, **{ALLOW_LABEL: "true"})
    look_again(cluster)
    assert status(cluster)["verified"] is True
    assert_settled(cluster)


def test_a_lent_namespace_is_never_written_and_never_deleted(cluster: Cluster) -> None:
    lend(cluster, **{ALLOW_LABEL: "true"})
    before = namespace(cluster, "lent")
    cluster.apply(with_everything(placement={"isolation": "Dedicated", **LENT}))
    assert cluster.settle()
    assert status(cluster)["verified"] is True
    assert status(cluster)["runtimeNamespace"] == "lent"
    assert_settled(cluster)
    cluster.delete(NAME)
    assert cluster.settle()
    assert namespace(cluster, "lent") == before
    assert contents(cluster, "lent") == []


@pytest.mark.parametrize("suspend", [False, True])
def test_in_a_lent_namespace_a_settled_swarm_looks_up_nothing(cluster: Cluster, suspend: bool) -> None:
    lend(cluster, **{ALLOW_LABEL: "true"})
    cluster.apply(swarm(placement=LENT, suspend=suspend))
    look_again(cluster)
    assert status(cluster)["phase"] == ("Suspended" if suspend else "Ready")
    before = cluster.gatherer.reads.total()
    assert_settled(cluster)
    assert cluster.gatherer.reads.total() == before


def test_in_a_lent_namespace_that_is_taken_back_the_swarm_stays_as_it_is(cluster: Cluster) -> None:
    lend(cluster, **{ALLOW_LABEL: "true"})
    cluster.apply(swarm(placement=LENT))
    assert cluster.settle()
    held = contents(cluster, "lent")
    lend(cluster)
    look_again(cluster)
    assert status(cluster)["verified"] is True
    cluster.edit(NAME, {"spec": {"config": {"defaultModel": "another"}}})
    look_again(cluster)
    assert conditions(cluster)["NamespaceReady"] == ("False", "NamespaceNotLent")
    assert status(cluster)["verified"] is False
    assert contents(cluster, "lent") == held


def test_without_the_component_a_dedicated_swarm_says_what_to_install() -> None:
    cluster = Cluster()
    cluster.apply(swarm())
    assert cluster.settle()
    assert conditions(cluster)["Ready"] == ("False", "KindNotManaged")
    assert "manifests/components/dedicated" in message(cluster, "Ready")
    assert namespace(cluster) is None


# --- workloads and limits ----------------------------------------------------------------------------------------


def test_a_workload_that_is_refused_makes_the_swarm_invalid_and_touches_no_other(cluster: Cluster) -> None:
    cluster.apply(with_everything())
    assert cluster.settle()
    held, since = contents(cluster), len(cluster.api.writes)
    bad = workloads()
    bad[1]["spec"]["template"]["spec"]["hostNetwork"] = True
    cluster.edit(NAME, {"spec": {"workloads": bad}})
    assert cluster.settle()

    assert status(cluster)["phase"] == "Invalid"
    assert "spec.workloads[1].spec.template.spec.hostNetwork" in message(cluster, "SpecValid")
    assert ours(cluster, since) == []
    assert contents(cluster) == held
    cluster.edit(NAME, {"spec": {"workloads": workloads()}})
    assert cluster.settle()
    assert status(cluster)["verified"] is True


def test_a_workload_that_does_not_work_leaves_the_swarm_verified(cluster: Cluster) -> None:
    cluster.faults.inject(Trouble.NEVER_READY, selector=lambda pod: labels_of(pod).get("app") == "web")
    cluster.apply(with_everything())
    assert cluster.settle()
    assert status(cluster)["verified"] is True
    assert conditions(cluster)["WorkloadsReady"] == ("False", "WorkloadNotReady")
    cluster.faults.clear()
    assert cluster.settle()
    assert conditions(cluster)["WorkloadsReady"] == ("True", "Ready")


@pytest.mark.parametrize(
    ("rest", "phase"), [({"suspend": True}, "Suspended"), ({"lifecycle": {"idleAfter": "2m"}}, "Asleep")]
)
def test_the_tenants_workloads_go_on_while_the_runtime_rests(cluster: Cluster, rest: Json, phase: str) -> None:
    cluster.apply(with_everything(**rest))
    cluster.run(1000)
    assert status(cluster)["phase"] == phase
    assert conditions(cluster)["WorkloadsReady"] == ("True", "Ready")
    pods = [labels_of(pod) for pod in cluster.api.list("v1", "Pod", NAMESPACE)]
    assert "web" in [labels.get("app") for labels in pods]
    assert "runtime" not in [labels.get("app.kubernetes.io/component") for labels in pods]
    assert_settled(cluster)


def test_workloads_change_and_go_as_the_spec_says(cluster: Cluster) -> None:
    cluster.apply(with_everything())
    assert cluster.settle()
    changed = workloads()
    changed[1]["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/app:2"
    cluster.edit(NAME, {"spec": {"workloads": changed[:3]}})
    assert cluster.settle()
    found = contents(cluster)
    assert "Service web" in found
    assert not {"Service peers", "Job once", "CronJob nightly"} & set(found)
    (pod,) = [pod for pod in cluster.api.list("v1", "Pod", NAMESPACE) if labels_of(pod).get("app") == "web"]
    assert pod["spec"]["containers"][0]["image"] == "registry.example/app:2"
    assert_settled(cluster)


def test_what_is_taken_out_of_the_quota_is_no_longer_limited(cluster: Cluster) -> None:
    cluster.apply(swarm(quota={"secrets": 0, "counts": {"configmaps": 3}}))
    assert cluster.settle()
    (quota,) = cluster.api.list("v1", "ResourceQuota", NAMESPACE)
    assert quota["spec"]["hard"].items() >= {"secrets": "0", "count/configmaps": "3"}.items()
    cluster.edit(NAME, {"spec": {"quota": None}})
    assert cluster.settle()
    (quota,) = cluster.api.list("v1", "ResourceQuota", NAMESPACE)
    assert not {"secrets", "count/configmaps"} & quota["spec"]["hard"].keys()
    assert quota["status"]["hard"] == quota["spec"]["hard"]
    assert_settled(cluster)


def test_members_come_and_go_and_a_new_role_is_a_new_binding(cluster: Cluster) -> None:
    def bound() -> set[tuple[str, str]]:
        found = cluster.api.list("rbac.authorization.k8s.io/v1", "RoleBinding", NAMESPACE)
        return {(each["subjects"][0]["name"], each["roleRef"]["name"]) for each in found}

    ann = {"kind": "User", "name": "ann@example.com"}
    cluster.apply(swarm(access={"members": [{**ann, "role": "view"}]}))
    assert cluster.settle()
    assert bound() == {("ann@example.com", "userswarm-namespace-view")}
    cluster.edit(NAME, {"spec": {"access": {"role": "view", "members": [{**ann, "role": "admin"}]}}})
    assert cluster.settle()
    assert bound() == {("ann@example.com", "userswarm-namespace-admin"), ("swarm-ann", "swarm-ann")}
    cluster.edit(NAME, {"spec": {"access": None}})
    assert cluster.settle()
    assert bound() == set()
    assert status(cluster)["verified"] is True
    assert cluster.metacontroller.sync_errors == 0


# --- how it goes -------------------------------------------------------------------------------------------------


def test_the_walls_stand_until_the_last_pod_is_gone_and_nothing_is_left(cluster: Cluster) -> None:
    cluster.apply(with_everything())
    assert cluster.settle()
    since = len(cluster.api.writes)
    cluster.delete(NAME)
    assert cluster.settle()

    deleted = {write.kind: write.at for write in ours(cluster, since) if write.verb == "delete"}
    last_pod = max(write.at for write in cluster.api.writes[since:] if (write.verb, write.kind) == ("delete", "Pod"))
    walls = {deleted[kind] for kind in ("Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "Role")}
    assert deleted["StatefulSet"] == deleted["Deployment"] < last_pod < min(walls)
    assert {write.code for write in ours(cluster, since)} == {"ok"}
    assert namespace(cluster) is None
    assert contents(cluster) == []
    assert cluster.api.list("crawbl.ai/v1alpha1", "UserSwarm") == []


def test_with_retain_namespace_and_claim_stay_and_all_else_goes(cluster: Cluster) -> None:
    cluster.apply(with_everything(storage={"retainPolicy": "Retain"}))
    assert cluster.settle()
    seen: list[Any] = []
    cluster.api.subscribe(
        lambda event: seen.append(event.object.get("status")) if event.kind.kind == "UserSwarm" else None
    )
    cluster.delete(NAME)
    assert cluster.settle()

    assert cluster.api.list("crawbl.ai/v1alpha1", "UserSwarm") == []
    assert namespace(cluster)["status"]["phase"] == "Active"
    assert not namespace(cluster)["metadata"].get("ownerReferences")
    assert contents(cluster) == ["PersistentVolumeClaim swarm-ann-data"]
    last = " ".join(each["message"] for each in seen[-1]["conditions"])
    assert NAMESPACE in last
    assert "swarm-ann-data" in last


def test_a_swarm_made_anew_lives_in_the_namespace_and_on_the_volume_that_were_kept(cluster: Cluster) -> None:
    cluster.apply(with_everything(storage={"retainPolicy": "Retain"}))
    assert cluster.settle()
    (claim,) = cluster.api.list("v1", "PersistentVolumeClaim", NAMESPACE)
    cluster.delete(NAME)
    assert cluster.settle()
    cluster.apply(with_everything())
    look_again(cluster)

    assert status(cluster)["verified"] is True
    assert conditions(cluster)["NamespaceReady"] == ("True", "NamespaceRetained")
    (again,) = cluster.api.list("v1", "PersistentVolumeClaim", NAMESPACE)
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]
    assert_settled(cluster)
    # It is used, and not owned: deleting the swarm deletes neither.
    cluster.delete(NAME)
    assert cluster.settle()
    assert namespace(cluster)["status"]["phase"] == "Active"
    assert contents(cluster) == ["PersistentVolumeClaim swarm-ann-data"]


def test_somebody_elses_swarm_of_the_same_name_gets_nothing_of_what_was_kept(cluster: Cluster) -> None:
    cluster.apply(swarm(storage={"retainPolicy": "Retain"}))
    assert cluster.settle()
    cluster.delete(NAME)
    assert cluster.settle()
    other = swarm()
    other["spec"]["userId"] = "eve"
    since = len(cluster.api.writes)
    cluster.apply(other)
    look_again(cluster)
    assert conditions(cluster)["NamespaceReady"] == ("False", "NameConflict")
    assert not [write for write in ours(cluster, since) if write.changed]


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.1, 0.5, 2.0, 4.0])
def test_a_swarm_can_be_deleted_at_any_moment(wait: float) -> None:
    cluster = dedicated_cluster()
    cluster.apply(with_everything())
    cluster.run(wait)
    cluster.delete(NAME)
    assert cluster.settle()
    assert cluster.api.list("crawbl.ai/v1alpha1", "UserSwarm") == []
    assert namespace(cluster) is None


def test_two_dedicated_swarms_and_a_shared_one_live_side_by_side(cluster: Cluster) -> None:
    cluster.apply(swarm("ann"))
    cluster.apply(swarm("bob", access={"role": "view"}))
    shared = swarm("cy")
    del shared["spec"]["placement"]
    cluster.apply(shared)
    assert cluster.settle()
    assert {name: status(cluster, name)["runtimeNamespace"] for name in ("ann", "bob", "cy")} == {
        "ann": "swarm-ann",
        "bob": "swarm-bob",
        "cy": "userswarms",
    }
    assert all(status(cluster, name)["verified"] for name in ("ann", "bob", "cy"))
    assert "NamespaceReady" not in conditions(cluster, "cy")
    cluster.delete("ann")
    assert cluster.settle()
    assert all(status(cluster, name)["verified"] for name in ("bob", "cy"))
    assert_settled(cluster)
