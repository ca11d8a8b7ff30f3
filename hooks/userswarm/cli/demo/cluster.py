"""The dev cluster as this project needs it: with our CRD, our namespaces, our controller and our hooks.

cluster = Cluster()
cluster.apply({"apiVersion": "crawbl.ai/v1alpha1", "kind": "UserSwarm", …})
cluster.settle()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import devcluster
from devcluster.hooks import Hook, HookResponse, Hooks, json_response
from userswarm.cli.demo.rules import RULES
from userswarm.errors import RequestError, WrongParentError
from userswarm.finalize import finalize
from userswarm.server import gathering
from userswarm.server.gathering import HttpNeed, ObjectNeed
from userswarm.spec.manifests import manifest_path
from userswarm.spec.schema import load_crd
from userswarm.spec.settings import Settings
from userswarm.sync import sync
from userswarm.wire.k8s import Manifest, Observed

USER_SWARM = ("crawbl.ai/v1alpha1", "UserSwarm")


class Cluster(devcluster.Cluster):
    """A dev cluster with all that a UserSwarm needs; hooks, controller and CRD are our own where none are given."""

    def __init__(
        self,
        settings: Settings | None = None,
        hooks: Hooks | Mapping[str, Hook | str] | None = None,
        controller: Observed | None = None,
        crd: Observed | None = None,
        **options: Any,
    ) -> None:
        self.settings = settings or Settings()
        self.gatherer = ClusterGatherer(self)
        super().__init__(
            controller or composite_controller(),
            hooks or own_hooks(self),
            [crd or load_crd(), *load_manifests("namespace", "Namespace")],
            rules=RULES,
            **options,
        )

    def user_swarm(self, name: str) -> Manifest:
        """Return a UserSwarm; 404 if there is none."""
        return self.api.get(*USER_SWARM, None, name)

    def edit(self, name: str, patch: Mapping[str, Any]) -> Manifest:
        """Apply a merge patch to a UserSwarm, as ``kubectl patch`` does."""
        return self.api.patch(*USER_SWARM, None, name, patch)

    def delete(self, name: str, *, propagation: str = "Background") -> None:
        """Delete a UserSwarm."""
        self.api.delete(*USER_SWARM, None, name, propagation=propagation)


class ClusterGatherer:
    """Looks into a dev cluster for what a hook needs; `reads` counts the objects that were asked for, by kind."""

    def __init__(self, cluster: devcluster.Cluster) -> None:
        self.reads: Counter[str] = Counter()
        self._cluster = cluster

    def read(self, need: ObjectNeed) -> list[Manifest]:
        """Return the objects that are there."""
        api, kind, namespace = self._cluster.api, (need["apiVersion"], need["kind"]), need.get("namespace")
        if "labelSelector" in need:
            self.reads[need["kind"]] += 1
            return api.list(*kind, namespace, need["labelSelector"]["matchLabels"])
        self.reads[need["kind"]] += len(need["names"])
        return [api.get(*kind, namespace, name) for name in need["names"] if api.peek(*kind, namespace, name)]

    def ask(self, need: HttpNeed) -> Mapping[str, Any]:
        """Return what the Service answers."""
        where = need["service"], need["namespace"], need["port"], need["path"]
        return self._cluster.request(*where, timeout=need["timeoutSeconds"])


def own_hooks(cluster: Cluster) -> Mapping[str, Hook]:
    """Return our hooks, called in process; what they raise is answered as our server does."""

    def answering(hook: gathering.Hook) -> Hook:
        def answer(request: Manifest) -> Mapping[str, Any] | HookResponse:
            try:
                return gathering.answer(hook, request, cluster.settings, cluster.clock.now(), cluster.gatherer)
            except RequestError as error:
                return json_response(400, {"error": str(error)})
            except WrongParentError as error:
                return json_response(422, {"error": str(error)})

        return answer

    return {"sync": answering(sync), "finalize": answering(finalize)}


def composite_controller(*, dedicated: bool = False) -> Manifest:
    """Return this project's CompositeController, for Dedicated swarms too if asked for."""
    controller = next(load_manifests("controller", "CompositeController"))
    if dedicated:
        patch = manifest_path("components/dedicated/compositecontroller.yaml").read_text(encoding="utf-8")
        controller["spec"]["childResources"] += [step["value"] for step in yaml.safe_load(patch)]
    return controller


def load_manifests(directory: str, kind: str) -> Iterator[Manifest]:
    """Yield the objects of one kind from the files of a directory of this project's manifests, by file name."""
    for path in sorted(Path(manifest_path(directory)).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] == kind:
                yield document
