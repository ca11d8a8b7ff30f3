"""ResourceQuota: what counts, what is refused, in which words, and what the status says."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.resources import pod_usage, written
from fakes import NAMESPACE, claim, config_map, job, pod, refusal, secret, service
from tenants import Tenants, quota, resources
from userswarm.spec.quantity import parse


@pytest.fixture
def cluster() -> Tenants:
    return Tenants()


def limited(cluster: Tenants, **hard: str) -> None:
    cluster.api.create(quota(hard=hard))
    assert cluster.settle()


def test_the_status_tells_what_is_used_of_what_there_is(cluster: Tenants) -> None:
    cluster.api.create(pod("a", container=resources(cpu="100m", memory="64Mi")))
    hard = {"pods": "3", "requests.cpu": "1", "limits.cpu": "1", "cpu": "1", "limits.memory": "1Gi", "services": "0"}
    limited(cluster, **hard)

    assert cluster.get("ResourceQuota", "q")["status"] == {
        "hard": hard,
        "used": {
            "pods": "1",
            "requests.cpu": "100m",
            "limits.cpu": "100m",
            "cpu": "100m",
            "limits.memory": "64Mi",
            "services": "0",
        },
    }


def test_the_status_follows_what_comes_and_goes(cluster: Tenants) -> None:
    limited(cluster, pods="3", **{"count/pods": "3"})
    cluster.api.create(job())
    cluster.clock.advance(1)
    assert cluster.used() == {"pods": "1", "count/pods": "1"}
    assert cluster.settle()
    # A pod that ended uses nothing any more, but is still there.
    assert cluster.used() == {"pods": "0", "count/pods": "1"}
    cluster.api.delete("batch/v1", "Job", NAMESPACE, "j")
    assert cluster.settle()
    assert cluster.used() == {"pods": "0", "count/pods": "0"}


def test_a_status_that_is_right_is_not_written_again(cluster: Tenants) -> None:
    limited(cluster, pods="3")
    before = len(cluster.api.writes)
    cluster.api.create(config_map())
    assert cluster.settle()
    assert [write.kind for write in cluster.api.writes[before:]] == ["ConfigMap"]


def test_one_pod_too_many_is_refused_in_kubernetes_words(cluster: Tenants) -> None:
    limited(cluster, pods="1")
    cluster.api.create(pod("a"))

    error = refusal(lambda: cluster.api.create(pod("b")))

    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
    )


def test_a_pod_whose_containers_say_nothing_is_refused_where_the_quota_counts_it(cluster: Tenants) -> None:
    limited(cluster, **{"limits.cpu": "1", "requests.memory": "1Gi", "cpu": "1"})
    silent = pod("a", initContainers=[{**pod()["spec"]["containers"][0], "name": "first"}])

    error = refusal(lambda: cluster.api.create(silent))

    assert error.message.endswith(
        "failed quota: q: must specify cpu for: first,main; limits.cpu for: first,main; requests.memory for: first,main"
    )


def test_resources_are_added_up_and_compared_exactly(cluster: Tenants) -> None:
    limited(cluster, **{"requests.cpu": "300m", "limits.memory": "100Mi"})
    cluster.api.create(pod("a", container=resources(cpu="0.2", memory="40Mi")))

    error = refusal(lambda: cluster.api.create(pod("b", container=resources(cpu="101m", memory="61Mi"))))
    assert (
        "requested: limits.memory=61Mi,requests.cpu=101m, used: limits.memory=40Mi,requests.cpu=200m" in error.message
    )

    cluster.api.create(pod("c", container=resources(cpu="100m", memory="60Mi")))


def test_a_quota_holds_once_its_controller_has_taken_note_of_it(cluster: Tenants) -> None:
    cluster.api.create(quota(hard={"pods": "0"}))
    cluster.api.create(pod("a"))
    assert cluster.settle()
    assert "used: pods=1, limited: pods=0" in refusal(lambda: cluster.api.create(pod("b"))).message

    cluster.api.patch("v1", "ResourceQuota", NAMESPACE, "q", {"spec": {"hard": {"pods": "2"}}})
    assert "limited: pods=0" in refusal(lambda: cluster.api.create(pod("b"))).message
    assert cluster.settle()
    cluster.api.create(pod("b"))


def test_every_kind_that_a_quota_can_count_is_counted(cluster: Tenants) -> None:
    cluster.api.create(config_map())
    cluster.api.create(secret("s"))
    cluster.api.create(claim(size="1Gi"))
    cluster.api.create(service("cluster"))
    cluster.api.create(service("node", type="NodePort"))
    cluster.api.create(service("balanced", type="LoadBalancer"))
    cluster.api.create(job())
    names = (
        "configmaps",
        "secrets",
        "persistentvolumeclaims",
        "requests.storage",
        "standard.storageclass.storage.k8s.io/requests.storage",
        "standard.storageclass.storage.k8s.io/persistentvolumeclaims",
        "services",
        "services.nodeports",
        "services.loadbalancers",
        "resourcequotas",
        "count/jobs.batch",
        "count/configmaps",
    )
    limited(cluster, **dict.fromkeys(names, "10Gi"))

    assert list(cluster.used().values()) == ["1", "1", "1", "1Gi", "1Gi", "1", "3", "2", "1", "1", "1", "1"]


def test_a_claim_cannot_grow_beyond_the_quota(cluster: Tenants) -> None:
    cluster.api.create(claim(size="1Gi"))
    limited(cluster, **{"requests.storage": "2Gi", "persistentvolumeclaims": "1"})

    def grow(size: str) -> Any:
        patch = {"spec": {"resources": {"requests": {"storage": size}}}}
        return cluster.api.patch("v1", "PersistentVolumeClaim", NAMESPACE, "d", patch)

    assert "requested: requests.storage=2Gi" in refusal(lambda: grow("3Gi")).message
    # Of what it has already, nothing is counted twice.
    assert grow("2Gi")["spec"]["resources"]["requests"]["storage"] == "2Gi"


def test_a_quota_that_was_made_too_small_lets_everything_be_changed_that_asks_for_no_more(cluster: Tenants) -> None:
    stored = cluster.api.create(config_map())
    limited(cluster, configmaps="0")

    cluster.api.update({**stored, "data": {"k": "new"}})
    assert "exceeded quota" in refusal(lambda: cluster.api.create(config_map("other"))).message


def test_an_object_that_is_not_valid_or_not_new_is_not_charged(cluster: Tenants) -> None:
    cluster.api.create(config_map())
    limited(cluster, configmaps="1")

    assert refusal(lambda: cluster.api.create(config_map())).reason == "AlreadyExists"
    assert refusal(lambda: cluster.api.create(config_map("x", data={"a/b": ""}))).reason == "Invalid"


def test_the_strictest_of_several_quotas_holds(cluster: Tenants) -> None:
    cluster.api.create(quota("wide", hard={"pods": "9"}))
    cluster.api.create(quota("narrow", hard={"pods": "0"}))
    assert cluster.settle()

    assert "exceeded quota: narrow" in refusal(lambda: cluster.api.create(pod())).message


def test_a_pod_that_should_be_gone_by_now_is_not_counted(cluster: Tenants) -> None:
    held = pod("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.api.create(held)
    cluster.settle()
    cluster.api.delete("v1", "Pod", NAMESPACE, "a", grace_period=5)
    limited(cluster, pods="1")
    cluster.clock.advance(10)
    cluster.api.create(config_map())
    cluster.settle()

    assert cluster.used() == {"pods": "0"}
    cluster.api.create(pod("b"))


def test_a_deleted_quota_limits_nothing(cluster: Tenants) -> None:
    limited(cluster, pods="0")
    cluster.api.delete("v1", "ResourceQuota", NAMESPACE, "q")
    cluster.api.create(pod())
    assert cluster.settle()


def test_a_quota_that_counts_nothing_has_an_empty_status(cluster: Tenants) -> None:
    limited(cluster)
    cluster.api.create(pod())
    assert cluster.get("ResourceQuota", "q")["status"] == {}


def containers(*amounts: str, **extra: Any) -> list[dict[str, Any]]:
    return [{"name": f"c{n}", "resources": {"requests": {"cpu": each}}, **extra} for n, each in enumerate(amounts)]


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": containers("100m", "200m")}, "300m"),
        ({"containers": containers("100m"), "initContainers": containers("250m", "50m")}, "250m"),
        ({"containers": containers("100m"), "initContainers": containers("50m", restartPolicy="Always")}, "150m"),
        (
            {
                "containers": containers("100m"),
                "initContainers": [*containers("50m", restartPolicy="Always"), *containers("150m")],
            },
            "200m",
        ),
    ],
)
def test_what_runs_one_after_the_other_counts_once(spec: Any, cpu: str) -> None:
    assert pod_usage(spec, "requests") == {"cpu": parse(cpu)}
    assert pod_usage(spec, "limits") == {}


@pytest.mark.parametrize("text", ["0", "1", "1500m", "64Mi", "3Gi", "1k", "100n", "12345"])
def test_an_amount_is_written_without_loss(text: str) -> None:
    assert written(parse(text)) == text
