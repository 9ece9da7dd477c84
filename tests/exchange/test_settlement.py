"""However an order ends, its parts add up and it ends once."""

import asyncio

import pytest

from gollem.errors import Forbidden, HoldClosed, KeyReused, UnknownOrder
from gollem.exchange import CancelState, Outcome, Usage, restore_claims
from tests.exchange.conftest import BID, HELD, Bench
from tests.until import until

CREDIT = 10**8


@pytest.fixture
async def matched(bench: Bench) -> Bench:
    """One order, o1, of alice at p1."""
    bench.sell()
    await bench.fund()
    await bench.orders.match("alice", "o1", BID)
    return bench


async def test_usage_is_charged_the_fee_taken_and_the_rest_returned(matched: Bench) -> None:
    receipt = await matched.settlement.settle("p1", "o1", Usage(50, 51), Outcome.COMPLETED)
    assert receipt.charged_atoms == 101 * CREDIT
    assert receipt.fee_atoms == 505 * CREDIT // 100
    assert receipt.share_atoms + receipt.fee_atoms + receipt.refunded_atoms == HELD
    assert await matched.available() == 1_000 * CREDIT - receipt.charged_atoms
    assert await matched.held() == 0
    assert (await matched.ledger.provider_balance("p1")).earned_atoms == receipt.share_atoms
    assert matched.floor.depth("gpt-4").free_slots == 4
    assert (await matched.ledger.audit()).ok


async def test_usage_is_capped_at_what_was_granted(matched: Bench) -> None:
    receipt = await matched.settlement.settle("p1", "o1", Usage(10**9, 10**9), Outcome.COMPLETED)
    assert (receipt.charged_atoms, receipt.usage) == (HELD, Usage(100, 100))


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CANCELLED])
async def test_what_delivered_nothing_costs_nothing(matched: Bench, outcome: Outcome) -> None:
    receipt = await matched.settlement.settle("p1", "o1", Usage(100, 0), outcome)
    assert receipt.charged_atoms == 0
    assert await matched.available() == 1_000 * CREDIT


async def test_a_second_settlement_answers_with_the_first(matched: Bench) -> None:
    first = await matched.settlement.settle("p1", "o1", Usage(10, 10), Outcome.COMPLETED)
    again = await matched.settlement.settle("p1", "o1", Usage(10, 10), Outcome.COMPLETED)
    assert (again.charged_atoms, again.replayed) == (first.charged_atoms, True)
    with pytest.raises(KeyReused):
        await matched.settlement.settle("p1", "o1", Usage(11, 10), Outcome.COMPLETED)
    assert (await matched.ledger.provider_balance("p1")).earned_atoms == first.share_atoms


async def test_only_the_matched_provider_settles(matched: Bench) -> None:
    with pytest.raises(Forbidden):
        await matched.settlement.settle("p2", "o1", Usage(1, 1), Outcome.COMPLETED)
    with pytest.raises(UnknownOrder):
        await matched.settlement.settle("p1", "other", Usage(1, 1), Outcome.COMPLETED)


async def test_the_sweeper_expires_what_nobody_settles_and_not_before(matched: Bench) -> None:
    hold = await matched.ledger.find_hold("o1")
    assert hold is not None
    matched.clock.advance_ms(hold.expires_at_ms - matched.clock.now_ms() - 1)
    assert await matched.settlement.expire_overdue() == 0
    matched.clock.advance_ms(1)
    assert await matched.settlement.expire_overdue() == 1
    assert await matched.settlement.expire_overdue() == 0
    assert await matched.available() == 1_000 * CREDIT
    assert matched.floor.depth("gpt-4").free_slots == 4 or matched.floor.depth("gpt-4").blocked_asks == 1
    with pytest.raises(HoldClosed):
        await matched.settlement.settle("p1", "o1", Usage(1, 1), Outcome.COMPLETED)


async def test_cancel_asks_the_agent_and_returns_the_hold_when_it_never_started(matched: Bench) -> None:
    cancelling = asyncio.create_task(matched.orders.cancel("alice", "o1"))
    await until(lambda: matched.links.cancelled_orders("p1/a"))
    assert await matched.held() == HELD, "nothing is returned before the agent has answered"
    await matched.hears(refused=["o1"])
    cancelled = await cancelling
    assert (cancelled.state, cancelled.refunded_atoms) == (CancelState.CANCELLED, HELD)
    assert matched.links.cancelled_orders("p1/a") == []
    assert await matched.available() == 1_000 * CREDIT


