"""`userswarm serve` as Metacontroller, the kubelet and Prometheus meet it: real processes, real sockets."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from contract.serving import BODY, JSON, PATIENCE, Server, command, eventually, free_port, serving
from unit.server.certificates import Authority
from unit.server.serving import CAPTURED, first_request, head, read_answer

PROBE = b"GET /readyz HTTP/1.1\r\nHost: webhook\r\n\r\n"
AUTH = {**JSON, "Authorization": "Bearer the-token"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits, a token and metrics, shared by the tests that leave it as it was."""
    directory = tmp_path_factory.mktemp("server")
    (directory / "tokens").write_text("the-token\n", encoding="utf-8")
    metrics = free_port()
    with serving(
        directory,
        *("--token-file", str(directory / "tokens"), "--max-body-bytes", "100000"),
        *("--metrics-bind", f"127.0.0.1:{metrics}", "--log-level", "debug"),
    ) as running:
        running.metrics_port = metrics  # type: ignore[attr-defined]
        yield running


@pytest.mark.parametrize(
    ("path", "body", "headers", "code"),
    [
        ("/sync", BODY, AUTH, 200),
        ("/sync", BODY, {**AUTH, "Content-Type": "application/json; charset=utf-8"}, 200),
        ("/finalize", BODY, AUTH, 200),
        # Its head alone: whoever goes on sending may find the connection closed before the answer is read.
        ("/sync", None, {**AUTH, "Transfer-Encoding": "chunked"}, 411),
        ("/sync", BODY, JSON, 401),
        ("/sync", BODY, {**AUTH, "Authorization": "Bearer another"}, 401),
        ("/sync", BODY, {**AUTH, "Content-Type": "text/yaml"}, 415),
        ("/sync", b"x" * 100_001, AUTH, 413),
        ("/sync", b'{"parent": ', AUTH, 400),
        ("/sync", b"{}", AUTH, 400),
        (
            "/sync",
            orjson.dumps({**first_request(), "parent": {"apiVersion": "v1", "kind": "Pod", "metadata": {}}}),
            AUTH,
            422,
        ),
        ("/other", BODY, AUTH, 404),
        ("/healthz", BODY, AUTH, 405),
    ],
)
def test_every_status_is_answered_in_json(
    server: Server, path: str, body: Any, headers: dict[str, str], code: int
) -> None:
    status, answer, answered_headers = server.post(path, body, headers)
    assert (status, answered_headers["content-type"]) == (code, "application/json")
    assert ("error" in answer) == (code != 200)


def test_probes_are_answered_without_a_token(server: Server) -> None:
    assert server.get("/healthz") == (200, {"alive": True})
    assert server.get("/readyz") == (200, {"ready": True})


def test_a_connection_is_used_again(server: Server) -> None:
    connection = server.connect()
    connection.connect()
    own_port = connection.sock.getsockname()
    for _ in range(5):
        connection.request("POST", "/sync", BODY, AUTH)
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        assert connection.sock is not None, "the server closed the connection"
        assert connection.sock.getsockname() == own_port
    connection.close()


def scrape(server: Server) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=PATIENCE)  # type: ignore[attr-defined]
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


FINALIZED = 'userswarm_hook_requests_total{code="200",hook="finalize"}'


def test_metrics_are_the_sum_over_all_workers_even_of_those_that_are_gone(server: Server) -> None:
    def call_on_many_connections() -> None:
        connections = [server.connect() for _ in range(8)]
        for connection in connections:
            connection.request("POST", "/finalize", BODY, AUTH)
        assert {connection.getresponse().status for connection in connections} == {200}
        for connection in connections:
            connection.close()

    before = scrape(server).get(FINALIZED, 0)
    call_on_many_connections()
    assert scrape(server)[FINALIZED] == before + 8

    eventually(lambda: len(server.workers()) == 2)
    workers = server.workers()
    victim = min(workers)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(server.workers() - {victim}) == 2)
    call_on_many_connections()
    assert scrape(server)[FINALIZED] == before + 16
    samples = scrape(server)
    assert samples['userswarm_hook_duration_seconds_count{hook="finalize"}'] == before + 16
    assert not [name for name in samples if "workspace-1" in name or "pid" in name]


def test_the_log_is_json_only_and_tells_neither_tokens_nor_configuration(server: Server) -> None:
    secret = first_request()
    secret["parent"]["spec"]["config"] = {"tomlOverrides": "key = 'sk-secret'"}
    server.post("/sync", orjson.dumps(secret), {**AUTH, "X-Request-Id": "look-for-me"})

    (line,) = eventually(lambda: [line for line in server.log_lines() if line.get("requestId") == "look-for-me"])
    assert line["swarm"] == "workspace-1"
    assert line["code"] == 200
    text = server.log.read_text(encoding="utf-8")
    assert "sk-secret" not in text
    assert "the-token" not in text


