"""What Envoy has to be told: where it listens, where the gate answers, and the bounds of what passes through.

What the gate needs to know too comes from the gate's settings; the rest are ``USERSWARM_ENVOY_*`` variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import SettingsError
from userswarm.spec.setting_readers import bind, readable_file, whole

PREFIX = "USERSWARM_ENVOY_"


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """All that the configuration is made of, in seconds and bytes.

    The gate's:
        gate: where it decides, ``host:port`` or ``unix:PATH``.
        path_prefix: what comes before a workspace's id in the path.
        host: requests to ``<workspace>.host`` are a workspace's too, with the path as it is; "" for none.
        hold: how long it may hold a request until its runtime is awake.
        keep_authorization: let the runtime see the client's Authorization header.
    Envoy's own:
        listen: where users' requests come in.
        status: where probes ask /ready and Prometheus reads /metrics.
        run_dir: what only Envoy and the gate share: the configuration, the admin socket, and `streams`, a pipe.
        trusted_hops: how many proxies before Envoy may say where a request comes from (X-Forwarded-For).
        tls_cert_file, tls_key_file: PEM, read again when they change; none: clear text.
        header_timeout: how long the head of a request may take to arrive.
        idle_timeout: how long a request, or a stream, may rest without a byte in either direction.
        total_timeout: how long a request may take in all, unless it is a stream (an upgrade, SSE, gRPC); 0: as long
            as it likes.
        max_header_kib, max_headers: larger heads are refused.
        max_body_bytes: larger bodies are refused where their length is declared, which a stream's is not; 0: none are.
        max_connections: more at once are refused.
        stream_log_interval: how often an open stream is reported to the gate.
        access_log: a file, or "" for none.
    """

    gate: str = "127.0.0.1:8081"
    path_prefix: str = "/v1/workspaces/"
    host: str = ""
    hold: float = 60
    keep_authorization: bool = False

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
    stream_log_interval: int = 30
    access_log: str = "/dev/stdout"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **gate: Any) -> EnvoySettings:
        """Read every ``USERSWARM_ENVOY_*`` variable; `gate` are the gate's own fields.

        Raises SettingsError naming each variable that cannot be used or is not known.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable, text in sorted(environ.items()):
            if not variable.startswith(PREFIX):
                continue
            read = _READERS.get(variable)
            if read is None:
                problems.append(f"{variable}: not a setting; the settings are {', '.join(sorted(_READERS))}")
                continue
            try:
                values[variable.removeprefix(PREFIX).lower()] = read(text)
            except (ValueError, OSError) as error:
                problems.append(f"{variable}={text!r}: {error}")
        if bool(values.get("tls_cert_file")) != bool(values.get("tls_key_file")):
            problems.append(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: set both or none")
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values, **gate)


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return text


_DAY = 86_400

_READERS: dict[str, Callable[[str], Any]] = {
    PREFIX + variable: read
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
        ("STREAM_LOG_INTERVAL", whole(1, 600)),
        ("ACCESS_LOG", lambda text: text and _path(text)),
    )
}
