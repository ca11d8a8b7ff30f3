"""Durations and shares mean what an operator would read in them, or are refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from userswarm.reaper.amounts import format_duration, parse_duration, parse_share


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("1h30m", timedelta(minutes=90)),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    ["", "60", "1 h", "-1h", "1.5h", "h", "1H", "1h ", "1h\n", "1y", "\N{ARABIC-INDIC DIGIT THREE}s", "999999999w"],
)
def test_a_duration_that_is_a_guess_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=119.9), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=61), "1h1m"),
        (timedelta(hours=1), "1h"),
        (timedelta(days=3, hours=4, minutes=5), "3d4h"),
        (timedelta(days=3, minutes=5), "3d"),
        (timedelta(hours=-1), "-1h"),
    ],
)
def test_a_length_of_time_is_written_in_its_two_largest_units(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


@pytest.mark.parametrize(
    ("text", "whole", "part"),
    [
        ("10%", 1000, 100),
        ("10%", 1009, 100),
        ("10%", 39, 3),
        ("10%", 0, 3),
        ("1%", 5, 3),
        ("100%", 7, 7),
        ("0%", 1000, 0),
        ("0", 1000, 0),
        ("1", 1000, 1),
        ("25", 4, 25),
    ],
)
def test_a_percentage_allows_three_at_least_and_a_number_itself(text: str, whole: int, part: int) -> None:
    assert parse_share(text).of(whole) == part
    assert str(parse_share(text)) == text


@pytest.mark.parametrize("text", ["", "%", "-1", "10 %", "101%", "1.5%", "ten", "10%\n", "\N{ARABIC-INDIC DIGIT ONE}%"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="share"):
        parse_share(text)
