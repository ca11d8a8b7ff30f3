"""What the API server refuses about what walls a namespace in: quotas, limit ranges, network policies, roles.

Who may write which role (Kubernetes' check for privilege escalation) is not modelled: nobody has permissions here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from devcluster import quantities
from devcluster.metadata import label_problems
from devcluster.objects import Observed

_RBAC = "rbac.authorization.k8s.io"
_MEASURED = frozenset(
    f"{prefix}{name}" for prefix in ("", "requests.", "limits.") for name in ("cpu", "memory", "ephemeral-storage")
) | {"requests.storage"}
_COUNTED = frozenset(
    {
        "pods",
        "services",
        "services.loadbalancers",
        "services.nodeports",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
    }
)
"""What a quota may limit beside ``count/…`` and names with a domain of their own."""

_LIMIT_TYPES = ("Container", "Pod", "PersistentVolumeClaim")


def policy_problems(kind: str, obj: Observed) -> Iterator[str]:
    """Yield what is wrong with an object of one of these kinds, nothing for any other."""
    match kind:
        case "ResourceQuota":
            yield from _resource_quota(obj["spec"])
        case "LimitRange":
            yield from _limit_range(obj["spec"])
        case "NetworkPolicy":
            yield from _network_policy(obj["spec"])
        case "Role":
            yield from _role(obj)
        case "RoleBinding":
            yield from _role_binding(obj)


def _resource_quota(spec: Observed) -> Iterator[str]:
    for field in ("scopes", "scopeSelector"):
        if spec.get(field):
            yield f"spec.{field}: Forbidden: the dev cluster models no scopes"
    yield from _amounts(spec.get("hard", {}), "spec.hard")


def _amounts(amounts: Mapping[str, str], path: str) -> Iterator[str]:
    for name, amount in amounts.items():
        if "/" not in name and name not in _MEASURED | _COUNTED:
            yield f'{path}[{name}]: Invalid value: "{name}": must be a standard resource for quota'
        if quantities.compare(amount, 0) < 0:
            yield f'{path}[{name}]: Invalid value: "{amount}": must be greater than or equal to 0'
        if (name in _COUNTED or name.startswith("count/")) and quantities.parse(amount).denominator != 1:
            yield f'{path}[{name}]: Invalid value: "{amount}": must be an integer'


def _limit_range(spec: Observed) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(spec.get("limits", ())):
        path = f"spec.limits[{index}]"
        kind = item.get("type", "")
        if kind not in _LIMIT_TYPES:
            yield f'{path}.type: Unsupported value: "{kind}": supported values: {", ".join(_LIMIT_TYPES)}'
        if kind in seen:
            yield f'{path}.type: Duplicate value: "{kind}"'
        seen.add(kind)
        if item.get("maxLimitRequestRatio"):
            yield f"{path}.maxLimitRequestRatio: Forbidden: the dev cluster models no ratios"
        yield from _order(item, path)


def _order(item: Observed, path: str) -> Iterator[str]:
    """Yield where min <= defaultRequest <= default <= max does not hold."""
    fields = ("min", "defaultRequest", "default", "max")
    for low_index, low in enumerate(fields):
        for high in fields[low_index + 1 :]:
            for name, amount in item.get(low, {}).items():
                most = item.get(high, {}).get(name)
                if most is not None and quantities.compare(amount, most) > 0:
                    words = f"{low} value {amount} is greater than {high} value {most}"
                    yield f'{path}.{low}[{name}]: Invalid value: "{amount}": {words}'


def _network_policy(spec: Observed) -> Iterator[str]:
    yield from _selector(spec["podSelector"], "spec.podSelector")
    for direction in spec["policyTypes"]:
        if direction not in {"Ingress", "Egress"}:
            yield f'spec.policyTypes: Unsupported value: "{direction}"'
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(field, ())):
            path = f"spec.{field}[{index}]"
            for number, port in enumerate(rule.get("ports", ())):
                if port["protocol"] not in {"TCP", "UDP", "SCTP"}:
                    yield f'{path}.ports[{number}].protocol: Unsupported value: "{port["protocol"]}"'
                if isinstance(port.get("port"), int) and not 1 <= port["port"] <= 65535:
                    yield f"{path}.ports[{number}].port: Invalid value: {port['port']}: must be between 1 and 65535"
            for number, peer in enumerate(rule.get(peers, ())):
                yield from _peer(peer, f"{path}.{peers}[{number}]")


def _peer(peer: Observed, path: str) -> Iterator[str]:
    if not peer:
        yield f"{path}: Required value: must specify a peer"
    if "ipBlock" in peer and len(peer) > 1:
        yield f"{path}: Forbidden: may not specify both ipBlock and another peer"
    for field in ("podSelector", "namespaceSelector"):
        yield from _selector(peer.get(field, {}), f"{path}.{field}")
    block = peer.get("ipBlock")
    if block is None:
        return
    network = _cidr(block.get("cidr"))
    if network is None:
        yield f"{path}.ipBlock.cidr: Invalid value: {block.get('cidr')!r}: must be a valid CIDR value"
        return
    for number, text in enumerate(block.get("except", ())):
        part = _cidr(text)
        inside = part is not None and part.version == network.version and part != network
        if not (inside and part.subnet_of(network)):  # type: ignore[union-attr, arg-type]
            words = f"must be a strict subset of `cidr` ({block['cidr']})"
            yield f"{path}.ipBlock.except[{number}]: Invalid value: {text!r}: {words}"


def _cidr(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _selector(selector: Observed, path: str) -> Iterator[str]:
    yield from label_problems(selector.get("matchLabels", {}), f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions", ())):
        where, values = f"{path}.matchExpressions[{index}]", expression.get("values", [])
        match expression.get("operator"):
            case "In" | "NotIn":
                if not values:
                    yield f"{where}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            case "Exists" | "DoesNotExist":
                if values:
                    words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    yield f"{where}.values: Forbidden: {words}"
            case operator:
                yield f"{where}.operator: Invalid value: {operator!r}: not a valid selector operator"


def _role(obj: Observed) -> Iterator[str]:
    for index, rule in enumerate(obj.get("rules") or ()):
        if not rule.get("verbs"):
            yield f"rules[{index}].verbs: Required value: verbs must contain at least one value"
        if rule.get("nonResourceURLs"):
            yield f"rules[{index}].nonResourceURLs: Invalid value: namespaced rules cannot apply to non-resource URLs"
        for field in ("apiGroups", "resources"):
            if not rule.get(field):
                yield f"rules[{index}].{field}: Required value: resource rules must supply at least one"


def _role_binding(obj: Observed) -> Iterator[str]:
    reference = obj["roleRef"]
    if reference.get("apiGroup") != _RBAC:
        yield f'roleRef.apiGroup: Unsupported value: "{reference.get("apiGroup")}": supported values: "{_RBAC}"'
    if reference.get("kind") not in {"Role", "ClusterRole"}:
        yield f'roleRef.kind: Unsupported value: "{reference.get("kind")}": supported values: "ClusterRole", "Role"'
    if not reference.get("name"):
        yield "roleRef.name: Required value"
    for index, subject in enumerate(obj.get("subjects", ())):
        group = {"ServiceAccount": "", "User": _RBAC, "Group": _RBAC}.get(subject.get("kind", ""))
        if group is None:
            yield f'subjects[{index}].kind: Unsupported value: "{subject.get("kind")}"'
        elif subject.get("apiGroup", "") != group:
            yield f'subjects[{index}].apiGroup: Unsupported value: "{subject.get("apiGroup")}"'
        if not subject.get("name"):
            yield f"subjects[{index}].name: Required value"
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
            yield f"subjects[{index}].namespace: Required value"
