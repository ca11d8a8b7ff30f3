"""How gunicorn is started for the gate, and what its command says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner
from gunicorn.config import Config

from userswarm.cli import cli
from userswarm.gate import launch
from userswarm.gate.launch import gunicorn_options
from userswarm.gate.settings import GateSettings


def test_every_option_is_one_that_gunicorn_knows() -> None:
    cfg = Config()
    for name, value in gunicorn_options(GateSettings(workers=3, max_waiting=500)).items():
        cfg.set(name, value)
    assert cfg.address == [("127.0.0.1", 8090)]
    assert (cfg.workers, cfg.worker_connections, cfg.preload_app) == (3, 500, False)


def test_the_master_imports_nothing_that_has_to_be_patched_first() -> None:
    code = "import sys, userswarm.gate.launch; print({'kubernetes', 'urllib3', 'userswarm.backend'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_command_reads_its_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[GateSettings] = []
    monkeypatch.setattr(launch, "serve", started.append)
    result = CliRunner().invoke(cli, ["gate", "--no-envoy"], env={"USERSWARM_GATE_HOLD": "5"})
    assert (result.exit_code, started) == (0, [GateSettings(hold=5)])

    result = CliRunner().invoke(
        cli, ["gate", "--no-envoy"], env={"USERSWARM_GATE_HOLD": "long", "USERSWARM_GATE_BIND": "x"}
    )
    assert result.exit_code == 1
    assert "USERSWARM_GATE_HOLD='long'" in result.output
    assert "USERSWARM_GATE_BIND='x'" in result.output
    assert len(started) == 1


def test_the_help_tells_what_is_needed_and_how_to_stop() -> None:
    text = " ".join(CliRunner().invoke(cli, ["gate", "--help"]).output.split())
    for word in ("USERSWARM_GATE_ISSUERS_FILE", "USERSWARM_GATE_TOKEN_FILE", "/check", "/auth", "/readyz", "SIGTERM"):
        assert word in text
