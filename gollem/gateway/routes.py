"""Which request goes where, first match first, and how long it may take."""

from gollem.config import GatewayConfig
from gollem.gateway.clusters import BRIDGE, EXCHANGE
from gollem.gateway.filters import SERVICES, as_events, generated, of_calls, without
from gollem.gateway.typed import Json, duration, filter_config, typed

# gRPC, and gRPC-Web before it is turned into it. Health and reflection need no key.
_CALLED = (*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")
_CALLED_LONG_AGO = "grpc.reflection.v1alpha.ServerReflection"
_GENERATE = "/api/generate"
_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_EVENTS = {"name": "accept", "string_match": {"contains": "text/event-stream"}}
# Asked again only where the exchange has certainly not begun: order ids make even more harmless.
# Of another exchange: one that has just ended has the least to do, and would be picked again until its health is asked.
_RETRY = {
    "retry_on": "connect-failure,refused-stream",
    "num_retries": 3,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
        }
    ],
    "host_selection_retry_max_attempts": 8,
}
_PAGE_MS = 20_000


def virtual_host(config: GatewayConfig) -> Json:
    return {
        "name": "gollem",
        "domains": ["*"],
        "routes": [
            *[_call(service) for service in (*_CALLED, _CALLED_LONG_AGO)],
            _nothing({"prefix": "/gollem.v1."}),
            _nothing({"prefix": "/grpc."}),
            _stream(config, {"path": _GENERATE, "headers": [_EVENTS]}, "text/event-stream", as_events(config)),
            _stream(config, {"path": _GENERATE}, "application/x-ndjson", {}),
            _described(),
            _api(config),
            _bridged("/webhooks/", "grpc_json_transcoder", "local_ratelimit"),
            _bridged("/", "grpc_json_transcoder"),
        ],
        **_cors(config),
    }


def _call(service: str) -> Json:
    """Streams of agents and watchers may be silent for long and need never end; a peer that is gone answers no ping."""
    route = {"cluster": EXCHANGE, "timeout": "0s", "idle_timeout": "0s", "retry_policy": _RETRY}
    match = {"prefix": f"/{service}/", "headers": [_GRPC]}
    return {"match": match, "route": route, "typed_per_filter_config": of_calls()}


def _nothing(match: Json) -> Json:
    return {"match": match, "direct_response": {"status": 404}}


def _described() -> Json:
    return {
        "match": {"path": "/api/openapi.json"},
        "direct_response": {"status": 200, "body": {"filename": generated("openapi.json")}},
        "response_headers_to_add": [{"header": {"key": "content-type", "value": "application/json"}}],
        "typed_per_filter_config": without("grpc_json_transcoder"),
    }


def _stream(config: GatewayConfig, match: Json, content_type: str, filters: Json) -> Json:
    """An answer that comes message by message; the script in filters.py names its kind."""
    longest = {"max_stream_duration": duration(config.stream_timeout_ms)}
    return {
        "match": match,
        "route": {"cluster": EXCHANGE, "timeout": "0s", "max_stream_duration": longest},
        "metadata": {"filter_metadata": {"envoy.filters.http.lua": {"stream_type": content_type}}},
        "typed_per_filter_config": filters,
    }


def _api(config: GatewayConfig) -> Json:
    longest = {"max_stream_duration": duration(2 * config.timeout_ms)}
    route = {
        "cluster": EXCHANGE,
        "timeout": duration(config.timeout_ms),
        "max_stream_duration": longest,
        "retry_policy": _RETRY,
    }
    return {"match": {"path_separated_prefix": "/api"}, "route": route}


def _bridged(prefix: str, *passed_by: str) -> Json:
    """Webhooks, which bring their own bounds and come in bursts, and pages."""
    route = {"cluster": BRIDGE, "timeout": duration(_PAGE_MS)}
    return {"match": {"prefix": prefix}, "route": route, "typed_per_filter_config": without(*passed_by)}


def _cors(config: GatewayConfig) -> Json:
    """Nothing unless origins are named: then browsers may call from pages of these."""
    if not config.cors_origins:
        return {}
    policy = filter_config(
        "cors",
        "CorsPolicy",
        allow_origin_string_match=[{"exact": origin} for origin in config.origins()],
        allow_methods="GET, POST",
        allow_headers="authorization, content-type, accept, idempotency-key, x-max-price, x-max-latency, "
        "x-grpc-web, x-user-agent, grpc-timeout",
        expose_headers="grpc-status, grpc-message, grpc-status-details-bin, x-request-id, retry-after",
        max_age="600",
    )
    return {"typed_per_filter_config": {"envoy.filters.http.cors": policy}}
