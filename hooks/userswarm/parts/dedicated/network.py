"""Who may talk to whom in a Dedicated swarm's namespace: nobody, but for what is said here.

Lists are replaced whole by Metacontroller, so every port has its protocol written out.
https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from userswarm.parts.dedicated.isolation import NO_ROLE, Isolation
from userswarm.parts.dedicated.walls import wall
from userswarm.spec.identity import COMPONENT_LABEL, RUNTIME, SWARM_LABEL, Identity
from userswarm.spec.settings import Settings
from userswarm.spec.swarm import Swarm
from userswarm.wire.k8s import NETWORK_POLICY, Manifest

_NAMESPACE_NAME = "kubernetes.io/metadata.name"

PRIVATE_IPV4 = (
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # carrier-grade NAT; some clouds' metadata and node ranges
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # Azure's platform address, public by number only
    "169.254.0.0/16",  # link-local: metadata, node-local DNS
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # IETF protocol assignments, with a cloud's metadata
    "192.0.2.0/24",  # documentation
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
)
"""What is not the internet; manifests/network closes the same to Shared swarms."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _through_nat64(cidr: str) -> str:
    """Return the same addresses as a NAT64 gateway is asked for them."""
    network = ipaddress.IPv4Network(cidr)
    address = int(_NAT64.network_address) + int(network.network_address)
    return str(ipaddress.IPv6Network((address, _NAT64.prefixlen + network.prefixlen)))


INTERNET: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("0.0.0.0/0", PRIVATE_IPV4),
    # What is assigned to the internet, less documentation and what has IPv4 inside (Teredo, 6to4). An IPv4-mapped
    # address lies outside; to name it as an exception of ::/0 the API server refuses.
    ("2000::/3", ("2001::/32", "2001:db8::/32", "2002::/16")),
    (str(_NAT64), tuple(map(_through_nat64, PRIVATE_IPV4))),
)
"""Blocks that are the internet, each with its exceptions, by every way to write an address."""


def build(isolation: Isolation, swarm: Swarm) -> list[Manifest]:
    """Return the policies, deny first.

    In a namespace of ours they hold for every Pod; in an operator's only for this swarm's, since others may live
    there.
    """
    identity, settings = swarm.identity, swarm.settings
    everyone = {} if isolation.managed else _pods({SWARM_LABEL: identity.slug})
    policies = [
        _policy(identity, "deny", {"podSelector": everyone, "policyTypes": ["Ingress", "Egress"]}),
        _policy(identity, "dns", _egress(everyone, [_to_dns(settings)])),
        _policy(identity, "internet", _egress(everyone, [_to_internet()])),
        _policy(identity, "platform", _ingress(_component(identity, RUNTIME), _from_platform(settings), swarm)),
    ]
    if isolation.access != NO_ROLE and settings.api_server_cidrs:
        # The API is at a private address: without this a role would be of no use.
        to = [{"ipBlock": {"cidr": cidr}} for cidr in settings.api_server_cidrs]
        policies.append(_policy(identity, "api", _egress(_component(identity, RUNTIME), [{"to": to}])))
    if settings.allow_pods_within_namespace:
        within = [{"podSelector": everyone}]
        policies.append(
            _policy(
                identity,
                "within",
                {
                    "podSelector": everyone,
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{"from": within}],
                    "egress": [{"to": within}],
                },
            )
        )
    return policies


def _policy(identity: Identity, suffix: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(f"{identity.name}-{suffix}"),
        "spec": spec,
    }


def _ingress(pods: Manifest, peers: list[Manifest], swarm: Swarm) -> Manifest:
    return {"podSelector": pods, "policyTypes": ["Ingress"], "ingress": [{"from": peers, "ports": _port(swarm)}]}


def _egress(pods: Manifest, rules: list[Manifest]) -> Manifest:
    return {"podSelector": pods, "policyTypes": ["Egress"], "egress": rules}


def _port(swarm: Swarm) -> list[dict[str, Any]]:
    return [{"port": swarm.spec["runtime"]["port"], "protocol": "TCP"}]


def _to_dns(settings: Settings) -> Manifest:
    cluster = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return {
        "to": [cluster, *({"ipBlock": {"cidr": cidr}} for cidr in settings.dns_cidrs)],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }


def _to_internet() -> Manifest:
    return {"to": [{"ipBlock": {"cidr": cidr, "except": list(exceptions)}} for cidr, exceptions in INTERNET]}


def _from_platform(settings: Settings) -> list[Manifest]:
    """Select who may reach the runtime: the platform's backend, and the webhook, which verifies it."""
    return [
        {"namespaceSelector": {"matchLabels": dict(settings.platform_namespace_labels)}},
        {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: settings.webhook_namespace}}},
    ]


def _component(identity: Identity, component: str) -> Manifest:
    return _pods({SWARM_LABEL: identity.slug, COMPONENT_LABEL: component})


def _pods(labels: Mapping[str, str]) -> Manifest:
    return {"matchLabels": dict(labels)}


PART = wall("network", (NETWORK_POLICY,), build)
