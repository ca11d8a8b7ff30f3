"""Who reaches whom, by a reading of the network policies like a CNI's: a table of connections, each allowed or not.

https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from contract.rendered import Object, named, of_kind, offered_components, production_with, rendered, selects
from scenes import created
from userswarm.wire.k8s import STATEFUL_SET


@dataclass(frozen=True, slots=True)
class Pod:
    """One end of a connection; `ports` are its named ports."""

    namespace: str
    labels: Mapping[str, str]
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = "10.244.1.7"


@dataclass(frozen=True, slots=True)
class Address:
    """An end that is no Pod."""

    address: str


End = Pod | Address


class Cluster:
    """The policies of a cluster, asked about one connection at a time."""

    def __init__(self, objects: list[Object]) -> None:
        self.policies = of_kind(objects, "NetworkPolicy")

    def connects(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Tell whether `source` may open a connection: it may leave, and it may enter."""
        return self._side("Egress", source, target, target, port, protocol) and self._side(
            "Ingress", target, source, target, port, protocol
        )

    def _side(self, direction: str, here: End, there: End, target: End, port: int, protocol: str) -> bool:
        if isinstance(here, Address):
            return True
        mine = [
            policy["spec"]
            for policy in self.policies
            if policy["metadata"]["namespace"] == here.namespace
            and direction in policy["spec"]["policyTypes"]
            and selects(policy["spec"]["podSelector"], here.labels)
        ]
        if not mine:
            return True
        rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
        return any(
            _ports_match(rule.get("ports"), target, port, protocol) and _peers_match(rule.get(peers), there, here)
            for spec in mine
            for rule in spec.get(rules, [])
        )


def _ports_match(ports: list[Any] | None, target: End, port: int, protocol: str) -> bool:
    if not ports:
        return True
    for each in ports:
        number = each["port"]
        if isinstance(number, str):
            number = target.ports.get(number) if isinstance(target, Pod) else None
        if each["protocol"] == protocol and number == port:
            return True
    return False


def _peers_match(peers: list[Any] | None, there: End, here: Pod) -> bool:
    if not peers:
        return True
    return any(_peer_matches(peer, there, here) for peer in peers)


def _peer_matches(peer: Object, there: End, here: Pod) -> bool:
    if "ipBlock" in peer:
        # Plugins differ on whether a block matches Pods: taken as if it did, which is the worse case.
        address = ipaddress.ip_address(there.address)
        inside = address in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return inside and not any(address in ipaddress.ip_network(cidr) for cidr in peer["ipBlock"].get("except", []))
    if isinstance(there, Address):
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": there.namespace}):
            return False
    elif there.namespace != here.namespace:
        return False
    return "podSelector" not in peer or selects(peer["podSelector"], there.labels)


PORT = 42617
TEMPLATE = created().child(STATEFUL_SET)["spec"]["template"]

RUNTIME = Pod(
    "userswarms",
    TEMPLATE["metadata"]["labels"],
    {port["name"]: port["containerPort"] for port in TEMPLATE["spec"]["containers"][0]["ports"]},
)
NEIGHBOUR = Pod("userswarms", {**RUNTIME.labels, "crawbl.ai/swarm": "another"}, RUNTIME.ports)
STRANGER_INSIDE = Pod("userswarms", {"app": "debug"})
BACKEND = Pod("backend", {"app": "backend"}, {"http": 8000})
ELSEWHERE = Pod(
    "default", {"app.kubernetes.io/component": "webhook", "app.kubernetes.io/name": "userswarm"}, {"http": 80}
)
DEDICATED = Pod("swarm-x", RUNTIME.labels, RUNTIME.ports)
DNS = Pod("kube-system", {"k8s-app": "kube-dns"})
METACONTROLLER = Pod("metacontroller", {"app.kubernetes.io/name": "metacontroller"})
PROMETHEUS = Pod("monitoring", {"app": "prometheus"})
API_SERVER = Address("10.96.0.1")
INTERNET = Address("93.184.216.34")


