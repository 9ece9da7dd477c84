"""Match commits once and exactly; what is not committed is given back."""

import asyncio
from dataclasses import replace

import pytest

from gollem.errors import (
    CapacityExhausted,
    InsufficientCredits,
    NoFeasibleAsk,
    OrderCancelled,
    OrderMismatch,
    TooManyStreams,
    UnknownOrder,
)
from gollem.exchange import CancelState, Outcome, Usage
from gollem.exchange.floor import Claim
from gollem.market import Match
from tests.exchange.conftest import BID, HELD, Bench
from tests.until import until


async def test_a_match_holds_the_worst_case_and_claims_capacity(bench: Bench) -> None:
    bench.sell()
    await bench.fund()
    matched = await bench.orders.match("alice", "o1", BID)
    assert (matched.held_atoms, matched.terms.provider_id, matched.replayed) == (HELD, "p1", False)
    assert matched.available_atoms == await bench.available() == 800 * 10**8
    assert await bench.held() == HELD
    depth = bench.floor.depth("gpt-4")
    assert (depth.free_slots, depth.free_tokens) == (3, 100_000 - 200)


async def test_the_cheapest_wins_and_the_front_is_told(bench: Bench) -> None:
    bench.sell("dear", price_ticks=300_000, completion_price_ticks=300_000, latency_us=1_000)
    bench.sell("cheap")
    bench.sell("dominated", price_ticks=200_000, completion_price_ticks=200_000)
    await bench.fund()
    matched = await bench.orders.match("alice", "o1", replace(BID, max_price_ticks=400_000, max_latency_us=10**9))
    assert matched.terms.provider_id == "cheap"
    assert [offer.ask.provider_id for offer in matched.alternates] == ["dear"]
    assert matched.terms.front_size == 2


async def test_a_replay_answers_with_the_first_result_whatever_the_book_says(bench: Bench) -> None:
    bench.sell()
    await bench.fund()
    first = await bench.orders.match("alice", "o1", BID)
    bench.sell("cheaper", price_ticks=1, completion_price_ticks=1)
    again = await bench.orders.match("alice", "o1", BID)
    assert (again.terms, again.held_atoms, again.replayed) == (first.terms, first.held_atoms, True)
    bench.asks.deregister("p1", None)
    bench.asks.deregister("cheaper", None)
    emptied = await bench.orders.match("alice", "o1", BID)
    assert (emptied.terms, emptied.replayed) == (first.terms, True)
    assert await bench.held() == HELD


async def test_replays_leave_no_claim_behind(bench: Bench) -> None:
    bench.sell()
    await bench.fund()
    for _ in range(20):
        await bench.orders.match("alice", "o1", BID)
    assert bench.floor.depth("gpt-4").free_slots == 3


async def test_one_order_matched_many_times_at_once_is_one_hold(bench: Bench) -> None:
    bench.sell(capacity_slots=64)
    await bench.fund()
    answers = await asyncio.gather(*(bench.orders.match("alice", "o1", BID) for _ in range(32)))
    assert sum(not answer.replayed for answer in answers) == 1
    assert {answer.terms.matched_at_ms for answer in answers} == {answers[0].terms.matched_at_ms}
    assert await bench.held() == HELD
    assert bench.floor.depth("gpt-4").free_slots == 63


@pytest.mark.parametrize(("user", "bid"), [("alice", replace(BID, max_tokens=101)), ("bob", BID)])
async def test_an_order_id_is_good_for_one_bid_of_one_user(bench: Bench, user: str, bid: object) -> None:
    bench.sell()
    await bench.fund()
    await bench.fund("bob")
    await bench.orders.match("alice", "o1", BID)
    with pytest.raises(OrderMismatch):
        await bench.orders.match(user, "o1", bid)  # type: ignore[arg-type]
    bench.asks.deregister("p1", None)
    with pytest.raises(OrderMismatch):
        await bench.orders.match(user, "o1", bid)  # type: ignore[arg-type]


