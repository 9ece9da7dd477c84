"""Pauses between tries: random, so that nodes do not come back all at once, up to a bound that doubles."""

import asyncio
from random import Random


class Backoff:
    def __init__(self, chance: Random, first_ms: int = 20, longest_ms: int = 1_000) -> None:
        self._chance = chance
        self._first_ms = first_ms
        self._longest_ms = longest_ms
        self._bound_ms = first_ms

    async def wait(self) -> None:
        pause_ms = self._chance.uniform(self._bound_ms / 2, self._bound_ms)
        self._bound_ms = min(2 * self._bound_ms, self._longest_ms)
        await asyncio.sleep(pause_ms / 1_000)

    def reset(self) -> None:
        """It worked: the next pause is short again."""
        self._bound_ms = self._first_ms
