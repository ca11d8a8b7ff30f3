"""Wait until a very object is verified, or gone; an error says as soon as it is clear that it will not be."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass

from userswarm.backend.access import Access
from userswarm.backend.errors import (
    SwarmFailedError,
    SwarmGoneError,
    SwarmInvalidError,
    WaitError,
    WaitTimeoutError,
)
from userswarm.backend.follow import follow
from userswarm.backend.model import Swarm, parse_swarm

_ENDED = {"Failed": SwarmFailedError, "Invalid": SwarmInvalidError}


@dataclass(frozen=True, slots=True)
class Waiting:
    """`window` and `silence`, in seconds: see `Transport.watch`."""

    access: Access
    window: float
    silence: float

    def until_verified(
        self, swarm: Swarm, timeout: float, on_progress: Callable[[Swarm], object] | None = None
    ) -> Swarm:
        """See `UserSwarmClient.wait_verified`."""
        shown: tuple[object, ...] | None = None
        now = swarm
        for now in self.follow(swarm, timeout):
            if on_progress is not None and shown != (shown := (now.phase, now.reason, now.message, now.verified)):
                on_progress(now)
            if now.deleting:
                raise _wait_error(SwarmGoneError, now, "is being deleted")
            if now.is_verified(swarm.generation):
                return now
            ended = _ENDED.get(now.phase)
            if ended is not None and now.observed_generation >= swarm.generation:
                raise _wait_error(ended, now, "will not be verified")
        raise _wait_error(WaitTimeoutError, now, f"is not verified after {timeout:g} s")

    def until_gone(self, swarm: Swarm, timeout: float) -> None:
        """Return when this very object is gone; raise WaitTimeoutError after so many seconds."""
        try:
            *_, last = self.follow(swarm, timeout)
        except SwarmGoneError:
            return
        raise _wait_error(WaitTimeoutError, last, f"is not gone after {timeout:g} s")

    def follow(self, swarm: Swarm, timeout: float) -> Generator[Swarm, None, None]:
        """Yield the states of this very object; raise SwarmGoneError once it is gone."""
        last = swarm
        states = follow(self.access.api, swarm.name, timeout=timeout, window=self.window, silence=self.silence)
        with contextlib.closing(states):
            for manifest in states:
                if manifest is None:
                    raise _wait_error(SwarmGoneError, last, "is gone")
                last = parse_swarm(manifest)
                if last.uid != swarm.uid:
                    raise _wait_error(SwarmGoneError, last, "was deleted and made anew")
                self.access.noted(manifest)
                yield last


def _wait_error(kind: type[WaitError], swarm: Swarm, what: str) -> WaitError:
    return kind(swarm.name, what, phase=swarm.phase, reason=swarm.reason, message=swarm.message)
