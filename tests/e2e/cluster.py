"""The cluster in KUBECONFIG, as far as the end-to-end tests look at it and touch it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.story import CHILD_KINDS, RUN_LABEL, Object, condition, describe, finalizers_left, path_of
from userswarm.backend.errors import ApiStatusError, ConflictError
from userswarm.backend.transport import APPLY_PATCH, MERGE_PATCH, Transport, connect

FIELD_MANAGER = "userswarm-e2e"
NAMESPACE = "userswarms"
SWARM_LABEL = "crawbl.ai/swarm"


def connect_cluster(timeout: float) -> Cluster:
    """Return the cluster in KUBECONFIG; raises ConfigurationError where there is none."""
    return Cluster(Transport(connect()), timeout)


class Cluster:
    """Get, apply, patch, delete, and wait: `timeout` seconds for each thing that is awaited."""

    def __init__(self, transport: Transport, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout

    def close(self) -> None:
        self._transport.close()

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, None where there is none."""
        try:
            return self._transport.request("GET", path_of(kind, namespace, name))
        except ApiStatusError as error:
            if error.status == 404:
                return None
            raise

    def all(self, kind: str, namespace: str = "", selector: str = "") -> list[Object]:
        """Return all objects of a kind, each with its kind, which lists leave out."""
        query = {"labelSelector": selector} if selector else {}
        found = self._transport.request("GET", path_of(kind, namespace), query=query)["items"]
        return [{"kind": kind, **item} for item in found]

    def apply(self, manifest: Object) -> Object:
        """Server-side apply an object under this suite's own field manager."""
        metadata = manifest["metadata"]
        return self._transport.request(
            "PATCH",
            path_of(manifest["kind"], metadata.get("namespace", ""), metadata["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type=APPLY_PATCH,
        )

    def patch(self, name: str, patch: Object) -> Object:
        """Merge-patch a UserSwarm."""
        return self.patch_object("UserSwarm", name, patch)

    def patch_object(self, kind: str, name: str, patch: Object, namespace: str = "", subresource: str = "") -> Object:
        """Merge-patch an object, or a subresource of it."""
        return self._transport.request(
            "PATCH",
            path_of(kind, namespace, name) + (f"/{subresource}" if subresource else ""),
            query={"fieldManager": FIELD_MANAGER},
            body=patch,
            content_type=MERGE_PATCH,
        )

    def annotate(self, kind: str, name: str, annotations: dict[str, str | None], namespace: str = "") -> Object:
        """Set annotations of an object, or take off those that are None."""
        return self.patch_object(kind, name, {"metadata": {"annotations": annotations}}, namespace)

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object in the background; none is fine too."""
        try:
            self._transport.request(
                "DELETE",
                path_of(kind, namespace, name),
                body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"},
            )
        except ApiStatusError as error:
            if error.status != 404:
                raise

    @contextmanager
    def without(self, *places: tuple[str, str]) -> Iterator[None]:
        """Take away objects, each by kind and name, and put them back in the end."""
        taken = [found for kind, name in places if (found := self.get(kind, name)) is not None]
        for each in taken:
            self.delete(each["kind"], each["metadata"]["name"])
        try:
            yield
        finally:
            for each in taken:
                metadata = {field: each["metadata"][field] for field in ("name", "labels") if field in each["metadata"]}
                self.apply({**each, "metadata": metadata})

    def children(self, swarm: Object) -> list[Object]:
        """Return what belongs to a swarm in the runtime namespace, by owner."""
        uid = swarm["metadata"]["uid"]
        return [
            item
            for kind in CHILD_KINDS
            for item in self.all(kind, NAMESPACE, SWARM_LABEL)
            if uid in [owner["uid"] for owner in item["metadata"].get("ownerReferences", [])]
        ]

    def pods(self, swarm: Object) -> list[Object]:
        """Return the runtime's Pods of a swarm."""
        name = swarm["metadata"]["name"]
        return self.all("Pod", NAMESPACE, f"{SWARM_LABEL}={name},app.kubernetes.io/component=runtime")

    def wait(self, name: str, what: str, holds: Callable[[Object], bool]) -> Object:
        """Return the UserSwarm as soon as it is as awaited; fail with where it stands."""
        found: Object | None = None

        def look() -> bool:
            nonlocal found
            found = self.get("UserSwarm", name)
            return found is not None and holds(found)

        self.until(what, look, lambda: describe(found))
        assert found is not None
        return found

    def wait_for_reason(self, name: str, reason: str) -> Object:
        """Return the UserSwarm as soon as this is why it is not ready."""
        return self.wait(name, reason, lambda each: condition(each, "Ready").get("reason") == reason)

    def wait_for_pod(self, swarm: Object) -> Object:
        """Return the swarm's Pod as soon as there is one, in whatever state."""
        self.until(f"a Pod of {swarm['metadata']['name']}", lambda: bool(self.pods(swarm)), lambda: "none")
        return self.pods(swarm)[0]

    def wait_gone(self, kind: str, name: str, namespace: str = "") -> None:
        """Wait until an object is away."""
        self.until(f"{kind} {name} to go", lambda: self.get(kind, name, namespace) is None, lambda: "still there")

    def wait_for_crd(self, name: str) -> None:
        """Wait until the API server serves a kind."""

        def established() -> bool:
            crd = self.get("CustomResourceDefinition", name) or {}
            # Null at first.
            conditions: list[Any] = crd.get("status", {}).get("conditions") or []
            return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

        self.until(f"{name} to be established", established, lambda: "not established")

    def until(self, what: str, holds: Callable[[], bool], state: Callable[[], str]) -> None:
        """Look once a second until it holds."""
        deadline = time.monotonic() + self._timeout
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {self._timeout:.0f} s for {what}: {state()}")
            time.sleep(1)

    def remove_swarms(self, run: str) -> None:
        """Remove a run's swarms and what they retained; break the glass where one hangs."""
        for swarm in self.all("UserSwarm", selector=f"{RUN_LABEL}={run}"):
            self.delete("UserSwarm", swarm["metadata"]["name"])
        deadline = time.monotonic() + self._timeout
        while left := self.all("UserSwarm", selector=f"{RUN_LABEL}={run}"):
            if time.monotonic() > deadline:
                for swarm in left:
                    self._break_glass(swarm)
                break
            time.sleep(1)
        for kind in ("StatefulSet", "Job", "Service", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"):
            for item in self.all(kind, NAMESPACE, SWARM_LABEL):
                if item["metadata"]["labels"][SWARM_LABEL].startswith(f"e2e-{run}-"):
                    self.delete(kind, item["metadata"]["name"], NAMESPACE)
        for kind in ("ResourceQuota", "Secret", "StorageClass", "Namespace"):
            for item in self.all(kind, selector=f"{RUN_LABEL}={run}"):
                self.delete(kind, item["metadata"]["name"], item["metadata"].get("namespace", ""))

    def _break_glass(self, swarm: Object) -> None:
        try:
            self.patch(swarm["metadata"]["name"], {"metadata": {"finalizers": finalizers_left(swarm)}})
        except ConflictError:
            pass
        except ApiStatusError as error:
            if error.status != 404:
                raise
