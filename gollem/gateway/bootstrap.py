"""The whole of Envoy's configuration."""

from gollem.config import GatewayConfig
from gollem.gateway.clusters import clusters
from gollem.gateway.filters import filters
from gollem.gateway.replies import local_replies
from gollem.gateway.routes import virtual_host
from gollem.gateway.typed import Json, address, duration, typed

_HTTP_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
# The exchange takes 16 KiB as HTTP/2 counts them, 32 bytes more for each header; and this proxy adds its own.
_MAX_HEADER_KIB = 12
_MAX_HEADERS = 64
_HEADERS_MS = 10_000
_PING_MS = 30_000
_PONG_MS = 10_000
_DOCUMENT_BYTES = 1 << 20
_CONNECTION_BUFFER_BYTES = 1 << 20


def bootstrap(config: GatewayConfig) -> Json:
    """As JSON has it; the TLS files are named in it, not read."""
    return {
        "node": {"id": "gollem-gateway", "cluster": "gollem"},
        **_admin(config),
        "overload_manager": _limits(config),
        "static_resources": {"listeners": [_listener(config)], "clusters": clusters(config)},
    }


def _listener(config: GatewayConfig) -> Json:
    place = config.listen_address()
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(config)}
    return {
        "name": "http",
        "address": address(place.host, place.port),
        "per_connection_buffer_limit_bytes": _CONNECTION_BUFFER_BYTES,
        "filter_chains": [{"filters": [manager], **_tls(config)}],
    }


def _manager(config: GatewayConfig) -> Json:
    return typed(
        _HTTP_MANAGER,
        stat_prefix="http",
        codec_type="AUTO",
        route_config={
            "name": "routes",
            "max_direct_response_body_size_bytes": _DOCUMENT_BYTES,
            "virtual_hosts": [virtual_host(config)],
        },
        http_filters=filters(config),
        local_reply_config=local_replies(),
        # Who is asking: the connection's own address, unless proxies of ours stand in front.
        use_remote_address=True,
        xff_num_trusted_hops=config.trusted_hops,
        always_set_request_id_in_response=True,
        server_name="gollem",
        # One path, one meaning, before any route is chosen.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        max_request_headers_kb=_MAX_HEADER_KIB,
        request_headers_timeout=duration(_HEADERS_MS),
        stream_idle_timeout=duration(config.idle_timeout_ms),
        common_http_protocol_options={
            "idle_timeout": duration(config.idle_timeout_ms),
            "max_headers_count": _MAX_HEADERS,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        http2_protocol_options={
            "max_concurrent_streams": config.max_streams,
            "initial_stream_window_size": 1 << 16,
            "initial_connection_window_size": 1 << 20,
            "connection_keepalive": {"interval": duration(_PING_MS), "timeout": duration(_PONG_MS)},
        },
    )


def _tls(config: GatewayConfig) -> Json:
    if not config.certificate:
        return {}
    files = {"certificate_chain": {"filename": config.certificate}, "private_key": {"filename": config.private_key}}
    context = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [files],
        "alpn_protocols": ["h2", "http/1.1"],
    }
    return {
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed(_TLS, common_tls_context=context),
        }
    }


def _limits(config: GatewayConfig) -> Json:
    """A connection too many is closed at once."""
    monitor = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    most = typed(monitor, max_active_downstream_connections=config.max_connections)
    return {
        "resource_monitors": [
            {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": most}
        ]
    }


def _admin(config: GatewayConfig) -> Json:
    """Envoy's own pages, for this machine only. Without a port there are none."""
    if not config.admin_port:
        return {}
    return {"admin": {"address": address("127.0.0.1", config.admin_port)}}
