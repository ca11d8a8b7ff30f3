"""The finalize hook: a UserSwarm goes away, stage by stage, and its volume as its policy says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from userswarm.envelope import finalize_response, parse_hook_request
from userswarm.errors import InvalidParentError
from userswarm.observe import observe
from userswarm.plan import compute_plan
from userswarm.settings import Settings
from userswarm.status import compute_deleting_status
from userswarm.teardown import compute_teardown


def finalize(request: Mapping[str, Any], settings: Settings, now: datetime) -> dict[str, Any]:
    """Return what is left for now of a UserSwarm that goes away, and whether it may go.

    It works for a spec that cannot be built too: whoever deletes a broken UserSwarm wants it gone. Raises
    RequestError and WrongParentError for what is no such request.
    """
    call = parse_hook_request(request)
    try:
        standing = compute_plan(call.parent, settings).standing_children()
    except InvalidParentError:
        standing = []
    teardown = compute_teardown(call.parent, observe(call), standing)
    status = compute_deleting_status(call.parent, teardown.message, now)
    return finalize_response(status, teardown.children, None, finalized=teardown.finalized)
