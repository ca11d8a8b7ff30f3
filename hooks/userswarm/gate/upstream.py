"""Where a swarm's Service is, as `IP:port`: what the proxy connects to.

The name is the controller's word in the status, and believed only if it is the Service that this very swarm has. The
address is looked up for this very object, and kept for some seconds only: an address may be another Service's one day.
"""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Mapping

from userswarm.backend import Swarm
from userswarm.gate.answers import Refused
from userswarm.spec.slugs import swarm_name
from userswarm.web.addresses import can_be_service

logger = logging.getLogger("userswarm.gate")

KEPT = 5.0
"""Seconds for which an address is kept: as long as the cluster's DNS lets others keep it."""

_ENDPOINT = re.compile(r"http://([a-z0-9-]{1,63})\.([a-z0-9-]{1,63})\.svc:([0-9]{1,5})")
_MOST = 50_000

Lookup = Callable[[str, int], str]


def look_up(host: str, port: int) -> str:
    """Return the IP address of a Service, as DNS knows it; raises OSError."""
    address = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    if not can_be_service(address):
        raise OSError(f"{host} leads to {address}, which is no Service")
    return address


class Upstreams:
    """The addresses of swarms, each kept for `KEPT` seconds."""

    def __init__(
        self,
        hosts: Mapping[str, str] | None = None,
        *,
        lookup: Lookup = look_up,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`hosts` are addresses that no DNS knows; where it is given, DNS is not asked."""
        self._hosts = hosts
        self._lookup = lookup
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], tuple[float, str]] = {}

    def address_of(self, swarm: Swarm) -> str:
        """Return where the traffic for a swarm goes; raises Refused (503)."""
        key, now = (swarm.uid, swarm.url), self._monotonic()
        known = self._known.get(key)
        if known is not None and now < known[0]:
            return known[1]
        address = self._find(swarm)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (now + KEPT, address)
        return address

    def _find(self, swarm: Swarm) -> str:
        found = _ENDPOINT.fullmatch(swarm.url)
        if not found or found[1] != swarm_name(swarm.name):
            logger.error("UserSwarm %r: its status names %r, which is not its own Service", swarm.name, swarm.url)
            raise _nowhere()
        host, port = f"{found[1]}.{found[2]}.svc", int(found[3])
        if self._hosts is not None:
            address = self._hosts.get(f"{host}:{port}")
            if address is None:
                raise _nowhere()
            return address
        try:
            ip = self._lookup(host, port)
        except OSError as error:
            logger.warning("%s cannot be resolved: %s", host, error)
            raise _nowhere() from error
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _nowhere() -> Refused:
    return Refused(503, "unresolved", "the workspace cannot be reached now", retry_after=1)
