"""When a swarm may sleep and has to wake: what its spec says, what the platform says to it, and what makes no sense."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from userswarm.errors import Problem
from userswarm.parts.lifecycle.activity import Activity
from userswarm.parts.lifecycle.schedule import Schedule, find_cron_problem, is_zone
from userswarm.spec.durations import parse_duration, write_duration
from userswarm.spec.setting_readers import LIFECYCLE_FIELDS
from userswarm.spec.swarm import Asked, Check, Swarm

LEAST_WINDOW = 120
"""Activity is written down once a minute at most: a window of less would end while somebody is there."""

LEAST_EXPIRY = 3600

LEAST_BEAT = 60
"""How often a check is made, and activity written down, at most; else for each sixth of the window."""

USUAL_LEAD = 60
USUAL_MAX_BUSY = 12 * 3600

FIELD = "spec.lifecycle"


@dataclass(frozen=True, slots=True)
class Rules:
    """A swarm's own rules, complete: `idle_after` or `max_awake` is there; one that is None sets no limit.

    `beat` is the pause between two checks, and between two notes of activity. `ahead` is how long before an instant
    the swarm wakes, its place in the spread of all swarms included; `place` is that for falling asleep.
    """

    idle_after: timedelta | None
    idle_after_visit: timedelta
    min_awake: timedelta
    max_awake: timedelta | None
    max_busy: timedelta
    expire_after: timedelta
    check_path: str
    schedule: Schedule | None
    ahead: timedelta
    place: timedelta
    beat: timedelta

    def window(self, activity: Activity) -> timedelta:
        """Return how long the swarm stays awake after its last use: longer, if that was not a lone one."""
        last, previous, idle = activity.last, activity.previous, self.idle_after
        steady = idle is not None and last is not None and previous is not None and last - previous <= idle
        return (idle if steady and idle is not None else self.idle_after_visit) + self.place


def read_rules(swarm: Swarm) -> Rules | None:
    """Return the rules of a swarm; None for one that never sleeps by itself."""
    seconds, asked = _seconds(swarm.asked), swarm.spec.get("lifecycle", {})
    if not {"idleAfter", "maxAwake"} & seconds.keys():
        return None
    idle, limit = seconds.get("idleAfter"), seconds.get("maxAwake")
    visit = min(seconds.get("idleAfterVisit", idle or 0), idle or 0)
    beat = max(LEAST_BEAT, (visit or limit or 0) // 6)
    place, spread = _place(swarm), swarm.settings.lifecycle_spread
    lead = seconds.get("lead", USUAL_LEAD)
    return Rules(
        timedelta(seconds=idle) if idle else None,
        timedelta(seconds=visit),
        timedelta(seconds=seconds.get("minAwake", 0)),
        timedelta(seconds=limit) if limit else None,
        timedelta(seconds=seconds.get("maxBusy", USUAL_MAX_BUSY)),
        timedelta(seconds=seconds.get("expireAfter", 0)),
        asked.get("activityCheck", {}).get("path", ""),
        _schedule(asked),
        timedelta(seconds=lead + int(place * spread)),
        # Not so much that a short window doubles.
        timedelta(seconds=int(place * min(spread, (visit or limit or 0) // 6))),
        timedelta(seconds=beat),
    )


def _place(swarm: Swarm) -> float:
    """Return where in a spread a swarm stands, from 0 to 1: by its name, and so the same at each time."""
    return int.from_bytes(hashlib.sha256(swarm.identity.name.encode()).digest()[:4]) / 2**32


def _schedule(asked: Any) -> Schedule | None:
    told = asked.get("wakeSchedule")
    return Schedule(told["cron"], told.get("timeZone", "UTC")) if told else None


def _written(asked: Asked) -> dict[str, str]:
    """Return the durations that a spec says, each by its name; `maxBusy` lies in the check."""
    told = asked.spec.get("lifecycle", {})
    values = {**told, "maxBusy": told.get("activityCheck", {}).get("maxBusy")}
    return {name: values[name] for name in LIFECYCLE_FIELDS if values.get(name)}


def _seconds(asked: Asked) -> dict[str, int]:
    """Return the durations that hold: the spec's, else the platform's default, else its ceiling; 0 is none."""
    settings = asked.settings
    written = {name: parse_duration(text) for name, text in _written(asked).items()}
    held = {**dict(settings.lifecycle_ceilings), **dict(settings.lifecycle_defaults), **written}
    return {name: seconds for name, seconds in held.items() if seconds}


def _path(name: str) -> str:
    return f"{FIELD}.activityCheck.maxBusy" if name == "maxBusy" else f"{FIELD}.{name}"


def _find_unbearable(asked: Asked) -> Iterator[Problem]:
    """Find what is above the platform's ceilings, below what can be kept, or at odds with another field."""
    ceilings = dict(asked.settings.lifecycle_ceilings)
    for name, text in _written(asked).items():
        seconds, ceiling = parse_duration(text), ceilings.get(name)
        least = {"idleAfter": LEAST_WINDOW, "idleAfterVisit": LEAST_WINDOW, "maxAwake": LEAST_WINDOW}.get(name, 0)
        least = LEAST_EXPIRY if name == "expireAfter" else least
        if ceiling and (seconds > ceiling or seconds == 0):
            yield Problem(_path(name), f"is {text}; the platform allows at most {write_duration(ceiling)}")
        elif 0 < seconds < least:
            yield Problem(_path(name), f"is {text}; must be at least {write_duration(least)}")
    held = _seconds(asked)
    for low, high in (("idleAfterVisit", "idleAfter"), ("minAwake", "maxAwake")):
        if low in _written(asked) and high in held and held.get(low, 0) > held[high]:
            yield Problem(
                _path(low), f"is {_written(asked)[low]}; must not exceed {high}, {write_duration(held[high])}"
            )


def _find_odd_schedule(asked: Asked) -> Iterator[Problem]:
    told = asked.spec.get("lifecycle", {}).get("wakeSchedule")
    if not told:
        return
    wrong = find_cron_problem(told["cron"])
    if wrong:
        yield Problem(f"{FIELD}.wakeSchedule.cron", f'is "{told["cron"]}"; {wrong}; write 0 8 * * 1-5, say')
    zone = told.get("timeZone", "UTC")
    if not is_zone(zone):
        yield Problem(f"{FIELD}.wakeSchedule.timeZone", f'is "{zone}"; must be a time zone such as Europe/Berlin')
    if wrong or not is_zone(zone):
        return
    lead = _seconds(asked).get("lead", USUAL_LEAD) + asked.settings.lifecycle_spread
    pause = Schedule(told["cron"], zone).shortest_pause()
    if lead >= pause.total_seconds():
        apart = write_duration(int(pause.total_seconds()))
        what = f"names instants {apart} apart; waking takes {write_duration(lead)} (lead and the platform's spread)"
        yield Problem(f"{FIELD}.wakeSchedule.cron", f"{what}: leave it awake, or lower the lead")


LIFECYCLE_CHECKS = (
    Check((FIELD,), _find_unbearable),
    Check((FIELD,), _find_odd_schedule),
)
