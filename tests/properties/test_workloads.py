"""Whatever a tenant says of a workload: it is refused with its field, or every cluster takes it, and it stays quiet."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scenes
import workload_samples as samples
from devcluster.admission import restricted_violations
from devcluster.defaults import add_defaults, as_stored
from devcluster.merge import apply_update, set_last_applied
from userswarm.compose.replace import find_obstacle
from userswarm.parts.dedicated.workloads import Surroundings, complete_workloads, pod_template
from userswarm.wire.k8s import JOB

Json = dict[str, Any]

VERSIONS = kubernetes_validate.utils.all_versions()[-3:]
ALONE = Surroundings("swarm-workspace-a", True, scenes.SETTINGS)

RICH: Json = samples.deployment(
    {
        "initContainers": [
            samples.container(name="i", restartPolicy="Always", startupProbe={"exec": {"command": ["x"]}})
        ],
        "containers": [
            samples.container(
                command=["run"],
                args=["-v", ""],
                workingDir="/srv",
                imagePullPolicy="Always",
                env=[
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}}},
                ],
                envFrom=[{"prefix": "P", "secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}],
                ports=[{"name": "http", "containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
                resources={"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5}},
                livenessProbe={"httpGet": {"port": "http", "httpHeaders": [{"name": "X", "value": "y"}]}},
                readinessProbe={"tcpSocket": {"port": 8080}, "timeoutSeconds": 2},
                startupProbe={"grpc": {"port": 8080}, "failureThreshold": 9},
                securityContext={"runAsUser": 5, "capabilities": {"add": ["NET_BIND_SERVICE"]}},
                volumeMounts=[
                    {"name": "v", "mountPath": "/v", "readOnly": True},
                    {"name": "w", "mountPath": "/w", "subPath": "a"},
                ],
                stdin=True,
                tty=True,
            )
        ],
        "volumes": [
            {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Ki"}},
            {"name": "w", "configMap": {"name": "c", "items": [{"key": "k", "path": "p", "mode": 256}]}},
            {"name": "x", "secret": {"secretName": "s", "defaultMode": 256}},
            {"name": "y", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        ],
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "securityContext": {"fsGroup": 7, "supplementalGroups": [8, 9], "fsGroupChangePolicy": "Always"},
        "imagePullSecrets": [{"name": "p"}],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 5,
        "enableServiceLinks": True,
        "automountServiceAccountToken": False,
    },
    replicas=2,
    strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "50%"}},
    minReadySeconds=1,
    revisionHistoryLimit=2,
    progressDeadlineSeconds=60,
    paused=True,
)
CORPUS = (
    RICH,
    samples.deployment(),
    samples.service(
        ports=[{"name": "a", "port": 1, "targetPort": "http"}, {"name": "b", "port": 2, "protocol": "UDP"}],
        sessionAffinity="ClientIP",
        clusterIP="None",
        publishNotReadyAddresses=True,
    ),
    samples.job(completions=2, parallelism=2, backoffLimit=0, activeDeadlineSeconds=9, suspend=True),
    samples.cron_job(timeZone="Europe/Vienna", concurrencyPolicy="Forbid", suspend=False, startingDeadlineSeconds=5),
    samples.config_map(binaryData={"b": "YWJj\n"}),
)

JUNK = st.sampled_from(
    [
        None,
        "",
        "x",
        "x\n",
        "1",
        "a.b",
        "-",
        0,
        1,
        1.0,
        -1,
        0.5,
        2**31,
        True,
        False,
        [],
        {},
        ["x"],
        [""],
        [None],
        {"x": "y"},
    ]
).map(copy.deepcopy)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Iterate over the paths of all that is in a value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


@st.composite
def workloads(draw: st.DrawFn) -> Json:
    """Return a good workload in which up to three things were changed."""
    workload = copy.deepcopy(draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(workload))))
        parent: Any = workload
        for step in path[:-1]:
            parent = parent[step]
        change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
        if change == "remove":
            del parent[path[-1]]
        elif change == "add" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["hostPath", "nodePort", "name", "typo", "host", "value"]))] = draw(JUNK)
        elif change == "repeat" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        else:
            parent[path[-1]] = draw(JUNK)
        if not list(places(workload)):
            break
    return workload


def stored(manifest: Json) -> Json:
    """Return what an apiserver makes of a manifest."""
    obj = as_stored(manifest["kind"], manifest)
    obj["metadata"]["uid"] = "uid"
    return add_defaults(manifest["kind"], obj, random.Random(1))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(workloads())
def test_a_workload_is_refused_or_every_cluster_takes_it(workload: Json) -> None:
    before = copy.deepcopy(workload)
    completed, problems = complete_workloads([workload], ALONE)
    assert workload == before
    assert bool(completed) is not bool(problems)
    for problem in problems:
        assert problem.path.startswith("spec.workloads")
        assert problem.message
    for each in completed:
        for version in VERSIONS:
            kubernetes_validate.validate(each.manifest, version, strict=True)
        template = pod_template(each.manifest)
        assert template is None or not list(restricted_violations(template["spec"]))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(workloads())
def test_a_workload_that_is_taken_costs_no_write_once_it_is_stored(workload: Json) -> None:
    completed, _ = complete_workloads([workload], ALONE)
    for each in completed:
        if each.kind is JOB:
            continue  # never updated
        observed = stored(each.manifest)
        set_last_applied(observed, each.manifest)
        assert stored(apply_update(observed, each.manifest)) == observed
        assert apply_update(observed, each.manifest) == observed


@given(workloads())
def test_what_was_completed_is_complete(workload: Json) -> None:
    completed, _ = complete_workloads([workload], ALONE)
    for each in completed:
        (again,), problems = complete_workloads([each.manifest], ALONE)
        assert problems == []
        assert again.manifest == each.manifest


def by_key(value: Any, *, ordered: bool = False) -> Any:
    """Return a value with its lists in one order, but for init containers: a merge keeps the order of what is there."""
    if isinstance(value, dict):
        return {key: by_key(inner, ordered=key == "initContainers") for key, inner in value.items()}
    if isinstance(value, list):
        found = [by_key(inner) for inner in value]
        return found if ordered else sorted(found, key=repr)
    return value


def change(first: Json, second: Json) -> tuple[Json, Json] | None:
    """Return what is stored once one workload has become another, and what were stored if it were new.

    None where they are no two states of one workload: refused, of other kinds, or made again instead of changed.
    """
    (one, two) = (complete_workloads([each], ALONE)[0] for each in (first, second))
    if not one or not two or one[0].kind is not two[0].kind or one[0].kind is JOB:
        return None
    old, new = one[0].manifest, two[0].manifest
    old["metadata"]["name"] = new["metadata"]["name"]
    observed = stored(old)
    set_last_applied(observed, old)
    if find_obstacle(new, observed):
        return None
    updated, fresh = stored(apply_update(observed, new)), stored(new)
    set_last_applied(fresh, new)
    for address in fresh.get("spec", {}).keys() & {"clusterIP", "clusterIPs"}:
        fresh["spec"][address] = updated["spec"][address]
    return by_key(updated), by_key(fresh)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(workloads(), workloads())
def test_a_workload_that_changes_becomes_what_a_new_one_would_be(first: Json, second: Json) -> None:
    changed = change(first, second)
    assert changed is None or changed[0] == changed[1]


RECREATED = samples.deployment(strategy={"type": "Recreate"})
STICKY = samples.service(sessionAffinity="ClientIP")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (RICH, RECREATED),
        (RECREATED, RICH),
        (samples.deployment(), RECREATED),
        (samples.service(), STICKY),
        (STICKY, samples.service()),
        (samples.cron_job(timeZone="Europe/Vienna", suspend=True), samples.cron_job("@daily")),
        (samples.config_map(binaryData={"b": "YQ=="}), samples.config_map(data={"c": ""})),
    ],
)
def test_no_default_of_an_earlier_state_stays_behind(first: Json, second: Json) -> None:
    changed = change(first, second)
    assert changed is not None
    assert changed[0] == changed[1]


def test_the_good_ones_are_good() -> None:
    for workload in CORPUS:
        assert complete_workloads([workload], ALONE)[1] == []
