"""Small kinds, manifests and hooks, to test the dev cluster without UserSwarms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from devcluster.admission import (
    StorageAdmission,
    default_tolerations,
    pod_security,
    service_account,
)
from devcluster.apiserver import ApiServer
from devcluster.clock import Clock
from devcluster.cluster import STORAGE_CLASSES
from devcluster.errors import ApiError
from devcluster.faults import Faults
from devcluster.garbage import GarbageCollector, NamespaceController
from devcluster.hooks import HookConnectionError, HookResponse
from devcluster.workloads.claims import ClaimController
from devcluster.workloads.endpoints import EndpointController
from devcluster.workloads.jobs import JobController
from devcluster.workloads.kubelet import Kubelet
from devcluster.workloads.stateful_sets import StatefulSetController

Json = dict[str, Any]

NAMESPACE = "zoo"

CAPTURED = Path(__file__).resolve().parents[2] / "shared" / "metacontroller-requests"
"""What a real Metacontroller sent, where there is a copy beside the checkout."""


def crd(kind: str, *, scope: str = "Cluster", status: bool = True, spec: Json | None = None) -> Json:
    """A CustomResourceDefinition of group example.com."""
    selector = {
        "type": "object",
        "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
    }
    properties = {
        "size": {"type": "integer", "minimum": 0, "default": 1},
        "words": {"type": "array", "items": {"type": "string"}},
        "selector": selector,
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "color": {"type": "string"}},
            },
        },
    }
    spec_schema = {"type": "object", "properties": properties, **(spec or {})}
    status_schema = {
        "type": "object",
        "properties": {
            "observedGeneration": {"type": "integer"},
            "children": {"type": "integer"},
            "phase": {"type": "string"},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec_schema, "status": status_schema}}},
    }
    if status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.example.com"},
        "spec": {
            "group": "example.com",
            "scope": scope,
            "names": {"kind": kind, "plural": f"{kind.lower()}s"},
            "versions": [version],
        },
    }


def widget(name: str = "w", spec: Json | None = None, **metadata: Any) -> Json:
    """A custom resource, cluster-scoped."""
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, **metadata},
        "spec": {} if spec is None else spec,
    }


def namespace(name: str = NAMESPACE, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def config_map(name: str = "c", data: Json | None = None, **metadata: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "data": {"k": "v"} if data is None else data,
    }


def secret(name: str, **data: str) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def pod_spec(**changes: Any) -> Json:
    """A pod that meets the restricted standard."""
    container = {
        "name": "main",
        "image": "registry.example/app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **changes.pop("container", {}),
    }
    return {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        **changes,
    }


def pod(name: str = "p", **spec: Any) -> Json:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(**spec)}


def stateful_set(name: str = "s", *, replicas: int = 1, pod_spec_changes: Json | None = None, **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(**(pod_spec_changes or {}))},
            **spec,
        },
    }


def service(name: str = "s", **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], **spec},
    }


def claim(name: str = "d", size: str = "1Gi", **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec},
    }


def mounting(name: str) -> Json:
    """The part of a pod's spec that mounts a claim."""
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}


def job(name: str = "j", *, args: list[str] | None = None, container: Json | None = None, **spec: Any) -> Json:
    template = pod_spec(restartPolicy="Never", container={"args": args or ["true"], **(container or {})})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"backoffLimit": 0, "template": {"spec": template}, **spec},
    }


class Workloads:
    """A cluster without Metacontroller: API server, controllers, kubelet."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = ApiServer(self.clock)
        self.faults = Faults()
        classes = {each.name: each for each in STORAGE_CLASSES}
        self.api.admission += [
            StorageAdmission(classes, "standard"),
            service_account(self.api),
            default_tolerations,
            pod_security(self.api),
        ]
        self.garbage = GarbageCollector(self.api)
        self.namespaces = NamespaceController(self.api)
        self.stateful_sets = StatefulSetController(self.api)
        self.jobs = JobController(self.api)
        self.endpoints = EndpointController(self.api)
        self.claims = ClaimController(self.api, self.faults, classes)
        self.kubelet = Kubelet(self.api, self.faults, self.claims)
        self.api.create(namespace("default"))
        self.api.create(namespace(**{"pod-security.kubernetes.io/enforce": "restricted"}))

    def settle(self, seconds: float = 600) -> bool:
        """Run until nothing is to be done."""
        end = self.clock.elapsed + seconds
        while self.clock.pending:
            if self.clock.elapsed + (self.clock.next_due() or 0) > end:
                return False
            self.clock.advance_to_next()
        return True

    def get(self, kind: str, name: str) -> Json:
        """An object of the test namespace."""
        found = next(each for each in self.api.kinds if each.kind == kind)
        return self.api.get(found.api_version, kind, NAMESPACE, name)

    def list(self, kind: str) -> list[Json]:
        """All objects of a kind in the test namespace."""
        found = next(each for each in self.api.kinds if each.kind == kind)
        return self.api.list(found.api_version, kind, NAMESPACE)

    def names(self, kind: str) -> list[str]:
        return [obj["metadata"]["name"] for obj in self.list(kind)]

    def event_texts(self) -> list[str]:
        return [f"{event['reason']}: {event['message']}" for event in self.api.list("v1", "Event")]


def refusal(action: Callable[[], object]) -> ApiError:
    """The error that the API server answers; fails if it answers none."""
    try:
        action()
    except ApiError as error:
        return error
    raise AssertionError("the API server accepted it")


Answer = Mapping[str, Any] | HookResponse


class FakeHooks:
    """Hooks that a test writes as functions from a request to an answer; records every request."""

    def __init__(self, **hooks: Callable[[Json], Answer]) -> None:
        self.hooks = hooks
        self.requests: list[tuple[str, Json]] = []
        self.unreachable = False

    def __call__(self, name: str, body: bytes) -> HookResponse:
        if self.unreachable:
            raise HookConnectionError("http error: connection refused")
        request = orjson.loads(body)
        self.requests.append((name, request))
        answer = self.hooks[name](request)
        return answer if isinstance(answer, HookResponse) else HookResponse(200, orjson.dumps(answer))

    def last(self, name: str) -> Json:
        return next(request for hook, request in reversed(self.requests) if hook == name)


def controller(
    *children: tuple[str, str, str | None], hooks: tuple[str, ...] = ("sync",), version: str = "v2", **spec: Any
) -> Json:
    """A CompositeController for Widgets; children are apiVersion, resource and update method."""
    rules = []
    for api_version, resource, method in children:
        rule: Json = {"apiVersion": api_version, "resource": resource}
        if method:
            rule["updateStrategy"] = {"method": method}
        rules.append(rule)
    return {
        "apiVersion": "metacontroller.k8s.io/v1alpha1",
        "kind": "CompositeController",
        "metadata": {"name": spec.pop("name", "widgets")},
        "spec": {
            "parentResource": {"apiVersion": "example.com/v1", "resource": "widgets", **spec.pop("parent", {})},
            "childResources": rules,
            "generateSelector": True,
            "hooks": {name: {"version": version, "webhook": {"url": f"http://hooks/{name}"}} for name in hooks},
            **spec,
        },
    }
