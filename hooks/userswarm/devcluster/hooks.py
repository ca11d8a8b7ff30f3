"""How Metacontroller reaches the hooks: by calling them in process, or over HTTP.

Either way a hook sees JSON that was written and read again, so it can neither see nor spoil what the cluster stores.
"""

from __future__ import annotations

import http.client
import importlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from userswarm.devcluster.clock import Clock
from userswarm.errors import RequestError, UserSwarmError, WrongParentError
from userswarm.spec.settings import Settings

Hook = Callable[[Mapping[str, Any], Settings, datetime], Mapping[str, Any]]


class HookConnectionError(UserSwarmError):
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
    """Calls the hook functions of this package, at the cluster's time."""

    def __init__(self, settings: Settings, clock: Clock, hooks: Mapping[str, Hook] | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._hooks = dict(hooks or {})

    def __call__(self, name: str, body: bytes) -> HookResponse:
        """Call a hook with fresh JSON; an exception becomes the status that the server answers for it."""
        hook = self._hooks.get(name)
        if hook is None:
            # Not at import: the API server is of use without the hooks.
            hook = self._hooks[name] = getattr(importlib.import_module(f"userswarm.{name}"), name)
        try:
            answer = hook(orjson.loads(body), self._settings, self._clock.now())
        except RequestError as error:
            return _error(400, str(error))
        except WrongParentError as error:
            return _error(422, str(error))
        except Exception:
            # Whatever a hook raises is an answer to Metacontroller.
            return _error(500, traceback.format_exc())
        return HookResponse(200, orjson.dumps(answer), {"content-type": "application/json"})


def _error(status: int, text: str) -> HookResponse:
    return HookResponse(status, orjson.dumps({"error": text}), {"content-type": "application/json"})


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
