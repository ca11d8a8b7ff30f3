"""How much a request may be: bytes, JSON depth, objects, and calls at once.

None of it trusts what a client declares, and all of it costs a request of usual size some 20 microseconds.
"""

from __future__ import annotations

import gc
import threading
from typing import Any

import orjson

from userswarm.server.errors import Refused

WSGIEnvironment = dict[str, Any]


def check_declared_length(environ: WSGIEnvironment, limit: int) -> int:
    """Return the Content-Length; raises Refused (411, 413, 400).

    Metacontroller declares it. Chunks are not taken: gunicorn copies its buffer at each, so that a body of tiny ones
    could keep a worker busy for minutes.
    """
    declared = environ.get("CONTENT_LENGTH")
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise Refused(411, "Transfer-Encoding: is not accepted, declare a Content-Length")
    if not declared:
        return 0
    try:
        length = int(declared)
    except ValueError:
        raise Refused(400, "Content-Length: must be a whole number") from None
    if length > limit:
        raise Refused(413, f"body: larger than {limit} bytes")
    return length


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read the body, of `limit` bytes at most; raises Refused (411, 413, 400)."""
    length = check_declared_length(environ, limit)
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) < length:
        raise Refused(400, f"body: ended after {len(body)} of {length} bytes")
    return body


def parse_body(body: bytes, max_depth: int, max_objects: int) -> Any:
    """Decode a body; raises Refused (400) where it is not JSON, too deep, or names too many objects."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"body: not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        raise Refused(400, message, field="body") from None
    check_depth(document, max_depth)
    check_objects(document, max_objects)
    return document


def check_depth(document: object, limit: int) -> None:
    """Raise Refused (400) where containers are nested deeper than `limit`.

    Decoding itself stops at 1024 levels. `gc.get_referents` hands over all that one level refers to in a single
    call, five times faster than a walk in Python; decoded JSON refers to nothing but its own values.
    """
    level: list[Any] = [document]
    for _ in range(limit):
        level = gc.get_referents(*level)
        if not level:
            return
    if any(isinstance(value, dict | list) for value in level):
        raise Refused(400, f"body: nested deeper than {limit} levels", field="body")


def check_objects(document: object, limit: int) -> None:
    """Raise Refused (400) where `children` or `related` hold more than `limit` objects."""
    if not isinstance(document, dict):
        return
    for field in ("children", "related"):
        groups = document.get(field)
        if isinstance(groups, dict):
            count = sum(len(group) for group in groups.values() if isinstance(group, dict))
            if count > limit:
                raise Refused(400, f"{field}: {count} objects, at most {limit} are accepted", field=field)


class Slots:
    """The calls that one worker answers at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a slot, to be given back; raises Refused (429) where none is free."""
        with self._lock:
            if self._taken >= self._limit:
                # With the header Metacontroller waits; without it, it would call again at once.
                raise Refused(429, f"{self._limit} calls are under way already", [("Retry-After", "1")])
            self._taken += 1

    def give(self) -> None:
        """Give a slot back."""
        with self._lock:
            self._taken -= 1
