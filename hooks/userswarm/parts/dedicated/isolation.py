"""What a Dedicated swarm has besides a runtime: its own namespace, with walls, limits and doors.

Read from ``spec.placement``, ``spec.quota``, ``spec.limitRange``, ``spec.access`` and ``spec.workloads``, once for all
parts of this room. Whether all that a swarm consists of fits into its limits is judged in `fit`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from userswarm.errors import Problem
from userswarm.parts.dedicated.workloads import Surroundings, Workload, complete_workloads, pod_template
from userswarm.parts.dedicated.workloads.demand import pod_need, pods_at_once
from userswarm.spec import quantity
from userswarm.spec.slugs import swarm_name
from userswarm.spec.swarm import Asked, Check
from userswarm.wire.k8s import Manifest

NO_ROLE = "none"

DEFAULT_QUOTA: Mapping[str, str] = {"cpu": "500m", "memory": "512Mi", "pods": "3", "persistentVolumeClaims": "2"}
DEFAULT_CONTAINER: Mapping[str, str] = {"cpu": "100m", "memory": "64Mi"}
DEFAULT_MAX: Mapping[str, str] = {"cpu": "500m", "memory": "256Mi"}

SHARED_NAMESPACE = "userswarms"
"""What the CRD fills in for runtimeNamespace."""

SHARED_LIMITS: Mapping[str, str] = {"cpu": "500m", "memory": "512Mi"}
"""What the CRD fills in for the runtime's limits."""

DEDICATED_LIMITS: Mapping[str, str] = {"cpu": "300m", "memory": "256Mi"}
"""What a runtime has instead where these do not fit: what the default quota leaves it, beside `LEFT_FREE` and one
container of the default size."""

BOOTSTRAP_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}
"""Of the init container; it counts only where it is more than the runtime, which starts after it."""

_BOOTSTRAP_LEAST_CPU = "100m"

LEFT_FREE: Mapping[str, str] = {"cpu": "100m", "memory": "128Mi"}
"""What stays free beside a runtime whose limits are lowered; frozen, for it decides about their Pods' templates."""

_HARD: Mapping[str, tuple[str, ...]] = {
    "cpu": ("requests.cpu", "limits.cpu"),
    "memory": ("requests.memory", "limits.memory"),
    "storage": ("requests.storage",),
    "pods": ("pods",),
    "persistentVolumeClaims": ("persistentvolumeclaims",),
    "services": ("services",),
    "secrets": ("secrets",),
}
"""What each field of spec.quota limits."""

_RESOURCE = re.compile(r"[a-z](?:[-a-z0-9.]{0,61}[a-z0-9])?")
"""A quota's key is count/ and this, and what is after its slash has at most 63 characters."""

FIELD_OF_HARD: Mapping[str, str] = {hard: field for field, limited in _HARD.items() for hard in limited}


@dataclass(frozen=True, slots=True)
class Member:
    """A person or a group with a role inside the namespace."""

    kind: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Isolation:
    """A Dedicated swarm's namespace: `managed` by us, or an operator's that we only use.

    `hard` is the ResourceQuota's, `default` and `maximum` are the LimitRange's for each container; all quantities are
    canonical, and all three are empty where nothing is `limited`. `access` is the role of the swarm's own
    ServiceAccount: none, view or edit.
    """

    managed: bool
    limited: bool
    hard: Mapping[str, str]
    default: Mapping[str, str]
    maximum: Mapping[str, str]
    access: str
    members: tuple[Member, ...]
    workloads: tuple[Workload, ...]


def read_isolation(asked: Asked) -> Isolation | None:
    """Return what a valid Dedicated spec asks for, None for a swarm that shares its namespace."""
    if not asked.dedicated:
        return None
    spec = asked.spec
    access, quota, limit_range = spec.get("access", {}), spec.get("quota", {}), spec.get("limitRange", {})
    workloads, _ = complete_workloads(spec.get("workloads", ()), _surroundings(asked))
    # In an operator's namespace quotas and limits are the operator's: ours would count everything else in it too.
    limited = asked.managed or bool(quota or limit_range)
    return Isolation(
        managed=asked.managed,
        limited=limited,
        hard=_hard(quota) if limited else {},
        default=_canonical(_default(spec)) if limited else {},
        maximum=_canonical(_maximum(spec)) if limited else {},
        access=access.get("role", NO_ROLE),
        members=tuple(Member(each["kind"], each["name"], each["role"]) for each in access.get("members", ())),
        workloads=tuple(workloads),
    )


def runtime_limits(asked: Mapping[str, Mapping[str, str]], isolation: Isolation) -> dict[str, str]:
    """Return the limits of a Dedicated swarm's runtime, all canonical.

    A limit that the CRD has filled in may be more than the namespace leaves; it is lowered. One that somebody chose
    is not: where that does not fit, the swarm is Invalid.
    """
    limits = dict(asked["limits"])
    for name, lowered in DEDICATED_LIMITS.items():
        if quantity.compare(limits[name], SHARED_LIMITS[name]) != 0:
            continue
        whole = quantity.parse(limits[name])
        fits = _fits(whole, isolation.maximum.get(name)) and _fits(
            whole + quantity.parse(LEFT_FREE[name]) + _need_of_workloads(isolation, f"limits.{name}"),
            isolation.hard.get(f"limits.{name}"),
        )
        if not fits and quantity.compare(asked["requests"][name], lowered) <= 0:
            limits[name] = lowered
    return limits


def _fits(amount: Fraction, most: str | None) -> bool:
    return most is None or amount <= quantity.parse(most)


