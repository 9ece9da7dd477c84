"""The form of a request, checked before anything is done for it. Pure."""

from provider_agent.pb.common_pb2 import Sampling
from provider_agent.pb.inference_pb2 import GenerateRequest
from provider_agent.refusals import invalid

_MAX_MESSAGES = 1_024
_MAX_CONTENT_BYTES = 2 << 20
_MAX_STOPS = 8
_MAX_STOP_BYTES = 64
_ROLES = frozenset({"system", "user", "assistant"})


def check_request(request: GenerateRequest) -> None:
    """Raises Refusal INVALID_FIELD."""
    if not 1 <= len(request.messages) <= _MAX_MESSAGES:
        raise invalid("messages", f"must be 1 to {_MAX_MESSAGES:,}")
    for at, message in enumerate(request.messages):
        if message.role not in _ROLES:
            raise invalid(f"messages[{at}].role", "must be system, user or assistant")
    if sum(len(message.content.encode()) for message in request.messages) > _MAX_CONTENT_BYTES:
        raise invalid("messages", f"must have at most {_MAX_CONTENT_BYTES:,} bytes of content together")
    _check_sampling(request.sampling)


def _check_sampling(sampling: Sampling) -> None:
    if sampling.HasField("temperature") and not 0 <= sampling.temperature <= 2:
        raise invalid("sampling.temperature", "must be 0 to 2")
    if sampling.HasField("top_p") and not 0 < sampling.top_p <= 1:
        raise invalid("sampling.top_p", "must be above 0, at most 1")
    if len(sampling.stop) > _MAX_STOPS:
        raise invalid("sampling.stop", f"must be at most {_MAX_STOPS} strings")
    if any(not 1 <= len(stop.encode()) <= _MAX_STOP_BYTES for stop in sampling.stop):
        raise invalid("sampling.stop", f"each must have 1 to {_MAX_STOP_BYTES} bytes")
