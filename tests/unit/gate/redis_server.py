"""A real redis-server on loopback, which keeps nothing."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from contract.serving import free_port


class RedisServer:
    """One server, which may end and come back at the same port."""

    def __init__(self, place: Path, *words: str) -> None:
        """`words` are more of its settings."""
        found = shutil.which("redis-server")
        if found is None:
            pytest.skip("redis-server is not installed")
        self._program, self._place, self._words = found, place, words
        self._log = place / "redis.log"
        self.port = 0
        while not self.port:
            # Somebody else may take the port in between.
            self.port = free_port()
            if not self.start():
                assert "Address already in use" in self._log.read_text(), self._log.read_text()
                self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def inside(self) -> redis.Redis:
        """Return a client of the test's own, by another way than the gate's."""
        return redis.Redis(unix_socket_path=str(self._place / "s"), decode_responses=True)

    def start(self) -> bool:
        """Start it, and return whether it has come up."""
        named = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self._place / "s"),
            "dir": str(self._place),
            "save": "",
            "appendonly": "no",
            "logfile": str(self._log),
        }
        words = [word for name, text in named.items() for word in (f"--{name}", text)]
        self._process = subprocess.Popen([self._program, *words, *self._words], stdout=subprocess.DEVNULL)
        while self._process.poll() is None:
            with contextlib.suppress(redis.ConnectionError), contextlib.closing(self.inside) as inside:
                with contextlib.suppress(redis.AuthenticationError):
                    inside.ping()
                return True
            time.sleep(0.02)
        return False

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it keep its connections, and say nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def clear(self) -> None:
        """Take away all that was counted; fails where any of it would have stayed for ever."""
        with contextlib.closing(self.inside) as inside:
            for_ever = [key for key in inside.scan_iter() if inside.ttl(key) == -1]
            inside.flushall()
        assert not for_ever

    @classmethod
    @contextlib.contextmanager
    def running(cls, place: Path, *words: str) -> Iterator[RedisServer]:
        server = cls(place, *words)
        try:
            yield server
        finally:
            server.stop()
