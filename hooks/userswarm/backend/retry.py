"""How often and how long to try again: one policy, and a budget of it for each call.

Everything that one call of the client does draws on one budget, so that loops inside loops still end in time.
Pauses are drawn at random (full jitter), so that a thousand backends do not come back all at once:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from userswarm.backend.errors import ApiStatusError, BackendError, UnreachableError

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` tries within `deadline` seconds, with pauses from 0 up to `base` * 2^n, at most `cap`.

    `sleep`, `clock` (seconds, monotonic) and `uniform` are there for tests.
    """

    attempts: int = 8
    deadline: float = 30.0
    base: float = 0.1
    cap: float = 5.0
    sleep: Callable[[float], object] = field(default=time.sleep, compare=False, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)
    uniform: Callable[[float, float], float] = field(default=random.uniform, compare=False, repr=False)

    def budget(self, within: float | None = None) -> Budget:
        """Return a fresh budget, of at most `within` seconds."""
        return Budget(self, self.deadline if within is None else min(self.deadline, within))

    def delay(self, failures: int) -> float:
        """Return how many seconds to wait after so many failures in a row."""
        return self.uniform(0.0, min(self.cap, self.base * 2.0 ** min(failures - 1, 30)))


class Budget:
    """What is left of a policy for one call; used by one thread."""

    def __init__(self, policy: RetryPolicy, seconds: float) -> None:
        self._policy = policy
        self._started = policy.clock()
        self._seconds = seconds
        self._tries = 0

    def left(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self._started + self._seconds - self._policy.clock())

    def pause(self, error: BackendError) -> None:
        """Sleep before the next try, or raise `error` where there is none.

        A Retry-After is the least that is waited; one beyond the deadline ends the call at once.
        """
        self._tries += 1
        policy = self._policy
        least = (error.retry_after if isinstance(error, ApiStatusError) else None) or 0.0
        seconds = least + policy.delay(self._tries)
        if self._tries >= policy.attempts or seconds >= self.left():
            error.add_note(f"gave up after {self._tries} tries in {policy.clock() - self._started:.1f} s")
            raise error
        policy.sleep(seconds)


def is_transient(error: BackendError) -> bool:
    """Tell whether the same request may well succeed a moment later.

    A 409 is not among them: the same request would be refused again. Whoever sent it reads again first.
    """
    if isinstance(error, ApiStatusError):
        return error.status in RETRIED_STATUSES
    return isinstance(error, UnreachableError) and not error.permanent
