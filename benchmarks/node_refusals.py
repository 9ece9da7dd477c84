"""How often a node claims what another has taken: two nodes in this process after the same scarce slots, over one Redis
and a ledger in memory, with changes collected for longer and longer before they are sent."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence

from benchmarks.report import Case
from gollem.clock import SystemClock
from gollem.config import NodesConfig
from gollem.errors import CapacityExhausted
from gollem.exchange import Outcome, Usage
from gollem.ledger import open_ledger
from tests.exchange.conftest import BID, Bench, build
from tests.servers.redis_server import redis_server
from tests.until import until

BENCH = "nodes"
ASKS, SLOTS, CALLERS = 16, 2, 32
SERVED_S = 0.05
PAUSE_S = 0.01
FLUSHES_MS = (1, 20, 100, 500)
USED = Usage(100, 50)


async def refusal_cases(seconds: float, flushes_ms: Sequence[int] = FLUSHES_MS) -> AsyncIterator[Case]:
    for flush_ms in flushes_ms:
        with redis_server() as redis:
            settings = {"book": f"redis://127.0.0.1:{redis.port}", "flush_ms": flush_ms, "claim_timeout_ms": 5_000}
            ledger, clock = await open_ledger("memory:"), SystemClock()
            nodes = [build(ledger, clock, NodesConfig(name=name, **settings)) for name in "ab"]  # type: ignore[arg-type]
            for node in nodes:
                await node.shared.start(node.replica)
            await _sell(nodes)
            matches = await _trade(nodes, seconds)
            refused = sum(node.shared.status().refused for node in nodes)
            for node in nodes:
                await node.commits.finish()
                await node.shared.close()
        what = f"changes collected for {flush_ms} ms"
        yield Case(BENCH, f"claims refused, {what}", 100 * refused / max(1, refused + matches), "% of claims")
        yield Case(BENCH, f"orders, {what}", matches / seconds, "orders/s")


async def _sell(nodes: list[Bench]) -> None:
    await nodes[0].fund(amount=1_000_000)
    for number in range(ASKS):
        nodes[number % 2].sell(f"p{number}", capacity_slots=SLOTS)
    for node in nodes:
        await until(lambda node=node: node.floor.depth("gpt-4").live_asks == ASKS, within_s=30)


async def _trade(nodes: list[Bench], seconds: float) -> int:
    """How many orders were matched, served for a moment and settled."""
    matches, numbers, began = 0, itertools.count(), time.perf_counter()

    async def call(node: Bench) -> None:
        nonlocal matches
        while time.perf_counter() - began < seconds:
            order_id = f"o{next(numbers)}"
            try:
                matched = await node.orders.match("alice", order_id, BID, alternates=0)
            except CapacityExhausted:
                await asyncio.sleep(PAUSE_S)
                continue
            matches += 1
            await asyncio.sleep(SERVED_S)
            await node.settlement.settle(matched.terms.provider_id, order_id, USED, Outcome.COMPLETED)

    await asyncio.gather(*(call(nodes[caller % 2]) for caller in range(CALLERS)))
    return matches
