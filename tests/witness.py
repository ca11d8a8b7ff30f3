"""Watches a dev cluster and writes down every promise that is broken while something runs in it.

What it knows of the promises it knows from the design, not from the hooks: the clauses of "verified" stand here a
second time, in other words, and are tried on the very request that a hook answered, with what it needed besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from devcluster.apiserver import AdmissionRequest, WatchEvent
from devcluster.metacontroller import HookCall, Metacontroller
from devcluster.objects import controller_of, is_deleting, key_of, uid_of
from devcluster.workloads.containers import claims_of
from userswarm.cli.demo.cluster import Cluster
from userswarm.compose import plan
from userswarm.errors import InvalidParentError
from userswarm.finalize import finalize
from userswarm.server import gathering
from userswarm.spec.identity import template_checksum
from userswarm.spec.quantity import compare
from userswarm.spec.schema import user_swarm_schema
from userswarm.spec.slugs import slug
from userswarm.sync import sync
from userswarm.wire.k8s import Observed

Json = dict[str, Any]

HOOKS: dict[str, Callable[..., Json]] = {"sync": sync, "finalize": finalize}
LAST_APPLIED = "metacontroller.k8s.io/last-applied-configuration"
PEOPLE = ("kubectl", "namespace-controller")
"""Who may delete whatever they like: a human, and the end of a namespace that a human deleted."""

_FIELDS = {
    "sync": ({"status", "children"}, {"resyncAfterSeconds"}),
    "finalize": ({"status", "children", "finalized"}, {"resyncAfterSeconds"}),
}
_WALLS = ("Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "Role", "RoleBinding")
_IMMUTABLE = ("mmutable", "updates to statefulset spec", "may not change once set", "can not be less than")


def forget_plans() -> None:
    """Let the hooks forget all that they remember, as after a restart."""
    plan._remembered = plan._Remembered()


class Witness:
    """Collects in `broken` what was seen to go wrong; a test asserts that it stays empty."""

    def __init__(self, cluster: Cluster) -> None:
        self.broken: list[str] = []
        self.foreign: set[str] = set()
        """The uids of objects that are somebody else's: Metacontroller must not touch them."""

        self._cluster = cluster
        self._parents: dict[str, Json] = {}
        self._claim_users: dict[str, str | None] = {}
        self._mounted: dict[tuple[str, str], dict[str, str]] = {}
        self._answered: dict[str, str] = {}
        self._away: set[str] = set()
        self._writes = 0
        self._calls = 0
        cluster.api.subscribe(self._on_event)
        cluster.api.admission.append(self._on_write)
        self.watch(cluster.metacontroller)

    def watch(self, metacontroller: Metacontroller) -> None:
        """Look at every call that one more Metacontroller makes."""
        metacontroller.observers.append(self._on_call)

    def look_at_writes(self) -> None:
        """Judge what Metacontroller wrote since the last look."""
        writes = self._cluster.api.writes
        for write in writes[self._writes :]:
            if write.actor.startswith("metacontroller") and write.code in {"Invalid", "BadRequest"}:
                self._say(f"a write that can never succeed: {write} at {write.at}")
        self._writes = len(writes)

    def _say(self, what: str) -> None:
        self.broken.append(f"{self._cluster.clock.elapsed:.3f} s: {what}")

    # What happens to objects

    def _on_write(self, request: AdmissionRequest) -> None:
        kind, old, actor = request.kind.kind, request.old, request.actor
        if old is None:
            return
        if actor.startswith("metacontroller") and uid_of(old) in self.foreign:
            self._say(f"{actor} does {request.operation} to {kind} {key_of(old)}, which is foreign")
        deleted = kind == "PersistentVolumeClaim" and request.operation == "DELETE"
        if deleted and actor not in PEOPLE and not self._may_lose(old):
            self._say(f"{actor} deletes claim {key_of(old)}, which nobody asked for")

    def _may_lose(self, claim: Any) -> bool:
        """Tell whether a claim's owner is deleted, or was, by somebody who did not ask to retain the volume."""
        owner = controller_of(claim)
        parent = self._parents.get(owner["uid"]) if owner else None
        if parent is None or not is_deleting(parent):
            return False
        policy: str = parent["spec"].get("storage", {}).get("retainPolicy", "Delete")
        return policy == "Delete"

    def _on_event(self, event: WatchEvent) -> None:
        kind, obj = event.kind.kind, event.object
        if kind == "UserSwarm":
            self._parents[uid_of(obj)] = dict(obj)
            if uid_of(obj) in self._away:
                # Now that it was told that its Pod was away, what answered before counts no more.
                self._away.discard(uid_of(obj))
                self._answered.pop(uid_of(obj), None)
        elif kind == "PersistentVolumeClaim" and event.type == "ADDED":
            self._claim_users[uid_of(obj)] = _annotations(obj).get("crawbl.ai/user-id")
        elif kind == "Pod":
            self._on_pod(event)
        elif kind == "Event" and obj["reason"] == "SyncError" and any(word in obj["message"] for word in _IMMUTABLE):
            self._say(f"SyncError: {obj['message']}")

    def _on_pod(self, event: WatchEvent) -> None:
        pod = event.object
        over = event.type == "DELETED" or pod["status"].get("phase") in {"Succeeded", "Failed"}
        for name in claims_of(pod):
            users = self._mounted.setdefault((pod["metadata"]["namespace"], name), {})
            if over:
                users.pop(uid_of(pod), None)
                continue
            users[uid_of(pod)] = pod["metadata"]["name"]
            if len(users) > 1:
                self._say(f"claim {name} has two Pods: {', '.join(users.values())}")
            if event.old is not None and "nodeName" in pod["spec"] and "nodeName" not in event.old["spec"]:
                self._check_tenant(pod, name)

    def _check_tenant(self, pod: Any, claim_name: str) -> None:
        claim = self._cluster.api.peek("v1", "PersistentVolumeClaim", pod["metadata"]["namespace"], claim_name)
        parent = self._swarm_of(pod)
        if claim is None or parent is None:
            return
        user, owner = parent["spec"]["userId"], self._claim_users[uid_of(claim)]
        if user != owner:
            self._say(f"Pod {key_of(pod)} of user {user} runs on claim {claim_name} of user {owner}")

    def _swarm_of(self, pod: Any) -> Json | None:
        found: Any = pod
        for _ in range(2):
            owner = controller_of(found)
            found = self._cluster.api.find_uid(owner["uid"]) if owner else None
            if found is None:
                return None
        return dict(found) if found["kind"] == "UserSwarm" else None

    # What a hook answers

    def _on_call(self, call: HookCall) -> None:
        where = f"{call.hook} of {call.parent}"
        request = self._replay(call, where)
        if call.response.status != 200:
            if not _cannot_be_frozen(request):
                self._say(f"{where} answers {call.response.status}: {call.response.body.decode()}")
            return
        answer = orjson.loads(call.response.body)
        needed, allowed = _FIELDS[call.hook]
        if not needed <= answer.keys() <= needed | allowed:
            self._say(f"{where} answers the fields {sorted(answer)}")
        for path in _nulls(answer, "answer"):
            self._say(f"{where}: {path} is null")
        for problem in user_swarm_schema().status_problems(answer["status"]):
            self._say(f"{where}: the status does not fit the CRD: {problem}")
        self._check_children(request, answer, where)
        wanted = _wanted(request, self._cluster)
        if call.hook == "finalize":
            self._check_finalize(request, answer, where)
        elif wanted is not None:
            self._note_answer(request, wanted)
        if answer["status"]["verified"] is not False:
            for clause in self._false_clauses(call.hook, request, answer, wanted):
                self._say(f"{where}: verified, though {clause}")

    def _replay(self, call: HookCall, where: str) -> Json:
        """Make a call once more, and return its request with all that its hook got to see.

        The hook must edit nothing, and answer the same, whatever it remembers.
        """
        request: Json = orjson.loads(call.request)

        def once_more(given: Any, settings: Any, now: Any) -> Json:
            nonlocal request
            before = orjson.dumps(given)
            request = orjson.loads(before)
            first = HOOKS[call.hook](given, settings, now)
            if orjson.dumps(given) != before:
                self._say(f"{where} edits its request")
            self._calls += 1
            if self._calls % 5 == 0:
                forget_plans()
            if orjson.dumps(HOOKS[call.hook](orjson.loads(before), settings, now)) != orjson.dumps(first):
                self._say(f"{where} answers the same request at the same time in different words")
            return first

        if call.response.status == 200:
            settings, now = self._cluster.settings, self._cluster.clock.now()
            again = gathering.answer(once_more, request, settings, now, self._cluster.gatherer)
            if orjson.dumps(again) != call.response.body:
                self._say(f"{where} answers the same call at the same time in different words")
        return request

    def _check_children(self, request: Json, answer: Json, where: str) -> None:
        rules = request["controller"]["spec"]["childResources"]
        kinds = {(rule["apiVersion"], rule["resource"]) for rule in rules}
        seen = set()
        for child in answer["children"]:
            name = (child["kind"], child["metadata"].get("namespace"), child["metadata"]["name"])
            if name in seen:
                self._say(f"{where} returns {name} twice")
            seen.add(name)
            plural = self._cluster.api.kind(child["apiVersion"], child["kind"]).plural
            if (child["apiVersion"], plural) not in kinds:
                self._say(f"{where} returns a {child['kind']}, which the controller does not manage")
        for claim in _observed(request, "PersistentVolumeClaim"):
            name = (claim["kind"], *key_of(claim))
            if name not in seen and not is_deleting(claim) and not self._may_lose(claim):
                self._say(f"{where} leaves out claim {name}")

    def _check_finalize(self, request: Json, answer: Json, where: str) -> None:
        children = list(_observed(request))
        kept = {(child["kind"], *key_of(child)) for child in answer["children"]}
        for child in children:
            name = (child["kind"], *key_of(child))
            if child["kind"] in _WALLS and LAST_APPLIED in _annotations(child) and name not in kept:
                inside = self._pods_behind(child, request["parent"])
                if inside:
                    self._say(f"{where} lets {name} go before {inside}")
        if answer["finalized"]:
            lasting = () if is_deleting(request["parent"]) else ("PersistentVolumeClaim", "Namespace")
            left = [key_of(child) for child in children if child["kind"] not in lasting]
            if left:
                self._say(f"{where} is finalized, and there still are {left}")

    def _pods_behind(self, wall: Json, parent: Json) -> list[str]:
        """Return the names of a swarm's Pods that are really there, whatever its hook was told."""
        namespace = wall["metadata"].get("namespace") or wall["metadata"]["name"]
        pods = self._cluster.api.list("v1", "Pod", namespace, {"crawbl.ai/swarm": slug(parent["metadata"]["name"])})
        return [pod["metadata"]["name"] for pod in pods]

    # Verified, clause by clause

    def _note_answer(self, request: Json, wanted: Json) -> None:
        """Remember what has answered well, until its Pod is seen to be away."""
        uid, answer = uid_of(request["parent"]), request.get("http")
        if any(_workload_clauses(_find_workload(request, wanted) or {}, wanted)):
            self._away.add(uid)
        elif answer is not None:
            self._away.discard(uid)
            if answer.get("status") == 200 and orjson.loads(answer["body"]) == {"status": "ok"}:
                self._answered[uid] = wanted["checksum"]

    def _false_clauses(self, hook: str, request: Json, answer: Json, wanted: Json | None) -> Iterator[str]:
        parent, status = request["parent"], answer["status"]
        if hook != "sync" or request["finalizing"] or is_deleting(parent):
            yield "it is going away"
        if parent["spec"].get("suspend"):
            yield "it is suspended"
        if wanted is None:
            yield "its spec is invalid"
            return
        name, namespace = status["serviceName"], status["runtimeNamespace"]
        for kind, child in (
            ("ServiceAccount", name),
            ("ConfigMap", f"{name}-config"),
            ("Service", name),
            ("Service", f"{name}-headless"),
            ("StatefulSet", name),
        ):
            found = _find(_observed(request, kind), namespace, child)
            # One whose owner was taken off is listed as it was just before Metacontroller took it up again.
            owner = controller_of(found) if found is not None else None
            if found is None or is_deleting(found) or (owner is not None and owner["uid"] != uid_of(parent)):
                yield f"{kind} {child} is not there, or not ours"
        yield from self._claim_clauses(request, namespace, f"{name}-data", wanted["size"])
        yield from _workload_clauses(_find_workload(request, wanted) or {}, wanted)
        asks = parent["spec"]["verification"]["mode"] == "Request"
        if asks and self._answered.get(uid_of(parent)) != wanted["checksum"]:
            yield "no request was answered by what is wanted now since its Pod was away"

    def _claim_clauses(self, request: Json, namespace: str, name: str, size: str | int) -> Iterator[str]:
        claim = _find(_observed(request, "PersistentVolumeClaim"), namespace, name)
        claim = claim or _find(_related(request, "PersistentVolumeClaim"), namespace, name)
        if claim is None:
            # One of an earlier life, seen before: it is used, not watched. It cannot go while a Pod uses it.
            if self._cluster.api.peek("v1", "PersistentVolumeClaim", namespace, name) is None:
                yield "the claim is not there"
        elif is_deleting(claim):
            yield "the claim goes"
        elif claim["status"].get("phase") != "Bound" or compare(claim["status"]["capacity"]["storage"], size) < 0:
            yield f"the claim is not Bound, or smaller than {size}: {claim['status']}"


