"""What Envoy has to be told: where it listens, where the gate answers, and the bounds of what passes through.

What the gate needs to know too comes from the gate's settings; the rest are ``USERSWARM_ENVOY_*`` variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import SettingsError
from userswarm.gate.settings import GateSettings
from userswarm.gate.streams import PERIOD
from userswarm.spec.setting_readers import Readers, bind, read_environment, readable_file, whole
from userswarm.web.addresses import split_bind

PREFIX = "USERSWARM_ENVOY_"

STDOUT = "stdout"


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """All that the configuration is made of, in seconds and bytes.

    The gate's:
        gate: where it decides, ``host:port`` or ``unix:PATH``.
        path_prefix: what comes before a workspace's id in the path, with slashes at both ends; "" for none.
        domain: requests to ``<workspace>.domain`` are a workspace's too, with the path as it is; "" for none.
        hold: how long it may hold a request until its runtime is awake.
        stream_log: the pipe in which Envoy tells the gate what is open; "" for none.
        stream_log_interval: how often it tells of each.
        pass_authorization: let the runtime see the client's Authorization header.
    Envoy's own:
        listen: where users' requests come in.
        status: where probes ask /ready and Prometheus reads /metrics.
        run_dir: what only Envoy reads, its configuration, and what only it answers, the admin socket.
        trusted_hops: how many proxies before Envoy may say where a request comes from (X-Forwarded-For).
        tls_cert_file, tls_key_file: PEM, read again when they change; none: clear text.
        header_timeout: how long the head of a request may take to arrive.
        idle_timeout: how long a request, or a stream, may rest without a byte in either direction.
        total_timeout: how long a request may take in all, unless it is a stream (an upgrade, SSE, gRPC); 0: as long
            as it likes.
        max_header_kib, max_headers: larger heads are refused.
        max_body_bytes: larger bodies are refused where their length is declared, which a stream's is not; 0: none are.
        max_connections: more at once are refused.
        access_log: `stdout`, a file, or "" for none.
    """

    gate: str = "127.0.0.1:8081"
    path_prefix: str = "/v1/workspaces/"
    domain: str = ""
    hold: float = 60
    stream_log: str = ""
    stream_log_interval: int = PERIOD
    pass_authorization: bool = False

    listen: str = "127.0.0.1:8080"
    status: str = "127.0.0.1:8082"
    run_dir: str = "/run/userswarm-gate"
    trusted_hops: int = 0
    tls_cert_file: str = ""
    tls_key_file: str = ""
    header_timeout: int = 15
    idle_timeout: int = 3600
    total_timeout: int = 3600
    max_header_kib: int = 32
    max_headers: int = 100
    max_body_bytes: int = 0
    max_connections: int = 10_000
    access_log: str = STDOUT

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], gate: GateSettings) -> EnvoySettings:
        """Read every ``USERSWARM_ENVOY_*`` variable; the rest is what the gate was told.

        Raises SettingsError naming each variable that cannot be used or is not known.
        """
        values, problems = read_environment(environ, PREFIX, _READERS)
        if bool(values.get("tls_cert_file")) != bool(values.get("tls_key_file")):
            problems.append(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: set both or none")
        if problems:
            raise SettingsError("\n".join(problems))
        host, port = split_bind(gate.bind)
        own: dict[str, Any] = {
            "gate": f"{_LOOPBACKS[host]}:{port}" if host in _LOOPBACKS else gate.bind,
            "path_prefix": gate.path_prefix,
            "domain": gate.domain,
            "hold": gate.hold,
            "stream_log": gate.access_log,
            "pass_authorization": gate.pass_authorization,
        }
        return cls(**values, **own)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return text


_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "localhost": "127.0.0.1"}  # noqa: S104
"""Where one who listens everywhere is reached by who lives beside it; Envoy knows no names."""

_DAY = 86_400

_READERS: Readers = {
    PREFIX + variable: (variable.lower(), read)
    for variable, read in (
        ("LISTEN", bind),
        ("STATUS", bind),
        ("RUN_DIR", _path),
        ("TRUSTED_HOPS", whole(0, 10)),
        ("TLS_CERT_FILE", readable_file),
        ("TLS_KEY_FILE", readable_file),
        ("HEADER_TIMEOUT", whole(1, 600)),
        ("IDLE_TIMEOUT", whole(1, _DAY)),
        ("TOTAL_TIMEOUT", whole(0, _DAY)),
        ("MAX_HEADER_KIB", whole(1, 96)),
        ("MAX_HEADERS", whole(10, 1000)),
        ("MAX_BODY_BYTES", whole(0, 1 << 39)),
        ("MAX_CONNECTIONS", whole(1, 1_000_000)),
        ("ACCESS_LOG", lambda text: text if text in {"", STDOUT} else _path(text)),
    )
}
