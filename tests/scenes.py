"""Hook requests for unit tests: a swarm at some point of its life, as Metacontroller would describe it.

A scene starts from what the hooks themselves desire, and adds what a cluster would: uids, owners, the annotation
that holds what was applied, and the status of a swarm whose Pod is ready. Each test then breaks one thing.
"""

from __future__ import annotations

import copy
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from userswarm.finalize import finalize
from userswarm.spec.settings import Settings
from userswarm.sync import sync
from userswarm.wire.k8s import CLAIM, COMPONENT_KINDS, NAMESPACE, POD, RUNTIME_KINDS, SERVICE, STATEFUL_SET, Kind

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings()
LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"
NAME = "workspace-a"
HEALTHY = {"status": 200, "body": '{"status": "ok"}'}

Json = dict[str, Any]


def user_swarm(name: str = NAME, **spec: Any) -> Json:
    """Return a stored UserSwarm."""
    return {
        "apiVersion": "crawbl.ai/v1alpha1",
        "kind": "UserSwarm",
        "metadata": {
            "name": name,
            "uid": "uid-of-" + name,
            "generation": 1,
            "creationTimestamp": "2026-11-20T11:00:00Z",
            "finalizers": ["metacontroller.io/compositecontroller-userswarm"],
        },
        "spec": {"userId": "user-1", **spec},
    }


