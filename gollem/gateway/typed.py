"""The shapes that repeat in Envoy's configuration. Its reference: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3"""

from typing import Any

Json = dict[str, Any]
HTTP_FILTERS = "envoy.extensions.filters.http"


def typed(kind: str, **fields: Any) -> Json:
    """A message that names its own type."""
    return {"@type": f"type.googleapis.com/{kind}", **fields}


def http_filter(name: str, message: str, **fields: Any) -> Json:
    """`name` is that of the extension's package, `message` that of its configuration."""
    return {"name": f"envoy.filters.http.{name}", "typed_config": filter_config(name, message, **fields)}


def filter_config(name: str, message: str, **fields: Any) -> Json:
    return typed(f"{HTTP_FILTERS}.{name}.v3.{message}", **fields)


def duration(milliseconds: int) -> str:
    """As protobuf's JSON has it: exact, in seconds."""
    return f"{milliseconds // 1_000}.{milliseconds % 1_000:03}s"


def address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}
