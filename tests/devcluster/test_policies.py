"""Quotas, limit ranges, network policies, bindings and CronJobs: as they are stored, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.merge import read_last_applied
from fakes import CAPTURED, namespace, refusal
from tenants import RBAC, cron_job, deployment, limits, network_policy, quota, role_binding


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


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a scope": (quota(scopes=["BestEffort"]), "spec.scopes: Forbidden"),
    "a ratio": (limits({"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}}), "models no ratios"),
    "a deployment without a selector": (deployment(selector=None), "spec.selector: Required value"),
    "a deployment of Jobs": (deployment(pods={"restartPolicy": "Never"}), "restartPolicy: Unsupported value"),
    "a cron job with a long name": (cron_job("n" * 53), "must be no more than 52 characters"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_by_its_field(api: ApiServer, name: str) -> None:
    obj, words = BROKEN[name]
    error = refusal(lambda: api.create(obj))

    assert (error.code, error.reason) == (422, "Invalid")
    assert words in error.message
