"""A real Envoy with our configuration, in front of whatever a test lets play the gate."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from contract.serving import eventually, free_port
from userswarm.errors import SettingsError
from userswarm.gate.envoy.running import command, find_envoy, write_files
from userswarm.gate.envoy.settings import EnvoySettings


def require_envoy() -> None:
    """Skip the test where there is no Envoy that runs on this machine."""
    try:
        version = subprocess.run([find_envoy(), "--version"], capture_output=True, timeout=60, check=False)
    except (SettingsError, OSError) as error:
        pytest.skip(f"no Envoy: {error}")
    if version.returncode != 0:
        pytest.skip(f"Envoy does not run here: {version.stderr.decode(errors='replace')[:200]}")


class Door:
    """One Envoy on free ports of loopback; `told` is what the stream log has said so far."""

    def __init__(self, directory: Path, *, read: bool = True, **settings: Any) -> None:
        """`read`: whether the stream log is read here; else the gate has to."""
        self.port, self.status = free_port(), free_port()
        self.log = directory / "access.log"
        self.settings = EnvoySettings(
            listen=f"127.0.0.1:{self.port}",
            status=f"127.0.0.1:{self.status}",
            run_dir=str(directory / "run"),
            **{
                "access_log": str(self.log),
                "stream_log": str(directory / "streams"),
                **({"stream_log_interval": 1} if read else {}),
                **settings,
            },
        )
        self.told: list[dict[str, Any]] = []
        self._stderr = directory / "envoy.log"
        configuration = write_files(self.settings)
        # Both ends at once: opening blocks nobody, and Envoy's leaving is no end of file.
        self._pipe = os.open(directory / "streams", os.O_RDWR)
        self._reader = threading.Thread(target=self._read, daemon=True)
        if read:
            self._reader.start()
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(command(find_envoy(), configuration, workers=2), stderr=stderr)
        eventually(self.is_ready)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self._stderr.read_text(encoding="utf-8")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask_status("/ready")[0] == 200
        return False

    def ask_status(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.status, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def count(self, metric: str, label: str = "") -> int:
        """Return what Envoy counts under a name, in all or where a label has some value."""
        lines = self.ask_status("/metrics")[1].decode()
        return sum(map(int, re.findall(rf"^(?:{metric}){{.*{label}.*}} (\d+)$", lines, re.MULTILINE)))

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Send an ordinary request; an underscore in a header's name is a dash."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        return ask(connection, method, path, body, headers)

    def send(self, raw: bytes) -> bytes:
        """Send bytes as they are, and return what comes back until Envoy ends the connection."""
        with self.connect() as connection:
            connection.sendall(raw)
            return read_all(connection)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def accesses(self) -> list[dict[str, Any]]:
        """Return the access log so far."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_bytes().split(b"\n")[:-1] if line]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        if self._reader.is_alive():
            os.write(self._pipe, b"\n")
            self._reader.join(30)
        os.close(self._pipe)

    def _read(self) -> None:
        rest = b""
        while True:
            *lines, rest = (rest + os.read(self._pipe, 65536)).split(b"\n")
            self.told += [json.loads(line) for line in lines if line]
            if b"" in lines:
                return


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[int, bytes, dict[str, str]]:
    """Send an ordinary request, the last one of its connection; an underscore in a header's name is a dash."""
    with contextlib.closing(connection):
        connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): text for name, text in answer.getheaders()}


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side ends, or resets, the connection, or has said that it will."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while not _is_last(found) and (chunk := connection.recv(65536)):
            found += chunk
    return found


def _is_last(answers: bytes) -> bool:
    """Tell whether the last of some answers, each of a declared length, is there: Envoy waits before it closes."""
    while b"\r\n\r\n" in answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if length is None or len(rest) < int(length[1]):
            return False
        if b"\r\nconnection: close" in head:
            return True
        answers = rest[int(length[1]) :]
    return False


@contextlib.contextmanager
def opened(directory: Path, **settings: Any) -> Iterator[Door]:
    """Open a door for a while."""
    require_envoy()
    door = Door(directory, **settings)
    try:
        yield door
    finally:
        door.close()
