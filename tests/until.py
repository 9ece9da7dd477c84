"""Waiting for a condition instead of for a time."""

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Let other tasks run until the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {within_s} s")
        await asyncio.sleep(0)
