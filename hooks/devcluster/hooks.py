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


class InProcessHooks:
    """Calls functions by the names of their hooks."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = dict(hooks)

    def __call__(self, name: str, body: bytes) -> HookResponse:
        """Call a hook with fresh JSON; an exception becomes a 500, as a web server makes it one."""
        try:
            answer = self._hooks[name](orjson.loads(body))
        except Exception:
            # Whatever a hook raises is an answer to Metacontroller.
            return json_response(500, {"error": traceback.format_exc()})
        return answer if isinstance(answer, HookResponse) else json_response(200, answer)


def json_response(status: int, answer: Mapping[str, Any]) -> HookResponse:
    """Return an answer as a web server sends it."""
    return HookResponse(status, orjson.dumps(answer), {"content-type": "application/json"})


class HttpHooks:
    """Posts to a server over one connection that is kept open, and opened again where the server closed it."""

    def __init__(self, base_url: str, token: str | None = None, *, timeout: float = 10) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{base_url!r} is not a base URL of hooks; it must be http://host:port")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self._path = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def __call__(self, name: str, body: bytes) -> HookResponse:
        """Post to ``<base URL>/<name>``."""
        reused = self._connection.sock is not None
        try:
            return self._post(name, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not reused or isinstance(error, TimeoutError):
                raise HookConnectionError(f"http error: {type(error).__name__}: {error}") from error
        # The server closed a connection that stood idle: that says nothing about this call.
        try:
            return self._post(name, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise HookConnectionError(f"http error: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, name: str, body: bytes) -> HookResponse:
        self._connection.request("POST", f"{self._path}/{name}", body, self._headers)
        response = self._connection.getresponse()
        headers = {key.lower(): value for key, value in response.getheaders()}
        return HookResponse(response.status, response.read(), headers)
