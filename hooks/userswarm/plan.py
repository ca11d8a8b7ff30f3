"""All that follows from a UserSwarm's spec alone: its identity, its children, its checksum.

This is the one cache of the pure hooks, for one reason: the same spec comes at every sync, and rendering it is most
of the work. The key is the spec itself, not its generation, so the cache cannot be wrong about a UserSwarm that was
made anew under its name, one that was never stored, or other settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from userswarm.children import STANDING_BUILDERS
from userswarm.children.dedicated import build_dedicated
from userswarm.children.dedicated.fit import find_misfits
from userswarm.children.smoke_test import build_smoke_test, endpoint
from userswarm.errors import InvalidParentError, Problem
from userswarm.identity import Identity, compute_series, identify, template_checksum
from userswarm.isolation import Isolation
from userswarm.k8s import CONFIG_MAP, MAX_APPLIED_BYTES, STATEFUL_SET, Manifest, Observed, applied_size, too_large
from userswarm.parent import RETRY_ANNOTATION, UserSwarm, parse_parent
from userswarm.settings import Settings

CACHED_PLANS = 512

_FIELD_OF_KIND = {CONFIG_MAP.kind: "spec.config", STATEFUL_SET.kind: "spec.runtime"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A valid UserSwarm with all that is built from it.

    `checksum` is that of a verified runtime; `series` is what all attempts of the smoke test for it share.
    """

    swarm: UserSwarm
    identity: Identity
    settings: Settings
    endpoint: str
    checksum: str
    series: str
    _standing: bytes

    @property
    def isolation(self) -> Isolation | None:
        """What a Dedicated swarm has besides a runtime, None for a Shared one."""
        return self.swarm.isolation

    def standing_children(self) -> list[Manifest]:
        """Return all children but the smoke test, in the order of BUILDERS, fresh at every call."""
        children: list[Manifest] = orjson.loads(self._standing)
        return children

    def smoke_test(self, attempt: int) -> Manifest:
        """Return the smoke test's Job of one attempt."""
        return build_smoke_test(self.swarm, self.identity, self.settings, self.series, attempt)


def compute_plan(parent: Observed, settings: Settings) -> Plan:
    """Return the plan for a parent.

    Raises InvalidParentError with every problem of a parent that no children can be built from.
    """
    metadata = parent["metadata"]
    plan = _cached_plan(
        parent["apiVersion"],
        metadata["name"],
        metadata.get("uid") or "",
        (metadata.get("annotations") or {}).get(RETRY_ANNOTATION, ""),
        _dump(parent.get("spec")),
        settings,
    )
    if isinstance(plan, InvalidParentError):
        # A fresh one: an exception keeps the frames of every raise, and with them the requests.
        raise InvalidParentError(plan.name, plan.problems)
    return plan


@lru_cache(maxsize=CACHED_PLANS)
def _cached_plan(
    api_version: str, name: str, uid: str, retry: str, spec: bytes, settings: Settings
) -> Plan | InvalidParentError:
    metadata: dict[str, Any] = {"name": name, "uid": uid, "annotations": {RETRY_ANNOTATION: retry}}
    parent = {"apiVersion": api_version, "kind": "UserSwarm", "metadata": metadata, "spec": orjson.loads(spec)}
    try:
        return _compute_plan(parse_parent(parent, settings), settings)
    except InvalidParentError as error:
        return error


def _compute_plan(swarm: UserSwarm, settings: Settings) -> Plan:
    identity = identify(swarm)
    children = [builder.build(swarm, identity, settings) for builder in STANDING_BUILDERS]
    if swarm.isolation is not None:
        children = [*build_dedicated(swarm, swarm.isolation, identity, settings), *children]
    problems = [
        Problem(_FIELD_OF_KIND.get(child["kind"], "spec"), too_large(f"the {child['kind']}'s fields are", size))
        for child in children
        if (size := applied_size(child)) > MAX_APPLIED_BYTES
    ]
    # What a Job is made of: it is immutable, so whatever changes in it must change its name.
    job = build_smoke_test(swarm, identity, settings)
    if swarm.isolation is not None:
        problems += find_misfits(swarm.isolation, [*children, job])
    if problems:
        raise InvalidParentError(swarm.name, problems)
    checksum = next(template_checksum(child) for child in children if child["kind"] == STATEFUL_SET.kind)
    return Plan(
        swarm=swarm,
        identity=identity,
        settings=settings,
        endpoint=endpoint(swarm, identity),
        checksum=checksum,
        series=compute_series(checksum, swarm.retry, job["spec"]),
        _standing=_dump(children),
    )


def _dump(value: Any) -> bytes:
    """Return JSON to be remembered; orjson leaves as much room behind what it writes, and it would stay taken."""
    return bytes(memoryview(orjson.dumps(value)))
