"""How Envoy takes a request: what it refuses, what it strips, whom it asks, and where the request goes then.

Paths are neither normalized nor merged: the gate refuses what is not canonical, and sees what the runtime would see.
The upstream address and the user travel from the gate's answer to the router in Envoy's own memory (dynamic metadata);
a header is only what the runtime is told.
"""

from __future__ import annotations

import re
from typing import Any

from userswarm.gate.answers import TOO_EARLY_HEADER, UPSTREAM_HEADER, USER_HEADER, WORKSPACE_HEADER
from userswarm.gate.envoy.logs import METADATA, access_logs, local_replies
from userswarm.gate.envoy.settings import EnvoySettings
from userswarm.gate.envoy.words import Config, extension, seconds, typed

GATE, SWARM = "gate", "swarm"

NO_ANSWER = 503
"""What a client is told when the gate does not answer."""

_NOWHERE = "255.255.255.255"

_MARGIN = 5.0
"""Seconds for which the gate's own answer may be late before Envoy gives up on it."""

_KEY: Config = {
    "header": {"key": "sec-websocket-key", "value": "dXNlcnN3YXJtLWdhdGUhIQ=="},
    "append_action": "ADD_IF_ABSENT",
}
"""A WebSocket over HTTP/2 has no key (RFC 8441), and runtimes refuse one without (RFC 6455). Any will do."""

_UPGRADE: Config = {"name": "upgrade", "present_match": True}

_NO_ASCII: Config = {
    "match": {
        "prefix": "/",
        "headers": [{"name": ":path", "string_match": {"safe_regex": {"regex": "[!-~]*"}}, "invert_match": True}],
    },
    "direct_response": {"status": 400},
    "typed_per_filter_config": {
        METADATA: typed("extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", disabled=True),
    },
}
"""Over HTTP/2 a path may hold any byte, and where it is no UTF-8 the gate would be asked about another path."""

_STREAMS: list[Config] = [
    _UPGRADE,
    {"name": ":protocol", "present_match": True},
    {"name": "accept", "string_match": {"prefix": "text/event-stream"}},
    {"name": "content-type", "string_match": {"prefix": "application/grpc"}},
]


def connection_manager(settings: EnvoySettings) -> Config:
    """Return the network filter that speaks HTTP with clients."""
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gate",
        **_protocols(settings),
        **_clients_words(settings),
        stream_idle_timeout=seconds(settings.idle_timeout),
        request_headers_timeout=seconds(settings.header_timeout),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        access_log=access_logs(settings),
        access_log_options={"access_log_flush_interval": seconds(settings.stream_log_interval)},
        local_reply_config=local_replies(),
        http_filters=[_ask_the_gate(settings), _router()],
        route_config=_routes(settings),
    )


def _protocols(settings: EnvoySettings) -> Config:
    return {
        "codec_type": "AUTO",
        "max_request_headers_kb": settings.max_header_kib,
        "common_http_protocol_options": {
            "idle_timeout": seconds(settings.idle_timeout),
            "max_headers_count": settings.max_headers,
            # WSGI servers take x_userswarm_user for x-userswarm-user.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http_protocol_options": {"allow_absolute_url": False},
        "http2_protocol_options": {
            "allow_connect": True,  # WebSockets of RFC 8441
            "max_concurrent_streams": 128,
            "initial_stream_window_size": 1 << 16,
            "initial_connection_window_size": 1 << 20,
            "connection_keepalive": {"interval": "30s", "timeout": "10s"},
        },
    }


def _clients_words(settings: EnvoySettings) -> Config:
    """Return what becomes of the headers by which a client could speak for others."""
    stripped: list[Config] = [{"prefix": "x-userswarm-"}, {"exact": "forwarded"}]
    if not settings.trusted_hops:
        stripped += [{"prefix": "x-forwarded-"}, {"exact": "x-real-ip"}]
    mutations = [{"remove_on_match": {"key_matcher": matcher}} for matcher in stripped]
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_hops,
        # Nobody is, so that nobody's x-envoy-* is heard: a client of our own network is a client.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": _NOWHERE, "prefix_len": 32}]},
        "generate_request_id": True,
        "preserve_external_request_id": False,
        "always_set_request_id_in_response": True,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "early_header_mutation_extensions": [
            extension(
                "envoy.http.early_header_mutation.header_mutation",
                "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=mutations,
            )
        ],
    }


