"""Bearer tokens: who is let in, and what a changed file does."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

import pytest

from userswarm.errors import SettingsError
from userswarm.server.auth import Tokens


class Time:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def write(directory: Path, text: str) -> Path:
    file = directory / "tokens"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("Bearer new-token", True),
        ("Bearer old.token==", True),
        ("bearer new-token", True),
        ("Bearer  new-token ", True),
        ("Bearer new-toke", False),
        ("Bearer new-token2", False),
        ("Bearer # a comment", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("", False),
        ("new-token", False),
        ("Basic new-token", False),
        ("Bearer new-tok\u00e9n", False),
        ("Bearer \u2603", False),
    ],
)
def test_any_token_of_the_file_is_accepted_and_nothing_else(tmp_path: Path, header: str, accepted: bool) -> None:
    tokens = Tokens(write(tmp_path, "# a comment\n\n  new-token \r\nold.token==\n"))

    assert tokens.accept(header) is accepted


def test_every_token_is_compared_in_constant_time_even_after_a_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def watch(token: bytes, offered: bytes) -> bool:
        compared.append(token)
        return compare(token, offered)

    monkeypatch.setattr(hmac, "compare_digest", watch)

    assert Tokens(write(tmp_path, "one\ntwo\nthree\n")).accept("Bearer one")
    assert compared == [b"one", b"two", b"three"]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_file_without_a_token_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="holds no token"):
        Tokens(write(tmp_path, text))


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TOKEN_FILE"):
        Tokens(tmp_path / "missing")


def test_a_token_that_no_header_can_carry_stops_the_start_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="line 2") as caught:
        Tokens(write(tmp_path, "fine\nsecret with blanks\n"))
    assert "secret" not in str(caught.value)


def test_a_rotation_is_seen_within_a_second(tmp_path: Path) -> None:
    time = Time()
    file = write(tmp_path, "old\n")
    tokens = Tokens(file, monotonic=time)
    file.write_text("old\nnew\n", encoding="utf-8")

    assert not tokens.accept("Bearer new"), "looked at the file again too soon"
    time.now += 1.0
    assert tokens.accept("Bearer new")
    assert tokens.accept("Bearer old")
    file.write_text("new\n", encoding="utf-8")
    time.now += 1.0
    assert not tokens.accept("Bearer old")


def test_the_swapped_link_of_a_secret_volume_is_seen(tmp_path: Path) -> None:
    time = Time()
    for version, token in (("..1", "aaa\n"), ("..2", "bbb\n")):
        (tmp_path / version).mkdir()
        write(tmp_path / version, token)
    link = tmp_path / "..data"
    link.symlink_to("..1")
    tokens = Tokens(link / "tokens", monotonic=time)
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(link)
    time.now += 1.0

    assert tokens.accept("Bearer bbb")
    assert not tokens.accept("Bearer aaa")


@pytest.mark.parametrize("broken", ["", "two words\n", None])
def test_a_file_that_breaks_later_leaves_the_last_tokens_valid_and_says_so_once(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    time = Time()
    file = write(tmp_path, "good\n")
    tokens = Tokens(file, monotonic=time)
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken, encoding="utf-8")
    for _ in range(3):
        time.now += 1.0
        assert tokens.accept("Bearer good")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "good" not in caplog.text

    write(tmp_path, "better\n")
    time.now += 1.0
    assert tokens.accept("Bearer better")
