"""That workspaces are used, noted behind the requests' back: no request waits for the API server to take it in."""

from __future__ import annotations

import logging
import threading

from userswarm.backend import BackendError, UserSwarmClient

logger = logging.getLogger("userswarm.gate")

_MOST = 100_000


class Uses:
    """One thread that tells the client, which writes as rarely as its rule allows."""

    def __init__(self, client: UserSwarmClient) -> None:
        self._client = client
        self._pending: set[tuple[str, str, bool]] = set()
        self._some = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="gate-uses", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for the thread."""
        self._stopped = True
        self._some.set()
        self._thread.join()

    def note(self, workspace: str, user: str, *, busy: bool) -> None:
        """Note it soon, and wait for nothing; what is noted already is noted once."""
        if len(self._pending) < _MOST:
            self._pending.add((workspace, user, busy))
            self._some.set()

    def _run(self) -> None:
        while True:
            self._some.wait()
            if self._stopped:
                return
            self._some.clear()
            pending, self._pending = self._pending, set()
            for workspace, user, busy in pending:
                try:
                    self._client.touch(workspace, user, busy=busy)
                except BackendError as error:
                    logger.warning("cannot note that a workspace is in use: %s", error)
