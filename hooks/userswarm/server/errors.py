"""What the server answers instead of a hook's response: a status and one JSON object."""

from __future__ import annotations

import orjson

from userswarm.errors import UserSwarmError

Headers = list[tuple[str, str]]

STATUS_LINES = {
    200: "200 OK",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    408: "408 Request Timeout",
    411: "411 Length Required",
    413: "413 Content Too Large",
    415: "415 Unsupported Media Type",
    422: "422 Unprocessable Content",
    429: "429 Too Many Requests",
    500: "500 Internal Server Error",
}


class Refused(UserSwarmError):  # noqa: N818 - it is an answer more than an error
    """A request is refused before a hook sees it; `headers` go with the answer."""

    def __init__(self, code: int, message: str, headers: Headers | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or []
        self.field = field


def error_body(message: str, **more: str | None) -> bytes:
    """Return the JSON of an error; what is None is left out."""
    return orjson.dumps({"error": message, **{key: value for key, value in more.items() if value is not None}})
