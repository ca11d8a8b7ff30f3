"""Note that a swarm is in use, which wakes it too: often asked, seldom written."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime

from userswarm.backend.access import Access, check_owner
from userswarm.backend.activity import RecentlyTouched, is_held, is_noted, note
from userswarm.backend.errors import ApiStatusError, BackendError, NotFound
from userswarm.backend.model import Swarm
from userswarm.backend.naming import swarm_name


class Use:
    """What `UserSwarmClient` says of `touch`, `busy` and `wake`; safe for use by many threads."""

    def __init__(self, access: Access, field_manager: str, now: Callable[[], datetime]) -> None:
        self._access = access
        self._field_manager = field_manager
        self._now = now
        self._touched = RecentlyTouched()

    def note(self, workspace_id: str, user_id: str, *, busy: bool) -> bool:
        """Note that the workspace is in use, with `busy` for as long as a lease lasts; tell whether it was written."""
        name, clock = swarm_name(workspace_id), self._access.policy.clock
        key = (name, user_id, busy)
        if not self._access.cache_is_fresh and self._touched.is_recent((*key, ""), clock()):
            return False
        swarm = check_owner(self._access.look_up(name), workspace_id, user_id)
        # Whoever sleeps is written to at once, and once.
        asleep_since = swarm.asleep_since if swarm.asleep else ""
        if not self._touched.claim((*key, asleep_since), clock(), swarm.touch_every):
            return False
        if asleep_since:
            self._touched.claim((*key, ""), clock(), swarm.touch_every)
        now = self._now()
        if is_held(swarm, now) if busy else is_noted(swarm, now):
            return False
        self._write(swarm, busy=busy)
        return True

    @contextlib.contextmanager
    def lease(self, workspace_id: str, user_id: str) -> Iterator[None]:
        """Note a lease, and note it again and again until the block ends."""
        self.note(workspace_id, user_id, busy=True)
        every = self._access.look_up(swarm_name(workspace_id)).touch_every
        over = threading.Event()

        def renew() -> None:
            while not over.wait(every):
                with contextlib.suppress(BackendError):
                    self.note(workspace_id, user_id, busy=True)

        thread = threading.Thread(target=renew, name=f"busy-{workspace_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wake(self, workspace_id: str, user_id: str) -> Swarm:
        """Return the swarm as it is once its use is noted; read anew, whatever memory says."""
        swarm = self._access.noted(self._access.get(workspace_id, user_id, self._access.policy.budget()))
        return swarm if is_noted(swarm, self._now()) else self._write(swarm, busy=False)

    def _write(self, swarm: Swarm, *, busy: bool) -> Swarm:
        patch = note(swarm, self._now(), busy=busy)
        try:
            return self._access.noted(self._access.api.merge(swarm.name, patch, field_manager=self._field_manager))
        except ApiStatusError as error:
            if error.status not in {409, 422}:
                raise
            raise NotFound(swarm.name) from error
