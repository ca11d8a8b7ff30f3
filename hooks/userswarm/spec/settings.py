"""What the platform's operator decides, read once from the environment at start.

Every setting is a field of `Settings` and an environment variable: ``USERSWARM_`` and the field in capitals.
All bad values are named together, and stop the start: a webhook that runs on half of its settings is worse
than one that does not run.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from userswarm.errors import SettingsError

PREFIX = "USERSWARM_"

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's decisions; sizes are bytes, times are seconds.

    Read by the hooks:
        default_image: the runtime where a UserSwarm names none.
        helper_image: runs `userswarm bootstrap` in a swarm's Pods. It is pinned apart from
            the webhook's own image, so that a new webhook leaves every StatefulSet template as it is.
        allowed_namespaces: where runtimes may live.
        allowed_image_prefixes: what spec.runtime.image may start with; none means any image.
        allowed_secrets: which Secrets besides its own a UserSwarm may name; none means any that is no other swarm's.
        progress_deadline: a swarm that comes no step further for so long is Failed.
        base_config: TOML under every swarm's own configuration, the text of BASE_CONFIG_FILE.
        platform_namespace_labels: which namespaces may reach the runtime in a namespace of its own.
        webhook_namespace: where the webhook lives, which asks a runtime whether it answers.
        allow_pods_within_namespace: whether the Pods in such a namespace may reach one another.
        dns_cidrs: where Pods ask for names in such a namespace, besides the cluster's DNS: NodeLocal DNSCache's
            169.254.20.10/32, say.
        api_server_cidrs: where the Kubernetes API is, for a runtime that was given a role in such a namespace.
        runtime_user, runtime_group: whom a swarm's Pods run as; 65534 is the user of ZeroClaw's image.
    Read by the server:
        bind: host:port, where Metacontroller calls.
        workers: processes of gunicorn; keep_alive must outlast Metacontroller's idle connections (90 s).
        request_timeout, graceful_timeout: how long a request may take to arrive or to be answered; how long a stop
            waits for calls under way.
        max_body_bytes, max_json_depth, max_children: beyond these a request is refused.
        max_concurrent: beyond so many calls at once a worker answers 429; above Metacontroller's --workers.
        token_file: bearer tokens, one a line; insecure_no_auth says that there shall be none.
        tls_cert_file, tls_key_file, client_ca_file: TLS, and who may call when it is mutual.
        log_level, log_format: debug, info, warning or error; json or text.
        metrics_bind: host:port of /metrics; empty for none.
        service_proxy: an HTTP proxy through which swarms' Services are reached; none where their names lead to them.
    """

    default_image: str = "ghcr.io/zeroclaw-labs/zeroclaw:v0.8.4"
    helper_image: str = "ghcr.io/crawbl/userswarm:0.1.0"
    allowed_namespaces: tuple[str, ...] = ("userswarms",)
    allowed_image_prefixes: tuple[str, ...] = ()
    allowed_secrets: tuple[str, ...] = ()
    progress_deadline: int = 300
    base_config: str = ""
    platform_namespace_labels: tuple[tuple[str, str], ...] = (("kubernetes.io/metadata.name", "backend"),)
    webhook_namespace: str = "userswarm-system"
    allow_pods_within_namespace: bool = False
    dns_cidrs: tuple[str, ...] = ()
    api_server_cidrs: tuple[str, ...] = ()
    runtime_user: int = 65534
    runtime_group: int = 65534

    bind: str = "127.0.0.1:8080"
    workers: int = 2
    keep_alive: int = 95
    request_timeout: int = 30
    graceful_timeout: int = 25
    max_body_bytes: int = 8 * MEBIBYTE
    max_json_depth: int = 64
    max_children: int = 200
    max_concurrent: int = 64
    token_file: str = ""
    insecure_no_auth: bool = False
    tls_cert_file: str = ""
    tls_key_file: str = ""
    client_ca_file: str = ""
    log_level: str = "info"
    log_format: str = "json"
    metrics_bind: str = ""
    service_proxy: tuple[str, int] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read every ``USERSWARM_*`` variable, and the files they name.

        Raises SettingsError naming each variable that cannot be used or is not known, its value, and what
        would be accepted.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for variable, text in sorted(environ.items()):
            if not variable.startswith(PREFIX):
                continue
            reader = _READERS.get(variable)
            if reader is None:
                problems.append(f"{variable}: not a setting; the settings are {', '.join(sorted(_READERS))}")
                continue
            field, read = reader
            try:
                values[field] = read(text)
            except (ValueError, OSError) as error:
                problems.append(f"{variable}={text!r}: {error}")
        problems.extend(_conflicts(values))
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return read


def _boolean(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text) if word)


def _namespaces(text: str) -> tuple[str, ...]:
    names = _words(text)
    wrong = [name for name in names if not DNS_LABEL.fullmatch(name)]
    if wrong or not names:
        raise ValueError("must be namespace names (DNS labels) separated by commas, at least one")
    return names