def _wanted(request: Json, cluster: Cluster) -> Json | None:
    """Return what the parent's spec asks for, None if it asks for what cannot be."""
    spec = request["parent"]["spec"]
    try:
        found = plan.compute_plan(request["parent"], cluster.settings)
    except InvalidParentError:
        return None
    (workload,) = (child for child in found.children() if child["kind"] == "StatefulSet")
    return {
        "name": workload["metadata"]["name"],
        "namespace": workload["metadata"]["namespace"],
        "checksum": template_checksum(workload),
        "image": spec["runtime"].get("image", cluster.settings.default_image),
        "port": spec["runtime"]["port"],
        "size": spec["storage"]["size"],
    }


def _find_workload(request: Json, wanted: Json) -> Json | None:
    return _find(_observed(request, "StatefulSet"), wanted["namespace"], wanted["name"])


def _workload_clauses(found: Json, wanted: Json) -> Iterator[str]:
    status, metadata = found.get("status", {}), found.get("metadata", {})
    if status.get("observedGeneration", 0) < metadata.get("generation", 1):
        yield "the StatefulSet's controller has not seen its spec"
    if not status.get("updateRevision") or status.get("currentRevision") != status["updateRevision"]:
        yield "the StatefulSet rolls"
    if (status.get("updatedReplicas"), status.get("readyReplicas")) != (1, 1):
        yield "the StatefulSet has no updated, ready Pod"
    template = found.get("spec", {}).get("template", {})
    if (template.get("metadata", {}).get("annotations") or {}).get("crawbl.ai/checksum") != wanted["checksum"]:
        yield "the template does not carry the checksum that is wanted now"
    container: Json = next(iter(template.get("spec", {}).get("containers", ())), {})
    if container.get("image") != wanted["image"] or container["ports"][0]["containerPort"] != wanted["port"]:
        yield "the template has another image or port"


def _observed(request: Json, kind: str = "") -> Iterator[Json]:
    return _objects(request["children"], kind)


def _related(request: Json, kind: str) -> Iterator[Json]:
    return _objects(request.get("related") or {}, kind)


def _objects(groups: Json, kind: str) -> Iterator[Json]:
    for objects in groups.values():
        yield from (obj for obj in objects.values() if kind in ("", obj["kind"]))


def _find(objects: Iterator[Json], namespace: str, name: str) -> Json | None:
    return next((obj for obj in objects if key_of(obj) == (namespace, name)), None)


def _annotations(obj: Observed) -> Json:
    return obj["metadata"].get("annotations") or {}


def _cannot_be_frozen(request: Json) -> bool:
    """Tell whether a child does not say how it was applied: then no answer at all is the safe one."""
    return any(LAST_APPLIED not in _annotations(child) for child in _observed(request))


def _nulls(value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _nulls(item, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}[{index}]")
