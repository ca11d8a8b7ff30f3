"""A PostgreSQL server of our own, from Debian's binaries: in a temporary directory, on a unix socket, for one session.

Needs the Debian package ``postgresql`` (any version), which is found under /usr/lib/postgresql; the server refuses to
run as root, so root starts it as ``postgres``, the user that the package brings.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

USER = "postgres"
_PORT = 5432
_FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "20", "shared_buffers": "16MB"}


class MissingError(Exception):
    """There is no PostgreSQL to start here; the message says why."""


@dataclass(frozen=True)
class Postgres:
    """A running server; `directory` holds its socket."""

    binaries: Path
    directory: Path

    @property
    def dsn(self) -> str:
        return f"host={self.directory} port={_PORT} user={USER} dbname=postgres"

    def execute(self, *statements: str) -> list[Any]:
        """Run statements in one transaction, and return the rows of the last."""
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


def find_binaries() -> Path:
    """Return the directory with initdb and postgres, of the newest version there is."""
    found = [
        path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb") if path.with_name("postgres").exists()
    ]
    if found:
        return max(found, key=lambda path: int(path.parent.name) if path.parent.name.isdecimal() else 0)
    if (initdb := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(initdb).parent
    raise MissingError("no initdb and postgres under /usr/lib/postgresql or in PATH: install the package postgresql")


def _account() -> dict[str, Any]:
    """Return how to become somebody whom the server runs for."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise MissingError(f"the server refuses to run as root, and there is no user {USER}") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _run(*command: str | Path) -> None:
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment,
        **_account(),
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    # Short, for a socket's path may have 107 bytes; and not below pytest's own, which nobody else may enter.
    path = Path(tempfile.mkdtemp(prefix="uspg-", dir="/tmp"))
    try:
        if account := _account():
            os.chown(path, account["user"], account["group"])
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def _serve(binaries: Path, directory: Path) -> Iterator[Postgres]:
    """Run the server whose files are in `directory`/data until the block ends."""
    settings = _FAST | {"listen_addresses": "", "unix_socket_directories": str(directory), "port": str(_PORT)}
    words = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(directory / "data"), *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env={"LC_ALL": "C"}, **_account(),
        )  # fmt: skip
    running = Postgres(binaries, directory)
    try:
        _wait_for(running, server)
        yield running
    finally:
        server.send_signal(signal.SIGINT)  # a "fast shutdown": it does not wait for clients
        server.wait(timeout=60)


def _wait_for(running: Postgres, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                running.execute("SELECT 1")
                return
        else:
            break
        time.sleep(0.05)
    raise RuntimeError((running.directory / "log").read_text())


@contextlib.contextmanager
def start() -> Iterator[Postgres]:
    """Run a fresh, empty server. Raises MissingError where that cannot be done here."""
    binaries = find_binaries()
    with _directory() as directory:
        _run(binaries / "initdb", "-D", directory / "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        with _serve(binaries, directory) as running:
            yield running


@contextlib.contextmanager
def start_replica(primary: Postgres) -> Iterator[Postgres]:
    """Run a streaming replica of `primary`."""
    with _directory() as directory:
        _run(
            primary.binaries / "pg_basebackup", "-D", directory / "data", "-R", "--no-sync", "--checkpoint=fast",
            "-h", primary.directory, "-p", str(_PORT), "-U", USER,
        )  # fmt: skip
        with _serve(primary.binaries, directory) as running:
            yield running
