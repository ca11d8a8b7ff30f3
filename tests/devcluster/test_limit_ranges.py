"""LimitRange: what containers get, what is too much or too little, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import NAMESPACE, claim, pod, refusal
from tenants import Tenants, limits, resources

CONTAINER = {
    "type": "Container",
    "default": {"cpu": "100m", "memory": "64Mi"},
    "max": {"cpu": "500m", "memory": "256Mi"},
    "min": {"cpu": "10m"},
}


@pytest.fixture
def cluster() -> Tenants:
    made = Tenants()
    made.api.create(limits(CONTAINER))
    return made


def test_what_a_container_does_not_say_is_filled_in_and_told(cluster: Tenants) -> None:
    first = {**pod()["spec"]["containers"][0], "name": "first", **resources(memory="8Mi")}
    stored = cluster.api.create(pod(initContainers=[first]))

    main, init = stored["spec"]["containers"][0], stored["spec"]["initContainers"][0]
    wanted = {"cpu": "100m", "memory": "64Mi"}
    assert main["resources"] == {"limits": wanted, "requests": wanted}
    assert init["resources"] == {
        "limits": {"cpu": "100m", "memory": "8Mi"},
        "requests": {"cpu": "100m", "memory": "8Mi"},
    }
    assert stored["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": (
            "LimitRanger plugin set: cpu request for container first; cpu limit for container first; "
            "cpu, memory request for container main; cpu, memory limit for container main"
        )
    }
    assert stored["status"]["qosClass"] == "Guaranteed"


def test_a_container_that_says_everything_is_left_alone(cluster: Tenants) -> None:
    own = {"requests": {"cpu": "20m", "memory": "1Mi"}, "limits": {"cpu": "30m", "memory": "2Mi"}}
    stored = cluster.api.create(pod(container={"resources": own}))

    assert stored["spec"]["containers"][0]["resources"] == own
    assert "annotations" not in stored["metadata"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "limit over maximum": (resources(cpu="501m"), "maximum cpu usage per Container is 500m, but limit is 501m"),
    "request under minimum": (resources(cpu="9m"), "minimum cpu usage per Container is 10m, but request is 9m"),
    "several": (
        resources(cpu="1", memory="1Gi"),
        (
            "[maximum cpu usage per Container is 500m, but limit is 1, "
            "maximum memory usage per Container is 256Mi, but limit is 1Gi]"
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_container_out_of_bounds_is_refused(cluster: Tenants, name: str) -> None:
    container, words = REFUSED[name]
    error = refusal(lambda: cluster.api.create(pod(container=container)))

    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == f'pods "p" is forbidden: {words}'


def test_a_request_beyond_the_default_limit_is_invalid(cluster: Tenants) -> None:
    error = refusal(lambda: cluster.api.create(pod(container={"resources": {"requests": {"cpu": "200m"}}})))
    assert "must be less than or equal to cpu limit of 100m" in error.message


def test_a_whole_pod_has_bounds_too() -> None:
    cluster = Tenants()
    cluster.api.create(limits({"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}}))
    main = pod()["spec"]["containers"][0]
    two = [{**main, **resources(cpu="600m", memory="1Mi")}, {**main, "name": "b", **resources(cpu="600m")}]

    assert (
        "maximum cpu usage per Pod is 1, but limit is 1200m"
        in refusal(lambda: cluster.api.create(pod(containers=two))).message
    )
    error = refusal(lambda: cluster.api.create(pod()))
    assert error.message.endswith(
        "[minimum memory usage per Pod is 1Mi.  No request is specified, maximum cpu usage per Pod is 1.  No limit is "
        "specified]"
    )
    assert cluster.api.create(pod(containers=two[:1]))


def test_a_claim_is_bounded_when_it_is_made_and_when_it_grows() -> None:
    cluster = Tenants()
    bounds = {"type": "PersistentVolumeClaim", "max": {"storage": "2Gi"}, "min": {"storage": "1Gi"}}
    cluster.api.create(limits(bounds, CONTAINER))

    assert (
        "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
        in refusal(lambda: cluster.api.create(claim(size="3Gi"))).message
    )
    assert "minimum storage" in refusal(lambda: cluster.api.create(claim(size="1Mi"))).message
    cluster.api.create(claim(size="1Gi"))
    cluster.settle()
    patch = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    assert (
        "maximum storage"
        in refusal(lambda: cluster.api.patch("v1", "PersistentVolumeClaim", NAMESPACE, "d", patch)).message
    )


def test_a_pod_that_is_there_stays_when_limits_come() -> None:
    cluster = Tenants()
    cluster.api.create(pod(container=resources(cpu="2")))
    cluster.api.create(limits(CONTAINER))
    assert cluster.settle()
    assert cluster.get("Pod", "p")["status"]["phase"] == "Running"


def test_what_is_not_limited_is_not_looked_at(cluster: Tenants) -> None:
    stored = cluster.api.create(pod(container=resources(cpu="10m", memory="1Mi", **{"ephemeral-storage": "9Gi"})))
    assert stored["spec"]["containers"][0]["resources"]["limits"]["ephemeral-storage"] == "9Gi"
