"""Waiting for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable

# What a busy machine may take at most for what usually takes moments.
WITHIN_S = 60.0
_EAGER = 100  # looks, one each turn of the loop; then it is another process that is waited for, and it needs the core
_PAUSE_S = 0.002


async def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Let other tasks run until the condition holds; fail if it does not in time."""

    async def ask() -> object:
        return condition()

    await until_answer(ask, within_s)


async def until_answer(ask: Callable[[], Awaitable[object]], within_s: float = WITHIN_S) -> None:
    """The same for what has to be asked for."""
    deadline, looks = time.monotonic() + within_s, 0
    while not await ask():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {within_s} s")
        looks += 1
        await asyncio.sleep(0 if looks < _EAGER else _PAUSE_S)
