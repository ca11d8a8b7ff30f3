"""Follow a collection by one watch: how many objects there are, and how many of them are as awaited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from userswarm.backend.transport import Transport, WatchStream

Object = dict[str, Any]

_WINDOW = 3600.0
_SILENCE = 300.0  # bookmarks come every minute or so


class Followed:
    """The names of the objects that are there, and of those that are as awaited."""

    def __init__(self, what: str, is_awaited: Callable[[Object], bool]) -> None:
        self.present: set[str] = set()
        self.awaited: set[str] = set()
        self._what = what
        self._is_awaited = is_awaited
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def until(self, holds: Callable[[], bool], patience: float) -> float:
        """Return the time (perf_counter) at which it holds; raises TimeoutError."""
        with self._changed:
            held = self._changed.wait_for(lambda: self._error is not None or holds(), patience)
            if self._error is not None:
                raise self._error
            if not held:
                raise TimeoutError(
                    f"after {patience:.0f} s {len(self.awaited)} of {len(self.present)} {self._what} are as awaited"
                )
            return time.perf_counter()

    def see(self, found: Object, *, gone: bool) -> None:
        """Take in one object."""
        name = found["metadata"]["name"]
        with self._changed:
            (self.present.discard if gone else self.present.add)(name)
            (self.awaited.add if not gone and self._is_awaited(found) else self.awaited.discard)(name)
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let whoever waits know that nothing more will be seen."""
        with self._changed:
            self._error = error
            self._changed.notify_all()


@contextmanager
def follow(
    transport: Transport, path: str, is_awaited: Callable[[Object], bool], selector: str = ""
) -> Iterator[Followed]:
    """Follow the collection at `path` while in this context; a watch that ends is gone on with.

    The API server ends them all when it takes in another version of their CRD.
    """
    query = {"labelSelector": selector} if selector else {}
    followed = Followed(path.rpartition("/")[2], is_awaited)
    page = transport.page(path, limit=0, query=query)
    for item in page.items:
        followed.see(item, gone=False)
    over = threading.Event()
    streams: list[WatchStream] = []

    def read() -> None:
        version = page.resource_version
        try:
            while not over.is_set():
                stream = transport.watch(path, resource_version=version, window=_WINDOW, silence=_SILENCE, query=query)
                streams.append(stream)
                for event in stream.events():
                    version = event.resource_version or version
                    if event.type != "BOOKMARK":
                        followed.see(event.object, gone=event.type == "DELETED")
        except Exception as error:
            followed.fail(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield followed
    finally:
        over.set()
        for stream in streams:
            stream.stop()
        reader.join(10)
