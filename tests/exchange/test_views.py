"""What people look at: the tape, refusals by limit, why an ask is not matched, what was spent."""

from dataclasses import replace

import pytest

from gollem.errors import CapacityExhausted, NoFeasibleAsk
from gollem.exchange import Outcome, SpendReport, Usage
from gollem.exchange.tape import MAX_BIDS_A_MODEL, MAX_TRADES, MINUTE_MS, MINUTES, Tape
from gollem.market import Rejection
from tests.exchange.conftest import BID, HELD, Bench

DAY_MS = 86_400_000


async def test_a_match_is_a_trade_and_a_replay_is_none(bench: Bench) -> None:
    await bench.fund()
    ask = bench.sell()
    await bench.orders.match("alice", "o1", BID)
    await bench.orders.match("alice", "o1", BID)
    [trade] = bench.tape.trades("gpt-4", 10)
    assert (trade.offer.ask, trade.offer.cost_atoms, trade.at_ms) == (ask, HELD, bench.clock.now_ms())
    assert bench.tape.trades("gpt-3", 10) == []
    assert bench.tape.tallies()["gpt-4"].matched == 1


async def test_a_refusal_counts_once_for_each_limit(bench: Bench) -> None:
    bench.sell("p1")
    bench.sell("p2", price_ticks=90_000)
    for limits in ({"max_price_ticks": 1}, {"max_price_ticks": 1, "max_latency_us": 1}):
        with pytest.raises(NoFeasibleAsk):
            await bench.orders.match("alice", "o", replace(BID, **limits))
    tally = bench.tape.tallies()["gpt-4"]
    assert (tally.matched, tally.refused, dict(tally.limited_by)) == (0, 2, {"price": 2, "latency": 1})


async def test_a_bid_that_rested_in_vain_counts_too(bench: Bench) -> None:
    await bench.fund()
    bench.sell(capacity_slots=0)
    with pytest.raises(CapacityExhausted):
        await bench.orders.match("alice", "o", BID, good_for_ms=1)
    assert dict(bench.tape.tallies()["gpt-4"].limited_by) == {"capacity": 1}


def test_the_tape_is_bounded_and_forgets(bench: Bench) -> None:
    tape, none = Tape(bench.clock), Rejection(1, {"price": 1}, 0)
    bench.sell()
    offer = bench.floor.quote(BID).front[0]
    for _ in range(MAX_TRADES + 1):
        tape.matched(BID, offer)
    tape.refused(BID, none)
    assert len(tape.trades("", MAX_TRADES + 1)) == MAX_TRADES
    assert len(tape.bids("gpt-4")) == MAX_BIDS_A_MODEL
    assert tape.bids("gpt-4")[0].winner is None
    assert tape.since_ms() == bench.clock.now_ms()
    bench.clock.advance_ms(MINUTES * MINUTE_MS)
    assert tape.tallies() == {}
    assert tape.since_ms() > bench.clock.now_ms() - MINUTES * MINUTE_MS


async def test_a_provider_is_told_what_would_have_won(bench: Bench) -> None:
    await bench.fund("alice", 10_000)
    bench.sell("p1", price_ticks=90_000, completion_price_ticks=90_000)
    bench.sell("p2", price_ticks=95_000, completion_price_ticks=95_000)
    for number in range(3):
        await bench.orders.match("alice", f"o{number}", BID)
    with pytest.raises(NoFeasibleAsk):
        await bench.orders.match("alice", "o", replace(BID, max_price_ticks=80_000))
    [dearer] = await bench.advice.outlooks("p2", "")
    assert (dearer.bids, dearer.won, dearer.outbid, dict(dearer.excluded_by)) == (4, 0, 3, {"price": 1})
    assert dearer.winning_price_ticks == 89_999
    assert dearer.price_wins == 4
    assert [loss.verdict.price_ticks for loss in dearer.lost] == [80_000, 89_999, 89_999, 89_999]
    [cheaper] = await bench.advice.outlooks("p1", "a")
    assert (cheaper.won, len(cheaper.lost)) == (3, 1)
    assert await bench.advice.outlooks("p3", "") == []
    assert await bench.advice.outlooks("p1", "none") == []


async def test_spending_by_day_and_model(bench: Bench) -> None:
    await bench.fund("alice", 10_000)
    bench.sell("p1")
    report = SpendReport(bench.ledger, bench.clock)
    charged = 0
    for number, usage in enumerate((Usage(100, 50), Usage(100, 100))):  # the second leaves nothing
        await bench.orders.match("alice", f"o{number}", BID)
        receipt = await bench.settlement.settle("p1", f"o{number}", usage, Outcome.COMPLETED)
        charged += receipt.charged_atoms
    await bench.orders.match("alice", "open", BID)
    await bench.orders.match("alice", "void", BID)
    await bench.settlement.refused_by_provider("p1", "void")
    [row], truncated = await report.read("alice", 1)
    assert (row.model, row.orders, row.charged_atoms, truncated) == ("gpt-4", 2, charged, False)
    bench.clock.advance_ms(DAY_MS)
    assert await report.read("alice", 1) == ([], False)
    assert (await report.read("alice", 2))[0] == [row]
    assert await report.read("bob", 31) == ([], False)
