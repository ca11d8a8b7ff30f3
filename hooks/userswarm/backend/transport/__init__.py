"""One request to the Kubernetes API: JSON out, JSON in, our errors, our retries.

The package `kubernetes` finds the cluster and brings TLS, proxies, tokens and their renewal. Requests go through
its connection pool directly: its own methods would add urllib3's silent retries on top of ours, and differ between
its releases. Only idempotent requests are sent through here, so each may be sent twice: see `UserSwarmApi`.

requests     `Transport`: requests, pages and watches
watching     `WatchStream`: the events of one watch
answers      what an answer says, and which error one that refuses is
connecting   how a cluster is found
"""

from __future__ import annotations

from userswarm.backend.transport.connecting import connect
from userswarm.backend.transport.requests import APPLY_PATCH, MERGE_PATCH, Page, Transport
from userswarm.backend.transport.watching import WatchEvent, WatchStream

__all__ = [
    "APPLY_PATCH",
    "MERGE_PATCH",
    "Page",
    "Transport",
    "WatchEvent",
    "WatchStream",
    "connect",
]