def _need_of_workloads(isolation: Isolation, name: str) -> Fraction:
    """Return what the tenant's own Pods together take of a resource."""
    needs = Fraction(0)
    for workload in isolation.workloads:
        template = pod_template(workload.manifest)
        if template is not None and isolation.limited:
            needs += pods_at_once(workload.manifest) * pod_need(template["spec"], isolation.default)[name]
    return needs


def bootstrap_resources(isolation: Isolation | None, runtime: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the resources of the init container, given the limits of the runtime.

    In a namespace with a quota its limit counts like the runtime's; it takes no more, as far as it can do with it.
    """
    resources = {side: dict(amounts) for side, amounts in BOOTSTRAP_RESOURCES.items()}
    if isolation is not None:
        least = max(runtime["cpu"], _BOOTSTRAP_LEAST_CPU, key=quantity.parse)
        resources["limits"]["cpu"] = min(least, resources["limits"]["cpu"], key=quantity.parse)
    return resources


def _check_shared(asked: Asked) -> Iterator[Problem]:
    """Name the parts of a Shared spec that only a Dedicated swarm has."""
    if asked.dedicated:
        return
    for field in ("quota", "limitRange", "access", "workloads"):
        if asked.spec.get(field):
            told = "needs a namespace of its own; set spec.placement.isolation to Dedicated, or leave it out"
            yield Problem(f"spec.{field}", told)
    if not asked.managed:
        yield Problem("spec.placement.namespaceMode", "operator is for spec.placement.isolation Dedicated only")


def _check_namespace(asked: Asked) -> Iterator[Problem]:
    """Refuse a namespace that would be passed over: a managed one has the swarm's own name."""
    named, own = asked.spec["placement"]["runtimeNamespace"], swarm_name(asked.name)
    if asked.dedicated and asked.managed and named not in (SHARED_NAMESPACE, own):
        told = f"{named!r} is not used: the namespace is {own!r}; leave it out, or set namespaceMode to operator"
        yield Problem("spec.placement.runtimeNamespace", told)


def _check_workloads(asked: Asked) -> Iterator[Problem]:
    """Name what is wrong with the tenant's own workloads."""
    if asked.dedicated:
        _, problems = complete_workloads(asked.spec.get("workloads", ()), _surroundings(asked))
        yield from problems


def _check_limits(asked: Asked) -> Iterator[Problem]:
    """Name a default that no container may have."""
    if not asked.dedicated:
        return
    default, maximum = _default(asked.spec), _maximum(asked.spec)
    for name, most in sorted(maximum.items()):
        over = quantity.parse(default[name]) - quantity.parse(most)
        if over > 0:
            yield Problem(
                f"spec.limitRange.default.{name}",
                f"{default[name]} is more than the maximum, {most}, by {exact_amount(over, name)}; lower it, or raise "
                f"the maximum",
            )


def exact_amount(value: Fraction, name: str) -> str:
    """Return an amount of a resource in the unit that people give it in."""
    if "memory" not in name and "storage" not in name:
        return quantity.canonical(f"{math.ceil(value * 10**9)}n")
    whole = math.ceil(value)
    return quantity.canonical(f"{whole // 1024}Ki" if whole % 1024 == 0 else whole)


def _check_counts(asked: Asked) -> Iterator[Problem]:
    """Refuse what is no resource, as the CRD does: the apiserver would refuse the quota."""
    for name in asked.spec.get("quota", {}).get("counts", {}):
        if asked.dedicated and not _RESOURCE.fullmatch(name):
            told = "it must be a resource such as deployments.apps: a-z, 0-9, - and ., at most 63"
            yield Problem(f"spec.quota.counts[{name}]", f"{name!r} is no resource; {told}")


def _check_members(asked: Asked) -> Iterator[Problem]:
    """Refuse the cluster's own users and groups: everybody is in some of them, and controllers are others."""
    if not asked.dedicated:
        return
    for position, member in enumerate(asked.spec.get("access", {}).get("members", ())):
        if member["name"].startswith("system:"):
            told = f"{member['name']!r} is one of the cluster's own; name a person, or a group of people"
            yield Problem(f"spec.access.members[{position}].name", told)


def _surroundings(asked: Asked) -> Surroundings:
    return Surroundings(swarm_name(asked.name), asked.managed, asked.settings)


def _default(spec: Manifest) -> dict[str, str | int]:
    return {**DEFAULT_CONTAINER, **spec.get("limitRange", {}).get("default", {})}


def _maximum(spec: Manifest) -> dict[str, str | int]:
    return {**DEFAULT_MAX, **spec.get("limitRange", {}).get("max", {})}


def _hard(quota: Manifest) -> dict[str, str]:
    """Return what a ResourceQuota limits; `counts` are of any kind, and everything else has its field."""
    asked = {**DEFAULT_QUOTA, **quota}
    counts: Mapping[str, int] = asked.pop("counts", {})
    hard = {limited: amount for field, amount in asked.items() for limited in _HARD[field]}
    return _canonical({**hard, **{f"count/{resource}": amount for resource, amount in counts.items()}})


def _canonical(amounts: Mapping[str, str | int]) -> dict[str, str]:
    return {name: quantity.canonical_amount(amount) for name, amount in sorted(amounts.items())}


_DECISIVE = ("spec.placement.isolation", "spec.placement.namespaceMode", "spec.placement.runtimeNamespace")

ISOLATION_CHECKS = (
    Check(_DECISIVE, _check_shared),
    Check(_DECISIVE, _check_namespace),
    Check((*_DECISIVE, "spec.workloads"), _check_workloads),
    Check((*_DECISIVE, "spec.limitRange"), _check_limits),
    Check((*_DECISIVE, "spec.access"), _check_members),
    Check((*_DECISIVE, "spec.quota"), _check_counts),
)
