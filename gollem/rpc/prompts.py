"""The form of what a relayed generation sends to its provider, checked before anything is matched for it."""

from gollem.errors import InvalidField
from gollem.rpc import fields
from gollem.rpc.pb import common_pb2, market_pb2

_MAX_MESSAGES = 1_024
_MAX_CONTENT_BYTES = 2 << 20
_MAX_STOPS = 8
_MAX_STOP_BYTES = 64
_ROLES = frozenset({"system", "user", "assistant"})


def check(request: market_pb2.MarketGenerateRequest) -> int:
    """Bytes of the messages together. Raises InvalidField for what a provider would refuse as well."""
    fields.count(len(request.messages), "messages", _MAX_MESSAGES, least=1)
    for at, message in enumerate(request.messages):
        if message.role not in _ROLES:
            raise InvalidField(f"messages[{at}].role", "must be system, user or assistant")
    size = sum(len(message.content.encode()) for message in request.messages)
    if size > _MAX_CONTENT_BYTES:
        raise InvalidField("messages", f"must be at most {_MAX_CONTENT_BYTES} bytes together, not {size}")
    _check_sampling(request.sampling)
    return size


def _check_sampling(sampling: common_pb2.Sampling) -> None:
    if sampling.HasField("temperature") and not 0 <= sampling.temperature <= 2:
        raise InvalidField("sampling.temperature", "must be from 0 to 2")
    if sampling.HasField("top_p") and not 0 < sampling.top_p <= 1:
        raise InvalidField("sampling.top_p", "must be above 0 and at most 1")
    fields.count(len(sampling.stop), "sampling.stop", _MAX_STOPS)
    if any(not 1 <= len(stop.encode()) <= _MAX_STOP_BYTES for stop in sampling.stop):
        raise InvalidField("sampling.stop", f"each must have 1 to {_MAX_STOP_BYTES} bytes")
