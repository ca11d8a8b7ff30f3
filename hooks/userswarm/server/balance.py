"""How many connections each worker holds, in memory that all of them share.

All workers wait on one socket, and whoever wakes first would take every new connection: Metacontroller keeps its
connections open, so one worker could go on doing all the work while another has none.
"""

from __future__ import annotations

import mmap

_FREE = -1
_SIZE = 256


class Balance:
    """One number for each worker; made before the workers are forked."""

    def __init__(self) -> None:
        self._held = memoryview(mmap.mmap(-1, _SIZE * 4)).cast("i")
        for place in range(_SIZE):
            self._held[place] = _FREE

    def join(self) -> int | None:
        """Return a place for a new worker, None where there are more workers than places."""
        for place, held in enumerate(self._held):
            if held == _FREE:
                self._held[place] = 0
                return place
        return None

    def leave(self, place: int | None) -> None:
        """Give a place back, for a worker that has ended."""
        if place is not None:
            self._held[place] = _FREE

    def hold(self, place: int | None, connections: int) -> None:
        """Say how many connections a worker holds."""
        if place is not None:
            self._held[place] = connections

    def is_ahead(self, place: int | None) -> bool:
        """Tell whether a worker holds more connections than another one."""
        if place is None:
            return False
        mine = self._held[place]
        return mine > 0 and any(0 <= held < mine for held in self._held)
