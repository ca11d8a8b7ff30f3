"""Envoy's whole configuration, as data: a listener for users, one for probes, the gate, and the swarms.

`swarm` is an ORIGINAL_DST cluster: it goes to the address that the gate's answer named for this request, and to none
where it named none. Every bound of Envoy's own (1,024 of anything) is raised to `max_connections`.
"""

from __future__ import annotations

from typing import Any

from userswarm.gate.answers import UPSTREAM_HEADER
from userswarm.gate.envoy.http import GATE, SWARM, connection_manager
from userswarm.gate.envoy.logs import METADATA
from userswarm.gate.envoy.settings import EnvoySettings
from userswarm.gate.envoy.words import Config, extension, seconds, socket_address, typed

_CONNECT_SECONDS = 3.0

_BUFFER = 1 << 16
"""What Envoy keeps of a stream, in bytes: beyond, the faster side waits."""

_IDLE_SECONDS = 60.0
"""Below the gate's own: a connection is never used while the other side closes it."""


def build_bootstrap(settings: EnvoySettings) -> Config:
    """Return the configuration that ``envoy -c`` reads."""
    return {
        "node": {"id": "userswarm-gate", "cluster": "userswarm-gate"},
        "admin": {"address": socket_address(f"unix:{settings.run_dir}/admin.sock")},
        "static_resources": {
            "listeners": [_users(settings), _status(settings)],
            "clusters": [_gate(settings), _swarm(settings), _admin(settings)],
        },
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=settings.max_connections,
                )
            ]
        },
    }


def _users(settings: EnvoySettings) -> Config:
    chain: Config = {"filters": [connection_manager(settings)]}
    if settings.tls_cert_file:
        chain["transport_socket"] = extension(
            "envoy.transport_sockets.tls",
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificate_sds_secret_configs": [
                    {
                        "name": "users",
                        "sds_config": {
                            "path_config_source": {"path": f"{settings.run_dir}/tls.yaml"},
                            "resource_api_version": "V3",
                        },
                    }
                ],
            },
        )
    return {
        "name": "users",
        "address": socket_address(settings.listen),
        "per_connection_buffer_limit_bytes": _BUFFER,
        "filter_chains": [chain],
    }


def build_tls(settings: EnvoySettings) -> Config:
    """Return the file that names the certificate: in one of its own, Envoy reads it again when it changes."""
    secret = typed(
        "extensions.transport_sockets.tls.v3.Secret",
        name="users",
        tls_certificate={
            "certificate_chain": {"filename": settings.tls_cert_file},
            "private_key": {"filename": settings.tls_key_file},
        },
    )
    return {"resources": [secret]}


def _status(settings: EnvoySettings) -> Config:
    """Return the listener of probes and of Prometheus; of the admin interface it shows nothing else."""
    routes = [
        {"match": {"path": path}, "route": {"cluster": "admin", "prefix_rewrite": target}}
        for path, target in (("/ready", "/ready"), ("/metrics", "/stats/prometheus"))
    ]
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="status",
        route_config={"virtual_hosts": [{"name": "status", "domains": ["*"], "routes": routes}]},
        http_filters=[extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")],
    )
    return {
        "name": "status",
        "address": socket_address(settings.status),
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [manager]}],
    }


def _gate(settings: EnvoySettings) -> Config:
    return _cluster(settings, GATE, settings.gate)


def _admin(settings: EnvoySettings) -> Config:
    return _cluster(settings, "admin", f"unix:{settings.run_dir}/admin.sock")


def _cluster(settings: EnvoySettings, name: str, address: str) -> Config:
    endpoint = {"endpoint": {"address": socket_address(address)}}
    return {
        "name": name,
        "type": "STATIC",
        **_bounds(settings),
        "typed_extension_protocol_options": _upstream_options({"idle_timeout": seconds(_IDLE_SECONDS)}),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _swarm(settings: EnvoySettings) -> Config:
    return {
        "name": SWARM,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        **_bounds(settings),
        "per_connection_buffer_limit_bytes": _BUFFER,
        "original_dst_lb_config": {"metadata_key": {"key": METADATA, "path": [{"key": UPSTREAM_HEADER}]}},
        "typed_extension_protocol_options": _upstream_options(
            # A connection is one request's. An address may be another swarm's by the time it is used again, and a
            # runtime closes idle connections when it likes.
            {"max_requests_per_connection": 1},
            http_filters=[
                extension(
                    "envoy.filters.http.header_mutation",
                    "extensions.filters.http.header_mutation.v3.HeaderMutation",
                    mutations={"request_mutations": [{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}]},
                ),
                extension(
                    "envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
                ),
            ],
        ),
    }


def _upstream_options(common: Config, **more: Any) -> Config:
    kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        f"envoy.{kind}": typed(
            kind,
            common_http_protocol_options=common,
            explicit_http_config={"http_protocol_options": {}},
            **more,
        )
    }


def _bounds(settings: EnvoySettings) -> Config:
    most = settings.max_connections
    names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {
        "connect_timeout": seconds(_CONNECT_SECONDS),
        "circuit_breakers": {"thresholds": [dict.fromkeys(names, most)]},
    }
