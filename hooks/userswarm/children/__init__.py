"""One builder for each child; `BUILDERS` is the one ordered tuple.

A builder returns a fresh manifest, in the form the apiserver stores: quantities canonical, nothing null, nothing
empty that would be dropped, and every default written out where a list is replaced whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from userswarm.children.claim import build_claim
from userswarm.children.config_map import build_config_map
from userswarm.children.service import build_headless_service, build_service
from userswarm.children.service_account import build_service_account
from userswarm.children.smoke_test import build_smoke_test
from userswarm.children.stateful_set import build_stateful_set
from userswarm.spec.identity import Identity
from userswarm.spec.parent import UserSwarm
from userswarm.spec.settings import Settings
from userswarm.wire.k8s import CLAIM, CONFIG_MAP, JOB, SERVICE, SERVICE_ACCOUNT, STATEFUL_SET, Kind, Manifest


@dataclass(frozen=True, slots=True)
class Builder:
    """How one child is made, and of which kind it is."""

    kind: Kind
    build: Callable[[UserSwarm, Identity, Settings], Manifest]


BUILDERS = (
    Builder(SERVICE_ACCOUNT, build_service_account),
    Builder(CONFIG_MAP, build_config_map),
    Builder(CLAIM, build_claim),
    Builder(SERVICE, build_headless_service),
    Builder(SERVICE, build_service),
    Builder(STATEFUL_SET, build_stateful_set),
    Builder(JOB, build_smoke_test),
)

STANDING_BUILDERS = tuple(builder for builder in BUILDERS if builder.kind is not JOB)
"""Those whose children stay; the smoke test comes and goes."""
