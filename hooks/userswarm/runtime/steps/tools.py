"""Runs git and the programs of ssh for a step: on a read-only root, as a user that no passwd file knows.

Nothing is inherited but where programs are, how to get out (proxies), and where temporary files may be. Home is a
directory that goes with the step.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from userswarm.runtime.folder import BootstrapError

_INHERITED = {
    "PATH",
    "TMPDIR",
    *(name for proxy in ("HTTP", "HTTPS", "ALL", "NO") for name in (f"{proxy}_PROXY", f"{proxy}_proxy".lower())),
}
_SAID = 600
"""Characters of what a program said last that are passed on."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs, and the environment that they are run in; `scratch` is theirs, and goes at the end."""

    scratch: Path
    environment: Mapping[str, str]
    hidden: str = field(default="", repr=False)

    def run(self, *words: str, stdin: bytes = b"", more: Mapping[str, str] | None = None) -> str:
        """Return what a program prints; raise BootstrapError with what it complains about, less what is hidden."""
        try:
            done = subprocess.run(
                words, input=stdin, env={**self.environment, **(more or {})}, capture_output=True, check=False
            )
        except FileNotFoundError:
            raise BootstrapError(f"{words[0]} is not installed here") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
            raise BootstrapError(self.hide(f"{words[0]}: {said[-_SAID:] or f'exit code {done.returncode}'}"))
        return done.stdout.decode(errors="replace")

    def hide(self, text: str) -> str:
        """Return a text without the secret."""
        return text.replace(self.hidden, "***") if self.hidden else text


@contextmanager
def open_tools() -> Iterator[Tools]:
    """Give the programs a home for as long as the step takes; raise BootstrapError where there is no room for it."""
    try:
        home = tempfile.TemporaryDirectory(prefix="userswarm-")
    except OSError as error:
        raise BootstrapError(f"no directory for temporary files: {error.strerror or error}") from error
    with home as name:
        scratch = Path(name)
        inherited = {key: value for key, value in os.environ.items() if key in _INHERITED}
        yield Tools(scratch, inherited | {"HOME": name, "LC_ALL": "C.UTF-8"} | _known_user(scratch))


def _known_user(scratch: Path) -> dict[str, str]:
    """Return what makes ssh know who runs it: it refuses a uid without a name, and a Pod's mostly has none."""
    uid, gid = os.getuid(), os.getgid()
    try:
        pwd.getpwuid(uid)
    except KeyError:
        users, groups = scratch / "passwd", scratch / "group"
        users.write_text(f"swarm:x:{uid}:{gid}::{scratch}:/bin/sh\n", encoding="utf-8")
        groups.write_text(f"swarm:x:{gid}:\n", encoding="utf-8")
        return {
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_PASSWD": str(users),
            "NSS_WRAPPER_GROUP": str(groups),
        }
    return {}
