"""Ending tasks that run for ever."""

import asyncio
from collections.abc import Collection
from typing import Any

_AGAIN_S = 0.05


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel until all are done: Python 3.11's `wait_for`, which the vendor's client is made of, forgets a
    cancellation that comes together with the result."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_AGAIN_S)
