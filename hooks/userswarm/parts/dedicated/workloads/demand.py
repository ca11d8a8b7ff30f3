"""What Pods ask for, as a ResourceQuota counts it.

https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from userswarm.spec import quantity
from userswarm.wire.k8s import CRON_JOB, DEPLOYMENT, Manifest

SIDES = ("requests", "limits")


def pods_at_once(manifest: Manifest) -> int:
    """Return how many Pods a workload with a Pod template runs at once; a CronJob counts as if it always ran."""
    spec = manifest["spec"]
    if manifest["kind"] == CRON_JOB.kind:
        spec = spec["jobTemplate"]["spec"]
    count: int = spec.get("replicas" if manifest["kind"] == DEPLOYMENT.kind else "parallelism", 1)
    return count


def pod_need(pod: Manifest, default: Mapping[str, str]) -> dict[str, Fraction]:
    """Return what one Pod counts for: the sum of its containers, or more while it is initialised.

    `default` is what a LimitRange gives to a container that says nothing. Keys are such as ``limits.cpu``.
    """
    needs = {}
    for side in SIDES:
        for name in default:
            beside = most = Fraction(0)
            for container in pod.get("initContainers", ()):
                amount = container_need(side, name, container, default)
                if container.get("restartPolicy") == "Always":
                    beside += amount
                    amount = Fraction(0)
                most = max(most, beside + amount)
            running = sum((container_need(side, name, each, default) for each in pod["containers"]), beside)
            needs[f"{side}.{name}"] = max(most, running)
    return needs


def container_need(side: str, name: str, container: Manifest, default: Mapping[str, str]) -> Fraction:
    """Return what a container asks for, with what Kubernetes fills in: a request like its limit, else the default."""
    resources = container.get("resources", {})
    asked = resources.get(side, {}).get(name)
    if asked is None and side == "requests":
        asked = resources.get("limits", {}).get(name)
    return quantity.parse(default[name] if asked is None else asked)