def webhook() -> Pod:
    template = named(rendered("webhook"), "Deployment", "userswarm-webhook")["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    return Pod("userswarm-system", template["metadata"]["labels"], ports)


def reaper() -> Pod:
    job = named(rendered("reaper"), "CronJob", "userswarm-reaper")["spec"]["jobTemplate"]["spec"]
    return Pod("userswarm-system", job["template"]["metadata"]["labels"])


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster(rendered("overlays/production"))


def test_the_backend_and_the_webhook_reach_a_runtime(cluster: Cluster) -> None:
    assert cluster.connects(BACKEND, RUNTIME, PORT)
    assert cluster.connects(webhook(), RUNTIME, PORT)


@pytest.mark.parametrize(
    "source",
    [NEIGHBOUR, STRANGER_INSIDE, ELSEWHERE, METACONTROLLER, PROMETHEUS, DNS, INTERNET, reaper()],
    ids=["neighbour", "a Pod beside it", "a look-alike", "Metacontroller", "Prometheus", "DNS", "internet", "reaper"],
)
def test_nobody_else_reaches_a_runtime(cluster: Cluster, source: End) -> None:
    assert not cluster.connects(source, RUNTIME, PORT)


@pytest.mark.parametrize("source", [BACKEND, webhook()], ids=["backend", "webhook"])
def test_a_runtime_is_reached_at_its_port_only(cluster: Cluster, source: Pod) -> None:
    assert not cluster.connects(source, RUNTIME, 22)
    assert not cluster.connects(source, RUNTIME, PORT, "UDP")


def test_a_runtime_reaches_dns_and_the_internet(cluster: Cluster) -> None:
    assert cluster.connects(RUNTIME, DNS, 53, "UDP")
    assert cluster.connects(RUNTIME, DNS, 53)
    for address in ("1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"):
        assert cluster.connects(RUNTIME, Address(address), 443), address


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # metadata of most clouds
        "169.254.170.2",  # of ECS
        "169.254.20.10",  # node-local DNS
        "168.63.129.16",  # Azure's platform
        "100.100.100.200",  # Alibaba's metadata
        "192.0.0.192",  # Oracle's
        "fd00:ec2::254",  # EC2's by IPv6
        "fd20:ce::254",  # Google's by IPv6
        "10.0.0.1",
        "10.96.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "0.0.0.0",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "ff02::1",
        "64:ff9b::a9fe:a9fe",  # 169.254.169.254 through NAT64
        "64:ff9b::a00:1",  # 10.0.0.1 through NAT64
        "64:ff9b:1::a00:1",
        "2002:a00:1::1",  # 10.0.0.1 through 6to4
    ],
)
def test_a_runtime_reaches_nothing_private(cluster: Cluster, address: str) -> None:
    for port in (80, 443, 53, 6443, 10250):
        assert not cluster.connects(RUNTIME, Address(address), port), address


def test_what_ipv4_closes_nat64_does_not_open() -> None:
    policy = named(rendered("network"), "NetworkPolicy", "runtime-egress")["spec"]
    peers = [peer["ipBlock"] for rule in policy["egress"] for peer in rule["to"] if "ipBlock" in peer]
    blocks = {block["cidr"]: block["except"] for block in peers}
    closed = [ipaddress.ip_network(cidr) for cidr in blocks["64:ff9b::/96"]]
    well_known = int(ipaddress.IPv6Address("64:ff9b::"))
    for cidr in blocks["0.0.0.0/0"]:
        network = ipaddress.IPv4Network(cidr)
        for address in (network.network_address, network.broadcast_address):
            assert any(ipaddress.IPv6Address(well_known | int(address)) in each for each in closed), cidr


def test_every_address_that_is_not_global_is_closed(cluster: Cluster) -> None:
    # The standard library's own list of special addresses, first and last of each.
    for start in range(256):
        for second in (0, 64, 100, 127, 168, 254, 255):
            address = ipaddress.IPv4Address(f"{start}.{second}.0.1")
            if address.is_private or address.is_link_local or address.is_multicast or address.is_reserved:
                assert not cluster.connects(RUNTIME, Address(str(address)), 443), address


