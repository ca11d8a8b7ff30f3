"""How Metacontroller reaches the hooks: by calling them in process, or over HTTP.

Either way a hook sees JSON that was written and read again, so it can neither see nor spoil what the cluster stores.
"""

from __future__ import annotations

import http.client
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from devcluster.errors import DevClusterError
from devcluster.objects import Manifest

TIMEOUT = 10.0
"""Seconds that a hook behind a URL may take: Metacontroller's default."""

Hook = Callable[[Manifest], "Mapping[str, Any] | HookResponse"]
"""What answers a request, as JSON or with a status of its own."""


class HookConnectionError(DevClusterError):
    """A hook could not be called, or its answer did not arrive."""


@dataclass(frozen=True, slots=True)
class HookResponse:
    """What came back; header names are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Hooks(Protocol):
    """Whatever can be called as a hook: `name` is sync, finalize or customize, `body` the request's JSON."""

    def __call__(self, name: str, body: bytes) -> HookResponse:
        """Return the answer; raises HookConnectionError where there is none."""
        ...


def connect(hooks: Hooks | Mapping[str, Hook | str]) -> Hooks:
    """Return what calls hooks that are given by name, each as a function or as the URL that Metacontroller posts to.

    Raises ValueError for a URL that is none.
    """
    if not isinstance(hooks, Mapping):
        return hooks
    calls = {name: _posting(hook) if isinstance(hook, str) else _calling(hook) for name, hook in hooks.items()}
    return lambda name, body: calls[name](body)


def json_response(status: int, answer: Mapping[str, Any]) -> HookResponse:
    """Return an answer as a web server sends it."""
    return HookResponse(status, orjson.dumps(answer), {"content-type": "application/json"})


def _calling(hook: Hook) -> Callable[[bytes], HookResponse]:
    def call(body: bytes) -> HookResponse:
        try:
            answer = hook(orjson.loads(body))
        except Exception:
            # Whatever a hook raises is an answer to Metacontroller, as a web server makes it one.
            return json_response(500, {"error": traceback.format_exc()})
        return answer if isinstance(answer, HookResponse) else json_response(200, answer)

    return call


def _posting(url: str) -> Callable[[bytes], HookResponse]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not a hook's URL; it must be http://host:port/path")

    def post(body: bytes) -> HookResponse:
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT)
        try:
            connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            headers = {key.lower(): value for key, value in response.getheaders()}
            return HookResponse(response.status, response.read(), headers)
        except (OSError, http.client.HTTPException) as error:
            raise HookConnectionError(f"http error: {type(error).__name__}: {error}") from error
        finally:
            connection.close()

    return post
