"""Hooks that are not ours on the dev cluster: a Site, namespaced, made of a ConfigMap, a Deployment and a Service."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import devcluster
from devcluster import Cluster
from devcluster.faults import Trouble

Json = dict[str, Any]

CRD: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "sites.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Site", "plural": "sites"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["text"],
                                "properties": {
                                    "text": {"type": "string", "maxLength": 100},
                                    "replicas": {"type": "integer", "default": 2},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}

CHILDREN = [("v1", "configmaps"), ("v1", "services"), ("apps/v1", "deployments")]

CONTROLLER: Json = {
    "apiVersion": "metacontroller.k8s.io/v1alpha1",
    "kind": "CompositeController",
    "metadata": {"name": "sites"},
    "spec": {
        "generateSelector": True,
        "parentResource": {"apiVersion": "example.com/v1", "resource": "sites"},
        "childResources": [
            {"apiVersion": api_version, "resource": resource, "updateStrategy": {"method": "InPlace"}}
            for api_version, resource in CHILDREN
        ],
        "hooks": {"sync": {"version": "v2", "webhook": {"url": "http://sites.default.svc/sync"}}},
    },
}

SITE: Json = {
    "apiVersion": "example.com/v1",
    "kind": "Site",
    "metadata": {"name": "blog", "namespace": "default"},
    "spec": {"text": "Hello"},
}


def sync(request: Json) -> Json:
    name, spec = request["parent"]["metadata"]["name"], request["parent"]["spec"]
    labels = {"site": name}
    container = {
        "name": "web",
        "image": "nginx",
        "ports": [{"name": "http", "containerPort": 8080}],
        "envFrom": [{"configMapRef": {"name": name}}],
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    deployment = {"replicas": spec["replicas"], "selector": {"matchLabels": labels}, "template": template}
    service = {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    children = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"TEXT": spec["text"]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": deployment},
    ]
    observed = request["children"]["Deployment.apps/v1"].get(f"default/{name}", {})
    return {"children": children, "status": {"ready": observed.get("status", {}).get("readyReplicas", 0)}}


def status_of(cluster: Cluster) -> Json:
    site = cluster.api.get("example.com/v1", "Site", "default", "blog")
    found: Json = site["status"]
    return found


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(CONTROLLER, {"sync": sync}, [CRD])
    made.apply(SITE)
    assert made.settle()
    return made


def test_a_site_comes_up_and_is_left_alone(cluster: Cluster) -> None:
    assert status_of(cluster)["ready"] == 2
    assert cluster.request("blog", "default", 80, "/") == {"status": 200, "body": '{"status":"ok"}'}
    before = len(cluster.api.writes)
    cluster.metacontroller.resync()
    cluster.settle()
    assert cluster.api.writes[before:] == []


def test_a_site_follows_its_spec(cluster: Cluster) -> None:
    cluster.api.patch("example.com/v1", "Site", "default", "blog", {"spec": {"replicas": 3, "text": "Bye"}})
    assert cluster.settle()

    assert status_of(cluster)["ready"] == 3
    assert cluster.api.get("v1", "ConfigMap", "default", "blog")["data"] == {"TEXT": "Bye"}


def test_a_site_goes_with_all_that_it_has(cluster: Cluster) -> None:
    cluster.api.delete("example.com/v1", "Site", "default", "blog")
    assert cluster.settle()

    for api_version, kind in (("v1", "ConfigMap"), ("v1", "Service"), ("apps/v1", "Deployment"), ("v1", "Pod")):
        assert cluster.api.list(api_version, kind) == []


def test_a_site_whose_image_cannot_be_pulled_says_that_nothing_is_ready() -> None:
    cluster = Cluster(CONTROLLER, {"sync": sync}, [CRD])
    cluster.faults.inject(Trouble.IMAGE_PULL, "blog-*")
    cluster.apply(SITE)
    cluster.settle()

    assert status_of(cluster)["ready"] == 0
    assert cluster.request("blog", "default", 80, "/") == {"error": "Service blog has no ready endpoint"}


def test_the_example_in_the_docstring_is_a_test_that_passes_and_can_fail() -> None:
    shown = re.search(r"\n\n((?:    .*\n|\n)+)", devcluster.__doc__ or "")
    assert shown is not None
    names: Json = {"Cluster": Cluster, "CONTROLLER": CONTROLLER, "CRD": CRD, "SITE": SITE}
    exec(textwrap.dedent(shown[1]), names)
    names["test_a_site_has_its_page"]()
    names["sync"] = lambda _: {"children": []}
    with pytest.raises(Exception, match="not found"):
        names["test_a_site_has_its_page"]()


def test_the_package_knows_no_name_of_ours() -> None:
    sources = Path(devcluster.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if re.search("swarm|crawbl|zeroclaw", path.read_text(), re.IGNORECASE)] == []