async def test_without_credits_nothing_is_claimed_and_funding_mends_it(bench: Bench) -> None:
    bench.sell()
    await bench.fund(amount=199)
    with pytest.raises(InsufficientCredits) as refused:
        await bench.orders.match("alice", "o1", BID)
    assert refused.value.figures == {"needed": "200.00000000", "available": "199.00000000"}
    assert bench.floor.depth("gpt-4").free_slots == 4
    await bench.fund(amount=1)
    assert (await bench.orders.match("alice", "o1", BID)).available_atoms == 0


async def test_a_refusal_says_which_limit_excluded_how_many(bench: Bench) -> None:
    bench.sell("p1")
    bench.sell("p2", price_ticks=500_000, completion_price_ticks=500_000)
    with pytest.raises(NoFeasibleAsk) as refused:
        await bench.orders.match("alice", "o1", replace(BID, max_price_ticks=99_999))
    assert refused.value.figures == {"considered": "2", "excluded_by.price": "2", "retryable": "false"}
    assert refused.value.message == "none of 2 asks meets every limit; price excludes 2 of them"


async def test_full_asks_are_told_from_unfit_ones(bench: Bench) -> None:
    bench.sell(capacity_slots=1)
    await bench.fund()
    await bench.orders.match("alice", "o1", BID)
    with pytest.raises(CapacityExhausted) as refused:
        await bench.orders.match("alice", "o2", BID)
    assert refused.value.figures["retryable"] == "true"
    assert refused.value.message == "one ask meets every limit, but is not free at this moment: try again soon"
    with pytest.raises(NoFeasibleAsk, match="the only ask does not meet every limit; price excludes it"):
        await bench.orders.match("alice", "o2", replace(BID, max_price_ticks=1))


async def test_a_caller_who_leaves_during_the_commit_loses_nothing(bench: Bench) -> None:
    bench.sell()
    await bench.fund()
    task = asyncio.create_task(bench.orders.match("alice", "o1", BID))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    again = await bench.orders.match("alice", "o1", BID)
    assert await bench.held() == HELD
    assert bench.floor.depth("gpt-4").free_slots == 3
    assert again.held_atoms == HELD


async def test_an_ask_that_comes_anew_keeps_matches_in_mind_that_are_being_committed(bench: Bench) -> None:
    ask = bench.sell()
    match, other = bench.floor.match(BID, 0), bench.floor.match(BID, 0)
    assert isinstance(match, Match)
    assert isinstance(other, Match)
    bench.asks.deregister("p1", None)
    bench.sell()
    assert bench.floor.depth("gpt-4").free_slots == 2
    bench.floor.confirm(Claim("o1", ask.key, ask.model, match.claimed_tokens, opened_at_ms=0))
    bench.floor.undo(other)
    assert bench.floor.depth("gpt-4").free_slots == 3
    bench.floor.release("o1")
    assert bench.floor.depth("gpt-4").free_slots == 4


async def test_a_resting_bid_is_matched_when_an_ask_comes(bench: Bench) -> None:
    await bench.fund()
    waiting = asyncio.create_task(bench.orders.match("alice", "o1", BID, good_for_ms=5_000))
    await until(lambda: len(bench.waiting))
    bench.sell()
    assert (await waiting).terms.provider_id == "p1"
    assert len(bench.waiting) == 0


async def test_resting_bids_are_served_by_price_then_age(bench: Bench) -> None:
    await bench.fund(amount=5_000)
    limits = {"low": 200_000, "high": 400_000, "high-later": 400_000, "none": None}
    tasks = {}
    for name, limit in limits.items():
        bid = replace(BID, max_price_ticks=limit)
        tasks[name] = asyncio.create_task(bench.orders.match("alice", name, bid, good_for_ms=60_000))
        await until(lambda: len(bench.waiting) == len(tasks))
    served = []
    bench.sell(capacity_slots=1)
    for _ in limits:
        done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        (name,) = [name for name, task in tasks.items() if task in done]
        served.append(name)
        del tasks[name]
        await bench.settlement.settle("p1", name, Usage(1, 1), Outcome.COMPLETED)
    assert served == ["none", "high", "high-later", "low"]


