"""Envoy as a process: its files, its binary, and its life beside the gate's.

`userswarm gate` on one machine is three processes: this one, which only waits, the gate, and Envoy. When one of the
two ends, so does the other: a door without the one who decides is shut, and one who decides without a door is no use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import yaml

from userswarm.errors import SettingsError
from userswarm.gate.envoy.bootstrap import build_bootstrap, build_tls
from userswarm.gate.envoy.settings import PREFIX, EnvoySettings
from userswarm.gate.envoy.words import Config
from userswarm.gate.settings import PREFIX as GATE_PREFIX
from userswarm.gate.settings import GateSettings
from userswarm.gate.streams import make_pipe

_FLUSH_MS = 200
"""How late the gate may learn that a request has ended; Envoy's own default is 10 s."""

_PATIENCE = 10.0


def write_files(settings: EnvoySettings) -> Path:
    """Write Envoy's configuration into the run directory, make the pipe, and return where the configuration is.

    Envoy opens the pipe as it starts, and waits there for the gate.
    """
    directory = Path(settings.run_dir)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    bootstrap = _write(directory / "envoy.yaml", build_bootstrap(settings))
    if settings.tls_cert_file:
        _write(directory / "tls.yaml", build_tls(settings))
    if settings.stream_log:
        make_pipe(Path(settings.stream_log))
    return bootstrap


def _write(path: Path, config: Config) -> Path:
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def find_envoy() -> str:
    """Return Envoy's binary, of ``userswarm[gate]`` or on the PATH; raises SettingsError where there is none."""
    own = Path(sysconfig.get_path("scripts"), "envoy")
    found = str(own) if own.is_file() else shutil.which("envoy")
    if found is None:
        raise SettingsError("there is no envoy: install userswarm[gate], or put the binary on the PATH")
    return found


def serve_with_envoy(environ: Mapping[str, str]) -> int:
    """Run the gate and Envoy until one ends or we are told to stop; return the exit code.

    Raises SettingsError where the settings cannot be used, or there is no Envoy.
    """
    with tempfile.TemporaryDirectory(prefix="userswarm-gate-") as scratch:
        own = {f"{PREFIX}RUN_DIR": scratch, f"{GATE_PREFIX}ACCESS_LOG": f"{scratch}/streams"} | dict(environ)
        settings = EnvoySettings.from_environment(own, GateSettings.from_environment(own))
        envoy = command(find_envoy(), write_files(settings), workers=min(4, os.cpu_count() or 1))
        return run_together([[sys.executable, "-m", "userswarm.cli", "gate", "--no-envoy"], envoy], own)


def command(envoy: str, configuration: Path, *, workers: int) -> list[str]:
    """Return the command line of a binary; hot restart is not for one that lives and ends with a gate."""
    return [
        envoy,
        "--config-path",
        str(configuration),
        "--concurrency",
        str(workers),
        "--disable-hot-restart",
        "--file-flush-interval-msec",
        str(_FLUSH_MS),
        "--log-level",
        "warning",
        # Which warns of each SIGTERM.
        "--component-log-level",
        "main:error",
    ]


def run_together(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> int:
    """Run processes until one ends or we are told to stop; end all of them, last first; return the exit code.

    It is 0 only where we were told to stop.
    """
    told: list[int] = []

    def tell(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.extend(subprocess.Popen(each, env=dict(environment)) for each in commands)
        while not told and all(process.poll() is None for process in running):
            time.sleep(0.1)
        return 0 if told else 1
    finally:
        for process in reversed(running):
            _end(process)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
        return
    process.kill()
    process.wait()
