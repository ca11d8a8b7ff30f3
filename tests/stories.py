"""One swarm on the dev cluster with our own hooks, for stories about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from userswarm.cli.demo.cluster import Cluster, ClusterGatherer
from userswarm.server.gathering import HttpNeed, ObjectNeed, Unavailable

NAME = "workspace-story"
NAMESPACE = "userswarms"
SWARM = f"swarm-{NAME}"
CLAIM = f"{SWARM}-data"


def ask(cluster: Cluster, **spec: Any) -> None:
    """Ask for the swarm, and let no time pass."""
    cluster.apply(
        {
            "apiVersion": "crawbl.ai/v1alpha1",
            "kind": "UserSwarm",
            "metadata": {"name": NAME},
            "spec": {"userId": "user-1", **spec},
        }
    )


def created(*, cluster: Cluster | None = None, **spec: Any) -> Cluster:
    """Ask for the swarm, and let all happen that comes by itself."""
    cluster = cluster or Cluster()
    ask(cluster, **spec)
    cluster.settle()
    return cluster


def status(cluster: Cluster) -> Any:
    return cluster.user_swarm(NAME)["status"]


def condition(cluster: Cluster, kind: str) -> Any:
    return next(each for each in status(cluster)["conditions"] if each["type"] == kind)


def pod_uid(cluster: Cluster) -> str | None:
    pod = cluster.api.peek("v1", "Pod", NAMESPACE, f"{SWARM}-0")
    return pod["metadata"]["uid"] if pod is not None else None


def writes_while(cluster: Cluster, change: Callable[[], object]) -> list[str]:
    """Return what Metacontroller wrote to children while something changed."""
    before = len(cluster.api.writes)
    change()
    cluster.settle()
    written = cluster.api.writes[before:]
    return [str(each) for each in written if each.actor == "metacontroller" and each.kind not in ("UserSwarm", "Event")]


class Access(ClusterGatherer):
    """What the webhook may look at: a test may take away objects, or Services."""

    objects = services = True

    def read(self, need: ObjectNeed) -> list[Any]:
        if not self.objects:
            raise Unavailable("forbidden")
        return super().read(need)

    def ask(self, need: HttpNeed) -> Mapping[str, Any]:
        if not self.services:
            raise Unavailable("no network")
        return super().ask(need)
