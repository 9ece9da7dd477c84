"""How late the event loop is: whatever holds it up holds up every call."""

import asyncio

from gollem.observability.meters import Meters
from gollem.observability.metrics import LOOP_LAG

EVERY_S = 0.25


async def watch_loop(meters: Meters, every_s: float = EVERY_S) -> None:
    """For ever."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + every_s
        await asyncio.sleep(every_s)
        meters.observe(LOOP_LAG, max(loop.time() - due_s, 0.0))
