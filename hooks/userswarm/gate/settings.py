"""What the operator decides about the gate, read once from the environment at start.

Every setting is a field of `GateSettings` and an environment variable: ``USERSWARM_GATE_`` and the field in capitals.
As with the webhook's, all bad values are named together, and stop the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from userswarm.errors import SettingsError
from userswarm.gate.setting_readers import (
    audit_place,
    domain,
    exceptions,
    hosts,
    issuers,
    origins,
    path_prefix,
    rate,
    storage,
)
from userswarm.gate.tokens.issuers import Issuer
from userswarm.spec.setting_readers import (
    Readers,
    bind,
    bind_or_none,
    boolean,
    one_of,
    read_environment,
    readable_file,
    whole,
)

PREFIX = "USERSWARM_GATE_"


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The operator's decisions; times are seconds.

    Who:
        issuers: whose access tokens are accepted, of ISSUERS_FILE (TOML; `tokens.issuers` says what it holds).
        token_file: static tokens for machines and tests: lines of a SHA-256 in hex, a blank and the user's id.
        clock_leeway: by so much an issuer's clock may differ from ours.
        jwks_refresh, jwks_max_age: keys are read anew after the one; without an answer they hold until the other.
        allowed_origins: whence browsers may ask; empty does not look.
    Where:
        path_prefix: before the workspace's id in a path; empty for none.
        domain: <id>.DOMAIN is a workspace's host; empty for none.
        hosts: of HOSTS_FILE, where Services are that no DNS knows; for a machine outside of the cluster only.
    Whether:
        max_staleness: memory that nothing has proved for so long is not believed; nobody gets in then.
        hold: for so long a request waits for a runtime that is asleep, or not verified yet.
    How much (empty and 0 for no limit):
        user_rate, workspace_rate: requests, such as 20/second or 600/minute.
        user_open, workspace_open: requests that are open at once; needs access_log.
        limits: exceptions, of LIMITS_FILE: TOML tables [user."id"] and [workspace."id"] with `rate` and `open`.
        limits_storage: redis://…, where several processes count together; empty for memory, and one worker.
    Told:
        audit: where a line for each decision goes: stdout, a file's path, or none where it is empty.
        access_log: the pipe (FIFO) into which Envoy writes what is open.
        pass_authorization: whether the runtime sees the client's Authorization.
    Served:
        bind: where the proxy asks; workers: processes; max_waiting: connections that one of them takes.
        graceful_timeout: how long a stop waits for those who are held.
        metrics_bind, log_level, log_format: as for `userswarm serve`.
    """

    issuers: tuple[Issuer, ...] = ()
    token_file: str = ""
    clock_leeway: int = 30
    jwks_refresh: int = 300
    jwks_max_age: int = 3600
    allowed_origins: tuple[str, ...] = ()

    path_prefix: str = "/v1/workspaces/"
    domain: str = ""
    hosts: Mapping[str, str] | None = None

    max_staleness: int = 30
    hold: int = 60

    user_rate: str = ""
    workspace_rate: str = ""
    user_open: int = 0
    workspace_open: int = 0
    limits: Mapping[str, Mapping[str, Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    limits_storage: str = ""

    audit: str = "stdout"
    access_log: str = ""
    pass_authorization: bool = False

    bind: str = "127.0.0.1:8090"
    workers: int = 1
    max_waiting: int = 4000
    graceful_timeout: int = 25
    metrics_bind: str = ""
    log_level: str = "info"
    log_format: str = "json"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> GateSettings:
        """Read every ``USERSWARM_GATE_*`` variable, and the files they name.

        Raises SettingsError naming each variable that cannot be used or is not known, its value, and what would be
        accepted.
        """
        values, problems = read_environment(environ, PREFIX, _READERS)
        problems += _conflicts(values)
        if problems:
            raise SettingsError("\n".join(problems))
        return cls(**values)

    @property
    def counts(self) -> bool:
        """Whether there is any limit."""
        return bool(self.user_rate or self.workspace_rate or self.limits or self.counts_open)

    @property
    def counts_open(self) -> bool:
        """Whether there is a limit of open requests."""
        exceptions = [each for group in self.limits.values() for each in group.values()]
        return bool(self.user_open or self.workspace_open or any(each.get("open") for each in exceptions))


def _conflicts(values: Mapping[str, Any]) -> list[str]:
    """Name the settings that are fine alone, but not together."""
    problems = []
    settings = GateSettings(**values)
    if settings.counts and settings.workers > 1 and not settings.limits_storage:
        problems.append(
            f"{PREFIX}WORKERS={settings.workers}: each would count for itself, so set {PREFIX}LIMITS_STORAGE to a "
            f"redis://… that they share, or leave one worker"
        )
    if settings.counts_open and not settings.access_log:
        problems.append(f"{PREFIX}ACCESS_LOG: only Envoy knows when a request ends; a limit of open requests needs it")
    if "path_prefix" in values and not settings.path_prefix and not settings.domain:
        problems.append(f"{PREFIX}DOMAIN: set it, or {PREFIX}PATH_PREFIX, or no request is for any workspace")
    return problems


_DAY = 86_400

_READERS: Readers = {
    PREFIX + variable: (field, read)
    for variable, field, read in (
        ("ISSUERS_FILE", "issuers", issuers),
        ("TOKEN_FILE", "token_file", readable_file),
        ("CLOCK_LEEWAY", "clock_leeway", whole(0, 300)),
        ("JWKS_REFRESH", "jwks_refresh", whole(10, _DAY)),
        ("JWKS_MAX_AGE", "jwks_max_age", whole(10, 7 * _DAY)),
        ("ALLOWED_ORIGINS", "allowed_origins", origins),
        ("PATH_PREFIX", "path_prefix", path_prefix),
        ("DOMAIN", "domain", domain),
        ("HOSTS_FILE", "hosts", hosts),
        ("MAX_STALENESS", "max_staleness", whole(2, 3600)),
        ("HOLD", "hold", whole(0, 600)),
        ("USER_RATE", "user_rate", rate),
        ("WORKSPACE_RATE", "workspace_rate", rate),
        ("USER_OPEN", "user_open", whole(0, 100_000)),
        ("WORKSPACE_OPEN", "workspace_open", whole(0, 100_000)),
        ("LIMITS_FILE", "limits", exceptions),
        ("LIMITS_STORAGE", "limits_storage", storage),
        ("AUDIT", "audit", audit_place),
        ("ACCESS_LOG", "access_log", str),
        ("PASS_AUTHORIZATION", "pass_authorization", boolean),
        ("BIND", "bind", bind),
        ("WORKERS", "workers", whole(1, 64)),
        ("MAX_WAITING", "max_waiting", whole(10, 100_000)),
        ("GRACEFUL_TIMEOUT", "graceful_timeout", whole(1, 600)),
        ("METRICS_BIND", "metrics_bind", bind_or_none),
        ("LOG_LEVEL", "log_level", one_of("debug", "info", "warning", "error")),
        ("LOG_FORMAT", "log_format", one_of("json", "text")),
    )
}

assert {field for field, _ in _READERS.values()} == {field.name for field in dataclasses.fields(GateSettings)}  # noqa: S101
