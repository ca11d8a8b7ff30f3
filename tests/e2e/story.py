"""What the end-to-end tests make and how they read what comes of it, without a cluster: all of this is unit-tested."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from contract.rendered import selects
from userswarm.wire.k8s import CHILD_KINDS as KINDS
from userswarm.wire.k8s import RUNTIME_KINDS

Object = dict[str, Any]

RUN_LABEL = "crawbl.ai/e2e-run"
# The reaper's --max-age removes what a run that was killed has left.
E2E_LABEL = "crawbl.ai/e2e"

FINALIZER = "metacontroller.io/compositecontroller-"

# A runtime in one line: it needs Python in the image and nothing else. Any image whose /health answers
# {"status": "ok"} by itself does as well (E2E_RUNTIME_IMAGE, E2E_RUNTIME_ARGS).
RUNTIME_IMAGE = "python:3.13.15-slim-trixie"
RUNTIME_SCRIPT = """
import http.server

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("", 42617), Health).serve_forever()
"""

CHILD_KINDS = tuple(kind.kind for kind in RUNTIME_KINDS)
"""What every swarm is made of."""

_MORE = {
    "ClusterRole": ("rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "CompositeController": ("metacontroller.k8s.io/v1alpha1", "compositecontrollers"),
    "CustomResourceDefinition": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Pod": ("v1", "pods"),
    "Secret": ("v1", "secrets"),
    "StorageClass": ("storage.k8s.io/v1", "storageclasses"),
    "UserSwarm": ("crawbl.ai/v1alpha1", "userswarms"),
}
RESOURCES = {kind.kind: (kind.api_version, kind.resource) for kind in KINDS} | _MORE
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CompositeController",
    "CustomResourceDefinition",
    "Namespace",
    "StorageClass",
    "UserSwarm",
}


def path_of(kind: str, namespace: str = "", name: str = "") -> str:
    """Return where the API has an object, or all of its kind where there is no name."""
    version, plural = RESOURCES[kind]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    middle = "" if kind in CLUSTER_SCOPED or not namespace else f"/namespaces/{namespace}"
    return f"{base}{middle}/{plural}" + (f"/{name}" if name else "")


def user_swarm(run: str, name: str, image: str, args: list[str], **spec: Any) -> Object:
    """Return a UserSwarm of this run, with a runtime that answers; `spec` replaces whole fields of it."""
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {"name": f"e2e-{run}-{name}", "labels": {RUN_LABEL: run, E2E_LABEL: "true"}},
        "spec": {
            "userId": f"e2e-{run}",
            "runtime": {"image": image, "args": args},
            "storage": {"size": "64Mi"},
            **spec,
        },
    }


@dataclass(frozen=True, slots=True)
class Run:
    """What is particular to this run."""

    name: str
    image: str
    args: list[str]

    def swarm(self, name: str, **spec: Any) -> Object:
        """Return a UserSwarm of this run."""
        return user_swarm(self.name, name, self.image, self.args, **spec)


def controller_for_run(base: Mapping[str, Any], run: str, url: str) -> Object:
    """Return a CompositeController that takes this run's swarms only, and calls the hooks at `url`."""
    controller: Object = copy.deepcopy(dict(base))
    controller["metadata"]["name"] = f"userswarm-e2e-{run}"
    controller["metadata"].setdefault("labels", {})[E2E_LABEL] = "true"
    controller["spec"]["parentResource"]["labelSelector"] = {"matchLabels": {RUN_LABEL: run}}
    for name, hook in controller["spec"]["hooks"].items():
        hook["webhook"]["url"] = f"{url.rstrip('/')}/{name}"
    return controller


def controllers_that_take(controllers: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """Return the names of the CompositeControllers that a UserSwarm with these labels belongs to."""
    names = []
    for controller in controllers:
        parent = controller["spec"]["parentResource"]
        ours = parent["resource"] == "userswarms" and parent["apiVersion"].partition("/")[0] == "crawbl.ai"
        if ours and selects(parent.get("labelSelector", {}), labels):
            names.append(controller["metadata"]["name"])
    return names


Version = tuple[str, str]
"""uid and resourceVersion: it changes with every write, and with nothing else."""


def versions(objects: Iterable[Mapping[str, Any]]) -> dict[str, Version]:
    """Return ``kind/name`` -> version for each object."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": (item["metadata"]["uid"], item["metadata"]["resourceVersion"])
        for item in objects
    }


def writes(before: Mapping[str, Version], after: Mapping[str, Version]) -> list[str]:
    """Say what was written between two looks: created, deleted, made anew, changed."""
    said = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None:
            said.append(f"{key} created")
        elif new is None:
            said.append(f"{key} deleted")
        elif old[0] != new[0]:
            said.append(f"{key} made anew")
        elif old[1] != new[1]:
            said.append(f"{key} changed")
    return said


def is_verified(swarm: Mapping[str, Any]) -> bool:
    """Tell whether the swarm is verified for what its spec says now."""
    status = swarm.get("status", {})
    return status.get("verified") is True and status.get("verifiedGeneration") == swarm["metadata"]["generation"]


def is_in_phase(swarm: Mapping[str, Any], phase: str) -> bool:
    """Tell whether the status is about the present spec, and in that phase."""
    status = swarm.get("status", {})
    return status.get("observedGeneration") == swarm["metadata"]["generation"] and status.get("phase") == phase


def condition(swarm: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of the status, an empty one where there is none."""
    found = [each for each in swarm.get("status", {}).get("conditions", []) if each["type"] == kind]
    return found[0] if found else {}


def describe(swarm: Mapping[str, Any] | None) -> str:
    """Say in one line where a swarm stands: for the message of a test that waited in vain."""
    if swarm is None:
        return "not there"
    status = swarm.get("status", {})
    waiting = [
        f"{each['type']}={each['status']} {each['reason']}: {each['message']}"
        for each in status.get("conditions", [])
        if each["status"] != "True"
    ]
    phase = status.get("phase", "no status")
    going = " deleting" if "deletionTimestamp" in swarm["metadata"] else ""
    return f"{swarm['metadata']['name']}{going} is {phase}; {'; '.join(waiting) or 'nothing is awaited'}"


def finalizers_left(swarm: Mapping[str, Any]) -> list[str]:
    """Return a swarm's finalizers without Metacontroller's: what a break-glass patch leaves."""
    return [each for each in swarm["metadata"].get("finalizers", []) if not each.startswith(FINALIZER)]
