"""What is open, as Envoy tells it: JSON lines of its access log, read from a pipe (FIFO).

Envoy writes a line for each open request every `PERIOD` seconds, and one when it ends. So a stream keeps its swarm
awake by a lease for as long as it lasts, and open requests are counted. Of several workers one reads, whoever holds the
pipe's lock; when it ends, the next one does. Nothing grows where nobody reads: the pipe just fills.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

import orjson

from userswarm.errors import SettingsError
from userswarm.gate.answers import Refused

logger = logging.getLogger("userswarm.gate")

PERIOD = 15
"""Seconds between two lines of one open request: Envoy's access_log_flush_interval."""

_LONGEST_LINE = 64 * 1024
_PAUSE = 0.5
_FIELDS = ("type", "requestId", "user", "workspace")


class Uses(Protocol):
    """Takes in that workspaces are used."""

    def note(self, workspace: str, user: str, *, busy: bool) -> None: ...


class Open(Protocol):
    """Takes in which requests go on, and which have ended."""

    def goes_on(self, request_id: str, user: str, workspace: str) -> None: ...

    def closed(self, request_id: str, user: str, workspace: str) -> None: ...


def make_pipe(path: Path) -> None:
    """Make the pipe, unless it is there; raises SettingsError where something else is."""
    try:
        os.mkfifo(path, 0o660)
    except FileExistsError:
        if not stat.S_ISFIFO(path.stat().st_mode):
            raise SettingsError(
                f"USERSWARM_GATE_ACCESS_LOG={str(path)!r}: is no pipe; remove it, and start the gate before Envoy"
            ) from None
    except OSError as error:
        raise SettingsError(f"USERSWARM_GATE_ACCESS_LOG={str(path)!r}: {error}") from error


class Lines:
    """Takes in Envoy's lines, in pieces as they come."""

    def __init__(self, uses: Uses, opened: Open | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._uses = uses
        self._opened = opened
        self._monotonic = monotonic
        self._rest = b""
        self._seen: dict[str, float] = {}

    def __len__(self) -> int:
        """Count the streams: what Envoy has told of as open within the last two periods."""
        now = self._monotonic()
        self._seen = {each: until for each, until in self._seen.items() if now < until}
        return len(self._seen)

    def take(self, piece: bytes) -> None:
        """Take in some bytes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = b""
        for line in lines:
            try:
                self._take_line(line)
            except Refused:
                continue  # Redis is away, which has been told; what it does not hear of is forgotten in time
            except Exception:
                logger.exception("cannot take in a line of Envoy's access log")

    def _take_line(self, line: bytes) -> None:
        try:
            told = orjson.loads(line)
        except orjson.JSONDecodeError:
            return  # half a line: the writer or the reader began in its midst
        if not isinstance(told, dict):
            return
        kind, request_id, user, workspace = (str(told.get(name) or "-") for name in _FIELDS)
        if "-" in {user, workspace}:
            return  # never let through, so nobody's
        user, workspace = unquote(user), unquote(workspace)
        if kind == "DownstreamPeriodic":
            self._seen[request_id] = self._monotonic() + 2 * PERIOD
            self._uses.note(workspace, user, busy=True)
            if self._opened is not None:
                self._opened.goes_on(request_id, user, workspace)
        elif kind == "DownstreamEnd":
            self._seen.pop(request_id, None)
            if self._opened is not None:
                self._opened.closed(request_id, user, workspace)


class Reader:
    """Reads the pipe in a thread, whenever no other process does."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self._path = path
        self._lines = lines
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gate-streams", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for the thread."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        # For reading and writing: so it opens before Envoy has, and does not end when Envoy does.
        descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while not self._over.is_set():
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._over.wait(_PAUSE)
                else:
                    self._read(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([descriptor], [], [], _PAUSE)
            if ready:
                self._lines.take(os.read(descriptor, 65_536))
