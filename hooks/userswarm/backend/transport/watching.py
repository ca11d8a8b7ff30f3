"""The events of one watch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from userswarm.backend.errors import SilenceError, UnreachableError
from userswarm.backend.transport.answers import closing, status_error
from userswarm.wire.k8s import Manifest


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK; a bookmark's object has nothing but its resourceVersion."""

    type: str
    object: Manifest

    @property
    def resource_version(self) -> str:
        """Return where to go on watching after this event."""
        return str(self.object.get("metadata", {}).get("resourceVersion", ""))


class WatchStream:
    """The events of one watch, in order; read once. `stop` may be called from any thread."""

    def __init__(self, what: str, response: Any) -> None:
        self._what = what
        self._response = response

    def events(self) -> Generator[WatchEvent, None, None]:
        """Yield events until the server ends the watch, which is no error; close the generator to leave earlier.

        Raises ExpiredError for a 410 inside the stream, ApiStatusError for any other error event, UnreachableError
        where the connection breaks, SilenceError where nothing comes for too long.
        """
        import urllib3

        rest = b""
        with closing(self._response):
            try:
                for chunk in self._response.stream():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield self._parse(line)
            except urllib3.exceptions.ReadTimeoutError as error:
                raise SilenceError(self._what, error) from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
                # The last two: what reading a response that another thread closed comes to.
                raise UnreachableError(self._what, f"the watch broke off: {error!r}") from error
        if rest.strip():
            raise UnreachableError(self._what, "the watch broke off within an event")

    def _parse(self, line: bytes) -> WatchEvent:
        event = json.loads(line)
        if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
            raise ValueError(f"not a watch event: {line[:200]!r}")  # noqa: TRY004 - of the server's text, not of ours
        if event.get("type") == "ERROR":
            raise status_error(self._what, int(event["object"].get("code") or 500), event["object"], None)
        return WatchEvent(str(event.get("type")), event["object"])

    def stop(self) -> None:
        """End the watch, also while another thread waits for its next event."""
        shutdown = getattr(self._response, "shutdown", None)  # since urllib3 2.3; else it ends with its window
        if shutdown is not None:
            # It may have ended by itself at this very moment.
            with contextlib.suppress(RuntimeError, ValueError, OSError):
                shutdown()
