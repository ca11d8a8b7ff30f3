"""What the platform's operator decides, read once from the environment at start.

Every setting is a field of `Settings` and an environment variable: ``USERSWARM_`` and the field in capitals.
All bad values are named together, and stop the start: a webhook that runs on half of its settings is worse
than one that does not run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import SettingsError
from userswarm.spec.setting_readers import (
    bind,
    bind_or_none,
    boolean,
    cidrs,
    durations,
    image,
    labels,
    namespace,
    namespaces,
    one_of,
    proxy,
    read_environment,
    readable_file,
    templates_dir,
    toml_file,
    whole,
    words,
)
from userswarm.spec.template.revisions import NO_TEMPLATES, Templates

PREFIX = "USERSWARM_"

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
        lifecycle_defaults: what holds where a UserSwarm's spec.lifecycle does not say: idleAfter=30m,minAwake=5m, say.
        lifecycle_ceilings: what it may say at most; who says nothing, and has no default, gets this.
        lifecycle_spread: over so long are spread those that would wake, or fall asleep, at the same instant.
        templates: what spec.template may name, read from TEMPLATES_DIR; the server reads it again when it changes.
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
    lifecycle_defaults: tuple[tuple[str, int], ...] = ()
    lifecycle_ceilings: tuple[tuple[str, int], ...] = ()
    lifecycle_spread: int = 120
    templates: Templates = NO_TEMPLATES
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
        values, problems = read_environment(environ, PREFIX, _READERS)
        problems.extend(_conflicts(values))
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)


def _conflicts(values: Mapping[str, Any]) -> list[str]:
    """Name the settings that are fine alone, but not together."""
    problems = []
    if bool(values.get("tls_cert_file")) != bool(values.get("tls_key_file")):
        problems.append(f"{PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE: set both or none")
    if values.get("client_ca_file") and not values.get("tls_cert_file"):
        problems.append(f"{PREFIX}CLIENT_CA_FILE: needs {PREFIX}TLS_CERT_FILE and {PREFIX}TLS_KEY_FILE")
    if values.get("token_file") and values.get("insecure_no_auth"):
        problems.append(f"{PREFIX}INSECURE_NO_AUTH: cannot be true while {PREFIX}TOKEN_FILE is set")
    defaults, ceilings = dict(values.get("lifecycle_defaults", ())), dict(values.get("lifecycle_ceilings", ()))
    problems += [
        f"{PREFIX}LIFECYCLE_DEFAULTS: its {name} is above that of {PREFIX}LIFECYCLE_CEILINGS"
        for name in sorted(defaults.keys() & ceilings.keys())
        if defaults[name] > ceilings[name]
    ]
    return problems


_DAY = 86_400

_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    PREFIX + variable: (field, read)
    for variable, field, read in (
        ("DEFAULT_IMAGE", "default_image", image),
        ("HELPER_IMAGE", "helper_image", image),
        ("ALLOWED_NAMESPACES", "allowed_namespaces", namespaces),
        ("ALLOWED_IMAGE_PREFIXES", "allowed_image_prefixes", words),
        ("ALLOWED_SECRETS", "allowed_secrets", words),
        ("PROGRESS_DEADLINE", "progress_deadline", whole(10, _DAY)),
        ("BASE_CONFIG_FILE", "base_config", toml_file),
        ("PLATFORM_NAMESPACE_LABELS", "platform_namespace_labels", labels),
        ("WEBHOOK_NAMESPACE", "webhook_namespace", namespace),
        ("ALLOW_PODS_WITHIN_NAMESPACE", "allow_pods_within_namespace", boolean),
        ("DNS_CIDRS", "dns_cidrs", cidrs),
        ("API_SERVER_CIDRS", "api_server_cidrs", cidrs),
        ("LIFECYCLE_DEFAULTS", "lifecycle_defaults", durations),
        ("LIFECYCLE_CEILINGS", "lifecycle_ceilings", durations),
        ("LIFECYCLE_SPREAD", "lifecycle_spread", whole(0, 3600)),
        ("TEMPLATES_DIR", "templates", templates_dir),
        ("RUNTIME_USER", "runtime_user", whole(1, 2**31 - 1)),
        ("RUNTIME_GROUP", "runtime_group", whole(1, 2**31 - 1)),
        ("BIND", "bind", bind),
        ("WORKERS", "workers", whole(1, 64)),
        ("KEEP_ALIVE", "keep_alive", whole(1, 3600)),
        ("REQUEST_TIMEOUT", "request_timeout", whole(1, 600)),
        ("GRACEFUL_TIMEOUT", "graceful_timeout", whole(1, 600)),
        ("MAX_BODY_BYTES", "max_body_bytes", whole(1024, 256 * MEBIBYTE)),
        ("MAX_JSON_DEPTH", "max_json_depth", whole(16, 200)),
        ("MAX_CHILDREN", "max_children", whole(8, 100_000)),
        ("MAX_CONCURRENT", "max_concurrent", whole(1, 10_000)),
        ("TOKEN_FILE", "token_file", readable_file),
        ("INSECURE_NO_AUTH", "insecure_no_auth", boolean),
        ("TLS_CERT_FILE", "tls_cert_file", readable_file),
        ("TLS_KEY_FILE", "tls_key_file", readable_file),
        ("CLIENT_CA_FILE", "client_ca_file", readable_file),
        ("LOG_LEVEL", "log_level", one_of("debug", "info", "warning", "error")),
        ("LOG_FORMAT", "log_format", one_of("json", "text")),
        ("METRICS_BIND", "metrics_bind", bind_or_none),
        ("SERVICE_PROXY", "service_proxy", proxy),
    )
}

assert {field for field, _ in _READERS.values()} == {field.name for field in dataclasses.fields(Settings)}  # noqa: S101
