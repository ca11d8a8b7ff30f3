"""Processes that live and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.serving import eventually
from userswarm.gate.envoy.running import run_together

FOR_EVER = [sys.executable, "-c", "import signal; signal.pause()"]


def test_when_one_ends_the_others_are_ended(tmp_path: Path) -> None:
    left = tmp_path / "pid"
    waits = f"import os, pathlib, signal; pathlib.Path({str(left)!r}).write_text(str(os.getpid())); signal.pause()"
    ends = (
        f"import pathlib, time\nwhile not (p := pathlib.Path({str(left)!r})).exists() or not p.read_text():"
        " time.sleep(0.05)"
    )
    assert run_together([[sys.executable, "-c", waits], [sys.executable, "-c", ends]], os.environ) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(left.read_text(encoding="ascii")), 0)


def test_told_to_stop_all_end_and_that_is_no_failure(tmp_path: Path) -> None:
    program = (
        "import os, sys; from userswarm.gate.envoy.running import run_together; "
        f"sys.exit(run_together([{FOR_EVER!r}, {FOR_EVER!r}], os.environ))"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        eventually(lambda: len(children.read_text(encoding="ascii").split()) == 2)
        pids = [int(pid) for pid in children.read_text(encoding="ascii").split()]
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