async def test_cancel_of_a_started_order_is_settled_for_what_was_delivered(matched: Bench) -> None:
    await matched.hears(started=["o1"])
    cancelling = asyncio.create_task(matched.orders.cancel("alice", "o1"))
    await until(lambda: matched.links.cancelled_orders("p1/a"))
    await matched.settlement.settle("p1", "o1", Usage(10, 10), Outcome.CANCELLED)
    cancelled = await cancelling
    assert (cancelled.state, cancelled.refunded_atoms) == (CancelState.SETTLED, HELD - 20 * CREDIT)


async def test_cancel_does_not_wait_for_ever(matched: Bench) -> None:
    assert (await matched.orders.cancel("alice", "o1")).state is CancelState.PENDING
    assert matched.links.cancelled_orders("p1/a") == ["o1"]
    assert await matched.held() == HELD


async def test_a_silent_provider_cannot_keep_a_hold_from_being_cancelled(matched: Bench) -> None:
    matched.clock.advance_ms(10_000)
    matched.floor.tick()
    assert (await matched.orders.cancel("alice", "o1")).state is CancelState.CANCELLED
    assert await matched.available() == 1_000 * CREDIT
    assert (await matched.orders.cancel("alice", "o1")).state is CancelState.CANCELLED


async def test_a_started_order_is_never_voided_by_a_cancel(matched: Bench) -> None:
    await matched.hears(started=["o1"])
    matched.clock.advance_ms(100_000)
    matched.floor.tick()
    assert (await matched.orders.cancel("alice", "o1")).state is CancelState.PENDING
    assert await matched.held() == HELD


async def test_an_agent_that_comes_back_hears_of_what_was_voided_meanwhile(matched: Bench) -> None:
    matched.clock.advance_ms(10_000)
    await matched.orders.cancel("alice", "o1")
    assert matched.links.cancelled_orders("p1/a") == ["o1"]
    await matched.hears(refused=["o1"])
    assert matched.links.cancelled_orders("p1/a") == []


@pytest.mark.parametrize("ending", ["settle", "void"])
async def test_a_caller_who_leaves_while_an_order_ends_leaves_no_claim(matched: Bench, ending: str) -> None:
    hold = await matched.ledger.find_hold("o1")
    assert hold is not None
    work = {
        "settle": lambda: matched.settlement.settle("p1", "o1", Usage(1, 1), Outcome.COMPLETED),
        "void": lambda: matched.settlement.void(hold, "test"),
    }[ending]()
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: matched.floor.claims() == 0)
    assert matched.floor.depth("gpt-4").free_slots == 4
    assert await matched.held() == 0


async def test_nobody_cancels_or_refuses_for_others(matched: Bench) -> None:
    with pytest.raises(UnknownOrder):
        await matched.orders.cancel("bob", "o1")
    matched.sell("p2")
    await matched.hears("p2", refused=["o1"], started=["o1"])
    assert await matched.held() == HELD
    claim = matched.floor.claim("o1")
    assert claim is not None
    assert not claim.started


async def test_settle_void_and_expiry_of_one_order_race_and_one_wins(matched: Bench) -> None:
    hold = await matched.ledger.find_hold("o1")
    assert hold is not None
    matched.clock.advance_ms(hold.expires_at_ms - matched.clock.now_ms())
    await asyncio.gather(
        *(matched.settlement.settle("p1", "o1", Usage(10, 10), Outcome.COMPLETED) for _ in range(4)),
        *(matched.settlement.void(hold, "test") for _ in range(4)),
        *(matched.settlement.expire_overdue() for _ in range(4)),
        return_exceptions=True,
    )
    assert await matched.held() == 0
    assert await matched.available() in {1_000 * CREDIT, 1_000 * CREDIT - 20 * CREDIT}
    assert (await matched.ledger.audit()).ok


async def test_orders_under_way_keep_their_capacity_over_a_restart(matched: Bench, bench: Bench) -> None:
    bench.floor.release("o1")
    bench.asks.deregister("p1", None)
    assert await restore_claims(bench.ledger, bench.floor) == 1
    bench.sell()
    assert bench.floor.depth("gpt-4").free_slots == 3
    await bench.settlement.settle("p1", "o1", Usage(1, 1), Outcome.COMPLETED)
    assert bench.floor.depth("gpt-4").free_slots == 4
