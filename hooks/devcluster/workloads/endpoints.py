"""The EndpointSlice controller: which pods are behind a Service, and which of them are ready."""

from __future__ import annotations

from typing import Any

from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.objects import (
    Manifest,
    Observed,
    condition,
    controller_reference,
    is_deleting,
    key_of,
    labels_of,
    same_json,
)
from devcluster.related import RelatedIndex, RelatedRule
from devcluster.selectors import from_labels
from devcluster.workloads.reconciler import ACTOR, Reconciler

SLICES = ("discovery.k8s.io/v1", "EndpointSlice")
SERVICE_NAME = "kubernetes.io/service-name"


class EndpointController(Reconciler):
    """Keeps one EndpointSlice for every Service that has a selector."""

    api_version = "v1"
    kind = "Service"

    def __init__(self, api: ApiServer) -> None:
        super().__init__(api)
        self._index = RelatedIndex()
        self._pods = api.kind("v1", "Pod")
        api.subscribe(self._on_event)

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == self.kind:
            self._index.put(key_of(obj), () if event.type == "DELETED" else self._rules(obj))
            self.enqueue(key_of(obj))
        elif event.kind.kind == "Pod":
            for pod in (obj, event.old):
                if pod is not None:
                    for key in self._index.parents_of(event.kind, pod, self.api):
                        self.enqueue(key)
        elif event.kind.kind == "EndpointSlice" and event.type == "DELETED":
            self.enqueue((obj["metadata"]["namespace"], labels_of(obj).get(SERVICE_NAME, "")))

    def _rules(self, service: Observed) -> tuple[RelatedRule, ...]:
        selector = service["spec"].get("selector")
        if not selector:
            return ()
        namespace = service["metadata"]["namespace"]
        return (RelatedRule(self._pods, namespace, frozenset(), from_labels(selector), None),)

    def reconcile(self, obj: Observed) -> None:
        """Write the slice of one Service."""
        service = obj
        namespace, name = key_of(service)
        if not service["spec"].get("selector"):
            return
        pods = self.api.scan("v1", "Pod", namespace, from_labels(service["spec"]["selector"]))
        listed = [pod for pod in pods if pod["status"].get("podIP") and not _is_done(pod)]
        endpoints = [_endpoint(service, pod) for pod in listed]
        ports = [_port(port, pod) for pod in listed[:1] for port in service["spec"].get("ports", ())]
        content = {"endpoints": endpoints or None, "ports": ports or None}
        labels = {
            **labels_of(service),
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            SERVICE_NAME: name,
        }
        if service["spec"]["clusterIP"] == "None":
            labels["service.kubernetes.io/headless"] = ""
        found = self.api.scan(*SLICES, namespace, from_labels({SERVICE_NAME: name}))
        owned = [each for each in found if not is_deleting(each)]
        if not owned:
            metadata = {
                "generateName": f"{name}-",
                "namespace": namespace,
                "labels": labels,
                "ownerReferences": [controller_reference(service)],
            }
            new = {"apiVersion": SLICES[0], "kind": SLICES[1], "metadata": metadata, "addressType": "IPv4", **content}
            self.api.create(new, actor=ACTOR)
            return
        old = owned[0]
        if any(not same_json(old[field], content[field]) for field in content) or labels_of(old) != labels:
            self.api.update({**old, "metadata": {**old["metadata"], "labels": labels}, **content}, actor=ACTOR)


def _is_done(pod: Observed) -> bool:
    return pod["status"]["phase"] in {"Succeeded", "Failed"}


def _endpoint(service: Observed, pod: Observed) -> Manifest:
    spec = service["spec"]
    serving = condition(pod, "Ready").get("status") == "True"
    published = bool(spec.get("publishNotReadyAddresses"))
    metadata = pod["metadata"]
    endpoint: Manifest = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": published or (serving and not is_deleting(pod)),
            "serving": serving,
            "terminating": is_deleting(pod),
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod",
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "zone": "zone-a",
    }
    if spec["clusterIP"] == "None" and pod["spec"].get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


def _port(port: Observed, pod: Observed) -> Manifest:
    target: Any = port["targetPort"]
    if isinstance(target, str):
        named = (each for container in pod["spec"]["containers"] for each in container.get("ports", ()))
        target = next((each["containerPort"] for each in named if each.get("name") == target), None)
    listed = {"name": port.get("name"), "port": target, "protocol": port["protocol"]}
    return {field: value for field, value in listed.items() if value is not None}
