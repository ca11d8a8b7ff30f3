"""CPU seconds by process, as Linux counts them: what holds where others use the same machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far, that of its threads included."""
    # The command's name may hold blanks; behind its bracket the fields begin with the third.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def busy_seconds() -> float:
    """Return the CPU time that all processes of this machine together have used since it started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / _TICKS


def pids_in(folder: Path) -> dict[str, int]:
    """Return name -> pid of a folder with one file for each process, which begins with its pid."""
    return {path.name: int(path.read_text(encoding="ascii").split()[0]) for path in sorted(folder.iterdir())}


def cpu_by_name(pids: Mapping[str, int]) -> dict[str, float]:
    """Return name -> CPU seconds so far."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}
