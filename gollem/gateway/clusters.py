"""Where requests go: the exchange, every node of it, and the bridge of webhooks and pages."""

from gollem.config import GatewayConfig, HostPort
from gollem.gateway.typed import Json, address, duration, typed

EXCHANGE = "exchange"
BRIDGE = "bridge"
_CONNECT_MS = 2_000
# Of a connection whose caller may have gone: Envoy keeps it until then.
_IDLE_MS = 5_000
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# A stopped node answers NOT_SERVING, and is asked no more before it closes.
_HEALTH_CHECK = {
    "timeout": duration(1_000),
    "interval": duration(2_000),
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
    "no_traffic_interval": duration(2_000),
    "grpc_health_check": {},
}


def clusters(config: GatewayConfig) -> list[Json]:
    """Both, looked up by name again and again, so that nodes may come and go behind one name."""
    return [_exchange(config), _bridge(config)]


def _exchange(config: GatewayConfig) -> Json:
    return {
        **_cluster(EXCHANGE, config.exchanges()),
        "lb_policy": "LEAST_REQUEST",
        "health_checks": [_HEALTH_CHECK],
        # One caller, one connection: the exchange hangs up on who floods it, and that is to be nobody else.
        "connection_pool_per_downstream_connection": True,
        # Below what the exchange itself takes (server.max_connections, .max_streams, .idle_timeout_ms).
        "circuit_breakers": _most(config.max_requests),
        "typed_extension_protocol_options": {
            _HTTP: typed(
                _HTTP,
                common_http_protocol_options={"idle_timeout": duration(_IDLE_MS)},
                explicit_http_config={"http2_protocol_options": {"max_concurrent_streams": 500}},
            )
        },
    }


def _bridge(config: GatewayConfig) -> Json:
    """It answers one request a connection, and says so."""
    return {
        **_cluster(BRIDGE, [config.bridge_address()]),
        "circuit_breakers": _most(200),
    }


def _cluster(name: str, places: list[HostPort]) -> Json:
    endpoints = [{"endpoint": {"address": address(place.host, place.port)}} for place in places]
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": duration(_CONNECT_MS),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _most(requests: int) -> Json:
    """Envoy's own bounds are 1,024 each."""
    limit = {"max_connections": requests, "max_pending_requests": requests, "max_requests": requests, "max_retries": 32}
    return {"thresholds": [limit]}