def test_a_runtime_reaches_no_pod_and_no_api_server(cluster: Cluster) -> None:
    for target in (NEIGHBOUR, BACKEND, ELSEWHERE, webhook(), METACONTROLLER, API_SERVER):
        for port in (80, 443, 6443, 8000, 8080, 9090, PORT):
            assert not cluster.connects(RUNTIME, target, port), target


def test_a_pod_that_is_no_swarms_can_do_nothing_among_the_runtimes(cluster: Cluster) -> None:
    assert not cluster.connects(STRANGER_INSIDE, INTERNET, 443)
    assert not cluster.connects(STRANGER_INSIDE, DNS, 53, "UDP")
    assert not cluster.connects(BACKEND, STRANGER_INSIDE, 80)


def test_the_webhook_is_called_by_metacontroller_and_scraped_by_monitoring(cluster: Cluster) -> None:
    assert cluster.connects(METACONTROLLER, webhook(), 8080)
    assert cluster.connects(PROMETHEUS, webhook(), 9090)
    assert not cluster.connects(METACONTROLLER, webhook(), 9090)
    assert not cluster.connects(PROMETHEUS, webhook(), 8080)
    for source in (BACKEND, RUNTIME, ELSEWHERE, INTERNET, Pod("metacontroller", {"app": "other"})):
        for port in (8080, 9090):
            assert not cluster.connects(source, webhook(), port)


def test_the_webhook_reaches_dns_the_api_server_and_runtimes_and_nobody_else(cluster: Cluster) -> None:
    assert cluster.connects(webhook(), DNS, 53, "UDP")
    assert cluster.connects(webhook(), API_SERVER, 443)
    assert cluster.connects(webhook(), Address("10.0.0.2"), 6443)
    assert cluster.connects(webhook(), DEDICATED, PORT), "only Shared swarms can be verified"
    for target in (BACKEND, STRANGER_INSIDE, ELSEWHERE, METACONTROLLER, INTERNET, Address("169.254.169.254"), RUNTIME):
        for port in (22, 53, 80, 8080, 9090, *((PORT,) if target is not RUNTIME else ())):
            assert not cluster.connects(webhook(), target, port), target


def test_the_reaper_reaches_the_api_server_and_the_source_of_owners() -> None:
    by_url = Cluster(production_with("reaper-url"))
    assert by_url.connects(reaper(), API_SERVER, 443)
    assert by_url.connects(reaper(), Address("10.0.0.2"), 6443)
    assert by_url.connects(reaper(), DNS, 53, "UDP")
    assert by_url.connects(reaper(), BACKEND, 8000)
    assert not by_url.connects(reaper(), RUNTIME, PORT)
    assert not by_url.connects(reaper(), webhook(), 8080)
    assert not by_url.connects(METACONTROLLER, reaper(), 8080)
    by_dsn = Cluster(production_with("reaper-postgres"))
    assert by_dsn.connects(reaper(), Address("10.0.0.9"), 5432)
    assert not by_dsn.connects(reaper(), BACKEND, 8000)


def test_node_local_dns_opens_its_address_and_no_other() -> None:
    assert "nodelocal-dns" in offered_components()
    cluster = Cluster(production_with("nodelocal-dns"))
    for source in (RUNTIME, webhook()):
        assert cluster.connects(source, Address("169.254.20.10"), 53, "UDP")
        assert not cluster.connects(source, Address("169.254.20.10"), 80)
        assert not cluster.connects(source, Address("169.254.169.254"), 53, "UDP")


def test_every_exception_lies_inside_its_block() -> None:
    # The API server refuses a policy with one that does not.
    for policy in of_kind(rendered("overlays/production"), "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []) + policy["spec"].get("ingress", []):
            for peer in rule.get("to", []) + rule.get("from", []):
                block = peer.get("ipBlock", {"cidr": "0.0.0.0/0"})
                outer = ipaddress.ip_network(block["cidr"])
                for cidr in block.get("except", []):
                    inner = ipaddress.ip_network(cidr)
                    assert inner.version == outer.version
                    assert inner != outer
                    assert inner.subnet_of(outer)  # type: ignore[arg-type]
