"""What spec.lifecycle may say: the API server refuses what its schema can tell, the hooks name the field of the rest.

The platform's ceilings are settings, and when a cron line comes round is no matter of CEL: these come in, and are
Invalid.
"""

from __future__ import annotations

from typing import Any

import pytest

from cluster.api import Api, RefusedError
from cluster.life import swarm
from userswarm.cli.rendering import check_user_swarm
from userswarm.errors import InvalidParentError
from userswarm.spec.settings import Settings

SETTINGS = Settings(
    lifecycle_defaults=(("idleAfter", 1800), ("minAwake", 300)),
    lifecycle_ceilings=(("idleAfter", 7200), ("maxAwake", 86_400), ("maxBusy", 3600), ("expireAfter", 31_536_000)),
    lifecycle_spread=60,
)
"""The hooks' word on windows of two hours at most."""

GOOD: dict[str, dict[str, Any]] = {
    "nothing of its own": {},
    "the longest": {"idleAfter": "2h", "maxAwake": "24h", "expireAfter": "8760h"},
    "the shortest": {"idleAfter": "2m", "idleAfterVisit": "120s", "maxAwake": "1h", "expireAfter": "60m"},
    "a check": {"activityCheck": {"path": "/a/b.json", "maxBusy": "1h"}},
    "an hour of each working day": {"wakeSchedule": {"cron": "0 8 * * MON-FRI", "timeZone": "America/New_York"}},
    "a lead that just fits": {"lead": "59s", "wakeSchedule": {"cron": "*/2 * * * *"}},
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a number": ({"idleAfter": 1800}, "spec.lifecycle.idleAfter"),
    "no unit": ({"idleAfter": "30"}, "spec.lifecycle.idleAfter"),
    "a day": ({"expireAfter": "30d"}, "spec.lifecycle.expireAfter"),
    "less than nothing": ({"lead": "-5m"}, "spec.lifecycle.lead"),
    "a fraction": ({"minAwake": "1.5h"}, "spec.lifecycle.minAwake"),
    "milliseconds": ({"maxAwake": "90ms"}, "spec.lifecycle.maxAwake"),
    "a window that ends while somebody is there": ({"idleAfter": "119s"}, "idleAfter must be at least 2m"),
    "such a window after a visit": ({"idleAfterVisit": "1m59s"}, "idleAfterVisit must be at least 2m"),
    "a visit longer than a stay": ({"idleAfter": "1h", "idleAfterVisit": "61m"}, "must not exceed idleAfter"),
    "a run shorter than a window": ({"maxAwake": "1m"}, "maxAwake must be at least 2m"),
    "awake for longer than it may": ({"maxAwake": "10m", "minAwake": "11m"}, "must not exceed maxAwake"),
    "forgotten at once": ({"expireAfter": "59m59s"}, "expireAfter must be at least 1h"),
    "a check of nothing": ({"activityCheck": {}}, "spec.lifecycle.activityCheck.path"),
    "a check of another host": ({"activityCheck": {"path": "@evil/"}}, "spec.lifecycle.activityCheck.path"),
    "busy for days": ({"activityCheck": {"path": "/", "maxBusy": "1d"}}, "spec.lifecycle.activityCheck.maxBusy"),
    "a schedule without one": ({"wakeSchedule": {"timeZone": "UTC"}}, "spec.lifecycle.wakeSchedule.cron"),
    "four fields": ({"wakeSchedule": {"cron": "0 8 * *  "}}, "cron must have five fields"),
    "six fields": ({"wakeSchedule": {"cron": "0 0 8 * * *"}}, "cron must have five fields"),
    "a word": ({"wakeSchedule": {"cron": "@reboot  "}}, "cron must have five fields"),
    "a path for a time zone": (
        {"wakeSchedule": {"cron": "0 8 * * *", "timeZone": "../../etc/passwd"}},
        "spec.lifecycle.wakeSchedule.timeZone",
    ),
    "a field that nobody knows": ({"sleepAfter": "5m"}, 'unknown field "spec.lifecycle.sleepAfter"'),
}

INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "a window above the ceiling": ({"idleAfter": "2h1s"}, "spec.lifecycle.idleAfter: is 2h1s; the platform allows"),
    "no window where there is a ceiling": ({"idleAfter": "0s"}, "spec.lifecycle.idleAfter: is 0s; the platform allows"),
    "a run above the ceiling": ({"maxAwake": "25h"}, "spec.lifecycle.maxAwake: is 25h; the platform allows at most"),
    "busy above the ceiling": (
        {"activityCheck": {"path": "/", "maxBusy": "2h"}},
        "spec.lifecycle.activityCheck.maxBusy: is 2h; the platform allows at most 1h",
    ),
    "kept above the ceiling": ({"expireAfter": "8761h"}, "spec.lifecycle.expireAfter: is 8761h; the platform allows"),
    "a visit longer than the platform's stay": (
        {"idleAfterVisit": "31m"},
        "spec.lifecycle.idleAfterVisit: is 31m; must not exceed idleAfter, 30m",
    ),
    "awake for longer than the platform lets it": (
        {"minAwake": "25h"},
        "spec.lifecycle.minAwake: is 25h; must not exceed maxAwake, 24h",
    ),
    "an hour that no day has": (
        {"wakeSchedule": {"cron": "0 24 * * *"}},
        'spec.lifecycle.wakeSchedule.cron: is "0 24 * * *"',
    ),
    "a month of thirteen": ({"wakeSchedule": {"cron": "0 8 1 13 *"}}, "spec.lifecycle.wakeSchedule.cron"),
    "a place without a time": (
        {"wakeSchedule": {"cron": "0 8 * * *", "timeZone": "Mars/Olympus"}},
        "spec.lifecycle.wakeSchedule.timeZone",
    ),
    "a lead longer than the period": (
        {"lead": "5m", "wakeSchedule": {"cron": "*/5 * * * *"}},
        "spec.lifecycle.wakeSchedule.cron: names instants 5m apart; waking takes 6m",
    ),
    "a lead that the spread makes too long": (
        {"lead": "60s", "wakeSchedule": {"cron": "*/2 * * * *"}},
        "spec.lifecycle.wakeSchedule.cron: names instants 2m apart; waking takes 2m",
    ),
}
"""What only the hooks can know, by the words that the condition SpecValid has for it."""


def problems(stored: Any) -> list[str]:
    try:
        check_user_swarm(stored, SETTINGS)
    except InvalidParentError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize("lifecycle", GOOD.values(), ids=GOOD)
def test_what_makes_sense_is_taken_by_both(installed: Api, lifecycle: dict[str, Any]) -> None:
    stored = installed.create(swarm("ann", lifecycle=lifecycle), dryRun="All", fieldValidation="Strict")
    assert stored["spec"]["lifecycle"] == lifecycle
    assert problems(stored) == []


@pytest.mark.parametrize(("lifecycle", "told"), REFUSED.values(), ids=REFUSED)
def test_what_the_schema_can_tell_is_refused(installed: Api, lifecycle: dict[str, Any], told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        installed.create(swarm("ann", lifecycle=lifecycle), dryRun="All", fieldValidation="Strict")
    assert told in refused.value.message


@pytest.mark.parametrize(("lifecycle", "told"), INVALID.values(), ids=INVALID)
def test_what_slips_by_is_invalid_with_its_field(installed: Api, lifecycle: dict[str, Any], told: str) -> None:
    stored = installed.create(swarm("ann", lifecycle=lifecycle), dryRun="All", fieldValidation="Strict")
    (problem,) = problems(stored)
    assert told in problem
