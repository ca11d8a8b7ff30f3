"""What a Dedicated swarm may use: the defaults, what is chosen, and what cannot fit, by how much."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

import scenes
import workload_samples as samples
from userswarm.compose.plan import Plan, compute_plan
from userswarm.errors import InvalidParentError
from userswarm.parts.dedicated.isolation import SHARED_LIMITS, SHARED_NAMESPACE, exact_amount
from userswarm.spec.schema import user_swarm_schema
from userswarm.wire.k8s import LIMIT_RANGE, RESOURCE_QUOTA, STATEFUL_SET, Kind

Json = dict[str, Any]

LENT = {"isolation": "Dedicated", "namespaceMode": "operator", "runtimeNamespace": "lent"}
LARGE = {"cpu": 8, "memory": "8Gi", "pods": 20}
ROOMY = {"max": {"cpu": 4, "memory": "4Gi"}}


def plan(placement: Json | None = None, **spec: Any) -> Plan:
    return compute_plan(scenes.user_swarm(placement=placement or {"isolation": "Dedicated"}, **spec), scenes.SETTINGS)


def built(kind: Kind, made: Plan) -> Json:
    (child,) = (each for each in made.children() if each["kind"] == kind.kind)
    return child


def containers(made: Plan) -> dict[str, Json]:
    """Return the resources of each of our own containers, by name."""
    pod = built(STATEFUL_SET, made)["spec"]["template"]["spec"]
    return {each["name"]: each["resources"] for each in (*pod["initContainers"], *pod["containers"])}


def problems(placement: Json | None = None, **spec: Any) -> dict[str, str]:
    with pytest.raises(InvalidParentError) as caught:
        plan(placement, **spec)
    return {each.path: each.message for each in caught.value.problems}


def test_one_field_is_enough() -> None:
    made = plan()
    assert built(RESOURCE_QUOTA, made)["spec"] == {
        "hard": {
            "limits.cpu": "500m",
            "limits.memory": "512Mi",
            "persistentvolumeclaims": "2",
            "pods": "3",
            "requests.cpu": "500m",
            "requests.memory": "512Mi",
        }
    }
    assert built(LIMIT_RANGE, made)["spec"] == {
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": "100m", "memory": "64Mi"},
                "defaultRequest": {"cpu": "100m", "memory": "64Mi"},
                "max": {"cpu": "500m", "memory": "256Mi"},
            }
        ]
    }
    assert containers(made) == {
        "bootstrap": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"cpu": "300m", "memory": "128Mi"},
        },
        "runtime": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": "300m", "memory": "256Mi"},
        },
    }


def test_the_default_quota_has_room_for_two_small_pods_more() -> None:
    plan(workloads=[samples.deployment(replicas=2)])
    assert problems(workloads=[samples.deployment(replicas=3)]) == {
        "spec.quota.cpu": "500m (limits.cpu) is less than the swarm and its workloads need, 600m, by 100m; "
        "raise it, or lower what they need",
        "spec.quota.pods": "3 (pods) is less than the swarm and its workloads need, 4, by 1; "
        "raise it, or lower what they need",
    }


def test_the_defaults_that_are_lowered_are_those_of_the_crd() -> None:
    complete = user_swarm_schema().with_defaults({"spec": {"userId": "u"}})["spec"]
    assert complete["runtime"]["resources"]["limits"] == SHARED_LIMITS
    assert complete["placement"]["runtimeNamespace"] == SHARED_NAMESPACE


def test_a_default_is_lowered_only_where_it_does_not_fit() -> None:
    assert containers(plan(quota=LARGE, limitRange=ROOMY))["runtime"]["limits"] == SHARED_LIMITS
    # By the quota, with what is left free; by the maximum; each resource by itself.
    tight = {"cpu": "599m", "memory": "640Mi"}
    assert containers(plan(quota=tight, limitRange=ROOMY))["runtime"]["limits"] == {"cpu": "300m", "memory": "512Mi"}
    tight = {"max": {"cpu": 1, "memory": "511Mi"}}
    assert containers(plan(quota=LARGE, limitRange=tight))["runtime"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
    exactly = {"max": {"cpu": "0.5", "memory": "512Mi"}}
    quota = {"cpu": "600m", "memory": "640Mi"}
    assert containers(plan(quota=quota, limitRange=exactly))["runtime"]["limits"] == SHARED_LIMITS


def test_a_default_leaves_room_for_the_tenants_own_workloads() -> None:
    spec = {"quota": {"cpu": "700m", "memory": "2Gi", "pods": 9}, "limitRange": ROOMY}
    for replicas, left in ((1, "500m"), (2, "300m"), (3, "300m")):
        made = plan(workloads=[samples.service(), samples.deployment(replicas=replicas)], **spec)
        assert containers(made)["runtime"]["limits"]["cpu"] == left
    # In an operator's namespace nothing is counted.
    assert containers(plan(LENT, workloads=[samples.deployment(replicas=9)]))["runtime"]["limits"] == SHARED_LIMITS


def test_what_somebody_chose_is_never_lowered() -> None:
    resources = {"limits": {"memory": "257Mi"}}
    assert problems(runtime={"resources": resources}) == {
        "spec.limitRange.max.memory": "256Mi is less than the runtime's container runtime needs, 257Mi, by 1Mi; "
        "raise it, or lower what it needs"
    }
    # A request shows that the limit is meant.
    resources = {"requests": {"memory": "300Mi"}}
    assert "by 256Mi" in problems(runtime={"resources": resources})["spec.limitRange.max.memory"]
    chosen = {"limits": {"cpu": "400m", "memory": "200Mi"}, "requests": {"memory": "100Mi"}}
    assert containers(plan(runtime={"resources": chosen}))["runtime"]["limits"] == chosen["limits"]


def test_a_shared_swarm_keeps_the_defaults() -> None:
    found = containers(plan({"isolation": "Shared"}))
    assert found["runtime"]["limits"] == SHARED_LIMITS
    assert found["bootstrap"]["limits"]["cpu"] == "500m"


@pytest.mark.parametrize(("runtime", "bootstrap"), [("20m", "100m"), ("250m", "250m"), ("2", "500m")])
def test_the_init_container_takes_no_more_than_the_runtime_as_far_as_it_can_do_with_it(
    runtime: str, bootstrap: str
) -> None:
    resources = {"limits": {"cpu": runtime}, "requests": {"cpu": "10m"}}
    made = plan(runtime={"resources": resources}, quota=LARGE, limitRange=ROOMY)
    assert containers(made)["bootstrap"]["limits"] == {"cpu": bootstrap, "memory": "128Mi"}


def test_every_entry_of_the_quota_can_be_set_and_goes_when_it_is_unset() -> None:
    quota = {
        "cpu": 2.0,
        "memory": "2048Mi",
        "storage": "10240Mi",
        "pods": 5,
        "persistentVolumeClaims": 1,
        "services": 2,
        "secrets": 0,
        "counts": {"configmaps": 9, "deployments.apps": 0},
    }
    quota["cpu"] = "2000m"
    assert built(RESOURCE_QUOTA, plan(quota=quota))["spec"]["hard"] == {
        "count/configmaps": "9",
        "count/deployments.apps": "0",
        "limits.cpu": "2",
        "limits.memory": "2Gi",
        "persistentvolumeclaims": "1",
        "pods": "5",
        "requests.cpu": "2",
        "requests.memory": "2Gi",
        "requests.storage": "10Gi",
        "secrets": "0",
        "services": "2",
    }
    assert len(built(RESOURCE_QUOTA, plan(quota={"pods": 5}))["spec"]["hard"]) == 6


SHORT: dict[str, tuple[Json, str, str]] = {
    "cpu": ({"quota": {"cpu": "299m"}}, "spec.quota.cpu", "299m (limits.cpu)|need, 300m, by 1m;"),
    "memory": ({"quota": {"memory": "255Mi"}}, "spec.quota.memory", "255Mi (requests.memory)|need, 256Mi, by 1Mi;"),
    "pods": ({"quota": {"pods": 0}}, "spec.quota.pods", "need, 1, by 1;"),
    "claims": ({"quota": {"persistentVolumeClaims": 0}}, "spec.quota.persistentVolumeClaims", "need, 1, by 1;"),
    "storage": ({"quota": {"storage": "1Gi"}}, "spec.quota.storage", "1Gi (requests.storage)|need, 2Gi, by 1Gi;"),
    "services": ({"quota": {"services": 1}}, "spec.quota.services", "need, 2, by 1;"),
    "ConfigMaps, with Kubernetes' own": (
        {"quota": {"counts": {"configmaps": 1}}},
        "spec.quota.counts[configmaps]",
        "1 (count/configmaps)|need, 2, by 1;",
    ),
    "accounts, with Kubernetes' own": (
        {"quota": {"counts": {"serviceaccounts": 1}}},
        "spec.quota.counts[serviceaccounts]",
        "need, 2, by 1;",
    ),
    "a workload's Jobs": (
        {"quota": {"counts": {"jobs.batch": 0}}, "workloads": [samples.job()]},
        "spec.quota.counts[jobs.batch]",
        "need, 1, by 1;",
    ),
    "policies": (
        {"quota": {"counts": {"networkpolicies.networking.k8s.io": 3}}},
        "spec.quota.counts[networkpolicies.networking.k8s.io]",
        "need, 4, by 1;",
    ),
    "revisions that a StatefulSet makes": (
        {"quota": {"counts": {"controllerrevisions.apps": 0}}},
        "spec.quota.counts[controllerrevisions.apps]",
        "need, 1, by 1;",
    ),
    "Pods by another name": ({"quota": {"counts": {"pods": 0}}}, "spec.quota.counts[pods]", "need, 1, by 1;"),
    "a resource longer than a quota's key": (
        {"quota": {"counts": {"a" * 64: 1}}},
        f"spec.quota.counts[{'a' * 64}]",
        "is no resource; it must be|at most 63",
    ),
    "a workload's Service": (
        {"quota": {"services": 2}, "workloads": [samples.service()]},
        "spec.quota.services",
        "need, 3, by 1;",
    ),
    "a Deployment's replica sets": (
        {"quota": {"counts": {"replicasets.apps": 0}}, "workloads": [samples.deployment()]},
        "spec.quota.counts[replicasets.apps]",
        "need, 1, by 1;",
    ),
    "a CronJob's Pods": (
        {"workloads": [samples.cron_job(jobTemplate={"spec": samples.job(parallelism=3)["spec"]})]},
        "spec.quota.pods",
        "need, 4, by 1;",
    ),
    "a maximum under the init container's": (
        {"limitRange": {"max": {"memory": "127Mi"}, "default": {"memory": "1Mi"}}},
        "spec.limitRange.max.memory",
        "127Mi is less than|by ",
    ),
    "a maximum under the default": (
        {"limitRange": {"max": {"cpu": "99m"}}},
        "spec.limitRange.default.cpu",
        "100m is more than the maximum, 99m, by 1m; lower it",
    ),
    "a workload's limit": (
        {"workloads": [samples.with_container(resources={"limits": {"memory": "1Gi"}})], "quota": LARGE},
        f"spec.workloads[0].{samples.CONTAINER}.resources.limits.memory",
        "1Gi is more than spec.limitRange.max.memory, 256Mi, by 768Mi",
    ),
    "a workload's request over the default limit": (
        {"workloads": [samples.with_container(resources={"requests": {"cpu": "101m"}})], "quota": LARGE},
        f"spec.workloads[0].{samples.CONTAINER}.resources.requests.cpu",
        "101m is more than the default limit, by 1m; set limits.cpu too",
    ),
    "a CronJob's limit": (
        {
            "workloads": [
                samples.config_map(),
                samples.cron_job(
                    jobTemplate={
                        "spec": samples.job(
                            samples.pod(
                                restartPolicy="Never",
                                initContainers=[samples.container(name="i", resources={"limits": {"cpu": 1}})],
                            )
                        )["spec"]
                    }
                ),
            ],
            "quota": LARGE,
        },
        "spec.workloads[1].spec.jobTemplate.spec.template.spec.initContainers[0].resources.limits.cpu",
        "1 is more than spec.limitRange.max.cpu, 500m, by 500m",
    ),
}


@pytest.mark.parametrize("what", SHORT)
def test_what_cannot_fit_is_named_with_what_is_missing(what: str) -> None:
    spec, path, told = SHORT[what]
    found = problems(**spec)
    for part in told.split("|"):
        assert part in found[path]


@pytest.mark.parametrize(
    ("init", "cpu"),
    [
        # What ends before counts where it is more; what stays beside counts on top.
        ([{"name": "a", "cpu": "250m"}], 250),
        ([{"name": "a", "cpu": "50m"}], 100),
        ([{"name": "a", "cpu": "50m", "restartPolicy": "Always"}], 150),
        ([{"name": "a", "cpu": "50m", "restartPolicy": "Always"}, {"name": "b", "cpu": "200m"}], 250),
        ([{"name": "b", "cpu": "200m"}, {"name": "a", "cpu": "50m", "restartPolicy": "Always"}], 200),
    ],
)
def test_a_pod_counts_as_the_quota_counts_it(init: list[Json], cpu: int) -> None:
    inits = [samples.container(resources={"limits": {"cpu": each.pop("cpu")}}, **each) for each in map(dict, init)]
    workload = samples.deployment(samples.pod(initContainers=inits))
    needed = 300 + cpu
    limits = {"memory": "4Gi", "pods": 9}
    plan(quota={"cpu": f"{needed}m", **limits}, workloads=[workload])
    found = problems(quota={"cpu": f"{needed - 1}m", **limits}, workloads=[workload])
    assert f"need, {needed}m, by 1m" in found["spec.quota.cpu"]


def test_what_a_quota_does_not_limit_is_not_counted() -> None:
    plan(storage={"size": "10Ti"}, workloads=[samples.service(), samples.config_map(), samples.deployment(replicas=0)])


def test_a_suspended_swarm_has_to_fit_when_it_is_resumed() -> None:
    assert "spec.quota.pods" in problems(suspend=True, quota={"pods": 0})


def test_an_operators_namespace_has_no_limits_of_ours_unless_they_are_asked_for() -> None:
    made = plan(LENT)
    assert not {RESOURCE_QUOTA.kind, LIMIT_RANGE.kind} & {each["kind"] for each in made.children()}
    assert containers(made)["runtime"]["limits"] == SHARED_LIMITS
    for asked in ({"quota": {"memory": "1Gi"}}, {"limitRange": {"max": {"cpu": 1}}}):
        made = plan(LENT, **asked)
        assert {RESOURCE_QUOTA.kind, LIMIT_RANGE.kind} <= {each["kind"] for each in made.children()}
        assert containers(made)["runtime"]["limits"]["memory"] == "256Mi"
    assert "spec.quota.pods" in problems(LENT, quota={"pods": 0})


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"quota": {"pods": 3}}, "spec.quota"),
        ({"limitRange": {"max": {"cpu": 1}}}, "spec.limitRange"),
        ({"access": {"role": "view"}}, "spec.access"),
        ({"workloads": [{"kind": "Deployment"}]}, "spec.workloads"),
        ({"placement": {"namespaceMode": "operator"}}, "spec.placement.namespaceMode"),
    ],
)
def test_what_only_a_dedicated_swarm_has_is_refused_for_a_shared_one(spec: Json, path: str) -> None:
    (found,) = problems(**{"placement": {"isolation": "Shared"}, **spec}).items()
    assert found[0] == path
    assert "Dedicated" in found[1]


def test_empty_parts_of_a_shared_spec_say_nothing() -> None:
    plan({"isolation": "Shared"}, quota={}, limitRange={}, access={}, workloads=[])


def test_a_namespace_that_would_be_passed_over_is_refused() -> None:
    found = problems({"isolation": "Dedicated", "runtimeNamespace": "mine"})
    assert "the namespace is 'swarm-workspace-a'" in found["spec.placement.runtimeNamespace"]
    plan({"isolation": "Dedicated", "runtimeNamespace": "swarm-workspace-a"})
    plan({"isolation": "Dedicated", "runtimeNamespace": "userswarms"})


@pytest.mark.parametrize(
    "name", ["system:authenticated", "system:anonymous", "system:masters", "system:serviceaccount:a:b"]
)
def test_the_clusters_own_users_and_groups_are_no_members(name: str) -> None:
    members = [{"kind": "User", "name": "ada", "role": "view"}, {"kind": "Group", "name": name, "role": "view"}]
    assert "one of the cluster's own" in problems(access={"members": members})["spec.access.members[1].name"]


def test_all_problems_are_named_together_with_those_of_the_schema() -> None:
    found = problems(
        runtime={"port": 1},
        quota={"pods": "3"},
        limitRange={"max": {"cpu": "1m"}},
        access={"members": [{"kind": "User", "name": "system:x", "role": "view"}]},
        workloads=[{"kind": "Pod"}],
    )
    assert found.keys() == {
        "spec.runtime.port",
        "spec.quota.pods",
        "spec.limitRange.default.cpu",
        "spec.access.members[0].name",
        "spec.workloads[0].kind",
    }


def test_a_part_with_another_type_is_named_by_the_schema_alone() -> None:
    found = problems(limitRange="x", access={"members": "x"}, workloads={"kind": "Pod"})
    assert found.keys() == {"spec.limitRange", "spec.access.members", "spec.workloads"}
    assert problems({"isolation": "Walled"}, quota={"pods": 1}).keys() == {"spec.placement.isolation"}


@pytest.mark.parametrize(
    ("value", "name", "told"),
    [
        (Fraction(1, 10), "limits.cpu", "100m"),
        (Fraction(1, 3), "cpu", "333333334n"),
        (Fraction(2), "pods", "2"),
        (Fraction(1024), "limits.memory", "1Ki"),
        (Fraction(1000), "memory", "1k"),
        (Fraction(1, 2), "requests.storage", "1"),
    ],
)
def test_an_amount_is_told_in_the_unit_that_people_use(value: Fraction, name: str, told: str) -> None:
    assert exact_amount(value, name) == told
