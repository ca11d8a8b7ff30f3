"""A repository, and servers of it that are real: git over https with a token, and Debian's sshd with a key."""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from unit.server.certificates import Authority

TOKEN = "ghs_TheTokenThatNobodyMaySee0123456789"


def git(*words: str, at: Path) -> str:
    """Run git as somebody who works there would; what is configured on this machine has no say."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    words = ("git", "-c", "safe.directory=*", "-C", str(at), *words)
    return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Upstream:
    """The repository that is served, `bare`, and a clone that makes commits for it."""

    bare: Path
    work: Path

    @classmethod
    def make(cls, place: Path) -> Upstream:
        if shutil.which("git") is None:
            pytest.skip("git is not installed")
        made = cls(place / "project.git", place / "work")
        for path in (made.bare, made.work):
            path.mkdir(parents=True)
        git("init", "--quiet", "--bare", "--initial-branch=main", at=made.bare)
        git("init", "--quiet", "--initial-branch=main", at=made.work)
        git("remote", "add", "origin", str(made.bare), at=made.work)
        for number in (1, 2):
            made.commit(f"Commit {number}", {"README.md": f"line {number}\n", "src/app.py": "print(1)\n"})
        return made

    def commit(self, message: str, files: dict[str, str], branch: str = "main") -> str:
        """Publish a commit, and return its id."""
        for name, content in files.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text(content)
        git("add", "--all", at=self.work)
        git("commit", "--quiet", "--allow-empty", "-m", message, at=self.work)
        git("push", "--quiet", "--force", "origin", f"HEAD:{branch}", at=self.work)
        return git("rev-parse", "HEAD", at=self.work)


@dataclass
class Served:
    """A repository under a URL, and the options that open it."""

    url: str
    options: list[str]
    seen: list[str] = field(default_factory=list)
    """What came to the server: an Authorization header, or "", for each request."""
    leaks: set[str] = field(default_factory=set)
    """Processes that had the token in their arguments or environment while the server was asked."""


def find_leaks(secret: str) -> set[str]:
    """Return what in /proc shows a secret; asked while git waits for an answer, that is everything it has started."""
    found = set()
    for process in Path("/proc").iterdir():
        for name in ("cmdline", "environ"):
            # A process may end meanwhile.
            with contextlib.suppress(OSError):
                if process.name.isdecimal() and secret.encode() in (process / name).read_bytes():
                    found.add(f"{name} of {(process / 'comm').read_text().strip()}")
    return found


class Kept(BaseHTTPRequestHandler):
    """Keeps its connections open: git refuses one over TLS that ends without a word."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        raise NotImplementedError

    def send_empty(self, status: int, name: str, value: str) -> None:
        self.send_response(status)
        self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def over_https(upstream: Upstream, place: Path) -> Iterator[Served]:
    """Serve a repository by git's own CGI, behind a private authority, to who has the token."""
    authority = Authority.make(place)
    pair = authority.issue("git")
    token = place / "token"
    token.write_text(f"{TOKEN}\n")
    served = Served("", ["--token-file", str(token), "--ca-file", str(authority.pair.certificate)])
    wanted = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()

    class Handler(Kept):
        def answer(self) -> None:
            given = self.headers.get("Authorization", "")
            served.seen.append(given)
            served.leaks |= find_leaks(TOKEN)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if given != wanted:
                self.send_empty(401, "WWW-Authenticate", 'Basic realm="git"')
                return
            path, _, query = self.path.partition("?")
            done = subprocess.run(
                ["git", "http-backend"],
                input=body,
                capture_output=True,
                check=True,
                env={
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(upstream.bare.parent),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                },
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            self.send_response(200)
            for line in head.decode().splitlines():
                self.send_header(*line.split(": ", 1))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with serving(Handler, pair.certificate, pair.key) as port:
        served.url = f"https://localhost:{port}/project.git"
        yield served


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler], certificate: Path, key: Path) -> Iterator[int]:
    """Serve https on loopback; yield the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that trusts nobody hangs up
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("openssh-client is not installed")
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(words, check=True, capture_output=True)
    return path


@contextlib.contextmanager
def over_ssh(upstream: Upstream, place: Path) -> Iterator[Served]:
    """Serve a repository by a sshd of our own, to the user that this is, by a key."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(sshd).exists():
        pytest.skip("openssh-server is not installed")
    place.mkdir(parents=True, exist_ok=True)
    host, key = make_key(place / "host"), make_key(place / "key")
    if os.getuid() == 0:
        # sshd's own, which Debian's service makes when it starts.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    configuration, log = place / "sshd_config", place / "log"
    while True:
        port = _free_port()
        configuration.write_text(
            f"ListenAddress 127.0.0.1:{port}\nHostKey {host}\nPidFile none\nAuthorizedKeysFile {key}.pub\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\n"
        )
        with log.open("wb") as stream:
            server = subprocess.Popen([sshd, "-D", "-e", "-f", str(configuration)], stderr=stream)
        if _answers(port, server):
            break
        # Somebody else may have taken the port in between; anything else is for whoever reads this.
        assert "Address already in use" in log.read_text(), log.read_text()
    known = place / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {host.with_suffix('.pub').read_text()}")
    try:
        url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{upstream.bare}"
        yield Served(url, ["--key-file", str(key), "--known-hosts", str(known)])
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers at the port; tell whether it still runs."""
    end = time.monotonic() + 60
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            # Its banner: the port's, and not of whoever else listens there.
            if connection.recv(4) == b"SSH-":
                return True
        if time.monotonic() > end:
            server.kill()
        time.sleep(0.05)
    return False
