"""What fits into a Dedicated swarm's limits, by our own arithmetic and by the cluster's admission: they must agree.

The cluster is the judge: the quota and the limits are there first, and then everything at once, as it can be at worst.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from devcluster.errors import ApiError
from fakes import Json
from userswarm.cli.demo.cluster import Cluster
from userswarm.compose import plan as planning
from userswarm.errors import InvalidParentError
from userswarm.parts import PARTS
from userswarm.spec.parent import parse_parent
from userswarm.spec.settings import Settings

NAMESPACE = "swarm-ann"
SETTINGS = Settings()
# Not the walls themselves: a quota that is there cannot refuse itself.
COUNTED = (
    "configmaps",
    "endpointslices.discovery.k8s.io",
    "networkpolicies.networking.k8s.io",
    "persistentvolumeclaims",
    "pods",
    "replicasets.apps",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets.apps",
    "deployments.apps",
    "jobs.batch",
)

cpu = st.sampled_from(["20m", "50m", "0.1", "100m", "150m", "300m", "0.4", "500m", 1, "1.5"])
memory = st.sampled_from(["16Mi", "64Mi", "128Mi", "134217728", "200Mi", "256Mi", "0.5Gi", "512Mi", "1Gi"])
amounts = st.fixed_dictionaries({}, optional={"cpu": cpu, "memory": memory})
resources = st.fixed_dictionaries({}, optional={"requests": amounts, "limits": amounts})
containers = st.fixed_dictionaries({"image": st.just("registry.example/app:1")}, optional={"resources": resources})


@st.composite
def workloads(draw: st.DrawFn) -> list[Json]:
    """A few Deployments and Jobs, with init containers that end and some that stay."""
    found = []
    for number in range(draw(st.integers(0, 2))):
        name = f"w{number}"
        pod: Json = {"containers": [], "initContainers": []}
        for field, most in (("containers", 2), ("initContainers", 2)):
            for at in range(draw(st.integers(1 if field == "containers" else 0, most))):
                container = {"name": f"{field[0]}{at}", **draw(containers)}
                if field == "initContainers" and draw(st.booleans()):
                    container["restartPolicy"] = "Always"
                pod[field].append(container)
        template = {"metadata": {"labels": {"app": name}}, "spec": pod}
        spec: Json = {"template": template}
        if draw(st.booleans()):
            kind, api_version = "Deployment", "apps/v1"
            # None at all may not be too large either, though no cluster would tell before the first.
            spec |= {"replicas": draw(st.integers(1, 3)), "selector": {"matchLabels": {"app": name}}}
        else:
            kind, api_version = "Job", "batch/v1"
            pod["restartPolicy"] = "Never"
            spec["backoffLimit"] = 0
        found.append({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec})
    return found


@st.composite
def specs(draw: st.DrawFn) -> Json:
    """A spec whose limits are sometimes wide and sometimes narrow."""
    counts = st.dictionaries(st.sampled_from(COUNTED), st.integers(0, 9), max_size=2)
    quota = st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from(["400m", "0.5", "600m", 1, 2, 4]),
            "memory": st.sampled_from(["384Mi", "512Mi", "640Mi", "1Gi", "4Gi"]),
            "pods": st.integers(1, 8),
            "persistentVolumeClaims": st.integers(0, 2),
            "storage": st.sampled_from(["1Gi", "2Gi", "2048Mi", "5Gi"]),
            "services": st.integers(1, 3),
            "secrets": st.integers(0, 1),
            "counts": counts,
        },
    )
    limit_range = st.fixed_dictionaries({}, optional={"default": amounts, "max": amounts})
    spec: Json = {
        "userId": "ann",
        "placement": {"isolation": "Dedicated"},
        "quota": draw(quota),
        "limitRange": draw(limit_range),
        "workloads": draw(workloads()),
        "storage": {"size": draw(st.sampled_from(["1Gi", "2Gi", "3Gi"]))},
    }
    if draw(st.booleans()):
        limits = {"cpu": draw(cpu), "memory": draw(memory)}
        spec["runtime"] = {"resources": {"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": limits}}
    return spec


def children_of(spec: Json, *, fit: bool) -> list[Json]:
    """Return everything that a swarm consists of at once, also if it does not `fit`."""
    parent = {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": "ann", "uid": ""},
        "spec": spec,
    }
    if fit:
        return planning.compute_plan(parent, SETTINGS).children()
    lenient = tuple(replace(part, misfits=lambda config, children: iter(())) for part in PARTS)
    with patch.object(planning, "PARTS", lenient):
        return planning._compute_plan(parse_parent(parent, SETTINGS, planning._CHECKS)).children()


def fits(spec: Json) -> bool:
    try:
        children_of(spec, fit=True)
    except InvalidParentError:
        return False
    return True


FIRST = ("Namespace", "ResourceQuota", "LimitRange")


def refusals(children: list[Json]) -> list[str]:
    """Return what a cluster refuses of it: walls first, then everything else, then the Pods."""
    cluster = Cluster()
    found = []
    for kinds in (FIRST[:1], FIRST[1:], ()):
        for child in children:
            if child["kind"] in kinds or (not kinds and child["kind"] not in FIRST):
                try:
                    cluster.api.create(child)
                except ApiError as error:
                    found.append(str(error))
        cluster.settle()
    told = [str(each["message"]) for each in cluster.api.list("v1", "Event", NAMESPACE) if each["type"] == "Warning"]
    return found + [text for text in told if "forbidden" in text or "invalid" in text]


ROOMY: Json = {"cpu": 4, "memory": "4Gi", "pods": 8}


def example_spec(**spec: Any) -> Json:
    return {"userId": "ann", "placement": {"isolation": "Dedicated"}, "storage": {"size": "1Gi"}, **spec}


@settings(max_examples=60)
@given(spec=specs())
@example(spec=example_spec())
@example(spec=example_spec(quota={"pods": 2}))
@example(spec=example_spec(quota={"pods": 1}))
@example(spec=example_spec(quota={"counts": {"configmaps": 2, "serviceaccounts": 2}}))
@example(spec=example_spec(quota={"counts": {"configmaps": 1}}))
@example(spec=example_spec(quota={"storage": "1024Mi"}))
@example(spec=example_spec(quota={"persistentVolumeClaims": 0}))
@example(spec=example_spec(quota={"cpu": "400m", "memory": "384Mi"}))
@example(spec=example_spec(quota={"cpu": "399m"}))
@example(spec=example_spec(quota=ROOMY, limitRange={"max": {"memory": "127Mi"}, "default": {"memory": "1Mi"}}))
def test_our_arithmetic_is_the_clusters(spec: Json) -> None:
    try:
        children = children_of(spec, fit=False)
    except InvalidParentError:
        assume(False)  # Something else is wrong with it.
        raise
    refused, promised = refusals(children), fits(spec)
    event("taken" if promised else "refused")
    assert promised == (not refused), refused or "refused without need"