def _ask_the_gate(settings: EnvoySettings) -> Config:
    def exactly(*names: str) -> Config:
        return {"patterns": [{"exact": name} for name in names]}

    return extension(
        "envoy.filters.http.ext_authz",
        "extensions.filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        failure_mode_allow=False,
        status_on_error={"code": NO_ANSWER},
        allowed_headers=exactly("authorization", "x-request-id", "upgrade", "origin", "x-forwarded-for"),
        http_service={
            "server_uri": {"uri": "http://gate", "cluster": GATE, "timeout": seconds(settings.hold + _MARGIN)},
            "path_prefix": "/check",
            "authorization_request": {"headers_to_add": [{"key": TOO_EARLY_HEADER, "value": "1"}]},
            "authorization_response": {
                "allowed_upstream_headers": exactly(USER_HEADER, WORKSPACE_HEADER),
                "allowed_client_headers": exactly("content-type", "www-authenticate", "retry-after", "cache-control"),
                "dynamic_metadata_from_headers": exactly(UPSTREAM_HEADER, USER_HEADER, WORKSPACE_HEADER),
            },
        },
    )


def _router() -> Config:
    return extension(
        "envoy.filters.http.router", "extensions.filters.http.router.v3.Router", suppress_envoy_headers=True
    )


def _routes(settings: EnvoySettings) -> Config:
    prefix = settings.path_prefix
    rewrite = {
        # One segment names the workspace; what follows is the runtime's.
        "regex_rewrite": {"pattern": {"regex": f"^{re.escape(prefix)}[^/]+/?(.*)$"}, "substitution": r"/\1"}
    }
    hosts = []
    if settings.path_prefix:
        hosts.append({"name": "by-path", "domains": ["*"], "routes": _routes_below(settings, prefix, rewrite)})
    if settings.domain:
        domains = [f"*.{settings.domain}"]
        hosts.append({"name": "by-host", "domains": domains, "routes": _routes_below(settings, "/", {})})
    return {"name": "users", "virtual_hosts": hosts, "ignore_port_in_host_matching": True}


def _routes_below(settings: EnvoySettings, prefix: str, rewrite: Config) -> list[Config]:
    """Return the routes of one form of address: too large, a stream, or a request with an end."""
    action: dict[str, Any] = {
        "cluster": SWARM,
        "idle_timeout": seconds(settings.idle_timeout),
        # Where no connection came about nothing was sent: the only failure that is tried again.
        "retry_policy": {
            "retry_on": "connect-failure",
            "num_retries": 3,
            "retry_back_off": {"base_interval": "0.2s", "max_interval": "1s"},
        },
        **rewrite,
    }
    routes = [_NO_ASCII]
    if settings.max_body_bytes:
        too_large = {"range_match": {"start": settings.max_body_bytes + 1, "end": (1 << 63) - 1}}
        routes.append(
            {
                "match": {"prefix": prefix, "headers": [{"name": "content-length", **too_large}]},
                "direct_response": {"status": 413},
            }
        )
    stripped = [] if settings.pass_authorization else ["authorization"]
    matches: list[tuple[Config, int]] = [({"prefix": prefix, "headers": [header]}, 0) for header in _STREAMS]
    for match, timeout in [*matches, ({"prefix": prefix}, settings.total_timeout)]:
        route = {**action, "timeout": seconds(timeout)}
        added = [_KEY] if _UPGRADE in match.get("headers", []) else []
        routes.append(
            {
                "match": match,
                "route": route,
                "request_headers_to_remove": stripped,
                "request_headers_to_add": added,
            }
        )
    return routes
