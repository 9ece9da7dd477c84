"""The shape that all unary calls share."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gollem.errors import InvalidField


def _as_sent(request: Any, headers: Mapping[str, object]) -> None:
    pass


async def answer(
    stream: Any,
    handle: Callable[[Any], Awaitable[Any]],
    complete: Callable[[Any, Mapping[str, object]], None] = _as_sent,
) -> None:
    """Receive the one message, let `complete` add what its headers say, answer it."""
    request = await stream.recv_message()
    if request is None:
        raise InvalidField("request", "a message is missing")
    complete(request, stream.metadata)
    await stream.send_message(await handle(request))
