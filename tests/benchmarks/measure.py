"""Times and memory of one function, called again and again."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call costs: microseconds, the blocks that its result is made of, and its peak of memory."""

    best: float
    p50: float
    p90: float
    blocks: int
    peak_bytes: int


def measure(
    call: Callable[[Any], Any], prepare: Callable[[], Any] = lambda: None, *, seconds: float = 1.0, rounds: int = 5
) -> Cost:
    """Return the cost of `call`, which gets what `prepare` returned; preparing is not counted.

    It is measured for so many seconds in all. The percentiles are those of the round with the smallest median:
    whoever else uses the machine makes rounds slower, never faster.
    """
    with _without_collections():
        for _ in range(20):
            call(prepare())
        best = min((_round(call, prepare, seconds / rounds) for _ in range(rounds)), key=lambda times: _at(times, 0.5))
        blocks, peak = _memory(call, prepare)
    return Cost(best[0] / 1000, _at(best, 0.5) / 1000, _at(best, 0.9) / 1000, blocks, peak)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keep the garbage collector out: it would charge one call with what others left."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _round(call: Callable[[Any], Any], prepare: Callable[[], Any], seconds: float) -> list[int]:
    times: list[int] = []
    end = perf_counter_ns() + int(seconds * 1e9)
    while perf_counter_ns() < end or len(times) < 20:
        prepared = prepare()
        began = perf_counter_ns()
        result = call(prepared)
        times.append(perf_counter_ns() - began)
        del result
    return sorted(times)


def _at(times: list[int], share: float) -> int:
    return times[min(len(times) - 1, int(len(times) * share))]


def _memory(call: Callable[[Any], Any], prepare: Callable[[], Any]) -> tuple[int, int]:
    prepared = prepare()
    before = sys.getallocatedblocks()
    result = call(prepared)
    blocks = sys.getallocatedblocks() - before
    del result
    prepared = prepare()
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call(prepared)
        peak = tracemalloc.get_traced_memory()[1] - base
    finally:
        tracemalloc.stop()
    return blocks, peak
