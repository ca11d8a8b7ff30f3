"""How each reason that a swarm is not ready comes about on a cluster, and how it is repaired: one story each.

A story is entered with a swarm of this run that is not applied yet, and left once what was wrong is put right. Where no
container runs, in the lab, a Pod is told by annotation to fail; elsewhere its arguments make it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from e2e.cluster import NAMESPACE, Cluster
from e2e.lab import NOWHERE, Lab
from e2e.story import RUN_LABEL, RUNTIME_SCRIPT, Object, Run, is_verified

EXIT = ["python", "-c", "raise SystemExit(3)"]
EAT = ["python", "-c", "print(len(bytearray(8 << 30)))"]
DEGRADED = ["python", "-u", "-c", RUNTIME_SCRIPT.replace('"ok"', '"degraded"')]


@dataclass(frozen=True, slots=True)
class Scene:
    """The cluster, the run, the lab if it is one, and a swarm that nobody has applied yet."""

    cluster: Cluster
    run: Run
    lab: Lab | None
    swarm: Object

    @property
    def name(self) -> str:
        """Return the swarm's name."""
        return str(self.swarm["metadata"]["name"])

    def apply(self, **spec: object) -> Object:
        """Apply the swarm, with some fields of its spec replaced."""
        self.swarm["spec"].update(spec)
        return self.cluster.apply(self.swarm)

    def in_lab(self) -> Lab:
        """Return the lab; the test is skipped where there is none."""
        if self.lab is None:
            pytest.skip("no way to make this happen outside a lab: --e2e-lab")
        return self.lab

    def apply_failing(self, args: list[str], annotations: dict[str, str]) -> Object:
        """Apply the swarm with a runtime that fails from its first moment on, and return its Pod.

        It waits for a Secret until it is told how to fail.
        """
        secret = f"swarm-{self.name}-env"
        runtime = {**self.swarm["spec"]["runtime"], "args": args}
        swarm = self.apply(runtime=runtime, config={"envSecretRef": {"name": secret}})
        pod = self.cluster.wait_for_pod(swarm)
        if self.lab is not None:
            self.cluster.annotate("Pod", pod["metadata"]["name"], dict(annotations), NAMESPACE)
        self.make_secret(secret)
        return pod

    def mend_runtime(self) -> None:
        """Give the runtime its good arguments: that rolls it out, and the new Pod has no annotations."""
        self.cluster.patch(self.name, {"spec": {"runtime": {"args": self.run.args}}})

    def make_secret(self, name: str) -> None:
        """Make a Secret without content."""
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {RUN_LABEL: self.run.name}}
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})

    @contextmanager
    def no_more(self, resource: str) -> Iterator[None]:
        """Let nobody make more of a resource in the namespace; what is there stays."""
        name = f"e2e-{self.run.name}"
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {RUN_LABEL: self.run.name}}
        hard = {resource: "0"}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}
        self.cluster.apply(quota)

        def is_in_force() -> bool:
            found = self.cluster.get("ResourceQuota", name, NAMESPACE) or {}
            return found.get("status", {}).get("hard") == hard

        self.cluster.until("the quota to be in force", is_in_force, lambda: "not yet")
        yield
        self.cluster.delete("ResourceQuota", name, NAMESPACE)


Story = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def invalid_spec(scene: Scene) -> Iterator[None]:
    scene.apply(config={"tomlOverrides": "this is = = not TOML"})
    yield
    scene.cluster.patch(scene.name, {"spec": {"config": {"tomlOverrides": ""}}})


@contextmanager
def child_missing(scene: Scene) -> Iterator[None]:
    with scene.no_more("configmaps"):
        scene.apply()
        yield


@contextmanager
def name_conflict(scene: Scene) -> Iterator[None]:
    name = f"swarm-{scene.name}-config"
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {RUN_LABEL: scene.run.name}}
    scene.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    scene.apply()
    yield
    scene.cluster.delete("ConfigMap", name, NAMESPACE)


@contextmanager
def claim_pending(scene: Scene) -> Iterator[None]:
    name = f"e2e-{scene.run.name}"
    scene.apply(storage={"size": "64Mi", "storageClassName": name})
    yield
    key = "storageclass.kubernetes.io/is-default-class"
    classes = scene.cluster.all("StorageClass")
    default = next(each for each in classes if each["metadata"].get("annotations", {}).get(key) == "true")
    fields = ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")
    copied = {field: default[field] for field in fields if field in default}
    metadata = {"name": name, "labels": {RUN_LABEL: scene.run.name}}
    scene.cluster.apply({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata, **copied})


@contextmanager
def claim_resizing(scene: Scene) -> Iterator[None]:
    scene.in_lab()
    scene.apply()
    claim = scene.cluster.wait(scene.name, "verified", is_verified)["status"]["claimName"]
    scene.cluster.annotate("PersistentVolumeClaim", claim, {"lab/no-resize": "true"}, NAMESPACE)
    scene.cluster.patch(scene.name, {"spec": {"storage": {"size": "128Mi"}}})
    yield
    scene.cluster.annotate("PersistentVolumeClaim", claim, {"lab/no-resize": None}, NAMESPACE)


