"""How an operator writes a length of time (``1h``, ``90s``, ``1h30m``) and a share (``10%``, ``25``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

SHARE_FLOOR = 3
"""What a percentage allows at least: a tenth of five swarms would be none."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = timedelta(days=36_500)


def parse_duration(text: str) -> timedelta:
    """Return the length of time that `text` names, as in ``7d``, ``1h30m`` or ``0s``.

    Raises ValueError saying what would be accepted; a bare number is refused, for its unit would be a guess.
    """
    if not re.fullmatch(r"(?:[0-9]{1,9}[smhdw])+", text, re.ASCII):
        raise ValueError(f"{text!r} is no duration: write 90s, 30m, 1h, 1h30m or 7d")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([smhdw])", text))
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than 100 years")
    return timedelta(seconds=seconds)


def format_duration(length: timedelta) -> str:
    """Return `length` in the two largest units that fit, as ``3d4h`` or ``90s``; parts of a second are dropped."""
    left = int(length.total_seconds())
    if left < 0:
        return "-" + format_duration(-length)
    if left < 120:
        return f"{left}s"
    parts: list[str] = []
    for unit in "dhms":
        count, left = divmod(left, _SECONDS[unit])
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole: so many percent of it, or a fixed number."""

    number: int
    percent: bool

    def of(self, whole: int) -> int:
        """Return how many that is, rounded down; a percentage other than 0 % gives at least 3."""
        if not self.percent:
            return self.number
        return max(SHARE_FLOOR, whole * self.number // 100) if self.number else 0

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


def parse_share(text: str) -> Share:
    """Return the share that `text` names: ``10%`` or ``25``.  Raises ValueError saying what would be accepted."""
    match = re.fullmatch(r"([0-9]{1,9})(%?)", text, re.ASCII)
    if match is None or (match[2] and int(match[1]) > 100):
        raise ValueError(f"{text!r} is no share: write a percentage from 0% to 100%, or a whole number")
    return Share(int(match[1]), percent=bool(match[2]))
