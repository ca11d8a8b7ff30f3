"""Every capability of a swarm, one room each; PARTS is the one ordered tuple.

The order is that of dependency: what stands later may need what stands before, and waits for it. `shape` says what a
part is made of.
"""

from __future__ import annotations

from userswarm.parts import (
    account,
    configuration,
    lifecycle,
    runtime,
    service,
    storage,
    suspension,
    template,
    verification,
)
from userswarm.parts.dedicated import access, limits, namespace, network, tenant
from userswarm.parts.shape import Part
from userswarm.parts.template import database

PARTS: tuple[Part, ...] = (
    suspension.PART,
    *lifecycle.PARTS,
    namespace.PART,
    limits.PART,
    network.PART,
    access.PART,
    storage.PART,
    account.PART,
    configuration.PART,
    service.PART,
    database.PART,
    template.PART,
    runtime.PART,
    verification.PART,
    tenant.PART,
)
