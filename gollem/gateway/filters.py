"""What a request goes through on its way in, in this order; an answer goes back through it from the end."""

from importlib import resources

from gollem.config import GatewayConfig
from gollem.gateway.typed import Json, filter_config, http_filter, typed

# Operators' calls are not among them: AdminService is for gRPC at the exchange itself.
SERVICES = (
    "gollem.v1.MarketService",
    "gollem.v1.ProviderService",
    "gollem.v1.CreditService",
    "gollem.v1.PayoutService",
    "gollem.v1.AccountService",
    "gollem.v1.OperatorService",
)
_PER_CLIENT = "remote_address"
_MAX_CLIENTS = 10_000
_CALLS_LIMIT = "calls_limit"
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}

# Not by the route's own removal of headers: that comes before the transcoder, which needs them.
# Interpreted: where no memory may become executable (deploy/systemd), Envoy would end when LuaJIT compiles it.
_HTTP_ANSWER = """
jit.off()
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get("x-http-status")
  headers:remove("x-http-status")
  if string.sub(headers:get("content-type") or "", 1, 16) == "application/grpc" then
    if headers:get(":status") == "429" then headers:replace("grpc-status", "8") end
    return
  end
  headers:remove("grpc-status")
  if status ~= nil then headers:replace(":status", status) end
  local kind = handle:metadata():get("stream_type")
  if kind ~= nil and headers:get(":status") == "200" then headers:replace("content-type", kind) end
end
"""


def generated(name: str) -> str:
    """A file that `make proto` writes: gollem.binpb has every service and error, openapi.json every route."""
    return str(resources.files("gollem.gateway") / name)


def filters(config: GatewayConfig) -> list[Json]:
    return [
        http_filter("cors", "Cors"),
        _clean_headers(),
        _http_answer(),
        http_filter("grpc_web", "GrpcWeb"),
        # After gRPC-Web has become gRPC, so that both are refused with a status of gRPC (of 429 the script makes 8).
        http_filter("local_ratelimit", "LocalRateLimit", **_rate_limit(config.requests_per_second, config.burst)),
        _calls_limit(config),
        http_filter("grpc_json_transcoder", "GrpcJsonTranscoder", **_transcoder(config, "stream_newline_delimited")),
        http_filter("router", "Router", suppress_envoy_headers=True),
    ]


def as_events(config: GatewayConfig) -> Json:
    """For a route whose streams are to be server-sent events."""
    transcoder = _transcoder(config, "stream_sse_style_delimited")
    return {
        "envoy.filters.http.grpc_json_transcoder": filter_config(
            "grpc_json_transcoder", "GrpcJsonTranscoder", **transcoder
        )
    }


def without(*names: str) -> Json:
    """For a route that passes these filters by."""
    off = typed("envoy.config.route.v3.FilterConfig", disabled=True)
    return {f"envoy.filters.http.{name}": off for name in names}


def of_calls() -> Json:
    """For a route of gRPC: its limit in the place of that of HTTP."""
    on = typed("envoy.config.route.v3.FilterConfig", config={})
    return {_CALLS_LIMIT: on, **without("local_ratelimit")}


def _calls_limit(config: GatewayConfig) -> Json:
    """Off but where a route has it. An address has one bucket for all services: nothing else bounds how often somebody
    without a key calls, as the exchange knows accounts only."""
    limit = _rate_limit(config.calls_per_second, config.calls_burst)
    named = {"name": _CALLS_LIMIT, "disabled": True}
    return named | {"typed_config": filter_config("local_ratelimit", "LocalRateLimit", **limit)}


def _rate_limit(per_second: int, burst: int) -> Json:
    """A bucket an address; the exchange limits each account by itself. The oldest address is forgotten first."""
    bucket = {"max_tokens": burst, "tokens_per_fill": per_second, "fill_interval": "1s"}
    return {
        "stat_prefix": "http",
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        "rate_limits": [{"actions": [{_PER_CLIENT: {}}]}],
        "descriptors": [{"entries": [{"key": _PER_CLIENT}], "token_bucket": bucket}],
        "max_dynamic_descriptors": _MAX_CLIENTS,
        "rate_limited_as_resource_exhausted": True,
        "response_headers_to_add": [{"header": {"key": "retry-after", "value": "1"}}],
    }


def _clean_headers() -> Json:
    """Binary metadata, of which the exchange knows none, and what would steer this proxy itself."""
    unwanted = [{"suffix": "-bin"}, {"prefix": "x-envoy-"}]
    removals = [{"remove_on_match": {"key_matcher": matcher}} for matcher in unwanted]
    return http_filter("header_mutation", "HeaderMutation", mutations={"request_mutations": removals})


def _http_answer() -> Json:
    """The exchange names the status where that of gRPC says too little; see gollem/rpc/http_hints.py."""
    return http_filter("lua", "Lua", default_source_code={"inline_string": _HTTP_ANSWER})


def _transcoder(config: GatewayConfig, stream_style: str) -> Json:
    return {
        "proto_descriptor": generated("gollem.binpb"),
        "services": list(SERVICES),
        "convert_grpc_status": True,
        "match_incoming_request_route": True,
        "query_param_unescape_plus": True,
        "max_request_body_size": config.max_body_bytes,
        "print_options": {"always_print_primitive_fields": True, stream_style: True},
        # Body fields that are not known pass in silence: Envoy 1.40 has no option for them.
        "request_validation_options": {"reject_unknown_method": True, "reject_unknown_query_parameters": True},
    }
