"""The sync hook: one UserSwarm, from what is observed to what is desired."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from userswarm.compose.desired import compute_desired
from userswarm.compose.needs import compute_needs
from userswarm.compose.plan import compute_plan
from userswarm.compose.status import (
    carry_status,
    compute_invalid_status,
    compute_status,
    is_taken_down_elsewhere,
    next_try,
)
from userswarm.errors import InvalidParentError
from userswarm.parts.shape import Sight
from userswarm.spec.settings import Settings
from userswarm.wire.conditions import read_conditions
from userswarm.wire.envelope import parse_hook_request, sync_response
from userswarm.wire.freeze import freeze
from userswarm.wire.observe import observe


def sync(request: Mapping[str, Any], settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the status and the desired children of the UserSwarm that a request is about, and what else it needs.

    `now` is an aware time; it only dates transitions and decides what is overdue. A UserSwarm that cannot be built
    keeps its children as they are, and so does one that another controller still takes down. Raises RequestError and
    WrongParentError for what is no such request, and CannotFreezeError where no answer would be safe.
    """
    call = parse_hook_request(request)
    observation = observe(call)
    if is_taken_down_elsewhere(call.parent, call.controller):
        return sync_response(carry_status(call.parent), freeze(observation), None)
    try:
        plan = compute_plan(call.parent, settings)
    except InvalidParentError as error:
        status = compute_invalid_status(call.parent, error, now)
        return sync_response(status, freeze(observation), next_try(error))
    before = call.parent.get("status") or {}
    sight = Sight(observation, before, read_conditions(before), now, call.http, call.parent["metadata"])
    desired = compute_desired(plan, sight, call.managed)
    needs = compute_needs(plan.swarm, desired.findings)
    assessment = compute_status(call.parent, plan.swarm, desired.findings, now, looks=bool(needs))
    return sync_response(assessment.status, desired.children, assessment.resync_after, needs)
