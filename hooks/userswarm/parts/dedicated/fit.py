"""Whether all that a Dedicated swarm consists of fits into its own limits.

The apiserver would refuse what does not: at every sync, for ever, and after the swarm was promised. Judged are the
children themselves, as they are about to be made: a quota counts Pods, whoever makes them.
https://kubernetes.io/docs/concepts/policy/resource-quotas/ and limit-range/
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from userswarm.errors import Problem
from userswarm.parts.dedicated.isolation import FIELD_OF_HARD, Isolation, exact_amount
from userswarm.parts.dedicated.workloads import pod_template, template_path
from userswarm.parts.dedicated.workloads.demand import container_need, pod_need, pods_at_once
from userswarm.spec import quantity
from userswarm.spec.pods.hardening import containers_of
from userswarm.wire.k8s import (
    CLAIM,
    CONFIG_MAP,
    DEPLOYMENT,
    KIND_NAMED,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Manifest,
)

_COUNTED_SHORTLY = ("pods", "persistentvolumeclaims", "services")

_MADE_BY_KUBERNETES = (CONFIG_MAP, SERVICE_ACCOUNT)
"""Of which kinds every namespace has one from the start: the root certificate, and the default account."""

_MADE_FOR: Mapping[Kind, tuple[str, ...]] = {
    SERVICE: ("endpoints", "endpointslices.discovery.k8s.io"),
    STATEFUL_SET: ("controllerrevisions.apps",),
    DEPLOYMENT: ("replicasets.apps",),
}
"""What Kubernetes makes for each object of a kind, at least one."""


@dataclass(frozen=True, slots=True)
class _Pods:
    """The Pods of one child: so many at once, all alike. `path` is where their spec is said, empty for our own."""

    who: str
    path: str
    count: int
    spec: Manifest


def find_misfits(isolation: Isolation, children: Sequence[Manifest]) -> Iterator[Problem]:
    """Name every limit that a swarm's own children would break, and by how much.

    `children` are all that can be there at once.
    """
    if not isolation.limited:
        return
    pods = list(_pods(isolation, children))
    for each in pods:
        yield from _check_containers(each, isolation)
    needs = _count(children, pods)
    for each in pods:
        for name, need in pod_need(each.spec, isolation.default).items():
            needs[name] += need * each.count
    for name, hard in isolation.hard.items():
        over = needs[name] - quantity.parse(hard)
        if over > 0:
            counted = name.removeprefix("count/")
            path = f"spec.quota.{FIELD_OF_HARD[name]}" if counted == name else f"spec.quota.counts[{counted}]"
            told = f"{hard} ({name}) is less than the swarm and its workloads need, {exact_amount(needs[name], name)}"
            yield Problem(path, f"{told}, by {exact_amount(over, name)}; raise it, or lower what they need")


def _pods(isolation: Isolation, children: Sequence[Manifest]) -> Iterator[_Pods]:
    workloads = {(each.kind.kind, each.name): position for position, each in enumerate(isolation.workloads)}
    for child in children:
        kind, name = child["kind"], child["metadata"]["name"]
        position = workloads.get((kind, name))
        if position is not None:
            template = pod_template(child)
            if template is not None:
                path = f"spec.workloads[{position}].spec.{'.'.join(template_path(kind))}.spec"
                yield _Pods(f"{kind} {name}", path, pods_at_once(child), template["spec"])
        elif kind == STATEFUL_SET.kind:
            # A swarm that is suspended has to fit when it is resumed.
            yield _Pods("the runtime", "", 1, child["spec"]["template"]["spec"])


def _check_containers(pods: _Pods, isolation: Isolation) -> Iterator[Problem]:
    """Hold every container against the LimitRange."""
    for step, container in containers_of(pods.spec):
        amounts = container.get("resources", {})
        for name, most in isolation.maximum.items():
            needed = container_need("limits", name, container, isolation.default)
            over = needed - quantity.parse(most)
            if over > 0:
                by, who = exact_amount(over, name), f"{pods.who}'s container {container['name']}"
                if pods.path:
                    told = f"{amounts['limits'][name]} is more than spec.limitRange.max.{name}, {most}, by {by}"
                    yield Problem(f"{pods.path}.{step}.resources.limits.{name}", told)
                else:
                    told = f"{most} is less than {who} needs, {exact_amount(needed, name)}, by {by}"
                    yield Problem(f"spec.limitRange.max.{name}", f"{told}; raise it, or lower what it needs")
            over = container_need("requests", name, container, isolation.default) - needed
            if over > 0:
                told = f"{amounts['requests'][name]} is more than the default limit, by {exact_amount(over, name)}"
                yield Problem(f"{pods.path}.{step}.resources.requests.{name}", f"{told}; set limits.{name} too")


def _count(children: Sequence[Manifest], pods: Sequence[_Pods]) -> defaultdict[str, Fraction]:
    """Return how many objects of each resource there will be at least, under the names that a quota has for them."""
    counts: Counter[str] = Counter()
    for kind in (*(KIND_NAMED[child["kind"]] for child in children), *_MADE_BY_KUBERNETES):
        counts[_counted(kind)] += 1
        counts.update(_MADE_FOR.get(kind, ()))
    counts["pods"] = sum(each.count for each in pods)
    needs: defaultdict[str, Fraction] = defaultdict(Fraction)
    needs |= {f"count/{name}": Fraction(count) for name, count in counts.items()}
    needs |= {name: Fraction(counts[name]) for name in _COUNTED_SHORTLY}
    for child in children:
        if child["kind"] == CLAIM.kind:
            needs["requests.storage"] += quantity.parse(child["spec"]["resources"]["requests"]["storage"])
    return needs


def _counted(kind: Kind) -> str:
    group = kind.api_version.rpartition("/")[0]
    return f"{kind.resource}.{group}" if group else kind.resource
