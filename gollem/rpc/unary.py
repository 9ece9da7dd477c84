"""The shape that all unary calls share."""

from collections.abc import Awaitable, Callable
from typing import Any

from gollem.errors import InvalidField


async def answer(stream: Any, handle: Callable[[Any], Awaitable[Any]]) -> None:
    """Receive the one message, answer it."""
    request = await stream.recv_message()
    if request is None:
        raise InvalidField("request", "a message is missing")
    await stream.send_message(await handle(request))
