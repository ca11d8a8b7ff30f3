"""Waiting for what controllers do in their own time: no test asserts how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

_PATIENCE = 300
"""Seconds after which it is taken for never."""


def until_nothing(what: str, look: Callable[[], str]) -> None:
    """Wait until nothing is found any more; fail with what is."""
    deadline = time.monotonic() + _PATIENCE
    while found := look():
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(0.2)
