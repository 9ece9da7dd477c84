"""A spend limit is hard: however many holds are opened at once, on however many servers, none is beyond it."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from gollem.clock import utc_day
from gollem.errors import GollemError, LedgerUnavailable, OrderMismatch, SpendLimitReached
from gollem.exchange import Outcome, Spending, SpendLimit, Usage
from gollem.ledger import Hold, Ledger, Posted, Record, Transaction, records, rules
from tests.contracts.samples import DAY_MS, MIDNIGHT_MS, NOW_MS, granting, hold_of
from tests.exchange.conftest import BID, HELD, Bench, build
from tests.fakes.clock import FakeClock

CREDIT = 10**8
USER = "alice"


class Around:
    """A ledger, but for what is said otherwise."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


class Away(Around):
    """Nothing can be written to it while it is."""

    is_away = False

    async def post(self, transaction: Transaction) -> Posted:
        if self.is_away:
            raise LedgerUnavailable("away")
        return await self._ledger.post(transaction)


class ReadTogether(Around):
    """The first so many readers of a record read the same."""

    def __init__(self, ledger: Ledger, readers: int) -> None:
        super().__init__(ledger)
        self._first = readers
        self._all_have_read = asyncio.Barrier(readers)

    async def find_record(self, kind: str, record_id: str) -> Record | None:
        found = await self._ledger.find_record(kind, record_id)
        if self._first:
            self._first -= 1
            await self._all_have_read.wait()
        return found


@pytest.fixture
async def nodes(ledger: Ledger, clock: FakeClock) -> list[Bench]:
    """Two servers over one ledger, each with room for all; alice has 10,000 credits."""
    await ledger.post(granting(10_000 * CREDIT))
    made = [build(ledger, clock) for _ in range(2)]
    for bench in made:
        bench.sell(capacity_slots=64)
    return made


async def give_back(nodes: list[Bench]) -> int:
    return sum([await bench.spending.give_back() for bench in nodes])


async def tried(nodes: list[Bench], number: int) -> Counter[str]:
    """So many orders at once, on both servers by turns: how they came out."""

    async def match(at: int) -> str:
        try:
            await nodes[at % 2].orders.match(USER, f"o{at}", BID)
        except GollemError as error:
            return error.reason
        return "matched"

    return Counter(await asyncio.gather(*map(match, range(number))))


async def test_of_many_at_once_only_so_many_are_held(nodes: list[Bench], ledger: Ledger) -> None:
    await nodes[0].spending.set(USER, 3 * HELD, 0)
    assert await tried(nodes, 12) == {"matched": 3, "SPEND_LIMIT_REACHED": 9}
    assert (await ledger.balance(USER)).held_atoms == 3 * HELD
    assert (await nodes[1].spending.find(USER)).day_atoms == 3 * HELD


async def test_a_month_counts_over_its_days(nodes: list[Bench], clock: FakeClock) -> None:
    await nodes[0].spending.set(USER, 2 * HELD, 3 * HELD)
    assert (await tried(nodes, 3))["matched"] == 2
    clock.advance_ms(DAY_MS)
    nodes[0].sell()  # it was forgotten over night
    await nodes[0].orders.match(USER, "tomorrow", BID)
    with pytest.raises(SpendLimitReached) as refused:
        await nodes[0].orders.match(USER, "too-much", BID)
    assert refused.value.figures == {
        "period": "month",
        "limit": "600.00000000",
        "needed": "200.00000000",
        "left": "0.00000000",
    }


async def test_what_an_order_left_is_given_back_once(nodes: list[Bench]) -> None:
    spending = nodes[0].spending
    await spending.set(USER, HELD, HELD)
    await nodes[0].orders.match(USER, "o1", BID)
    receipt = await nodes[0].settlement.settle("p1", "o1", Usage(100, 50), Outcome.COMPLETED)
    assert (await spending.find(USER)).day_atoms == HELD
    assert await give_back(nodes) == 1
    assert await spending.find(USER) == SpendLimit(HELD, HELD, receipt.charged_atoms, receipt.charged_atoms)
    await nodes[1].settlement.settle("p1", "o1", Usage(100, 50), Outcome.COMPLETED)  # said again, elsewhere
    assert await give_back(nodes) == 0
    assert (await spending.find(USER)).day_atoms == receipt.charged_atoms


async def test_an_order_that_came_to_nothing_counts_for_nothing(nodes: list[Bench]) -> None:
    await nodes[0].spending.set(USER, HELD, 0)
    await nodes[0].orders.match(USER, "o1", BID)
    await nodes[0].settlement.refused_by_provider("p1", "o1")
    assert await give_back(nodes) == 1
    await nodes[1].orders.match(USER, "o2", BID)


async def test_what_is_left_while_the_ledger_is_away_is_given_back_later(ledger: Ledger, clock: FakeClock) -> None:
    await ledger.post(granting(10_000 * CREDIT))
    away = Away(ledger)
    bench = build(away, clock)  # type: ignore[arg-type]
    bench.sell()
    await bench.spending.set(USER, 2 * HELD, 0)
    for order_id in ("o1", "o2"):
        await bench.orders.match(USER, order_id, BID)
        await bench.settlement.refused_by_provider("p1", order_id)
    away.is_away = True
    assert await bench.spending.give_back() == 0
    away.is_away = False
    assert await bench.spending.give_back() == 2
    assert (await bench.spending.find(USER)).day_atoms == 0


