"""What a Dedicated swarm has besides a runtime: its own namespace, with walls, limits and doors.

Read from ``spec.placement``, ``spec.quota``, ``spec.limitRange``, ``spec.access`` and ``spec.workloads``. A swarm that
could never start within its own limits is refused here, with the difference, instead of failing in the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from userswarm import quantity
from userswarm.errors import Problem
from userswarm.k8s import Manifest
from userswarm.settings import Settings
from userswarm.workloads import complete_workloads

DEDICATED = "Dedicated"
OPERATOR = "operator"

DEFAULT_QUOTA: Mapping[str, str] = {"cpu": "500m", "memory": "512Mi", "pods": "3", "persistentVolumeClaims": "2"}
DEFAULT_CONTAINER: Mapping[str, str] = {"cpu": "100m", "memory": "64Mi"}
DEFAULT_MAX: Mapping[str, str] = {"cpu": "500m", "memory": "256Mi"}

BOOTSTRAP_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}
"""Of the init container; it counts only where it is more than the runtime, which starts after it."""

PROBE_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"cpu": "100m", "memory": "128Mi"},
}
"""Of the smoke test, which runs beside the runtime and counts on top of it."""

_OWN_OBJECTS: Mapping[str, int] = {
    "pods": 2,
    "persistentvolumeclaims": 1,
    "services": 2,
    "secrets": 0,
    # One is ours, one Kubernetes puts into every namespace.
    "count/configmaps": 2,
    "count/serviceaccounts": 2,
    "count/statefulsets.apps": 1,
    "count/jobs.batch": 1,
    "count/pods": 2,
    "count/services": 2,
    "count/persistentvolumeclaims": 1,
    "count/resourcequotas": 1,
}
"""What the swarm's own parts need of each kind, where a quota counts them."""

