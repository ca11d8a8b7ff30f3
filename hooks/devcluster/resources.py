"""How much of what a pod takes, as the scheduler, quotas and limit ranges count it.

Source: kubernetes/staging/src/k8s.io/component-helpers/resource/helpers.go. Overhead and resources of a whole pod are
not modelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from devcluster import quantities
from devcluster.objects import Observed


def containers_of(spec: Observed) -> list[dict[str, Any]]:
    """Return all containers of a pod's spec, those that initialize it first."""
    return [*spec.get("initContainers", ()), *spec.get("containers", ())]


def pod_usage(spec: Observed, side: str) -> dict[str, Fraction]:
    """Return the requests, or the limits, of a whole pod.

    Containers add up. What runs before them counts only where it is more, but for an init container that goes on
    running beside them (restartPolicy Always).
    """
    total: defaultdict[str, Fraction] = defaultdict(Fraction)
    peaks: defaultdict[str, Fraction] = defaultdict(Fraction)
    for container in spec["containers"]:
        for name, amount in _amounts(container, side).items():
            total[name] += amount
    beside: defaultdict[str, Fraction] = defaultdict(Fraction)
    for container in spec.get("initContainers", ()):
        for name, amount in _amounts(container, side).items():
            if container.get("restartPolicy") == "Always":
                beside[name] += amount
                peaks[name] = max(peaks[name], beside[name])
            else:
                peaks[name] = max(peaks[name], beside[name] + amount)
    for name, amount in beside.items():
        total[name] += amount
    return {name: max(total[name], peaks[name]) for name in {*total, *peaks}}


def _amounts(container: Mapping[str, Any], side: str) -> dict[str, Fraction]:
    found: Mapping[str, str] = container["resources"].get(side, {})
    return {name: quantities.parse(amount) for name, amount in found.items()}


def written(amount: Fraction) -> str:
    """Return an amount in the unit that loses nothing, as Kubernetes might write it."""
    if amount.denominator > 1:
        return quantities.canonical(f"{int(amount * 10**9)}n")
    return quantities.canonical(int(amount) if amount % 1024 or not amount else f"{int(amount) // 1024}Ki")
