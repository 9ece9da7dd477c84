"""Nodes whose ledger is slow or silent, and nodes that stood still: what they may still sell, and what they may not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from gollem.clock import Clock, SystemClock
from gollem.config import NodesConfig
from gollem.errors import CapacityExhausted, HoldClosed, LedgerUnavailable
from gollem.exchange import Outcome, Usage
from gollem.exchange.silence import SILENT_MS
from gollem.exchange.types import Matched
from gollem.ledger import Ledger, Posted, Transaction, rules
from gollem.nodes import Lease, SharedBook
from tests.exchange.conftest import BID, AheadClock, Bench, Pair, build
from tests.servers.redis_server import RedisServer
from tests.until import until, until_answer

USAGE = Usage(100, 100)


class GatedLedger:
    """Lets no hold through before it is let."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.let, self.stands = asyncio.Event(), asyncio.Event()

    async def post(self, transaction: Transaction) -> Posted:
        if transaction.key.startswith("hold:"):
            self.stands.set()
            await self.let.wait()
        return await self._ledger.post(transaction)

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


class GatedBook:
    """Renews nothing before its node is let go on."""

    def __init__(self, shared: SharedBook, let: asyncio.Event) -> None:
        self._shared = shared
        self._let = let

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        await self._let.wait()
        return await self._shared.renew(lease, lease_ms)

    def __getattr__(self, name: str) -> object:
        return getattr(self._shared, name)


async def test_a_node_whose_ledger_is_silent_takes_no_more_room(pair: Pair) -> None:
    """The others go on selling it. Once the ledger answers, this one sells again."""
    ledger, clock = GatedLedger(pair.a.ledger), AheadClock()
    async with third_node(pair, ledger, lambda shared: shared, clock) as (bench, _):
        stuck = await standing_order(pair, bench, ledger, slots=4)
        also = asyncio.create_task(bench.orders.match("alice", "o2", BID))
        await until(lambda: bench.floor.depth("gpt-4").free_slots == 2)
        clock.ahead_ms = SILENT_MS
        with pytest.raises(LedgerUnavailable, match="does not answer"):
            await bench.orders.match("alice", "o3", BID)
        assert bench.floor.depth("gpt-4").free_slots == 2
        assert not (await pair.a.orders.match("alice", "o4", BID)).replayed
        ledger.let.set()
        await asyncio.gather(stuck, also)
        assert not (await bench.orders.match("alice", "o3", BID)).replayed
        assert await pair.leased() == 4


@asynccontextmanager
async def third_node(
    pair: Pair, ledger: GatedLedger, faulty: Callable[[SharedBook], SharedBook], clock: Clock | None = None
) -> AsyncIterator[tuple[Bench, GatedLedger]]:
    """Its leases are short."""
    url = f"redis://127.0.0.1:{pair.redis.port}"
    config = NodesConfig(book=url, name="c", partitions=2, flush_ms=2, heartbeat_ms=50, lease_ms=150)
    bench = build(ledger, clock or SystemClock(), config, faulty)  # type: ignore[arg-type]
    await bench.shared.start(bench.replica)
    yield bench, ledger
    ledger.let.set()
    await bench.commits.finish()
    await bench.shared.close()


async def standing_order(pair: Pair, bench: Bench, ledger: GatedLedger, slots: int) -> asyncio.Task[Matched]:
    """Order o1 at the third node, between its claim and its hold, on an ask of so many slots that all nodes see."""
    pair.a.sell(capacity_slots=slots)
    await pair.both_see(slots)
    await until(lambda: bench.floor.depth("gpt-4").free_slots == slots)
    standing = asyncio.create_task(bench.orders.match("alice", "o1", BID))
    await ledger.stands.wait()
    return standing


@pytest.fixture
async def slow(pair: Pair) -> AsyncIterator[tuple[Bench, GatedLedger]]:
    """A third node, whose ledger does not answer before it is let."""
    async with third_node(pair, GatedLedger(pair.a.ledger), lambda shared: shared) as node:
        yield node


@pytest.fixture
async def stopped(pair: Pair) -> AsyncIterator[tuple[Bench, GatedLedger]]:
    """A third node, which stands still at its next hold, beyond its lease."""
    ledger = GatedLedger(pair.a.ledger)
    async with third_node(pair, ledger, lambda shared: GatedBook(shared, ledger.let)) as node:  # type: ignore[return-value]
        yield node