async def test_a_resting_bid_ends_with_its_time(bench: Bench) -> None:
    await bench.fund()
    with pytest.raises(NoFeasibleAsk):
        await bench.orders.match("alice", "o1", BID, good_for_ms=20)
    assert len(bench.waiting) == 0


async def test_a_resting_bid_can_be_cancelled_by_its_owner_only(bench: Bench) -> None:
    await bench.fund()
    task = asyncio.create_task(bench.orders.match("alice", "o1", BID, good_for_ms=60_000))
    await until(lambda: len(bench.waiting))
    with pytest.raises(UnknownOrder):
        await bench.orders.cancel("bob", "o1")
    assert (await bench.orders.cancel("alice", "o1")).state is CancelState.CANCELLED
    with pytest.raises(OrderCancelled):
        await task


async def test_a_waiter_who_leaves_as_the_match_comes_gives_it_back(bench: Bench) -> None:
    task = asyncio.create_task(bench.waiting.wait("alice", "o1", BID, 60_000, alternates=0))
    await until(lambda: len(bench.waiting))
    waiter = bench.waiting._waiters["o1"]
    bench.sell()
    bench.waiting._try("o1")
    assert waiter.future.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.floor.depth("gpt-4").free_slots == 4
    assert len(bench.waiting) == 0


async def test_without_credits_no_bid_rests(bench: Bench) -> None:
    with pytest.raises(InsufficientCredits):
        await bench.orders.match("alice", "o1", BID, good_for_ms=60_000)


async def test_the_same_order_while_it_is_under_way_shares_its_outcome(bench: Bench) -> None:
    """One slot: whoever did not join would be told that there is no room."""
    bench.sell(capacity_slots=1)
    await bench.fund()
    answers = await asyncio.gather(*(bench.orders.match("alice", "o1", BID) for _ in range(8)))
    assert [answer.replayed for answer in answers] == [False] + 7 * [True]
    with pytest.raises(OrderMismatch):
        await asyncio.gather(
            bench.orders.match("alice", "o2", BID), bench.orders.match("alice", "o2", replace(BID, max_tokens=9))
        )


async def test_a_resting_order_sent_again_rests_once_and_outlives_either_caller(bench: Bench) -> None:
    await bench.fund()
    callers = [asyncio.create_task(bench.orders.match("alice", "o1", BID, good_for_ms=60_000)) for _ in range(3)]
    await until(lambda: len(bench.waiting) == 1)
    callers[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await callers[0]
    assert len(bench.waiting) == 1
    bench.sell()
    assert {(await caller).terms.provider_id for caller in callers[1:]} == {"p1"}


async def test_a_cancel_waits_for_the_match_under_way(bench: Bench) -> None:
    bench.sell()
    await bench.fund()
    matching = asyncio.create_task(bench.orders.match("alice", "o1", BID))
    await asyncio.sleep(0)
    assert (await bench.orders.cancel("alice", "o1")).state is CancelState.PENDING
    assert (await matching).held_atoms == HELD


async def test_resting_bids_are_bounded(bench: Bench) -> None:
    await bench.fund()
    await bench.fund("bob")
    tasks = [asyncio.create_task(bench.orders.match("alice", f"o{n}", BID, good_for_ms=60_000)) for n in range(6)]
    await until(lambda: len(bench.waiting) == 6)
    with pytest.raises(TooManyStreams, match="6 of your bids"):
        await bench.orders.match("alice", "o9", BID, good_for_ms=60_000)
    tasks += [asyncio.create_task(bench.orders.match("bob", f"b{n}", BID, good_for_ms=60_000)) for n in range(2)]
    await until(lambda: len(bench.waiting) == 8)
    with pytest.raises(TooManyStreams, match="8 bids"):
        await bench.orders.match("bob", "b9", BID, good_for_ms=60_000)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(bench.waiting) == 0
