"""Chat completions of OpenAI's API: the body of a request, what each streamed event says, the models. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from provider_agent.metering import Tokens
from provider_agent.pb.inference_pb2 import GenerateRequest

DONE = "[DONE]"


class BadEvent(ValueError):
    """The model server said something that is not a chat completion, or an error."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One event: text to append, or the end, or a count of tokens, or several of these."""

    text: str = ""
    finish_reason: str = ""
    usage: Tokens | None = None


def request_body(model: str, request: GenerateRequest, max_tokens: int) -> dict[str, Any]:
    """What is absent in the request is left to the model server."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body |= {name: getattr(sampling, name) for name in ("temperature", "top_p", "seed") if sampling.HasField(name)}
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


def parse_event(data: str) -> Delta:
    """One event that is not DONE. Raises BadEvent."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise BadEvent("an event that is not JSON") from None
    if not isinstance(event, dict):
        raise BadEvent("an event that is not an object")
    if event.get("error"):
        raise BadEvent("an error within the stream")
    choice = _first(event.get("choices"))
    content = _object(choice.get("delta")).get("content")
    finish_reason = choice.get("finish_reason")
    return Delta(
        text=content if isinstance(content, str) else "",
        finish_reason=_finish_reason(finish_reason) if isinstance(finish_reason, str) else "",
        usage=_usage(event.get("usage")),
    )


def model_names(listed: object) -> list[str]:
    """What the answer of /models names; nothing where it is something else."""
    data = _object(listed).get("data")
    names = [_object(each).get("id") for each in data] if isinstance(data, list) else []
    return [name for name in names if isinstance(name, str)]


def _finish_reason(reason: str) -> str:
    return "length" if reason == "length" else "stop"


def _first(choices: object) -> dict[str, Any]:
    return _object(choices[0]) if isinstance(choices, list) and choices else {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _usage(value: object) -> Tokens | None:
    usage = _object(value)
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int or prompt < 0 or completion < 0:
        return None
    return Tokens(prompt, completion)