async def test_a_slow_ledger_costs_an_order_its_room_at_no_node(pair: Pair, slow: tuple[Bench, GatedLedger]) -> None:
    bench, ledger = slow
    late = await standing_order(pair, bench, ledger, slots=1)
    began_ms = SystemClock().monotonic_ms()
    while SystemClock().monotonic_ms() - began_ms < 450:  # three leases
        assert not await room_again(pair)
    ledger.let.set()
    assert not (await late).replayed
    await bench.commits.finish()
    assert await pair.leased() == 1


async def test_a_slow_ledger_takes_no_room_for_an_order_that_has_ended_elsewhere(
    pair: Pair, slow: tuple[Bench, GatedLedger]
) -> None:
    """Its lease was extended after the order's end had given it back."""
    bench, ledger = slow
    late = await standing_order(pair, bench, ledger, slots=4)
    await pair.a.orders.match("alice", "o1", BID)
    assert await pair.leased() == 1
    due = due_of(pair.redis)
    await pair.a.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    await pair.a.commits.finish()
    await until(lambda: pair.redis.ask("zcard", due) == "1")
    ledger.let.set()
    assert (await late).replayed
    await bench.commits.finish()
    assert await pair.leased() == 0


async def test_a_node_that_stopped_takes_nothing_from_the_order_that_was_matched_without_it(
    pair: Pair, stopped: tuple[Bench, GatedLedger]
) -> None:
    """The same order, sent again to another node: its fence is the higher one, in the hold, the lease and the grant."""
    bench, ledger = stopped
    late = await standing_order(pair, bench, ledger, slots=1)
    await until(lambda: pair.redis.ask("zcount", due_of(pair.redis), "-inf", pair.redis.ask("time").split()[0] + "000"))
    matched = await pair.a.orders.match("alice", "o1", BID)
    ledger.let.set()
    answer = await late
    assert (answer.replayed, answer.fence) == (True, matched.fence)
    await bench.commits.finish()
    assert await pair.leased() == 1
    assert str(matched.fence) in pair.redis.ask("hgetall", due_of(pair.redis).replace("due:", "leases:"))
    hold = await pair.a.ledger.find_hold("o1")
    assert hold is not None
    assert hold.fence == matched.fence
    stale = rules.settle(structs.replace(hold, fence=hold.fence - 1), 1, 0, 0, "")
    with pytest.raises(HoldClosed):
        await pair.a.ledger.post(stale)


async def test_a_node_that_stopped_may_sell_a_room_once_more_and_no_more(
    pair: Pair, stopped: tuple[Bench, GatedLedger]
) -> None:
    """Its lease ran out, so another order got the room; then its hold was written. Redis counts both, and the agent
    refuses what it cannot hold: nothing else is sold before one of them has ended."""
    bench, ledger = stopped
    late = await standing_order(pair, bench, ledger, slots=1)
    await until_answer(lambda: room_again(pair))
    ledger.let.set()
    assert (await late).fence < (await pair.a.orders.match("alice", "o2", BID)).fence
    await bench.commits.finish()
    assert await pair.leased() == 2
    await until(lambda: pair.a.floor.claims() == pair.b.floor.claims() == 2)
    with pytest.raises(CapacityExhausted):
        await pair.a.orders.match("alice", "o3", BID)
    await pair.a.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    await pair.a.settlement.settle("p1", "o2", USAGE, Outcome.COMPLETED)
    assert await pair.leased() == 0
    await pair.a.hears(sequence=pair.a.clock.now_ms(), capacity_slots=1)
    await pair.both_see(1)


def due_of(redis: RedisServer) -> str:
    (key,) = [key for key in redis.ask("keys", "*").split() if "due" in key]
    return key


async def room_again(pair: Pair) -> bool:
    """Whether another order has been matched to the room, now that the first one's lease has run out. A refusal counts
    until the agent reports again."""
    await pair.a.hears(sequence=pair.a.clock.now_ms(), capacity_slots=1)
    try:
        return not (await pair.a.orders.match("alice", "o2", BID)).replayed
    except CapacityExhausted:
        return False
