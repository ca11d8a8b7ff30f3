"""A cluster of loopback processes whose parts may be stopped and started, and the hooks as one more process.

Its folder has a ``lib.sh`` with `stop NAME` and `start_apiserver`, `start_mc`, `start_kubelet`; Services answer through
an HTTP proxy at ``LAB_PORT_BASE`` + 880, and annotations of a Pod say how the program in it fares: ``lab/fail``,
``lab/health``. No container runs there, so only with it can a Pod be made to fail at will.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from userswarm.spec.settings import PREFIX

NOWHERE = {f"{PREFIX}SERVICE_PROXY": "http://127.0.0.1:1"}
"""The setting of hooks that reach no Service: nobody listens there."""

_STARTS = {
    "kube-apiserver": "start_apiserver; wait_for 60 apiserver kubectl get --raw /readyz",
    "metacontroller": "start_mc; wait_for 60 metacontroller curl -fsS http://127.0.0.1:$MC_HEALTH/readyz",
    "fakekubelet": "start_kubelet; wait_for 60 kubelet curl -s http://127.0.0.1:$DATA_PORT/",
}


class Hooks:
    """`userswarm serve` on one port of the loopback, which may be killed and started again."""

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, changed: Mapping[str, str] | None = None) -> None:
        """Serve, with some settings changed, and return once the hooks answer."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        command = [sys.executable, "-c", "from userswarm.cli import main; main()", "serve"]
        command += ["--bind", self.url.removeprefix("http://"), "--workers", "1"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**environment, **self._settings, **(changed or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, self._log.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """End all its processes at once, in the midst of whatever they do."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False


class Lab:
    """The processes of the cluster; `scripts` is the folder with its ``lib.sh``."""

    def __init__(self, scripts: Path, log: Path, settings: Mapping[str, str]) -> None:
        self._scripts = scripts
        self.hooks = self.new_hooks(settings, log)

    def new_hooks(self, settings: Mapping[str, str], log: Path) -> Hooks:
        """Return hooks that reach Services as everything here does, not started yet."""
        base = int(os.environ.get("LAB_PORT_BASE", "16000"))
        proxy = {f"{PREFIX}SERVICE_PROXY": f"http://127.0.0.1:{base + 880}"}
        return Hooks({**proxy, **settings}, log)

    def kill(self, name: str) -> None:
        """End a process of the cluster at once."""
        self.run(f"stop {name} 0")

    def start(self, name: str, **environment: str) -> None:
        """Start a process of the cluster again, and return once it is there."""
        self.run(_STARTS[name], **environment)

    def run(self, commands: str, **environment: str) -> str:
        """Run commands of the lab's shell library and return what they say."""
        done = subprocess.run(
            ["bash", "-c", f'. "$0/lib.sh"; {commands}', str(self._scripts)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}: {done.stdout}{done.stderr}"
        return done.stdout
