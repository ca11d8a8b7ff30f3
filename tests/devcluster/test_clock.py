from datetime import UTC, datetime

from devcluster.clock import Clock


def test_time_stands_still_until_it_is_advanced() -> None:
    clock = Clock(datetime(2026, 5, 1, tzinfo=UTC))

    assert clock.now() == datetime(2026, 5, 1, tzinfo=UTC)
    clock.advance(90.5)
    assert clock.elapsed == 90.5
    assert clock.timestamp() == "2026-05-01T00:01:30Z"
    assert clock.timestamp(30) == "2026-05-01T00:02:00Z"


def test_timers_fire_in_order_of_due_time_then_of_creation_at_their_time() -> None:
    clock = Clock()
    fired: list[tuple[str, float]] = []
    for name, seconds in (("late", 2.0), ("first", 1.0), ("second", 1.0), ("never", 9.0)):
        clock.after(seconds, lambda name=name: fired.append((name, clock.elapsed)))

    clock.advance(3)

    assert fired == [("first", 1.0), ("second", 1.0), ("late", 2.0)]
    assert clock.elapsed == 3
    assert clock.next_due() == 6


def test_a_timer_set_by_a_timer_fires_in_the_same_advance() -> None:
    clock = Clock()
    fired: list[float] = []
    clock.after(1, lambda: clock.after(1, lambda: fired.append(clock.elapsed)) and None)

    clock.advance(2)

    assert fired == [2]


def test_a_cancelled_timer_neither_fires_nor_counts() -> None:
    clock = Clock()
    fired: list[str] = []
    timer = clock.after(1, lambda: fired.append("cancelled"))
    clock.after(1, lambda: fired.append("kept"))
    clock.cancel(timer)
    clock.cancel(timer)

    assert clock.pending == 1
    clock.advance(1)
    assert fired == ["kept"]
    assert clock.pending == 0
    assert clock.next_due() is None


def test_background_timers_do_not_count_as_pending() -> None:
    clock = Clock()
    fired: list[str] = []
    clock.after(5, lambda: fired.append("background"), background=True)

    assert clock.pending == 0
    clock.advance_to_next()
    assert fired == ["background"]
    assert clock.elapsed == 5


def test_next_due_looks_past_cancelled_timers() -> None:
    clock = Clock()
    clock.cancel(clock.after(1, lambda: None))
    clock.after(4, lambda: None)

    assert clock.next_due() == 4


def test_the_smallest_delay_still_lets_time_pass() -> None:
    clock = Clock()
    clock.after(1e-12, lambda: None)
    clock.after(0, lambda: None)

    assert clock.next_due() == 0
    clock.advance_to_next()
    assert clock.elapsed == 0
    clock.advance_to_next()
    assert clock.elapsed == 0.000001