async def test_what_was_held_yesterday_is_not_taken_from_today(
    nodes: list[Bench], ledger: Ledger, clock: FakeClock
) -> None:
    await nodes[0].spending.set(USER, 2 * HELD, 0)
    await nodes[0].orders.match(USER, "o1", BID)
    clock.advance_ms(DAY_MS)
    nodes[0].sell()
    await nodes[0].orders.match(USER, "o2", BID)
    await nodes[0].settlement.refused_by_provider("p1", "o1")
    await give_back(nodes)
    limit = await nodes[0].spending.find(USER)
    assert (limit.day_atoms, limit.month_atoms) == (HELD, HELD)


async def test_a_limit_told_elsewhere_holds_within_a_second(nodes: list[Bench], clock: FakeClock) -> None:
    await nodes[1].orders.match(USER, "before", BID)
    await nodes[0].spending.set(USER, HELD, 0)
    clock.advance_ms(1_000)
    await nodes[1].orders.match(USER, "first", BID)
    with pytest.raises(SpendLimitReached):
        await nodes[1].orders.match(USER, "second", BID)


async def test_without_a_limit_nothing_counts(nodes: list[Bench]) -> None:
    spending = nodes[0].spending
    await spending.set(USER, HELD, 0)
    await spending.set(USER, 0, 0)
    assert (await tried(nodes, 4))["matched"] == 4
    assert await spending.find(USER) == SpendLimit()
    await spending.set(USER, HELD, 0)
    assert (await spending.find(USER)).day_atoms == 0


async def test_a_limit_is_changed_while_it_is_used(nodes: list[Bench]) -> None:
    await nodes[0].spending.set(USER, 10 * HELD, 0)
    matched, *_ = await asyncio.gather(
        tried(nodes, 12), nodes[0].spending.set(USER, 4 * HELD, 0), nodes[1].spending.set(USER, 4 * HELD, 0)
    )
    assert 4 <= matched["matched"] <= 10
    assert (await nodes[0].spending.find(USER)).day_atoms == matched["matched"] * HELD


async def test_a_stale_read_is_refused_and_writes_nothing(ledger: Ledger) -> None:
    """The rule by itself: what was read of the limit is guarded."""
    await ledger.post(granting(1_000))
    today = utc_day(NOW_MS)
    await ledger.post(rules.spend_limited(USER, None, 500, 0, today, NOW_MS))
    limit = await ledger.find_record(records.SPEND_LIMIT, USER)
    assert limit is not None

    def opening(hold: Hold):  # type: ignore[no-untyped-def]
        return rules.counted(rules.hold(hold, "f", NOW_MS), limit, hold.amount_atoms, today)

    await ledger.post(opening(hold_of("first", 300)))
    with pytest.raises(GollemError, match="changed meanwhile"):
        await ledger.post(opening(hold_of("second", 300)))
    assert (await ledger.balance(USER)).held_atoms == 300
    again = await ledger.post(opening(hold_of("first", 300)))  # a replay is answered, whatever the limit is by now
    assert not again.applied


async def test_spending_forgets_users_it_need_not_know(ledger: Ledger, clock: FakeClock) -> None:
    spending = Spending(ledger, clock)
    await ledger.post(granting(1_000))
    await spending.open(hold_of("o1", 1), "f")
    assert list(spending._unlimited) == [USER]
    assert not spending._locks


async def test_an_order_sent_again_gets_its_first_answer_whatever_is_left(nodes: list[Bench]) -> None:
    await nodes[0].spending.set(USER, HELD, 0)
    first = await nodes[0].orders.match(USER, "o1", BID)
    for bench in nodes:
        again = await bench.orders.match(USER, "o1", BID)
        assert (again.replayed, again.order_id, again.held_atoms) == (True, "o1", first.held_atoms)
    with pytest.raises(OrderMismatch):
        await nodes[0].orders.match(USER, "o1", replace(BID, max_tokens=BID.max_tokens + 1))


async def test_of_two_limits_set_at_once_none_is_lost(ledger: Ledger, clock: FakeClock) -> None:
    together = ReadTogether(ledger, readers=2)
    here, there = Spending(together, clock), Spending(together, clock)  # type: ignore[arg-type]
    await asyncio.gather(here.set(USER, 500, None), there.set(USER, None, 700))
    limit = await here.find(USER)
    assert (limit.day_limit_atoms, limit.month_limit_atoms) == (500, 700)


async def test_clocks_that_differ_at_midnight_begin_a_day_once(ledger: Ledger) -> None:
    await ledger.post(granting(10_000 * CREDIT))
    ahead, behind = (build(ledger, FakeClock(MIDNIGHT_MS + by_ms)) for by_ms in (50, -50))
    for bench in (ahead, behind):
        bench.sell(capacity_slots=64)
    await ahead.spending.set(USER, 2 * HELD, 0)
    for bench, order_id in ((ahead, "o1"), (behind, "o2")):
        await bench.orders.match(USER, order_id, BID)
    for bench, order_id in ((ahead, "o3"), (behind, "o4")):
        with pytest.raises(SpendLimitReached):
            await bench.orders.match(USER, order_id, BID)
    await behind.settlement.refused_by_provider("p1", "o2")
    assert await give_back([ahead, behind]) == 1
    assert (await behind.spending.find(USER)).day_atoms == HELD
