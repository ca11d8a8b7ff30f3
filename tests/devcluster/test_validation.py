from typing import Any

import pytest

from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from fakes import claim, config_map, job, namespace, refusal, service


@pytest.fixture
def api() -> ApiServer:
    server = ApiServer(Clock())
    server.create(namespace())
    return server


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