@pytest.mark.skipif(not CAPTURED.is_dir(), reason="the captured requests of Metacontroller are not here")
def test_every_request_that_metacontroller_ever_sent_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        for file in sorted(CAPTURED.glob("*.json")):
            hook = next((hook for hook in ("finalize", "sync") if hook in file.name), None)
            if hook is None:
                continue
            status, answer, _ = server.post(f"/{hook}", file.read_bytes())
            assert status == 200, (file.name, answer)
            assert answer.keys() <= {"status", "children", "resyncAfterSeconds", "finalized"}, file.name


def test_sigterm_stops_in_order_and_leaves_nothing_behind(tmp_path: Path) -> None:
    # One worker: a second may still be starting, and would not hear of the end.
    words = ("--workers", "1", "--graceful-timeout", "60", "--request-timeout", "60")
    with serving(tmp_path, *words, "--metrics-bind", f"127.0.0.1:{free_port()}") as server:
        (worker,) = server.workers()
        maps = Path(f"/proc/{worker}/maps").read_text(encoding="utf-8")
        counters = {Path(found) for found in re.findall(r"\S*/userswarm-metrics-[^/]+", maps)}
        assert counters
        with server.open() as begun, server.open() as idle:
            idle.sendall(PROBE)
            assert read_answer(idle).code == 200
            # The body is read once the call has begun.
            for part in (head("/sync", f"Content-Length: {len(BODY)}"), BODY[:-1]):
                begun.sendall(part)
                eventually(lambda: server.unread().get(begun.getsockname()[1]) == 0)
            server.master.send_signal(signal.SIGTERM)
            eventually(lambda: not accepts(server))
            idle.sendall(PROBE)
            answer = read_answer(idle)
            assert (answer.code, answer.headers["connection"]) == (503, "close")
            begun.sendall(BODY[-1:])
            assert read_answer(begun).code == 200, "a request that had begun was dropped"
        assert server.master.wait(PATIENCE) == 0
        assert not [directory for directory in counters if directory.exists()]
        assert server.log_lines(), "something but JSON was logged"


def accepts(server: Server) -> bool:
    with contextlib.suppress(ConnectionError):
        server.open().close()
        return True
    return False


def test_a_token_is_rotated_without_a_restart(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("old\n", encoding="utf-8")

    def status(token: str) -> int:
        return server.post("/sync", BODY, {**JSON, "Authorization": f"Bearer {token}"})[0]

    with serving(tmp_path, "--token-file", str(tokens), "--workers", "1") as server:
        assert (status("old"), status("new")) == (200, 401)
        tokens.write_text("old\nnew\n", encoding="utf-8")
        eventually(lambda: status("new") == 200)
        assert status("old") == 200
        tokens.write_text("new\n", encoding="utf-8")
        eventually(lambda: status("old") == 401)
        assert status("new") == 200


def test_mutual_tls_is_served_and_renewed_without_a_restart(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    first, second, client = authority.issue("first"), authority.issue("second"), authority.issue("metacontroller")
    live = [tmp_path / "tls.crt", tmp_path / "tls.key"]

    def install(pair: Any) -> None:
        for target, source in zip(live, (pair.certificate, pair.key), strict=True):
            (tmp_path / "next").write_bytes(source.read_bytes())
            (tmp_path / "next").replace(target)

    def serial() -> str:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            return str((sock.getpeercert() or {})["serialNumber"])

    install(first)
    context = authority.client_context(client)
    with serving(
        tmp_path,
        *("--tls-cert-file", str(live[0]), "--tls-key-file", str(live[1])),
        *("--client-ca-file", str(authority.pair.certificate), "--workers", "1"),
        tls=context,
    ) as server:
        open_connection = server.connect()
        open_connection.request("POST", "/sync", BODY, JSON)
        answer = open_connection.getresponse()
        assert answer.status == 200
        answer.read()
        before = serial()
        install(second)
        eventually(lambda: serial() != before)
        open_connection.request("POST", "/sync", BODY, JSON)
        assert open_connection.getresponse().status == 200
        open_connection.close()
        server.tls = authority.client_context()  # trusts the server, and shows nothing of its own
        with pytest.raises(OSError, match=r"(?i)alert|closed|reset|eof"):
            server.get("/healthz")
        server.tls = context


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bind", "0.0.0.0:0"), "set USERSWARM_TOKEN_FILE"),
        (("--bind", "127.0.0.1:0", "--metrics-bind", "192.0.2.1:1"), "USERSWARM_METRICS_BIND='192.0.2.1:1'"),
        (("--bind", "127.0.0.1:0", "--token-file", "/dev/null"), "holds no token"),
        (("--tls-cert-file", __file__, "--tls-key-file", __file__), "USERSWARM_TLS_CERT_FILE"),
    ],
)
def test_what_cannot_work_stops_the_start_with_one_line(words: tuple[str, ...], said: str) -> None:
    ended = subprocess.run(command(*words), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    errors = [line for line in ended.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in ended.stderr


def test_the_server_needs_no_kubernetes_client() -> None:
    code = (
        "import sys; from userswarm.server.app import create_app; from userswarm.spec.settings import Settings; "
        "import userswarm.server.launch; create_app(Settings()); "
        "print([name for name in ('kubernetes', 'prometheus_client', 'requests', 'tomlkit') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert ended.stdout == "[]\n"
