"""The controllers of PersistentVolumeClaims: binding, growing, and protection while a pod uses one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devcluster import quantities
from devcluster.admission import PROTECTION, StorageClass
from devcluster.apiserver import ApiServer, WatchEvent
from devcluster.faults import Faults, Trouble
from devcluster.objects import Key, Manifest, Observed, copy_json, is_deleting, key_of, same_json, set_condition
from devcluster.workloads.containers import claims_of
from devcluster.workloads.reconciler import ACTOR, Reconciler

_BOUND = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
_PROVISIONER = "csi.example.com"


@dataclass(frozen=True, slots=True)
class ClaimTimings:
    """How long what takes, in seconds."""

    bind: float = 0.4
    resize: float = 2.0


class ClaimController(Reconciler):
    """Binds claims to volumes that it imagines."""

    api_version = "v1"
    kind = "PersistentVolumeClaim"

    def __init__(
        self,
        api: ApiServer,
        faults: Faults,
        classes: Mapping[str, StorageClass],
        timings: ClaimTimings | None = None,
    ) -> None:
        super().__init__(api)
        self._faults = faults
        self._classes = classes
        self._timings = timings or ClaimTimings()
        self._users: dict[Key, dict[Key, None]] = {}
        self._wanted: set[Key] = set()
        self._due: dict[Key, float] = {}
        api.subscribe(self._on_event)
        faults.listeners.append(self._on_faults)

    def unschedulable(self, namespace: str, name: str) -> str | None:
        """Return why a pod that mounts a claim cannot be scheduled, "" if it can, None while its volume is made.

        Asking makes a claim that waits for its first consumer be bound.
        """
        key = (namespace, name)
        claim = self.api.peek(self.api_version, self.kind, *key)
        if claim is None:
            return f'0/1 nodes are available: persistentvolumeclaim "{name}" not found.'
        if is_deleting(claim):
            return f'0/1 nodes are available: persistentvolumeclaim "{name}" is being deleted.'
        if claim["status"]["phase"] == "Bound":
            return ""
        found = self._classes.get(claim["spec"].get("storageClassName", ""))
        if found is not None and not found.immediate:
            self._wanted.add(key)
            self.enqueue(key)
            return None
        return "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."

    def _on_event(self, event: WatchEvent) -> None:
        obj = event.object
        if event.kind.kind == self.kind:
            if event.type == "DELETED":
                self._wanted.discard(key_of(obj))
                self._due.pop(key_of(obj), None)
            self.enqueue(key_of(obj))
        elif event.kind.kind == "Pod":
            # A pod without a node does not hold a claim: the kubelet would not start it with one that goes.
            finished = obj["status"]["phase"] in {"Succeeded", "Failed"} or "nodeName" not in obj["spec"]
            for name in claims_of(obj):
                key = (obj["metadata"]["namespace"], name)
                users = self._users.setdefault(key, {})
                if finished or event.type == "DELETED":
                    users.pop(key_of(obj), None)
                    self.enqueue(key)
                else:
                    users[key_of(obj)] = None
                if not users:
                    del self._users[key]

    def _on_faults(self) -> None:
        for claim in self.api.scan(self.api_version, self.kind):
            self.enqueue(key_of(claim))

    def reconcile(self, obj: Observed) -> None:
        """Release, bind or grow one claim."""
        claim, key = obj, key_of(obj)
        if is_deleting(claim):
            self._release(claim)
        elif claim["status"]["phase"] == "Pending":
            if self._may_bind(claim) and self._is_due(key, self._timings.bind):
                self._bind(claim)
        elif _grows(claim):
            self._grow(claim)

    def _release(self, claim: Observed) -> None:
        finalizers = claim["metadata"].get("finalizers", [])
        if PROTECTION in finalizers and key_of(claim) not in self._users:
            rest = [name for name in finalizers if name != PROTECTION]
            patch = {"metadata": {"finalizers": rest}}
            self.api.patch("v1", self.kind, *key_of(claim), patch, actor=ACTOR)

    def _may_bind(self, claim: Observed) -> bool:
        found = self._classes.get(claim["spec"].get("storageClassName", ""))
        if found is None or self._faults.find(Trouble.CLAIM_PENDING, claim):
            return False
        return found.immediate or key_of(claim) in self._wanted

    def _is_due(self, key: Key, seconds: float) -> bool:
        """Return whether something that was begun takes no longer; begin it at the first call."""
        due = self._due.setdefault(key, self.clock.elapsed + seconds)
        if due > self.clock.elapsed:
            self.enqueue(key, due - self.clock.elapsed)
            return False
        del self._due[key]
        return True

    def _bind(self, claim: Observed) -> None:
        new: Manifest = copy_json(claim)
        metadata = new["metadata"]
        provisioners = {f"volume.{part}kubernetes.io/storage-provisioner": _PROVISIONER for part in ("", "beta.")}
        metadata["annotations"] = {**metadata.get("annotations", {}), **_BOUND, **provisioners}
        if not self._classes[new["spec"]["storageClassName"]].immediate:
            metadata["annotations"]["volume.kubernetes.io/selected-node"] = "node-1"
        new["spec"]["volumeName"] = f"pvc-{metadata['uid']}"
        bound = self.api.update(new, actor=ACTOR)
        bound["status"] = {
            "phase": "Bound",
            "accessModes": bound["spec"]["accessModes"],
            "capacity": {"storage": bound["spec"]["resources"]["requests"]["storage"]},
        }
        self.api.update_status(bound, actor=ACTOR)

    def _grow(self, claim: Observed) -> None:
        key = key_of(claim)
        new: Manifest = copy_json(claim)
        status = new["status"]
        if self._faults.find(Trouble.RESIZE_STUCK, claim) or not self._is_due(key, self._timings.resize):
            set_condition(status, "Resizing", True, self.clock.timestamp())
        else:
            status["capacity"] = {"storage": new["spec"]["resources"]["requests"]["storage"]}
            status.pop("conditions", None)
        if not same_json(new, claim):
            self.api.update_status(new, actor=ACTOR)


def _grows(claim: Observed) -> bool:
    wanted = claim["spec"]["resources"]["requests"]["storage"]
    return quantities.compare(wanted, claim["status"]["capacity"]["storage"]) > 0
