"""That workspaces are used, noted behind the requests' back: no request waits for the API server to take it in."""

from __future__ import annotations

import logging
import threading

from userswarm.backend import BackendError, UserSwarmClient

logger = logging.getLogger("userswarm.gate")

_THREADS = 4
_MOST = 100_000


class Uses:
    """Some threads that tell the client, which writes as rarely as its rule allows."""

    def __init__(self, client: UserSwarmClient) -> None:
        self._client = client
        # A dict, for its order: who was used first is noted first.
        self._pending: dict[tuple[str, str, bool], None] = {}
        self._some = threading.Condition()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._run, name=f"gate-uses-{number}", daemon=True) for number in range(_THREADS)
        ]

    def start(self) -> None:
        """Begin to tell."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop, and wait for the threads."""
        with self._some:
            self._stopped = True
            self._some.notify_all()
        for thread in self._threads:
            thread.join()

    def note(self, workspace: str, user: str, *, busy: bool) -> None:
        """Note it soon, and wait for nothing; what is noted already is noted once."""
        with self._some:
            if len(self._pending) < _MOST:
                self._pending[workspace, user, busy] = None
                self._some.notify()

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._pending and not self._stopped:
                    self._some.wait()
                if self._stopped:
                    return
                workspace, user, busy = next(iter(self._pending))
                del self._pending[workspace, user, busy]
            try:
                self._client.touch(workspace, user, busy=busy)
            except BackendError as error:
                logger.warning("cannot note that a workspace is in use: %s", error)