class Scene:
    """What is observed of one UserSwarm, to be changed by a test and turned into a request."""

    def __init__(self, parent: Json | None = None, settings: Settings = SETTINGS) -> None:
        self.parent = user_swarm() if parent is None else parent
        self.settings = settings
        spec = self.parent["spec"]
        placement = spec.get("placement") if isinstance(spec, dict) else None
        dedicated = isinstance(placement, dict) and placement.get("isolation") == "Dedicated"
        installed = (kinds for name, kinds in COMPONENT_KINDS.items() if dedicated or name != "dedicated")
        kinds = [*RUNTIME_KINDS, *itertools.chain.from_iterable(installed)]
        self.children: dict[str, dict[str, Json]] = {kind.group: {} for kind in kinds}
        self.related: dict[str, dict[str, Json]] = {}
        self.unavailable: dict[str, str] = {}
        self.http: Json | None = None
        self.resources = [{"apiVersion": kind.api_version, "resource": kind.resource} for kind in kinds]
        self.finalizing = False
        self.now = NOW
        self.released: list[Json] = []
        if dedicated and placement.get("namespaceMode") == "operator":
            self.relate(lent_namespace(placement["runtimeNamespace"]))

    def request(self) -> Json:
        return copy.deepcopy(
            {
                "controller": {"spec": {"childResources": self.resources}},
                "parent": self.parent,
                "children": self.children,
                "related": self.related,
                "finalizing": self.finalizing,
                **({"unavailable": self.unavailable} if self.unavailable else {}),
                **({"http": self.http} if self.http is not None else {}),
            }
        )

    def sync(self) -> Json:
        return sync(self.request(), self.settings, self.now)

    def ask(self, *around: Json, http: Json | None = None) -> Json:
        """Call as the server does: once more with what the first answer needs, found among the objects around."""
        call = self.finalize if self.finalizing else self.sync
        first = call()
        needs = first.get("needs")
        if needs is None:
            return first
        before = self.related, self.http
        self.related, self.http = dict(self.related), http if "http" in needs else self.http
        for rule in needs.get("objects", ()):
            self.related[f"{rule['kind']}.{rule['apiVersion']}"] = {
                _key(each["metadata"]): each for each in around if _is_meant(rule, each)
            }
        second = call()
        second.pop("needs", None)
        self.related, self.http = before
        return second

    def finalize(self) -> Json:
        self.finalizing = True
        return finalize(self.request(), self.settings, self.now)

    def deleted(self) -> Scene:
        self.parent["metadata"]["deletionTimestamp"] = "2026-11-20T11:59:00Z"
        self.finalizing = True
        return self

    def add_child(self, manifest: Json) -> Json:
        """Store a desired child as Metacontroller creates it, and return what is stored."""
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata.setdefault("labels", {})["controller-uid"] = self.parent["metadata"]["uid"]
        applied = json.dumps(stored)
        metadata.setdefault("annotations", {})[LAST_APPLIED] = applied
        metadata["uid"] = f"uid-{stored['kind']}-{metadata['name']}"
        metadata["creationTimestamp"] = "2026-11-20T11:00:01Z"
        metadata["generation"] = 1
        metadata["managedFields"] = [{"manager": "metacontroller", "fieldsV1": {"f:metadata": {}}}]
        metadata["ownerReferences"] = [
            {
                "apiVersion": "crawbl.ai/v1alpha1",
                "kind": "UserSwarm",
                "name": self.parent["metadata"]["name"],
                "uid": self.parent["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        group = f"{stored['kind']}.{stored['apiVersion']}"
        self.children[group][_key(metadata)] = stored
        if stored["kind"] == NAMESPACE.kind:
            stored["status"] = {"phase": "Active"}
        return stored

    def look_up(self, *kinds: Kind) -> Scene:
        """Let objects of these kinds be read, with nothing found but what is related already."""
        for kind in kinds:
            self.related.setdefault(kind.group, {})
        return self

    def relate(self, stored: Json) -> Json:
        metadata = stored["metadata"]
        group = f"{stored['kind']}.{stored['apiVersion']}"
        self.related.setdefault(group, {})[_key(metadata)] = stored
        return stored

    def child(self, kind: Kind, name: str | None = None) -> Json:
        """Return the one observed child of a kind, or the one of that name."""
        found = [each for each in self.children[kind.group].values() if name in (None, each["metadata"]["name"])]
        assert len(found) == 1, [each["metadata"]["name"] for each in found]
        return found[0]

    def drop(self, kind: Kind, name: str | None = None) -> None:
        metadata = self.child(kind, name)["metadata"]
        del self.children[kind.group][_key(metadata)]

    @property
    def pod(self) -> Json:
        return next(iter(self.related[POD.group].values()))

    def adopt_status(self, response: Json) -> None:
        """Let Metacontroller write the status of an answer."""
        self.parent["status"] = copy.deepcopy(response["status"])

    def apply(self, response: Json) -> None:
        """Make the observed children what an answer desires, without any progress of theirs."""
        before = {group: dict(objects) for group, objects in self.children.items()}
        for objects in self.children.values():
            objects.clear()
        for manifest in response["children"]:
            group = f"{manifest['kind']}.{manifest['apiVersion']}"
            old = before[group].get(_key(manifest["metadata"]))
            stored = self.add_child(manifest)
            if old is not None and "status" in old:
                stored["status"] = old["status"]


def _key(metadata: Json) -> str:
    """Return an object's key in a request of a v2 hook."""
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


def _is_meant(rule: Json, stored: Json) -> bool:
    """Tell whether a need for objects, by their names or labels, is for that one."""
    metadata = stored["metadata"]
    if stored["kind"] != rule["kind"] or metadata.get("namespace") != rule.get("namespace"):
        return False
    if "names" in rule:
        return metadata["name"] in rule["names"]
    wanted: Json = rule["labelSelector"]["matchLabels"]
    return wanted.items() <= metadata.get("labels", {}).items()


def lent_namespace(name: str) -> Json:
    """Return a namespace that its operator lets UserSwarms live in."""
    metadata = {"name": name, "uid": f"uid-{name}", "labels": {"crawbl.ai/allow-userswarms": "true"}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "status": {"phase": "Active"}}


def created(parent: Json | None = None, settings: Settings = SETTINGS) -> Scene:
    """Return a swarm whose children were just created; nothing runs yet."""
    scene = Scene(parent, settings)
    # First what has to be there for the rest: a namespace, its walls, the claim.
    for _ in range(3 + (NAMESPACE.group in scene.children)):
        response = scene.sync()
        scene.apply(response)
        scene.adopt_status(response)
    scene.child(STATEFUL_SET)
    return scene


def ready(parent: Json | None = None, settings: Settings = SETTINGS) -> Scene:
    """Return a swarm whose Pod is ready; its Service has not been asked."""
    scene = created(parent, settings)
    for claim in scene.children[CLAIM.group].values():
        size = claim["spec"]["resources"]["requests"]["storage"]
        claim["status"] = {"phase": "Bound", "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]}
        claim["spec"] |= {"storageClassName": claim["spec"].get("storageClassName", "standard"), "volumeName": "pv-1"}
    stateful_set = scene.child(STATEFUL_SET)
    name = stateful_set["metadata"]["name"]
    stateful_set["status"] = {
        "observedGeneration": 1,
        "replicas": 1,
        "readyReplicas": 1,
        "updatedReplicas": 1,
        "currentReplicas": 1,
        "currentRevision": f"{name}-5d9c7",
        "updateRevision": f"{name}-5d9c7",
    }
    return scene


def pod_of(scene: Scene) -> Json:
    """Let the Pod of a created swarm be read, and return it."""
    template = scene.child(STATEFUL_SET)["spec"]["template"]
    metadata = scene.child(STATEFUL_SET)["metadata"]
    return scene.relate(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{metadata['name']}-0",
                "namespace": metadata["namespace"],
                "uid": "uid-pod-1",
                "labels": dict(template["metadata"]["labels"]),
                "ownerReferences": [{"kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"]}],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }
    )


def verified(parent: Json | None = None, settings: Settings = SETTINGS) -> Scene:
    """Return a settled swarm: its runtime has answered."""
    scene = ready(parent, settings)
    scene.http = HEALTHY
    response = step(scene)
    scene.http = None
    assert response["status"]["verified"] is True
    return scene


def step(scene: Scene) -> Json:
    """Sync, let Metacontroller write the status, and return the answer."""
    response = scene.sync()
    scene.adopt_status(response)
    return response


def condition(response: Json, kind: str) -> Json:
    found: Json = next(each for each in response["status"]["conditions"] if each["type"] == kind)
    return found


def children_of(response: Json, kind: Kind) -> list[Json]:
    return [child for child in response["children"] if child["kind"] == kind.kind]


def main_service(scene: Scene) -> Json:
    return scene.child(SERVICE, scene.parent["status"]["serviceName"])


def told_of_the_end(scene: Scene) -> str:
    """Return what is said of a teardown that lasts; its first word is the same for all."""
    first = scene.finalize()
    assert condition(first, "Ready")["message"] == "its children are being removed"
    scene.adopt_status(first)
    scene.now += timedelta(seconds=61)
    message: str = condition(scene.finalize(), "Ready")["message"]
    return message
