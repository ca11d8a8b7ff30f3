"""What the proxy is told: an admission with its headers, or the answer that the client gets.

No answer names another user or another's workspace, and a workspace of somebody else is answered as one that is not
there: the same bytes, but for the request's id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from userswarm.errors import UserSwarmError

Header = tuple[str, str]
Headers = list[Header]

UPSTREAM_HEADER = "x-userswarm-upstream"
USER_HEADER = "x-userswarm-user"
WORKSPACE_HEADER = "x-userswarm-workspace"
REQUEST_ID_HEADER = "x-request-id"
CODE_HEADER = "x-userswarm-code"

TOO_EARLY_HEADER = "x-userswarm-too-early"
"""In a check by our Envoy: to be answered `TOO_EARLY` in the place of 503."""

TOO_EARLY = 425
"""Envoy takes any 5xx for a gate that failed, and throws away what it said; of this one it makes the 503 it was."""

STATUS_LINES = {int(status): f"{int(status)} {status.phrase}" for status in HTTPStatus}


class Refused(UserSwarmError):  # noqa: N818 - it is an answer more than an error
    """A request is not let through: the client is told `message`, and audit and metrics `reason`, one word."""

    def __init__(
        self, code: int, reason: str, message: str, *, retry_after: int = 0, headers: Iterable[Header] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.headers = [*headers, *([("Retry-After", str(retry_after))] if retry_after else [])]


@dataclass(slots=True)
class Case:
    """One request, and what has been found out about it so far; all that audit will know.

    `end_is_told` is false where the proxy does not tell when a request ends: then it cannot be counted as open.
    """

    request_id: str
    method: str
    target: str
    host: str
    authorization: str = ""
    origin: str = ""
    upgrade: str = ""
    workspace: str = ""
    user: str = ""
    uid: str = ""
    held: float | None = None
    end_is_told: bool = True

    @property
    def action(self) -> str:
        """What the client wants to do: the method, or `websocket`."""
        return self.upgrade.lower() or self.method


def error_body(message: str, request_id: str) -> bytes:
    """Return the JSON of an error."""
    return orjson.dumps({"error": message, "requestId": request_id})


def missing() -> Refused:
    """Return the refusal of a workspace that is not there, or is another's: nobody shall tell them apart."""
    return Refused(404, "missing", "there is no such workspace")
