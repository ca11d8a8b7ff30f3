"""A real nginx with the configuration that README.md shows, in front of whatever a test lets play the gate."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.rendered import ROOT
from contract.serving import eventually, free_port
from gate.door import ask
from unit.server.certificates import Authority

_FRAME = """
daemon off;
master_process off;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body;
  proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi;
  scgi_temp_path {place}/scgi;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
{shown}
}}
"""


def shown_block() -> str:
    """Return what the README shows."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    return str(block)


def _with(block: str, shown: str, real: str) -> str:
    """Return a block with what is particular to a machine replaced."""
    assert block.count(shown) == 1, shown
    return block.replace(shown, real)


class Nginx:
    """One nginx at a free port of loopback; `gate` is the port of the one it asks."""

    def __init__(self, place: Path, gate: int) -> None:
        self.port = free_port()
        self._log = place / "error.log"
        authority = Authority.make(place / "ca")
        self._trust = authority.client_context()
        pair = authority.issue("nginx")
        block = _with(shown_block(), "listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;")
        block = _with(block, "http://127.0.0.1:8090/", f"http://127.0.0.1:{gate}/")
        configuration = place / "nginx.conf"
        configuration.write_text(
            _FRAME.format(place=place, certificate=pair.certificate, key=pair.key, shown=block), encoding="utf-8"
        )
        words = ["-p", str(place), "-e", str(self._log), "-c", str(configuration)]
        self._process = subprocess.Popen([find_nginx(), *words], stderr=subprocess.DEVNULL)
        eventually(self._listens)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Send an ordinary request; an underscore in a header's name is a dash."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self._trust)
        return ask(connection, method, path, body, headers)

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return self._trust.wrap_socket(plain, server_hostname="localhost")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
        with contextlib.suppress(OSError), self.connect():
            return True
        return False


def find_nginx() -> str:
    """Return the binary; skip the test where there is none."""
    # Debian's is on root's PATH only.
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    return found


@contextlib.contextmanager
def running(place: Path, gate: int) -> Iterator[Nginx]:
    """Run one for a while."""
    find_nginx()
    nginx = Nginx(place, gate)
    try:
        yield nginx
    finally:
        nginx.close()
