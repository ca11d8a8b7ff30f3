"""The memory of recent touches: once per interval and key, and bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from userswarm.backend.activity import RecentlyTouched


def test_one_claim_per_interval_and_key() -> None:
    touched = RecentlyTouched()

    assert touched.claim("a", 0.0)
    assert not touched.claim("a", 59.9)
    assert touched.claim("b", 59.9)
    assert touched.is_recent("a", 59.9)
    assert not touched.is_recent("a", 60.0)
    assert touched.claim("a", 60.0)


def test_old_ones_are_forgotten() -> None:
    touched = RecentlyTouched()
    for number in range(100):
        touched.claim(number, float(number))

    assert len(touched) == 60


def test_never_holds_more_than_its_capacity() -> None:
    touched = RecentlyTouched(capacity=10)
    for number in range(100):
        assert touched.claim(number, 0.0)

    assert len(touched) == 10
    assert touched.is_recent(99, 0.0)
    assert not touched.is_recent(0, 0.0)


def test_of_many_threads_one_gets_the_claim() -> None:
    touched = RecentlyTouched()

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: touched.claim("a", 0.0), range(200)))

    assert claims.count(True) == 1
