"""Waiting for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Let other tasks run until the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {within_s} s")
        await asyncio.sleep(0)


async def until_answer(ask: Callable[[], Awaitable[object]], within_s: float = 5.0) -> None:
    """The same for what has to be asked for; the question itself lets other tasks run."""
    deadline = time.monotonic() + within_s
    while not await ask():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {within_s} s")
