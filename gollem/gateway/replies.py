"""What Envoy itself answers, in the shape of the exchange's errors: google.rpc.Status with an ErrorInfo."""

from importlib import resources

from gollem.gateway.typed import Json, typed

# HTTP status -> gRPC code, reason, message.
_REASONS = {
    400: (3, "INVALID_MESSAGE", "%LOCAL_REPLY_BODY%"),  # the transcoder says which field
    404: (5, "NO_SUCH_ROUTE", "there is no such route, or not with this method"),
    408: (4, "TIMED_OUT", "the request took too long"),
    413: (8, "TOO_LARGE", "the body is too large"),
    426: (9, "UPGRADE_REQUIRED", "this protocol is not spoken here"),
    429: (8, "RATE_LIMITED", "too many requests from this address: wait a second"),
    431: (8, "TOO_LARGE", "the headers are too large"),
    501: (12, "UNSUPPORTED_ENCODING", "no transfer-encoding other than chunked is understood"),
    503: (14, "UNAVAILABLE", "the exchange cannot be reached: try again"),
    504: (4, "TIMED_OUT", "the exchange has not answered in time"),
}
# gRPC has statuses of its own, which Envoy sets by itself. What was transcoded looks like gRPC, but for its old path.
_IS_TRANSCODED = {"header_filter": {"header": {"name": "x-envoy-original-path", "present_match": True}}}
_IS_NOT_GRPC = {
    "header_filter": {
        "header": {
            "name": "content-type",
            "string_match": {"prefix": "application/grpc"},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        }
    }
}
# What Envoy says no word of, by its own name for it: status, gRPC code, reason, message. Of a path it has undone the
# escapes by then, so that nobody can say which it had.
_PATH_WORDS = "the path cannot be read: it must have no %%2f, %%5c, %%00 or #"
_UPGRADE_WORDS = "nothing is upgraded here, not to WebSocket either: streams are lines of JSON, or server-sent events"
_UNSPOKEN = {
    "path_normalization_failed": (400, 3, "INVALID_PATH", _PATH_WORDS),
    "missing_host_header": (400, 3, "INVALID_MESSAGE", "the request needs a Host header"),
    "upgrade_failed": (403, 7, "UPGRADE_REFUSED", _UPGRADE_WORDS),
}
_ASKS_FOR_A_PAGE = {"header_filter": {"header": {"name": "accept", "string_match": {"contains": "text/html"}}}}
_IS_HTTP = {"or_filter": {"filters": [_IS_TRANSCODED, _IS_NOT_GRPC]}}


def local_replies() -> Json:
    """One for each cause and each status, with the numbers of both worlds; the first that fits counts."""
    causes = [_mapper(*words, _caused_by(cause)) for cause, words in _UNSPOKEN.items()]
    statuses = [_mapper(status, *words) for status, words in _REASONS.items()]
    return {"mappers": [*causes, _page(503), _page(504), *statuses]}


def _page(status: int) -> Json:
    """For whoever opens the dashboard while the exchange, which serves it, is away."""
    page = resources.files("gollem.gateway") / "away.html"
    return {
        "filter": {"and_filter": {"filters": [_has(status), _IS_HTTP, _ASKS_FOR_A_PAGE]}},
        "body_format_override": {
            "text_format_source": {"filename": str(page)},
            "content_type": "text/html; charset=utf-8",
        },
    }


def _has(status: int) -> Json:
    value = {"default_value": status, "runtime_key": "gateway.reply_status"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _caused_by(cause: str) -> Json:
    kind = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    said = typed(kind, expression=f"response.code_details == '{cause}'")
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": said}}


def _mapper(status: int, code: int, reason: str, message: str, *more: Json) -> Json:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "gollem"}
    return {
        "filter": {"and_filter": {"filters": [_has(status), _IS_HTTP, *more]}},
        "body_format_override": {
            "json_format": {"code": code, "message": message, "details": [info]},
            "content_type": "application/json",
        },
    }
