"""The programs of a real control plane: given, or built once by Go from the versions that go.mod pins.

A build takes some minutes, so it is kept in the user's cache folder under the hash of what decides it. It appears there
whole or not at all, and whoever comes while another builds waits for that one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

GIVEN = "CONTROL_PLANE_BINARIES"
"""Names a folder with these programs."""

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")

_MODULE = Path(__file__).parent


class NoBinariesError(Exception):
    """There is no control plane to be had here; says why."""


def find_binaries() -> Path:
    """Return the folder with the programs, built if need be; raises NoBinariesError."""
    given = os.environ.get(GIVEN)
    if given:
        missing = [name for name in PROGRAMS if not os.access(Path(given, name), os.X_OK)]
        if missing:
            raise NoBinariesError(f"{GIVEN}={given} lacks {', '.join(missing)}")
        return Path(given)
    pinned = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "userswarm"
    folder = cache / f"cluster-{hashlib.sha256(pinned).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    if shutil.which("go") is None:
        raise NoBinariesError(f"no Go to build the control plane with, and {GIVEN} names no folder that has it")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        version = _go("list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").strip()
        major, minor, _ = version.removeprefix("v").split(".", 2)
        stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        flags = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())
        # `tool` is all that go.mod lists as tools.
        _go("build", "-o", f"{made}/", "-ldflags", f"-s -w {flags}", "tool")
        # Go names a program by its package.
        (made / "server").rename(made / "etcd")
        made.rename(folder)


def _go(*words: str) -> str:
    done = subprocess.run(["go", *words], cwd=_MODULE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoBinariesError(f"go {words[0]} failed: {done.stderr[-2000:]}")
    return done.stdout
