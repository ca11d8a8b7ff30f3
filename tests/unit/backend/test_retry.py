"""The retry policy: bounded in number and in time, jittered, and obedient to Retry-After."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from userswarm.backend import ApiStatusError, BackendError, ConflictError, NotFound, RetryPolicy, UnreachableError
from userswarm.backend.retry import is_transient


@dataclass
class FakeTime:
    now: float = 100.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, **options: float | int) -> RetryPolicy:
        return RetryPolicy(
            **options,  # type: ignore[arg-type]
            sleep=self.sleep,
            clock=lambda: self.now,
            uniform=lambda least, most: most,
        )


BROKEN = UnreachableError("GET /", "reset")


def test_pauses_grow_up_to_the_cap_and_the_last_error_is_raised() -> None:
    time = FakeTime()
    budget = time.policy(attempts=6, deadline=60.0, base=0.5, cap=3.0).budget()

    for _ in range(5):
        budget.pause(BROKEN)
    with pytest.raises(UnreachableError) as caught:
        budget.pause(BROKEN)

    assert time.slept == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert caught.value is BROKEN
    assert "6 tries in 9.5 s" in caught.value.__notes__[-1]


def test_never_sleeps_beyond_the_deadline() -> None:
    time = FakeTime()
    budget = time.policy(attempts=100, deadline=10.0, base=4.0, cap=4.0).budget()

    budget.pause(BROKEN)
    budget.pause(BROKEN)
    with pytest.raises(UnreachableError):
        budget.pause(BROKEN)

    assert sum(time.slept) == 8.0


def test_budget_within_a_shorter_time() -> None:
    time = FakeTime()
    budget = time.policy(deadline=10.0).budget(3.0)

    assert budget.left() == 3.0
    time.now += 5.0
    assert budget.left() == 0.0
    assert time.policy(deadline=1.0).budget(3.0).left() == 1.0


def test_retry_after_is_the_least_that_is_waited() -> None:
    time = FakeTime()
    budget = time.policy(base=0.5, cap=1.0).budget()

    budget.pause(ApiStatusError("GET /", 429, retry_after=7.0))

    assert time.slept == [7.5]


def test_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    time = FakeTime()
    budget = time.policy(deadline=30.0).budget()

    with pytest.raises(ApiStatusError):
        budget.pause(ApiStatusError("GET /", 429, retry_after=31.0))

    assert time.slept == []


def test_default_pauses_are_random_within_their_bound() -> None:
    policy = RetryPolicy(base=1.0, cap=4.0)

    delays = [policy.delay(9) for _ in range(50)]

    assert len(set(delays)) > 1
    assert all(0.0 <= delay <= 4.0 for delay in delays)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ApiStatusError("x", 429), True),
        (ApiStatusError("x", 500), True),
        (ApiStatusError("x", 502), True),
        (ApiStatusError("x", 503), True),
        (ApiStatusError("x", 504), True),
        (ApiStatusError("x", 400), False),
        (ApiStatusError("x", 401), False),
        (ApiStatusError("x", 403), False),
        (ApiStatusError("x", 404), False),
        (ApiStatusError("x", 422), False),
        (ApiStatusError("x", 501), False),
        (ConflictError("x", 409), False),
        (UnreachableError("x", "reset"), True),
        (UnreachableError("x", "certificate", permanent=True), False),
        (NotFound("x"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: BackendError, transient: bool) -> None:
    assert is_transient(error) is transient
