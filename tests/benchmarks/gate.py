"""The gate's decisions over loopback, all out of memory: how many a second, and what each costs.

wrk asks as Envoy does: many connections that stay open, a check for each request, by tokens of a throw-away issuer.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from benchmarks.report import Report, Value
from benchmarks.serving import Server, started
from benchmarks.wrk import has_wrk, load
from contract.serving import free_port
from devcluster.rest import RestServer
from unit.backend.world import World, make_api, make_api_client
from unit.gate.gates import EC_KEY, ISSUER, RSA_KEY, jwk, jwks, make_swarm, token
from userswarm.spec.settings import PREFIX

_AS_ALL = """
local tokens, number = {{}}, 0
for line in io.lines("{tokens}") do table.insert(tokens, line) end
request = function()
    number = number % #tokens + 1
    local headers = {{["Authorization"] = "Bearer " .. tokens[number], ["Host"] = "gate.example.com"}}
    return wrk.format("GET", "/check/v1/workspaces/w" .. number .. "/chat?q=1", headers)
end
"""

USERS = 200

_TOKENS: dict[str, Callable[[str], str]] = {
    "static tokens": lambda user: f"token-of-{user}",
    "RS256": lambda user: token(sub=user, exp=int(time.time()) + 3600),
    "ES256": lambda user: token(EC_KEY, "ES256", kid="ec", sub=user, exp=int(time.time()) + 3600),
}


def run(report: Report, seconds: float, rounds: int) -> None:
    """Measure each kind of token with one worker and with two."""
    if not has_wrk(report):
        return
    rows: list[dict[str, Value]] = []
    with RestServer(make_api()) as rest, issuer() as keys, tempfile.TemporaryDirectory() as folder:
        world = World(rest.api, rest, make_api_client(rest.url))
        for number in range(1, USERS + 1):
            make_swarm(world, f"w{number}", f"user-{number}")
        settings = write_settings(Path(folder), rest, keys)
        for workers in (1, 2):
            with running_gate(settings, workers) as running:
                for kind, make in _TOKENS.items():
                    users = [make(f"user-{number}") for number in range(1, USERS + 1)]
                    for connections in (8, 64):
                        found = [_ask(running, Path(folder), users, connections, seconds) for _ in range(rounds)]
                        rows.append(_summary(f"{workers} workers, {kind}, {connections} connections", found, running))
        world.api_client.close()
    report.add(f"Decisions of the gate, {USERS} users in turn: best of {rounds}", rows)


@contextmanager
def issuer() -> Iterator[str]:
    """Serve the keys of a throw-away issuer, and give their address."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = jwks(jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec"))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/jwks"
        finally:
            server.shutdown()
            thread.join()


def write_settings(folder: Path, rest: RestServer, keys: str, runtime: str = "127.0.0.1:1") -> dict[str, str]:
    """Write the files of a gate, and return its variables; all Services lead to `runtime`."""
    users = range(1, USERS + 1)
    digests = (hashlib.sha256(f"token-of-user-{number}".encode()).hexdigest() for number in users)
    files = {
        "kubeconfig": yaml.safe_dump(rest.kubeconfig()),
        "tokens": "".join(f"{digest} user-{number}\n" for number, digest in zip(users, digests, strict=True)),
        "hosts": "".join(f"{runtime} swarm-workspace-w{number}.userswarms.svc:42617\n" for number in users),
        "issuers": f'[[issuer]]\nissuer = "{ISSUER.issuer}"\naudience = ["userswarm"]\njwks_url = "{keys}"\n'
        'algorithms = ["RS256", "ES256"]\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    gate = {"TOKEN_FILE": "tokens", "HOSTS_FILE": "hosts", "ISSUERS_FILE": "issuers", "AUDIT": "audit"}
    own = {f"{PREFIX}GATE_{variable}": str(folder / name) for variable, name in gate.items()}
    return {"KUBECONFIG": str(folder / "kubeconfig"), **own}


@contextmanager
def running_gate(settings: dict[str, str], workers: int) -> Iterator[Server]:
    """Run `userswarm gate` on a free loopback port, until all its workers can let users in."""
    port = free_port()
    own = {"BIND": f"127.0.0.1:{port}", "WORKERS": str(workers), "LOG_LEVEL": "error"}
    environment = settings | {f"{PREFIX}GATE_{name}": value for name, value in own.items()}
    with started(sys.executable, ["gate", "--no-envoy"], environment, port, workers, "/readyz") as running:
        time.sleep(3)  # one of them said so; each fills a memory of its own
        yield running


def _ask(running: Server, folder: Path, users: list[str], connections: int, seconds: float) -> dict[str, float]:
    (folder / "users").write_text("\n".join(users) + "\n", encoding="utf-8")
    return load(running, _AS_ALL.format(tokens=folder / "users"), "/", connections, seconds)


def _summary(what: str, found: list[dict[str, float]], running: Server) -> dict[str, Value]:
    best = max(found, key=lambda each: each["rate"])
    return {
        "": what,
        "decisions/s": best["rate"],
        "median/s": statistics.median(each["rate"] for each in found),
        "p50 ms": best["p50"] / 1000,
        "p99 ms": best["p99"] / 1000,
        "CPU ms each": min(each["cpu"] for each in found),
        "refused or failed": int(sum(each["failed"] for each in found)),
        "RSS MB": running.memory()["rss"],
    }
