"""Time as the table has it, so that no machine numbers its entries into a past that is sealed or proven already.

One item holds the latest moment that any machine's clock has shown. Each machine reads it every few seconds, puts it
forward if its own clock is further on, and numbers no entry below it: a clock that is behind follows the one that is
ahead. What is older than `MARGIN_MS` gets no entry any more: a number is at most `_FRESH_MS` behind the item, and its
request is given up long before the rest of the margin is over.
"""

import asyncio

from gollem.clock import Clock
from gollem.ledger.dynamodb import items
from gollem.ledger.dynamodb.client import Client

MARGIN_MS = 60_000
NOTICE_S = 45.0  # until every machine has read what was put there, and what it numbered before has ended
_FRESH_MS = 10_000
_STEP_MS = 5_000  # machines whose clocks differ by less leave the item alone


class Pace:
    """One a process."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._latest_ms = 0
        self._read_ms: int | None = None  # monotonic

    async def keep(self) -> None:
        """Before entries are numbered: not older than a few seconds. Raises LedgerUnavailable."""
        started_ms = self._clock.monotonic_ms()
        if self._read_ms is not None and started_ms - self._read_ms < _FRESH_MS:
            return
        self._latest_ms = await latest_ms(self._client)
        if self._clock.now_ms() > self._latest_ms + _STEP_MS:
            await self._put_forward(self._clock.now_ms())
        self._read_ms = started_ms

    def now_ms(self) -> int:
        """The machine's time, or the table's where that is further on."""
        return max(self._clock.now_ms(), self._latest_ms)

    async def closed_ms(self) -> int:
        """A moment up to which no entry will be numbered any more, on any machine."""
        await self._put_forward(self.now_ms())
        moment_ms = self._latest_ms - MARGIN_MS
        await asyncio.sleep(NOTICE_S)
        return moment_ms

    async def _put_forward(self, to_ms: int) -> None:
        """Never back: where another machine was quicker, its time is taken."""
        moved = await self._client.update(
            Key=items.time_key(),
            UpdateExpression="SET latest_ms = :now",
            ConditionExpression="attribute_not_exists(latest_ms) OR latest_ms < :now",
            ExpressionAttributeValues={":now": items.number(to_ms)},
        )
        self._latest_ms = to_ms if moved else await latest_ms(self._client)


async def latest_ms(client: Client) -> int:
    """The table's time; 0 before its first entry."""
    answer = await client.read("get_item", Key=items.time_key(), ConsistentRead=True)
    return items.integer(answer.get("Item", {}), "latest_ms")
