"""How gunicorn is started, and when it is not."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from gunicorn.config import Config
from gunicorn.workers.base import Worker

from userswarm.cli import cli
from userswarm.errors import SettingsError
from userswarm.server import launch
from userswarm.server.launch import check_exposure, gunicorn_options
from userswarm.spec.settings import Settings
from userswarm.web.addresses import is_loopback, split_bind
from userswarm.web.gunicorn import Server, memory_dir


@pytest.mark.parametrize(
    ("bind", "loopback"),
    [
        ("127.0.0.1:80", True),
        ("127.9.9.9:80", True),
        ("localhost:80", True),
        ("[::1]:80", True),
        ("0.0.0.0:80", False),
        ("[::]:80", False),
        ("10.1.2.3:80", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(bind: str, loopback: bool) -> None:
    assert is_loopback(bind) is loopback


def test_an_address_is_split_from_its_port() -> None:
    assert split_bind("127.0.0.1:8080") == ("127.0.0.1", 8080)
    assert split_bind("[::1]:9") == ("::1", 9)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        (Settings(token_file="f", bind="0.0.0.0:80"), ""),
        (Settings(), "there is no USERSWARM_TOKEN_FILE"),
        (Settings(bind="0.0.0.0:80", insecure_no_auth=True), "whoever reaches 0.0.0.0:80"),
        (Settings(insecure_no_auth=True), "USERSWARM_INSECURE_NO_AUTH"),
    ],
)
def test_a_server_without_tokens_says_so(settings: Settings, warned: str, caplog: pytest.LogCaptureFixture) -> None:
    check_exposure(settings)
    assert warned in caplog.text
    assert bool(caplog.records) == bool(warned)


@pytest.mark.parametrize("bind", ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"])
def test_others_are_not_served_without_tokens(bind: str) -> None:
    with pytest.raises(SettingsError, match="TOKEN_FILE"):
        check_exposure(Settings(bind=bind))


def test_connections_outlast_those_that_metacontroller_keeps_idle() -> None:
    assert gunicorn_options(Settings())["keepalive"] > 90


def test_every_option_is_one_that_gunicorn_knows() -> None:
    cfg = Config()
    for name, value in gunicorn_options(Settings()).items():
        cfg.set(name, value)
    assert cfg.address == [("127.0.0.1", 8080)]
    assert not cfg.is_ssl


def test_workers_beat_in_memory_where_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(memory_dir()).is_dir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert memory_dir() != "/dev/shm"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which the command would have started the server."""
    started: list[Settings] = []
    monkeypatch.setattr(launch, "serve", started.append)
    for name in list(os.environ):
        if name.startswith("USERSWARM_"):
            monkeypatch.delenv(name)
    return started


def test_options_win_over_the_environment(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERSWARM_WORKERS", "3")
    monkeypatch.setenv("USERSWARM_BIND", "127.0.0.1:1")
    result = CliRunner().invoke(cli, ["serve", "--bind", "0.0.0.0:2", "--insecure-no-auth", "--log-format", "text"])

    assert result.exit_code == 0, result.output
    (settings,) = served
    assert (settings.workers, settings.bind, settings.insecure_no_auth, settings.log_format) == (
        3,
        "0.0.0.0:2",
        True,
        "text",
    )


def test_every_bad_value_is_named_and_nothing_starts(served: list[Settings]) -> None:
    result = CliRunner().invoke(cli, ["serve", "--workers", "0", "--log-level", "loud"])

    assert result.exit_code == 1
    assert not served
    for name in ("USERSWARM_WORKERS='0'", "USERSWARM_LOG_LEVEL='loud'"):
        assert name in result.output
    assert "Traceback" not in result.output


def test_the_help_tells_how_to_set_and_how_to_stop() -> None:
    text = CliRunner().invoke(cli, ["serve", "--help"]).output
    for word in ("USERSWARM_BIND", "SIGTERM", "/readyz", "--token-file", "[default: 127.0.0.1:8080]"):
        assert word in " ".join(text.split())


class Starting:
    """A worker that was just forked; gunicorn has not set its handlers yet."""

    alive = True
    handle_exit = Worker.handle_exit


@pytest.fixture
def as_in_the_master() -> Iterator[list[int]]:
    """The handler that a worker has from the master: it notes a signal down, for nobody."""
    noted: list[int] = []
    threshold, before = gc.get_threshold(), signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    yield noted
    signal.signal(signal.SIGTERM, before)
    gc.set_threshold(*threshold)


def test_a_worker_that_still_starts_takes_in_that_it_shall_stop(as_in_the_master: list[int]) -> None:
    worker = Starting()
    Server({}, lambda: None, None).post_fork(None, worker)  # type: ignore[arg-type, return-value]
    signal.raise_signal(signal.SIGTERM)
    assert not worker.alive
    assert as_in_the_master == []
