"""The finalize hook: a UserSwarm goes away, stage by stage, and its volume as its policy says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from userswarm.compose.plan import compute_plan
from userswarm.compose.status import compute_deleting_status
from userswarm.compose.teardown import compute_teardown
from userswarm.errors import InvalidParentError
from userswarm.spec.settings import Settings
from userswarm.wire.envelope import finalize_response, parse_hook_request
from userswarm.wire.observe import observe


def finalize(request: Mapping[str, Any], settings: Settings, now: datetime) -> dict[str, Any]:
    """Return what is left for now of a UserSwarm that goes away, and whether it may go.

    It works for a spec that cannot be built too: whoever deletes a broken UserSwarm wants it gone. Raises
    RequestError and WrongParentError for what is no such request.
    """
    call = parse_hook_request(request)
    try:
        standing = compute_plan(call.parent, settings).children()
    except InvalidParentError:
        standing = []
    teardown = compute_teardown(call.parent, observe(call), standing)
    status = compute_deleting_status(call.parent, teardown.message, now, trouble=teardown.trouble)
    return finalize_response(
        status, teardown.children, teardown.resync_after, teardown.needs, finalized=teardown.finalized
    )
