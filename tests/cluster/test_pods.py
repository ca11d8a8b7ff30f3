"""Pods come about: Pod Security lets ours and a tenant's in and no worse, and what we say fits the quota does fit.

Where a swarm lives here, the control plane's own controllers make its Pods, so each has passed all that a Pod has to.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cluster.api import Api, Object, RefusedError
from cluster.life import SAMPLES, Life, sample, swarm
from cluster.waiting import until_nothing
from contract.rendered import ALL_AT_ONCE, pod_specs, production_with, rendered
from properties.test_workloads import CORPUS, workloads
from template_samples import SETTINGS
from userswarm.cli.rendering import check_user_swarm
from userswarm.compose.plan import compute_plan
from userswarm.errors import InvalidParentError
from userswarm.spec.quantity import parse


def tenants() -> list[Object]:
    """Return a workload of each kind that makes Pods at once, all of them at work."""
    found = [each for each in copy.deepcopy(list(CORPUS)) if each["kind"] in {"Deployment", "Job"}]
    for number, each in enumerate(found):
        each["metadata"]["name"] = f"tenant-{number}"
        each["spec"] |= {"suspend": False} if each["kind"] == "Job" else {"paused": False}
    return found


def pods_of(spec: Object) -> list[Object]:
    """Return the Pods of a valid spec's StatefulSet, Deployments, Jobs and CronJobs."""
    children = compute_plan(swarm("ann", **spec), SETTINGS).children()
    return [pod for _, _, pod in pod_specs(children)]


def admitted(api: Api, spec: Object, namespace: str = "userswarms") -> str:
    """Return why a Pod is refused, an empty text for one that is let in; its account need not be there."""
    metadata = {"name": "any", "namespace": namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "serviceAccountName": "default"}}
    try:
        api.create(pod, dryRun="All")
    except RefusedError as error:
        return error.message
    return ""


def dedicated(**more: Any) -> Object:
    room = {"cpu": "9", "memory": "9Gi", "pods": 90, "persistentVolumeClaims": 9}
    limits = {"max": {"cpu": "2", "memory": "2Gi"}}
    return {"placement": {"isolation": "Dedicated"}, "quota": room, "limitRange": limits, **more}


@pytest.mark.parametrize("name", SAMPLES)
def test_pod_security_lets_the_pods_of_a_sample_in(installed: Api, name: str) -> None:
    pods = pods_of(sample(name)["spec"])
    assert pods
    assert [told for pod in pods if (told := admitted(installed, pod))] == []


def test_pod_security_lets_our_own_pods_in(installed: Api) -> None:
    objects = [*production_with(*ALL_AT_ONCE), *rendered("metacontroller")]
    pods = [(title, pod) for title, _, pod in pod_specs(objects)]
    assert len(pods) >= 3
    assert [(title, told) for title, pod in pods if (told := admitted(installed, pod))] == []


@settings(max_examples=100, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow])
@given(workloads())
def test_pod_security_lets_whatever_a_tenant_may_run_in(installed: Api, workload: Object) -> None:
    spec = dedicated(workloads=[workload])
    try:
        check_user_swarm(swarm("ann", **spec), SETTINGS)
    except InvalidParentError:
        return
    # Pods with these labels of their own say nothing here about limits: those are the namespace's.
    told = [told for pod in pods_of(spec) if (told := admitted(installed, pod))]
    assert [each for each in told if "PodSecurity" in each or "Invalid value" in each] == []


VOLUMES = pods_of({})[0]["volumes"]


@pytest.mark.parametrize(
    "worse",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"volumes": [*VOLUMES, {"name": "v", "hostPath": {"path": "/"}}]},
        {"securityContext": {"runAsNonRoot": False, "seccompProfile": {"type": "RuntimeDefault"}}},
        {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "Unconfined"}}},
    ],
    ids=["host network", "host processes", "host files", "root", "no seccomp"],
)
def test_pod_security_lets_nothing_worse_in(installed: Api, worse: Object) -> None:
    (pod,) = pods_of({})
    for namespace in ("userswarms", "userswarm-system", "metacontroller"):
        assert "violates PodSecurity" in admitted(installed, {**pod, **worse}, namespace)


def missing_pods(life: Life, *groups: str) -> str:
    """Name the workloads of which the control plane has not made all Pods."""
    short = []
    for group in groups:
        for child in life.children(group):
            spec, status = child["spec"], child.get("status", {})
            wanted = spec.get("replicas", spec.get("parallelism", 1))
            made = status.get("replicas", status.get("active", 0))
            if made < wanted:
                short.append(f"{child['kind']} {child['metadata']['name']}: {made} of {wanted}: {status}")
    return "; ".join(short)


PODS = ("StatefulSet.apps/v1", "Deployment.apps/v1", "Job.batch/v1")


def needed(spec: Object, field: str, most: int, unit: str) -> Object:
    """Return a spec with the least of a quota's field that we call enough."""

    def with_amount(amount: int) -> Object:
        return {**spec, "quota": {**spec["quota"], field: f"{amount}{unit}" if unit else amount}}

    low = 0
    while low < most:
        middle = (low + most) // 2
        try:
            check_user_swarm(swarm("ann", **with_amount(middle)), SETTINGS)
            most = middle
        except InvalidParentError:
            low = middle + 1
    return with_amount(most)


@pytest.mark.parametrize("workloads", [[], tenants()], ids=["alone", "with a tenant's workloads"])
def test_what_we_say_fits_the_quota_does_fit(installed: Api, controller: Object, workloads: list[Object]) -> None:
    spec = dedicated(workloads=workloads)
    for field, most, unit in (("cpu", 9000, "m"), ("memory", 9000, "Mi"), ("pods", 90, ""), ("services", 90, "")):
        spec = needed(spec, field, most, unit)
    with Life(installed, controller, swarm(f"tight-{len(workloads)}", **spec)) as life:
        life.settle()
        until_nothing("Pods that do not come about", lambda: missing_pods(life, *PODS))
        (quota,) = life.children("ResourceQuota.v1")
        used = quota["status"]["used"]
        assert parse(used["pods"]) >= 1 + len(workloads)


def test_the_shared_quota_holds_a_thousand_swarms(installed: Api) -> None:
    (quota,) = (each for each in rendered("quota") if each["kind"] == "ResourceQuota")

    def used() -> Object:
        stored = installed.get(quota)
        assert stored is not None
        return {name: parse(amount) for name, amount in stored.get("status", {}).get("used", {}).items()}

    controller = next(each for each in rendered("controller") if each["kind"] == "CompositeController")
    until_nothing("a quota that nobody has counted for", lambda: "" if used() else "all")
    before = used()
    with Life(installed, controller, swarm("counted")) as life:
        life.settle()
        until_nothing("Pods that do not come about", lambda: missing_pods(life, "StatefulSet.apps/v1"))
        for name, amount in used().items():
            assert before[name] + 1000 * (amount - before[name]) <= parse(quota["spec"]["hard"][name]), name
        assert used()["pods"] > before["pods"]
