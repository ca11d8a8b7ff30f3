from typing import Any

import pytest

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from fakes import claim, config_map, job, namespace, pod, refusal, secret, service, stateful_set


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.create(namespace())
    return server


def with_container(**changes: Any) -> dict[str, Any]:
    return pod(container=changes)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no selector": (stateful_set(selector=None), "spec.selector: Required value"),
    "a selector that misses the template": (
        stateful_set(selector={"matchLabels": {"app": "other"}}),
        "`selector` does not match template `labels`",
    ),
    "a pod that never restarts in a set": (
        stateful_set(pod_spec_changes={"restartPolicy": "Never"}),
        'spec.template.spec.restartPolicy: Unsupported value: "Never"',
    ),
    "a job whose pod always restarts": (
        {**job(), "spec": {"template": {"spec": pod()["spec"]}}},
        "spec.template.spec.restartPolicy",
    ),
    "a job with a name too long for a label": (job("j" * 64), "spec.template.labels"),
    "no containers": (pod(containers=[]), "spec.containers: Required value"),
    "a strange restart policy": (pod(restartPolicy="Sometimes"), "spec.restartPolicy"),
    "a container without a name": (with_container(name=None), "spec.containers[0].name"),
    "a container without an image": (with_container(image=""), "spec.containers[0].image: Required value"),
    "two containers of one name": (
        pod(initContainers=[{"name": "main", "image": "i"}]),
        'spec.containers[0].name: Duplicate value: "main"',
    ),
    "a mount without a volume": (
        with_container(volumeMounts=[{"name": "nothing", "mountPath": "/x"}]),
        'spec.containers[0].volumeMounts[0].name: Not found: "nothing"',
    ),
    "a variable with an equals sign": (with_container(env=[{"name": "A=B"}]), "spec.containers[0].env[0].name"),
    "a request beyond its limit": (
        with_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}),
        "must be less than or equal to cpu limit of 1500m",
    ),
    "a service without ports": (service(ports=[]), "spec.ports: Required value"),
    "a port out of range": (service(ports=[{"port": 70000}]), "must be between 1 and 65535"),
    "two ports without names": (service(ports=[{"name": "a", "port": 1}, {"port": 2}]), "spec.ports[1].name"),
    "a selector that is no label": (service(selector={"app": "not a label"}), "spec.selector"),
    "a service named with a digit first": (service("1a"), "DNS-1035"),
    "a claim without access modes": (claim(accessModes=[]), "spec.accessModes: Required value"),
    "a claim without a size": (claim(resources={}), "spec.resources[storage]: Required value"),
    "a claim for nothing": (claim(size="0"), "must be greater than zero"),
    "a key with a slash": (config_map(data={"a/b": "x"}), "data[a/b]: Invalid value"),
    "a key of dots": (config_map(data={"..": "x"}), "data[..]: Invalid value"),
    "a value that is no text": (config_map(data={"a": 5}), "must be a string"),
    "too much text": (config_map(data={"a": "x" * 1024 * 1024, "b": "x"}), "Too long"),
    "a secret with a strange key": (secret("s", **{"a b": "x"}), "data[a b]: Invalid value"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_by_its_field(api: ApiServer, name: str) -> None:
    obj, words = BROKEN[name]
    error = refusal(lambda: api.create(obj))

    assert (error.code, error.reason) == (422, "Invalid")
    assert words in error.message


def test_all_problems_are_named_together(api: ApiServer) -> None:
    error = refusal(lambda: api.create(service(ports=[{"port": 0}, {"port": 0}])))

    assert error.message.count("spec.ports[") == 4
    assert error.message.startswith('Service "s" is invalid: [')


def test_a_headless_service_needs_no_ports(api: ApiServer) -> None:
    assert api.create(service(clusterIP="None", ports=[]))["spec"]["clusterIP"] == "None"


def test_an_update_is_validated_like_a_creation(api: ApiServer) -> None:
    stored = api.create(config_map())

    assert refusal(lambda: api.update({**stored, "data": {"a/b": "x"}})).code == 422


def bound(api: ApiServer, size: str = "2Gi") -> dict[str, Any]:
    stored = api.create(claim(size=size))
    stored["spec"]["volumeName"] = "pv-1"
    stored = api.update(stored)
    stored["status"] = {"phase": "Bound", "capacity": {"storage": size}}
    return api.update_status(stored)


def test_a_bound_claim_may_grow_but_not_shrink(api: ApiServer) -> None:
    stored = bound(api)
    stored["spec"]["resources"]["requests"]["storage"] = "3Gi"
    stored = api.update(stored)
    assert stored["spec"]["resources"]["requests"]["storage"] == "3Gi"
    stored["spec"]["resources"]["requests"]["storage"] = "1Gi"
    assert "can not be less than status.capacity" in refusal(lambda: api.update(stored)).message


def test_a_claim_that_is_not_bound_cannot_grow(api: ApiServer) -> None:
    stored = api.create(claim())
    stored["spec"]["resources"]["requests"]["storage"] = "3Gi"

    assert "spec is immutable after creation" in refusal(lambda: api.update(stored)).message


def test_a_bound_claims_volume_cannot_change(api: ApiServer) -> None:
    stored = bound(api)
    stored["spec"]["volumeName"] = "pv-2"

    assert "spec is immutable after creation" in refusal(lambda: api.update(stored)).message


@pytest.mark.parametrize("field", ["template", "selector", "completions"])
def test_a_jobs_work_cannot_change(api: ApiServer, field: str) -> None:
    stored = api.create(job())
    changed = {
        "template": lambda: stored["spec"]["template"]["spec"].update(hostname="x"),
        "selector": lambda: stored["spec"].update(selector={"matchLabels": {"x": "y"}}),
        "completions": lambda: stored["spec"].update(completions=2),
    }
    changed[field]()

    assert f"spec.{field}: Invalid value: field is immutable" in refusal(lambda: api.update(stored)).message


def test_a_job_may_be_told_to_give_up_sooner(api: ApiServer) -> None:
    stored = api.create(job())
    stored["spec"]["activeDeadlineSeconds"] = 5

    assert api.update(stored)["spec"]["activeDeadlineSeconds"] == 5
