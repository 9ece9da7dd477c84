"""Two nodes over one Redis and one ledger: what one sells the other matches, and no room is sold twice."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gollem.clock import SystemClock
from gollem.config import NodesConfig
from gollem.errors import BookUnavailable, CapacityExhausted, LedgerUnavailable, OutcomeUnknown
from gollem.exchange import CancelState, ClientOutcome, Measurement, Outcome, Usage
from gollem.ledger import Ledger, Posted, Transaction, open_ledger
from gollem.market import Block, Match
from gollem.nodes import Change, ClaimRequest, Granted, Heard, Placed, Removed
from gollem.providers import Gauge, Promise
from tests.exchange.conftest import BID, PROVIDERS, AheadClock, Bench, Pair, build
from tests.servers.redis_server import RedisServer
from tests.until import until

USAGE = Usage(100, 100)
PROMISE = Promise(latency_us=100_000, tpot_ns=10_000_000, capacity_tokens=50_000, capacity_slots=2)


async def test_an_ask_of_one_node_is_matched_at_the_other(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    assert not (await pair.b.orders.match("alice", "o1", BID)).replayed
    await pair.both_see(3)
    await pair.a.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    await pair.both_see(4)
    assert await pair.leased() == 0


async def test_no_more_is_sold_than_there_is_at_whatever_node(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    matches = [(pair.a if number % 2 else pair.b).orders.match("alice", f"o{number}", BID) for number in range(12)]
    outcomes = await asyncio.gather(*matches, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, CapacityExhausted)]
    assert (len(outcomes) - len(refused), len(refused)) == (4, 8), outcomes
    await pair.both_see(0)
    assert await pair.leased() == 4


async def test_a_node_that_knows_too_little_is_refused_and_tries_the_next(pair: Pair) -> None:
    pair.a.sell(capacity_slots=1)
    pair.a.sell("p2", price_ticks=200_000)
    await pair.both_see(5)
    first, second = await asyncio.gather(
        pair.a.orders.match("alice", "o1", BID), pair.b.orders.match("alice", "o2", BID)
    )
    assert {first.terms.provider_id, second.terms.provider_id} == {"p1", "p2"}
    await pair.a.settlement.settle(first.terms.provider_id, "o1", USAGE, Outcome.COMPLETED)
    await pair.b.settlement.settle(second.terms.provider_id, "o2", USAGE, Outcome.COMPLETED)
    await pair.both_see(5)


async def test_an_order_sent_to_both_nodes_is_one_order(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    answers = await asyncio.gather(*(bench.orders.match("alice", "o1", BID) for bench in (pair.a, pair.b)))
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert answers[0].fence == answers[1].fence
    await pair.both_see(3)
    assert await pair.leased() == 1


async def test_a_cancellation_reaches_the_agent_at_the_other_node(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    await pair.b.orders.match("alice", "o1", BID)
    cancelling = asyncio.create_task(pair.b.orders.cancel("alice", "o1"))
    await until(lambda: pair.a.links.cancelled_orders("p1/a") == ["o1"])
    await pair.a.hears(refused=["o1"])
    assert (await cancelling).state is CancelState.CANCELLED
    await pair.both_see(4)
    assert await pair.leased() == 0


async def test_what_has_begun_is_known_to_both(pair: Pair) -> None:
    """So that no node voids it when its provider falls silent."""
    pair.a.sell()
    await pair.both_see(4)
    await pair.b.orders.match("alice", "o1", BID)
    await pair.a.hears(started=["o1"])  # sooner, maybe, than this node hears of the order
    for bench in (pair.a, pair.b):
        await until(lambda bench=bench: (claim := bench.floor.claim("o1")) and claim.started)


async def test_an_agent_that_comes_over_belongs_to_its_new_node(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    await pair.b.hears(sequence=1, capacity_slots=2)
    await pair.both_see(2)
    assert (pair.a.floor.is_own("p1/a"), pair.b.floor.is_own("p1/a")) == (False, True)
    assert (pair.a.shared.status().asks, pair.b.shared.status().asks) == (0, 1)
    pair.b.asks.deregister("p1", None)
    await until(lambda: pair.a.floor.ask("p1/a") is None)


async def test_a_node_learns_by_the_replay_of_an_order_whose_node_died(pair: Pair) -> None:
    pair.b.sell()
    await pair.both_see(4)
    await pair.a.orders.match("alice", "o1", BID)
    await pair.both_see(3)
    pair.b.floor.release("o1")
    pair.redis.ask("flushall")  # nobody but the ledger knows of it
    assert (await pair.b.orders.match("alice", "o1", BID)).replayed
    assert pair.b.floor.depth("gpt-4").free_slots == 3
    assert await pair.leased() == 1


class CutLedger:
    """One that a node cannot reach any more, from the moment that it is told so."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.is_cut = False

    def __getattr__(self, name: str) -> Any:
        if self.is_cut:
            raise LedgerUnavailable("nobody answers")
        return getattr(self._ledger, name)


