"""Quotas, limit ranges, network policies, roles and CronJobs: as they are stored, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.merge import read_last_applied
from fakes import CAPTURED, namespace, refusal
from tenants import RBAC, cron_job, deployment, limits, network_policy, quota, role, role_binding


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.create(namespace())
    server.create(namespace("swarm-nsw1"))
    return server


@pytest.mark.skipif(not CAPTURED.exists(), reason="the captured requests are not part of the repository")
def test_the_walls_of_a_real_namespace_are_stored_as_a_real_server_stored_them(api: ApiServer) -> None:
    request = json.loads((CAPTURED / "namespace-sync-4.json").read_text())
    compared = []
    for kind in ("LimitRange.v1", "NetworkPolicy.networking.k8s.io/v1", "ResourceQuota.v1"):
        (captured,) = request["children"][kind].values()
        stored = api.create(read_last_applied(captured))
        assert stored["spec"] == captured["spec"]
        assert ("generation" in stored["metadata"]) == ("generation" in captured["metadata"])
        compared.append(kind)
    assert len(compared) == 3
    (captured,) = request["children"]["Namespace.v1"].values()
    own = {**read_last_applied(captured), "metadata": {**read_last_applied(captured)["metadata"], "name": "other"}}
    stored = api.create(own)
    assert {**stored["metadata"]["labels"], "kubernetes.io/metadata.name": "swarm-nsw1"} == captured["metadata"][
        "labels"
    ]
    assert (stored["spec"], stored["status"]) == (captured["spec"], captured["status"])


def test_a_limit_range_is_filled_up_from_its_maximum_and_minimum(api: ApiServer) -> None:
    sent = {"type": "Container", "max": {"cpu": "1000m"}, "min": {"memory": "1024Ki"}}
    empty, of_pods = {"type": "Container"}, {"type": "Pod", "max": {"cpu": "1"}}

    assert api.create(limits(sent, of_pods))["spec"]["limits"] == [
        {
            "type": "Container",
            "max": {"cpu": "1"},
            "min": {"memory": "1Mi"},
            "default": {"cpu": "1"},
            "defaultRequest": {"cpu": "1", "memory": "1Mi"},
        },
        of_pods,
    ]
    assert api.create(limits(empty, name="m"))["spec"]["limits"] == [empty]


def test_a_network_policys_types_follow_its_rules(api: ApiServer) -> None:
    rule = {"ports": [{"port": 53}]}

    assert api.create(network_policy("a"))["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert api.create(network_policy("b", podSelector={}, egress=[rule], ingress=[rule]))["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
        "ingress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
    }


def test_a_bindings_groups_are_filled_in(api: ApiServer) -> None:
    account = {"kind": "ServiceAccount", "name": "a", "namespace": "n", "apiGroup": ""}
    stored = api.create(role_binding({"kind": "Role", "name": "r"}, [{"kind": "User", "name": "u"}, account]))

    assert stored["roleRef"] == {"apiGroup": RBAC, "kind": "Role", "name": "r"}
    assert stored["subjects"] == [
        {"apiGroup": RBAC, "kind": "User", "name": "u"},
        {"kind": "ServiceAccount", "name": "a", "namespace": "n"},
    ]


def test_the_role_of_a_binding_cannot_be_changed_but_its_subjects_can(api: ApiServer) -> None:
    stored = api.create(role_binding())
    stored = api.update({**stored, "subjects": [{"kind": "Group", "name": "g", "apiGroup": RBAC}]})

    error = refusal(lambda: api.update({**stored, "roleRef": {**stored["roleRef"], "name": "other"}}))
    assert (error.code, "cannot change roleRef" in error.message) == (422, True)


def test_a_deployments_defaults(api: ApiServer) -> None:
    stored = api.create(deployment())
    spec = stored["spec"]

    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert stored["status"] == {}
    again = api.create(deployment("other", strategy={"type": "Recreate"}, paused=False, minReadySeconds=0))["spec"]
    assert again["strategy"] == {"type": "Recreate"}
    assert not {"paused", "minReadySeconds"} & again.keys()


def test_a_deployments_selector_cannot_be_changed(api: ApiServer) -> None:
    stored = api.create(deployment())
    labels = {"app": "web", "more": "yes"}
    stored["spec"]["template"]["metadata"]["labels"] = labels
    stored = api.update(stored)
    stored["spec"]["selector"] = {"matchLabels": labels}

    assert "spec.selector: Invalid value: field is immutable" in refusal(lambda: api.update(stored)).message


def test_a_cron_jobs_defaults_are_not_those_of_its_jobs(api: ApiServer) -> None:
    spec = api.create(cron_job())["spec"]

    assert (
        spec.items()
        >= {
            "concurrencyPolicy": "Allow",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
        }.items()
    )
    assert spec["jobTemplate"]["metadata"] == {}
    assert spec["jobTemplate"]["spec"].keys() == {"template"}
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["schedulerName"] == "default-scheduler"


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "0 3 * * MON-FRI", "@hourly", "1,2 3-4 ? JAN 0"])
def test_a_schedule_may_be(api: ApiServer, schedule: str) -> None:
    assert api.create(cron_job(schedule=schedule))["spec"]["schedule"] == schedule


PEER = "spec.ingress[0].from[0]"


def from_peer(**peer: Any) -> dict[str, Any]:
    return network_policy(ingress=[{"from": [peer]}])


def selecting(**expression: Any) -> dict[str, Any]:
    return network_policy(podSelector={"matchExpressions": [{"key": "k", **expression}]})


def binding(**subject: Any) -> dict[str, Any]:
    return role_binding(subjects=[subject])


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a scope": (quota(scopes=["BestEffort"]), "spec.scopes: Forbidden"),
    "a negative amount": (quota(hard={"pods": "-1"}), "spec.hard[pods]: Invalid value"),
    "half a pod": (quota(hard={"pods": "500m"}), "must be an integer"),
    "half a job": (quota(hard={"count/jobs.batch": "0.5"}), "must be an integer"),
    "a resource that is none": (quota(hard={"persistentVolumeClaims": "1"}), "must be a standard resource for quota"),
    "limits of what": (limits({"type": "Node"}), 'spec.limits[0].type: Unsupported value: "Node"'),
    "limits of nothing": (limits({}), 'spec.limits[0].type: Unsupported value: ""'),
    "limits twice": (limits({"type": "Pod"}, {"type": "Pod"}), "spec.limits[1].type: Duplicate value"),
    "a ratio": (limits({"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}}), "models no ratios"),
    "a default beyond the maximum": (
        limits({"type": "Container", "default": {"cpu": "2"}, "max": {"cpu": "1"}}),
        "default value 2 is greater than max value 1",
    ),
    "a minimum beyond the default": (
        limits({"type": "Container", "min": {"cpu": "2"}, "default": {"cpu": "1"}}),
        "min value 2 is greater than default value 1",
    ),
    "a third direction": (network_policy(policyTypes=["Sideways"]), "spec.policyTypes: Unsupported value"),
    "a strange protocol": (
        network_policy(ingress=[{"ports": [{"protocol": "ICMP"}]}]),
        "spec.ingress[0].ports[0].protocol: Unsupported value",
    ),
    "a port out of range": (
        network_policy(egress=[{"ports": [{"port": 65536}]}]),
        "spec.egress[0].ports[0].port: Invalid value: 65536",
    ),
    "no peer": (from_peer(), f"{PEER}: Required value"),
    "two peers in one": (from_peer(podSelector={}, ipBlock={"cidr": "::/0"}), f"{PEER}: Forbidden"),
    "a peer's label": (from_peer(podSelector={"matchLabels": {"a b": "c"}}), f"{PEER}.podSelector.matchLabels"),
    "no network": (from_peer(ipBlock={"cidr": "10.0.0.1/8"}), f"{PEER}.ipBlock.cidr: Invalid value"),
    "an exception elsewhere": (
        from_peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}),
        f"{PEER}.ipBlock.except[0]: Invalid value",
    ),
    "an exception that is everything": (
        from_peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}),
        "must be a strict subset",
    ),
    "an exception of the other kind": (
        from_peer(ipBlock={"cidr": "0.0.0.0/0", "except": ["fc00::/7"]}),
        "must be a strict subset",
    ),
    "an exception that is none": (from_peer(ipBlock={"cidr": "0.0.0.0/0", "except": ["here"]}), "strict subset"),
    "nothing to be in": (selecting(operator="In"), "matchExpressions[0].values: Required value"),
    "values for existence": (selecting(operator="Exists", values=["v"]), "values: Forbidden"),
    "a strange operator": (selecting(operator="Like"), "operator: Invalid value: 'Like'"),
    "a role that allows nothing": (role({"apiGroups": [""], "resources": ["pods"]}), "rules[0].verbs: Required value"),
    "a role for URLs": (role({"nonResourceURLs": ["/"], "verbs": ["get"]}), "rules[0].nonResourceURLs"),
    "a role for what": (role({"apiGroups": [""], "verbs": ["get"]}), "rules[0].resources: Required value"),
    "a binding to another group": (
        role_binding({"apiGroup": "apps", "kind": "Role", "name": "r"}),
        'roleRef.apiGroup: Unsupported value: "apps"',
    ),
    "a binding to no role": (role_binding({"kind": "Group", "name": "r"}), 'roleRef.kind: Unsupported value: "Group"'),
    "a binding to nothing": (role_binding({"kind": "Role"}), "roleRef.name: Required value"),
    "a subject that is none": (binding(kind="Robot", name="r"), 'subjects[0].kind: Unsupported value: "Robot"'),
    "a subject of another group": (binding(kind="User", name="u", apiGroup="apps"), "subjects[0].apiGroup"),
    "a subject without a name": (binding(kind="Group"), "subjects[0].name: Required value"),
    "an account without a namespace": (binding(kind="ServiceAccount", name="a"), "subjects[0].namespace"),
    "a deployment without a selector": (deployment(selector=None), "spec.selector: Required value"),
    "a deployment of Jobs": (deployment(pods={"restartPolicy": "Never"}), "restartPolicy: Unsupported value"),
    "a schedule that is none": (cron_job(schedule="tomorrow"), "spec.schedule: Invalid value: 'tomorrow'"),
    "a strange concurrency": (cron_job(concurrencyPolicy="Some"), "spec.concurrencyPolicy: Unsupported value"),
    "a cron job with a long name": (cron_job("n" * 53), "must be no more than 52 characters"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_by_its_field(api: ApiServer, name: str) -> None:
    obj, words = BROKEN[name]
    error = refusal(lambda: api.create(obj))

    assert (error.code, error.reason) == (422, "Invalid")
    assert words in error.message


def test_walls_that_are_sound_are_taken(api: ApiServer) -> None:
    blocks = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "169.254.0.0/16"]}}
    selector = {
        "matchLabels": {"a": "b"},
        "matchExpressions": [
            {"key": "k", "operator": "NotIn", "values": ["v"]},
            {"key": "k", "operator": "DoesNotExist"},
        ],
    }
    api.create(
        network_policy(
            podSelector=selector,
            egress=[{"to": [blocks], "ports": [{"port": "http"}, {"port": 53, "protocol": "UDP"}]}],
            ingress=[{"from": [{"namespaceSelector": selector, "podSelector": {}}]}],
        )
    )
    api.create(role({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}))
    api.create({**role(name="nothing"), "rules": None})
    api.create(role_binding({"kind": "ClusterRole", "name": "view"}))
    api.create(quota(hard={"cpu": "0.5", "requests.memory": "1Gi", "count/jobs.batch": "3", "a.b/c": "1.5"}))
    api.create(deployment())
