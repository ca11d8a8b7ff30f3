"""Lengths of time as Kubernetes writes them: 30m, 1h30m, 720h; in whole seconds."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")


def parse_duration(text: str) -> int:
    """Return the seconds that a text names; raises ValueError saying what would be accepted."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration; write 90s, 30m, 1h30m or 720h")
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def write_duration(seconds: int) -> str:
    """Return seconds as a duration in its fewest words."""
    (minutes, rest), words = divmod(seconds, 60), ""
    hours, minutes = divmod(minutes, 60)
    for number, unit in ((hours, "h"), (minutes, "m"), (rest, "s")):
        words += f"{number}{unit}" if number else ""
    return words or "0s"