def _namespace(text: str) -> str:
    if not DNS_LABEL.fullmatch(text):
        raise ValueError("must be a namespace name (a DNS label)")
    return text


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [word.partition("=") for word in _words(text)]
    if not pairs or not all(sep and _LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(v) for key, sep, v in pairs):
        raise ValueError("must be labels such as kubernetes.io/metadata.name=backend, separated by commas")
    return tuple(sorted((key, value) for key, _, value in pairs))


def _cidrs(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(word)) for word in _words(text))
    except ValueError:
        raise ValueError("must be networks such as 169.254.20.10/32, separated by commas") from None


def _image(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][^\s]{0,510}", text):
        raise ValueError("must be an image reference such as registry.example/name:tag, without blanks")
    return text


def _bind(text: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        if host != "localhost":
            ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        _whole(0, 65535)(port)
    except ValueError:
        raise ValueError("must be ADDRESS:PORT such as 127.0.0.1:8080") from None
    return text


def _bind_or_none(text: str) -> str:
    return _bind(text) if text else ""


def _proxy(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})/?", text)
    if not found or not 0 < int(found[2]) < 65536:
        raise ValueError("must be an HTTP proxy such as http://127.0.0.1:8880")
    return found[1].strip("[]"), int(found[2])


def _file(text: str) -> str:
    if text:
        with Path(text).open("rb") as stream:
            stream.read(1)
    return text


def _toml_file(text: str) -> str:
    if not text:
        return ""
    content = Path(text).read_text(encoding="utf-8")
    tomllib.loads(content)
    return content


def _conflicts(values: Mapping[str, Any]) -> list[str]:
    """Name the settings that are fine alone, but not together."""
    problems = []
    if bool(values.get("tls_cert_file")) != bool(values.get("tls_key_file")):
        problems.append(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: set both or none")
    if values.get("client_ca_file") and not values.get("tls_cert_file"):
        problems.append(f"{PREFIX}CLIENT_CA_FILE: needs {PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE")
    if values.get("token_file") and values.get("insecure_no_auth"):
        problems.append(f"{PREFIX}INSECURE_NO_AUTH: cannot be true while {PREFIX}TOKEN_FILE is set")
    return problems


_DAY = 86_400

_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    PREFIX + variable: (field, read)
    for variable, field, read in (
        ("DEFAULT_IMAGE", "default_image", _image),
        ("HELPER_IMAGE", "helper_image", _image),
        ("ALLOWED_NAMESPACES", "allowed_namespaces", _namespaces),
        ("ALLOWED_IMAGE_PREFIXES", "allowed_image_prefixes", _words),
        ("ALLOWED_SECRETS", "allowed_secrets", _words),
        ("PROGRESS_DEADLINE", "progress_deadline", _whole(10, _DAY)),
        ("BASE_CONFIG_FILE", "base_config", _toml_file),
        ("PLATFORM_NAMESPACE_LABELS", "platform_namespace_labels", _labels),
        ("WEBHOOK_NAMESPACE", "webhook_namespace", _namespace),
        ("ALLOW_PODS_WITHIN_NAMESPACE", "allow_pods_within_namespace", _boolean),
        ("DNS_CIDRS", "dns_cidrs", _cidrs),
        ("API_SERVER_CIDRS", "api_server_cidrs", _cidrs),
        ("RUNTIME_USER", "runtime_user", _whole(1, 2**31 - 1)),
        ("RUNTIME_GROUP", "runtime_group", _whole(1, 2**31 - 1)),
        ("BIND", "bind", _bind),
        ("WORKERS", "workers", _whole(1, 64)),
        ("KEEP_ALIVE", "keep_alive", _whole(1, 3600)),
        ("REQUEST_TIMEOUT", "request_timeout", _whole(1, 600)),
        ("GRACEFUL_TIMEOUT", "graceful_timeout", _whole(1, 600)),
        ("MAX_BODY_BYTES", "max_body_bytes", _whole(1024, 256 * MEBIBYTE)),
        ("MAX_JSON_DEPTH", "max_json_depth", _whole(16, 200)),
        ("MAX_CHILDREN", "max_children", _whole(8, 100_000)),
        ("MAX_CONCURRENT", "max_concurrent", _whole(1, 10_000)),
        ("TOKEN_FILE", "token_file", _file),
        ("INSECURE_NO_AUTH", "insecure_no_auth", _boolean),
        ("TLS_CERT_FILE", "tls_cert_file", _file),
        ("TLS_KEY_FILE", "tls_key_file", _file),
        ("CLIENT_CA_FILE", "client_ca_file", _file),
        ("LOG_LEVEL", "log_level", _one_of("debug", "info", "warning", "error")),
        ("LOG_FORMAT", "log_format", _one_of("json", "text")),
        ("METRICS_BIND", "metrics_bind", _bind_or_none),
        ("SERVICE_PROXY", "service_proxy", _proxy),
    )
}

assert {field for field, _ in _READERS.values()} == {field.name for field in dataclasses.fields(Settings)}  # noqa: S101