_FIELD_OF_HARD = {
    "requests.cpu": "cpu",
    "limits.cpu": "cpu",
    "requests.memory": "memory",
    "limits.memory": "memory",
    "requests.storage": "storage",
    "persistentvolumeclaims": "persistentVolumeClaims",
}


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
    canonical. `access` is the role of the swarm's own ServiceAccount: none, view or edit.
    """

    managed: bool
    hard: Mapping[str, str]
    default: Mapping[str, str]
    maximum: Mapping[str, str]
    access: str
    members: tuple[Member, ...]
    workloads: tuple[Manifest, ...]


def is_dedicated(spec: Manifest) -> bool:
    """Tell whether a spec asks for a namespace of its own."""
    return bool(spec["placement"].get("isolation") == DEDICATED)


def is_managed(spec: Manifest) -> bool:
    """Tell whether the namespace of a Dedicated spec is made and deleted by us."""
    return bool(spec["placement"].get("namespaceMode") != OPERATOR)


def build_isolation(spec: Manifest, settings: Settings) -> Isolation:
    """Return what a valid Dedicated spec asks for."""
    access = spec.get("access", {})
    workloads, _ = complete_workloads(spec.get("workloads", ()), settings)
    return Isolation(
        managed=is_managed(spec),
        hard=_hard(spec.get("quota", {})),
        default=_canonical({**DEFAULT_CONTAINER, **spec.get("limitRange", {}).get("default", {})}),
        maximum=_canonical({**DEFAULT_MAX, **spec.get("limitRange", {}).get("max", {})}),
        access=access.get("role", "none"),
        members=tuple(Member(each["kind"], each["name"], each["role"]) for each in access.get("members", ())),
        workloads=tuple(workloads),
    )


def check_isolation(spec: Manifest, settings: Settings) -> Iterator[Problem]:
    """Name what is wrong with the parts of a spec that only a Dedicated swarm has."""
    if not is_dedicated(spec):
        for field in ("quota", "limitRange", "access", "workloads"):
            if spec.get(field):
                told = "needs a namespace of its own; set spec.placement.isolation to Dedicated, or leave it out"
                yield Problem(f"spec.{field}", told)
        if not is_managed(spec):
            yield Problem("spec.placement.namespaceMode", "operator is for spec.placement.isolation Dedicated only")
        return
    _, problems = complete_workloads(spec.get("workloads", ()), settings)
    yield from problems
    yield from _check_limits(spec)
    yield from _check_quota(spec)


def _hard(quota: Mapping[str, str | int | Mapping[str, int]]) -> dict[str, str]:
    wanted = {**DEFAULT_QUOTA, **{name: amount for name, amount in quota.items() if name != "counts"}}
    hard: dict[str, str | int] = {}
    for name, amount in wanted.items():
        assert not isinstance(amount, Mapping)  # noqa: S101 - only `counts` is one
        match name:
            case "cpu" | "memory":
                hard[f"requests.{name}"] = hard[f"limits.{name}"] = amount
            case "storage":
                hard["requests.storage"] = amount
            case _:
                hard[name.lower()] = amount
    counts = quota.get("counts", {})
    assert isinstance(counts, Mapping)  # noqa: S101 - the CRD says so
    hard.update({f"count/{resource}": amount for resource, amount in counts.items()})
    return _canonical(hard)


def _canonical(amounts: Mapping[str, str | int]) -> dict[str, str]:
    return {name: quantity.canonical(amount) for name, amount in sorted(amounts.items())}


def _containers(spec: Manifest) -> dict[str, Mapping[str, Mapping[str, str | int]]]:
    return {
        "the runtime": spec["runtime"]["resources"],
        "the init container": BOOTSTRAP_RESOURCES,
        "the smoke test": PROBE_RESOURCES,
    }


def _check_limits(spec: Manifest) -> Iterator[Problem]:
    """Every container of ours must be allowed by the LimitRange."""
    maximum = {**DEFAULT_MAX, **spec.get("limitRange", {}).get("max", {})}
    default = {**DEFAULT_CONTAINER, **spec.get("limitRange", {}).get("default", {})}
    for name, most in sorted(maximum.items()):
        for who, resources in _containers(spec).items():
            over = quantity.parse(resources["limits"].get(name, 0)) - quantity.parse(most)
            if over > 0:
                yield Problem(
                    f"spec.limitRange.max.{name}",
                    f"{most} is less than {who} needs, by {_amount(over, name)}; raise it, or lower what it needs",
                )
        if quantity.compare(default.get(name, 0), most) > 0:
            yield Problem(f"spec.limitRange.default.{name}", f"{default[name]} is more than the maximum, {most}")


def _check_quota(spec: Manifest) -> Iterator[Problem]:
    """The runtime's Pod and the smoke test's, side by side, must fit into the quota, and so must our other objects."""
    hard = _hard(spec.get("quota", {}))
    runtime, probe = spec["runtime"]["resources"], PROBE_RESOURCES
    needs: dict[str, Fraction] = {name: Fraction(count) for name, count in _OWN_OBJECTS.items()}
    needs["requests.storage"] = quantity.parse(spec["storage"]["size"])
    for side in ("requests", "limits"):
        for name in ("cpu", "memory"):
            pod = max(quantity.parse(runtime[side][name]), quantity.parse(BOOTSTRAP_RESOURCES[side][name]))
            needs[f"{side}.{name}"] = pod + quantity.parse(probe[side][name])
    for name, need in sorted(needs.items()):
        over = need - quantity.parse(hard[name]) if name in hard else Fraction(0)
        if over > 0:
            field = _FIELD_OF_HARD.get(name, name)
            path = f"spec.quota.counts[{name.removeprefix('count/')}]" if "/" in name else f"spec.quota.{field}"
            yield Problem(
                path,
                f"{hard[name]} ({name}) is less than the swarm's own parts need, {_amount(need, name)}, by "
                f"{_amount(over, name)}; raise it, or lower what they need",
            )


def _amount(value: Fraction, name: str) -> str:
    """Return an exact amount in the unit that people give it in."""
    if "memory" in name or "storage" in name:
        return quantity.canonical(f"{int(value)}") if value % 1024 else quantity.canonical(f"{int(value // 1024)}Ki")
    return quantity.canonical(f"{int(value * 1000)}m")