@contextmanager
def terminating(scene: Scene) -> Iterator[None]:
    scene.apply()
    swarm = scene.cluster.wait(scene.name, "verified", is_verified)
    (pod,) = scene.cluster.pods(swarm)
    scene.cluster.delete("PersistentVolumeClaim", swarm["status"]["claimName"], NAMESPACE)
    yield
    # The Pod runs on: it has the last copy.
    (same,) = scene.cluster.pods(swarm)
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]
    assert "deletionTimestamp" not in same["metadata"]
    scene.cluster.delete("Pod", pod["metadata"]["name"], NAMESPACE)


@contextmanager
def unschedulable(scene: Scene) -> Iterator[None]:
    scene.apply(placement={"nodeSelector": {"example.com/no-such": "node"}})
    yield
    scene.cluster.patch(scene.name, {"spec": {"placement": {"nodeSelector": None}}})


@contextmanager
def image_pull(scene: Scene) -> Iterator[None]:
    good = scene.swarm["spec"]["runtime"]["image"]
    scene.apply(runtime={**scene.swarm["spec"]["runtime"], "image": "registry.invalid/no/such:image"})
    yield
    scene.cluster.patch(scene.name, {"spec": {"runtime": {"image": good}}})


@contextmanager
def config_error(scene: Scene) -> Iterator[None]:
    secret = f"swarm-{scene.name}-env"
    scene.apply(config={"envSecretRef": {"name": secret}})
    yield
    scene.make_secret(secret)


@contextmanager
def crash_loop(scene: Scene) -> Iterator[None]:
    scene.apply_failing(EXIT, {"lab/fail": "true"})
    yield
    scene.mend_runtime()


@contextmanager
def out_of_memory(scene: Scene) -> Iterator[None]:
    pod = scene.apply_failing(EAT, {"lab/fail": "true"})
    if scene.lab is None:
        yield
        scene.mend_runtime()
        return
    scene.cluster.wait_for_reason(scene.name, "CrashLoop")
    scene.lab.kill("fakekubelet")
    try:
        killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        (now,) = scene.cluster.pods({"metadata": {"name": scene.name}})
        containers = [{**each, "lastState": killed} for each in now["status"]["containerStatuses"]]
        name = pod["metadata"]["name"]
        scene.cluster.patch_object("Pod", name, {"status": {"containerStatuses": containers}}, NAMESPACE, "status")
        yield
    finally:
        scene.lab.start("fakekubelet")
    scene.mend_runtime()


@contextmanager
def rollout_in_progress(scene: Scene) -> Iterator[None]:
    with scene.no_more("pods"):
        scene.apply()
        yield


@contextmanager
def smoke_test_failed(scene: Scene) -> Iterator[None]:
    scene.apply_failing(DEGRADED, {"lab/health": "degraded"})
    yield
    scene.mend_runtime()


@contextmanager
def smoke_test_running(scene: Scene) -> Iterator[None]:
    """After a failed attempt, the next cannot be made: what leads to Services is away."""
    lab = scene.in_lab()
    scene.apply_failing(DEGRADED, {"lab/health": "degraded"})
    scene.cluster.wait_for_reason(scene.name, "SmokeTestFailed")
    lab.hooks.kill()
    lab.hooks.start(NOWHERE)
    try:
        yield
    finally:
        lab.hooks.kill()
        lab.hooks.start()
    scene.mend_runtime()


@contextmanager
def namespace_not_lent(scene: Scene) -> Iterator[None]:
    name = f"e2e-{scene.run.name}"
    metadata = {"name": name, "labels": {RUN_LABEL: scene.run.name}}
    scene.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    scene.apply(placement={"isolation": "Dedicated", "namespaceMode": "operator", "runtimeNamespace": name})
    yield
    labels = {"crawbl.ai/allow-userswarms": "true"}
    scene.cluster.patch_object("Namespace", name, {"metadata": {"labels": labels}})


@contextmanager
def suspended(scene: Scene) -> Iterator[None]:
    scene.apply(suspend=True)
    yield
    scene.cluster.patch(scene.name, {"spec": {"suspend": False}})


STORIES: dict[str, Story] = {
    "InvalidSpec": invalid_spec,
    "ChildMissing": child_missing,
    "NameConflict": name_conflict,
    "ClaimPending": claim_pending,
    "ClaimResizing": claim_resizing,
    "Terminating": terminating,
    "Unschedulable": unschedulable,
    "ImagePull": image_pull,
    "ConfigError": config_error,
    "CrashLoop": crash_loop,
    "OOMKilled": out_of_memory,
    "RolloutInProgress": rollout_in_progress,
    "SmokeTestFailed": smoke_test_failed,
    "SmokeTestRunning": smoke_test_running,
    "NamespaceNotLent": namespace_not_lent,
    "Suspended": suspended,
}
"""By reason."""