async def test_a_node_cut_off_from_the_ledger_takes_no_room_from_the_others(server: RedisServer) -> None:
    """Each caller tries it once: it would hold a slot a try for `lease_ms`, though it can sell none."""
    server.ask("flushall")
    ledger = await open_ledger("memory:")
    cut, url = CutLedger(ledger), f"redis://127.0.0.1:{server.port}"
    a, b = (
        build(of, SystemClock(), NodesConfig(book=url, name=name, partitions=2, flush_ms=2, heartbeat_ms=50))
        for name, of in (("a", cut), ("b", ledger))  # type: ignore[arg-type]
    )
    for bench in (a, b):
        await bench.shared.start(bench.replica)
    pair = Pair(a, b, server, AheadClock())
    await b.fund(amount=10_000)
    b.sell(capacity_slots=1)
    await pair.both_see(1)
    cut.is_cut = True
    with pytest.raises(LedgerUnavailable):
        await a.orders.match("alice", "o1", BID)
    assert await pair.leased() == 0
    cut.is_cut = False
    assert not (await b.orders.match("alice", "o1", BID)).replayed
    for bench in (a, b):
        await bench.commits.finish()
        await bench.shared.close()


class LateLedger:
    """Writes the hold, but only after it was asked whether it has."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.late: list[Transaction] = []

    async def post(self, transaction: Transaction) -> Posted:
        self.late.append(transaction)
        raise OutcomeUnknown("no answer")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


async def test_room_stays_taken_while_a_hold_of_unknown_outcome_may_come(pair: Pair) -> None:
    """It is not there yet, and is written after that was seen: nobody else may have been given its room."""
    pair.a.sell(capacity_slots=1)
    await pair.both_see(1)
    late = LateLedger(pair.b.ledger)
    pair.b.orders._spending._ledger = late  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        await pair.b.orders.match("alice", "o1", BID)
    assert await pair.b.settlement.release_ended() == 0
    assert await pair.leased() == 1
    with pytest.raises(CapacityExhausted):
        await pair.a.orders.match("alice", "o2", BID)
    await pair.a.ledger.post(*late.late)
    await pair.a.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    assert await pair.leased() == 0


async def test_room_comes_back_when_a_hold_of_unknown_outcome_does_not_come(pair: Pair) -> None:
    pair.a.sell(capacity_slots=1)
    await pair.both_see(1)
    pair.b.orders._spending._ledger = LateLedger(pair.b.ledger)  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        await pair.b.orders.match("alice", "o1", BID)
    claim = pair.b.floor.claim("o1")
    assert claim is not None
    claim.opened_at_ms -= NodesConfig().lease_ms
    assert await pair.b.settlement.release_ended() == 1
    assert await pair.leased() == 0


async def test_leases_come_back_after_everything_was_restarted(pair: Pair) -> None:
    """Redis is empty, and no node is left that saw it happen."""
    pair.a.sell()
    await pair.both_see(4)
    await pair.a.orders.match("alice", "o1", BID)
    assert await pair.leased() == 1
    for bench in (pair.a, pair.b):
        await bench.shared.close()
    pair.redis.ask("flushall")
    assert await pair.leased() == 0
    config = NodesConfig(book=f"redis://127.0.0.1:{pair.redis.port}", name="c", partitions=2, heartbeat_ms=50)
    started = build(pair.a.ledger, SystemClock(), config)
    await started.shared.start(started.replica)
    started.leases.joined()
    await started.commits.finish()
    await started.shared.close()
    assert await pair.leased() == 1


async def test_a_lease_comes_back_for_a_hold_that_was_on_its_way_when_everything_was_restarted(pair: Pair) -> None:
    """Nobody is left who knows of it."""
    pair.a.sell()
    await pair.both_see(4)
    late = LateLedger(pair.b.ledger)
    pair.b.orders._spending._ledger = late  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        await pair.b.orders.match("alice", "o1", BID)
    await pair.leased()
    for bench in (pair.a, pair.b):
        await bench.shared.close()
    pair.redis.ask("flushall")
    clock = AheadClock()
    config = NodesConfig(book=f"redis://127.0.0.1:{pair.redis.port}", name="c", partitions=2, heartbeat_ms=50)
    started = build(pair.a.ledger, clock, config)
    await started.shared.start(started.replica)
    started.leases.joined()
    await started.commits.finish()
    await pair.a.ledger.post(*late.late)
    await started.leases.restore_lost()
    assert await pair.leased() == 0
    clock.ahead_ms = config.lease_ms
    await started.leases.restore_lost()
    await started.shared.close()
    assert await pair.leased() == 1


async def test_old_news_of_another_node_does_not_undo_what_an_agent_says_here(pair: Pair) -> None:
    """It was on its way, or not yet sent, when the agent came over with another price."""
    sold = pair.a.sell()
    await pair.both_see(4)
    for bench in (pair.a, pair.b):
        bench.floor.take_in(Placed(replace(sold, price_ticks=7), None, age_ms=10_000))
    assert pair.a.floor.ask(sold.key) == sold
    assert pair.a.floor.is_own(sold.key)
    await until(lambda: pair.b.floor.ask(sold.key) == sold)  # who was misled is told again


async def test_a_lease_comes_back_once_a_repeated_order_lets_go_of_it(pair: Pair) -> None:
    """While it was lost, its order was claimed for once more, by a node that did not know of the hold."""
    pair.a.sell()
    await pair.both_see(4)
    await pair.a.orders.match("alice", "o1", BID)
    assert await pair.leased() == 1
    claim = pair.a.floor.claim("o1")
    assert claim is not None
    await pair.a.shared.release(claim.lease)
    again = await pair.b.shared.claim(
        ClaimRequest("o1", claim.ask_key, claim.model, claim.tokens, 60_000, claim.tokens, 1)
    )
    assert isinstance(again, Granted)
    pair.a.leases.lost(pair.a.shared.partition_of(claim.model))
    assert await pair.leased() == 1
    await pair.b.shared.release(replace(claim.lease, fence=again.fence))
    await pair.a.leases.restore_lost()
    assert await pair.leased() == 1


async def test_a_bid_rests_until_another_node_has_room_for_it(pair: Pair) -> None:
    pair.a.sell(capacity_slots=1)
    await pair.both_see(1)
    await pair.a.orders.match("alice", "o1", BID)
    await pair.both_see(0)
    resting = asyncio.create_task(pair.b.orders.match("alice", "o2", BID, good_for_ms=5_000))
    await until(lambda: pair.b.waiting.resting("gpt-4"))
    await pair.a.settlement.settle("p1", "o1", USAGE, Outcome.COMPLETED)
    assert (await resting).order_id == "o2"


async def test_a_failure_told_at_one_node_counts_at_both(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    await pair.b.orders.match("alice", "o1", BID)
    await pair.b.settlement.settle("p1", "o1", Usage(0, 0), Outcome.FAILED)
    now_ms = pair.a.clock.monotonic_ms()
    await until(lambda: pair.a.asks.circuit("p1", now_ms).failures == 1)
    assert pair.b.asks.circuit("p1", now_ms).failures == 1


async def test_one_consumers_word_counts_once_at_whatever_nodes(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    for order_id in ("o1", "o2"):
        await pair.a.orders.match("alice", order_id, BID)
        await pair.a.settlement.settle("p1", order_id, USAGE, Outcome.COMPLETED)
    now_ms, nothing = pair.a.clock.monotonic_ms(), Measurement(None, None)
    await pair.a.reports.report("alice", "o1", ClientOutcome.FAILED_MIDSTREAM, nothing)
    await until(lambda: pair.b.asks.circuit("p1", now_ms).failures == 1)
    await until(lambda: pair.b.reports._counted)
    await pair.b.reports.report("alice", "o2", ClientOutcome.FAILED_MIDSTREAM, nothing)
    assert pair.b.asks.circuit("p1", now_ms).failures == 1
    await pair.a.orders.match("alice", "o3", BID)
    await pair.both_see(3)  # all that was told before has come
    assert pair.a.asks.circuit("p1", now_ms).failures == 1


async def test_what_an_account_does_at_one_node_counts_at_the_other(pair: Pair) -> None:
    for _ in range(150):
        assert pair.a.limiter.spend("alice") == 0
    pair.a.limits.tell()
    await until(lambda: "alice" in pair.b.limiter._buckets)
    pair.b.limits.tell()
    admitted = [pair.b.limiter.spend("alice") == 0 for _ in range(200)]
    assert sum(admitted) <= 60, "what is left of 200, and what came in meanwhile"
    assert pair.b.limiter.spend("bob") == 0


async def test_without_redis_each_node_goes_on_for_a_while(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    pair.redis.kill()
    try:
        matched = await pair.b.orders.match("alice", "o1", BID)
        assert matched.degraded
        assert pair.b.shared.status().degraded
        pair.b_clock.ahead_ms = 31_000
        with pytest.raises(BookUnavailable):
            await pair.b.orders.match("alice", "o2", BID)
        assert (await pair.b.orders.match("alice", "o1", BID)).replayed
        assert pair.b.floor.claims() == 1
    finally:
        pair.redis.start()
    await until(lambda: not pair.b.shared.status().degraded)
    await pair.b.leases.renew_waiting()
    assert await pair.leased() == 1


async def test_a_node_that_stood_still_asks_again(bench: Bench) -> None:
    asked = []

    class Slow:
        async def claim(self, request: ClaimRequest) -> Granted:
            asked.append(request)
            if len(asked) == 1:
                bench.clock.advance_ms(request.lease_ms)
            return Granted(fence=len(asked))

    shared = build(bench.ledger, bench.clock, NodesConfig(book="redis://127.0.0.1:1"))
    shared.leases._shared = Slow()  # type: ignore[assignment]
    shared.sell()
    match = shared.floor.match(BID, 0)
    assert isinstance(match, Match)
    assert await shared.leases.claim("o1", match) == Granted(fence=2)


async def test_what_is_no_longer_there_goes_and_what_has_no_place_is_passed_over(bench: Bench) -> None:
    own = bench.sell()
    theirs, strange = replace(own, provider_id="p2"), replace(own, provider_id="p3", model="unheard-of")
    unknown = Heard("p4/a", "gpt-4", 1, PROMISE, Gauge())
    bench.replica.apply([Placed(strange, None), unknown, Placed(theirs, 60)])
    assert bench.floor.depth("gpt-4").live_asks == 2
    bench.replica.retain(1, frozenset())
    assert bench.floor.ask(theirs.key) == theirs
    bench.replica.retain(0, frozenset())
    assert bench.floor.ask(theirs.key) is None
    assert bench.floor.ask(own.key) == own


async def test_what_was_heard_long_ago_is_as_old_as_it_is(bench: Bench) -> None:
    bench.sell("p2")
    theirs = replace(bench.sell("p1"), provider_id="p3")
    bench.replica.apply([Placed(theirs, None, age_ms=PROVIDERS.withdraw_after_ms)])
    assert bench.floor.blocks(theirs.key) == {Block.SILENT}
    bench.replica.apply([Heard(theirs.key, theirs.model, 1, PROMISE, Gauge(), age_ms=100)])
    assert not bench.floor.blocks(theirs.key)
    bench.replica.apply([Removed(theirs.key, "gpt-3")])
    assert bench.floor.ask(theirs.key) is not None
    bench.replica.apply([Removed(theirs.key, theirs.model)])
    assert bench.floor.ask(theirs.key) is None


async def test_asks_are_placed_again_now_and_then(bench: Bench) -> None:
    told: list[Change] = []
    bench.floor._announce = told.append
    bench.sell()
    await bench.hears(sequence=1)
    assert [type(change) for change in told] == [Placed, Heard]
    bench.clock.advance_ms(100_000)
    await bench.hears(sequence=2)
    assert [type(change) for change in told[2:]] == [Placed, Heard]


async def test_a_flush_takes_neither_asks_nor_room(pair: Pair) -> None:
    pair.a.sell()
    await pair.both_see(4)
    await pair.b.orders.match("alice", "o1", BID)
    await pair.both_see(3)
    assert await pair.leased() == 1
    pair.redis.ask("flushall")
    await until(lambda: pair.redis.ask("keys", "*due*"))
    assert await pair.leased() == 1
    await pair.both_see(3)
