"""Starts each order at its time, and shows how far it has come."""

import asyncio
from collections.abc import Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.replay.orders import Order
from benchmarks.replay.tally import Tally
from benchmarks.replay.trading import Trading
from gollem.cli import output

# Orders under way, most of which wait for the end of their answers.
MAX_IN_FLIGHT = 256


class Pace:
    """Runs orders in their own rhythm, `compression` times faster."""

    def __init__(self, trading: Trading, compression: float, tally: Tally) -> None:
        self._trading = trading
        self._compression = compression
        self._tally = tally
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def run(self, orders: Sequence[Order]) -> None:
        """To the last one's end, at most MAX_IN_FLIGHT at once."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with _progress() as progress:
            bar = progress.add_task("", total=len(orders), matched=0, refused=0)
            async with asyncio.TaskGroup() as group:
                for order in orders:
                    await asyncio.sleep(max(0.0, began_s + order.at_s / self._compression - loop.time()))
                    await self._room.acquire()
                    group.create_task(self._one(order, progress, bar))
        self._tally.seconds = loop.time() - began_s

    async def _one(self, order: Order, progress: Progress, bar: object) -> None:
        try:
            await self._trading.trade(order)
        finally:
            self._room.release()
            counts = {"matched": self._tally.matched, "refused": self._tally.refused}
            progress.update(bar, advance=1, **counts)  # type: ignore[arg-type]


def _progress() -> Progress:
    counts = TextColumn("{task.fields[matched]:,} matched, {task.fields[refused]:,} refused")
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), counts, TimeElapsedColumn())
    return Progress(*columns, console=output.stderr())
