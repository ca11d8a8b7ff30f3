"""What the REST API can be made to do wrong, for tests: refuse, break off, cut short, lose an answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Effect = Literal["answer", "reset", "lose", "cut"]


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong the next `times` times that a request matches.

    A request matches whose method is `method` and whose path and query contain `path`; empty matches all.
    """

    effect: Effect
    times: int
    method: str
    path: str
    status: int = 0
    reason: str = ""
    retry_after: str = ""

    def matches(self, method: str, path: str) -> bool:
        """Tell whether this request is to suffer it."""
        return self.times > 0 and self.method in {"", method} and self.path in path


class Faults:
    """The faults that are still to come, in the order in which they were asked for; safe for many threads."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def answer(
        self,
        status: int,
        *,
        times: int = 1,
        method: str = "",
        path: str = "",
        reason: str = "",
        retry_after: str = "",
    ) -> None:
        """Answer with this status and do nothing; `retry_after` is sent as the header of that name."""
        self._add(Fault("answer", times, method, path, status, reason, retry_after))

    def reset(self, *, times: int = 1, method: str = "", path: str = "") -> None:
        """Reset the connection before anything is done."""
        self._add(Fault("reset", times, method, path))

    def lose(self, *, times: int = 1, method: str = "", path: str = "") -> None:
        """Do what is asked for, and reset the connection instead of answering."""
        self._add(Fault("lose", times, method, path))

    def cut(self, *, times: int = 1, method: str = "", path: str = "") -> None:
        """Send half of the answer, then close the connection."""
        self._add(Fault("cut", times, method, path))

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that this request is to suffer, and count it."""
        with self._lock:
            fault = next((fault for fault in self._faults if fault.matches(method, path)), None)
            if fault is not None:
                fault.times -= 1
            return fault

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)
