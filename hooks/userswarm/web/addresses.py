"""Addresses: where a server listens, and which of them can be a Service's."""

from __future__ import annotations

import ipaddress


def is_loopback(bind: str) -> bool:
    """Tell whether only this machine reaches an address such as ``127.0.0.1:8080``."""
    host = split_bind(bind)[0]
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def split_bind(bind: str) -> tuple[str, int]:
    """Split ``host:port``; the brackets of an IPv6 address go."""
    host, _, port = bind.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def can_be_service(address: str) -> bool:
    """Tell whether a Service may lead to an IP address: never to metadata, never to ourselves.

    A Service can be made to lead anywhere by whoever may write it.
    """
    peer = ipaddress.ip_address(address.partition("%")[0])
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return not (peer.is_link_local or peer.is_loopback or peer.is_multicast or peer.is_unspecified)
