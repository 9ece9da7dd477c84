"""Clients' reports feed the book and the breaker, once an order and for its owner only."""

import pytest

from gollem.errors import UnknownOrder
from gollem.exchange import ClientOutcome, Measurement, Outcome, Usage
from gollem.providers import CircuitState
from tests.exchange.conftest import BID, Bench

NOTHING = Measurement(None, None)


async def served(bench: Bench, order_id: str) -> None:
    await bench.orders.match("alice", order_id, BID)
    await bench.settlement.settle("p1", order_id, Usage(10, 10), Outcome.COMPLETED)


def effective_latency_us(bench: Bench) -> int:
    return bench.floor.depth("gpt-4").front[0].latency_us


@pytest.fixture
async def selling(bench: Bench) -> Bench:
    bench.sell()
    await bench.fund(amount=100_000)
    return bench


async def test_enough_samples_replace_the_promise(selling: Bench) -> None:
    for number in range(3):
        assert effective_latency_us(selling) == 100_000
        await served(selling, f"o{number}")
        selling.clock.advance_ms(500)
        receipt = await selling.reports.report(
            "alice", f"o{number}", ClientOutcome.COMPLETED, Measurement(250_000, 20_000_000)
        )
        assert receipt is not None
    assert effective_latency_us(selling) == 250_000
    assert selling.floor.depth("gpt-4").front[0].measured


async def test_a_second_report_and_a_strangers_count_for_nothing(selling: Bench) -> None:
    await served(selling, "o1")
    for _ in range(10):
        await selling.reports.report("alice", "o1", ClientOutcome.COMPLETED, Measurement(250_000, None))
    assert effective_latency_us(selling) == 100_000
    with pytest.raises(UnknownOrder):
        await selling.reports.report("bob", "o1", ClientOutcome.COMPLETED, NOTHING)


def failures(bench: Bench) -> int:
    return bench.asks.circuit("p1", bench.clock.monotonic_ms()).failures


async def failed(bench: Bench, order_id: str, user: str = "alice") -> None:
    """An order of which its client says that nothing came."""
    await bench.orders.match(user, order_id, BID)
    await bench.reports.report(user, order_id, ClientOutcome.FAILED_BEFORE_FIRST_CHUNK, NOTHING)


async def test_failures_that_the_provider_admits_open_its_circuit(selling: Bench) -> None:
    for number in range(5):
        await failed(selling, f"o{number}")
        await selling.settlement.settle("p1", f"o{number}", Usage(0, 0), Outcome.FAILED)
        await selling.reports.review()
        assert failures(selling) == number + 1, "an order fails once, whoever tells"
    assert selling.asks.circuit("p1", selling.clock.monotonic_ms()).state is CircuitState.OPEN
    assert selling.floor.depth("gpt-4").live_asks == 0


async def test_failures_of_a_provider_that_does_not_answer_count_at_once(selling: Bench) -> None:
    for number in range(4):
        await failed(selling, f"o{number}")
    await selling.reports.review()
    assert failures(selling) == 4


async def test_an_answer_closes_the_circuit_that_one_consumer_opened(selling: Bench) -> None:
    selling.sell(capacity_slots=8)
    for number in range(5):
        await failed(selling, f"o{number}")
    assert selling.floor.depth("gpt-4").live_asks == 0
    await selling.hears(refused=[f"o{number}" for number in range(5)])
    await selling.reports.review()
    assert failures(selling) == 1
    assert selling.floor.depth("gpt-4").live_asks == 1


async def test_a_failure_report_asks_the_agent_to_stop(selling: Bench) -> None:
    await failed(selling, "o1")
    assert selling.links.cancelled_orders("p1/a") == ["o1"]


async def test_one_consumers_word_against_a_provider_that_answers_counts_once(selling: Bench) -> None:
    await selling.fund("bob")
    for number in range(4):
        await failed(selling, f"o{number}")
        await selling.hears(sequence=number, refused=[f"o{number}"])
        await selling.reports.review()
    assert failures(selling) == 1
    await failed(selling, "o9", "bob")
    await selling.hears(sequence=9, refused=["o9"])
    await selling.reports.review()
    assert failures(selling) == 2


async def test_a_provider_paid_for_what_its_consumer_disputes_loses_a_little(selling: Bench) -> None:
    for number in range(3):
        await served(selling, f"o{number}")
        await selling.reports.report("alice", f"o{number}", ClientOutcome.FAILED_MIDSTREAM, NOTHING)
    assert failures(selling) == 1


async def test_what_the_provider_admits_later_is_not_retracted(selling: Bench) -> None:
    for number in range(3):
        await failed(selling, f"o{number}")
        await selling.hears(sequence=number, started=[f"o{number}"])
        assert await selling.reports.review() == 0, "it has started: its end will tell"
        await selling.settlement.settle("p1", f"o{number}", Usage(1, 1), Outcome.FAILED)
        assert await selling.reports.review() == 1
    assert failures(selling) == 3


async def test_figures_count_when_the_order_is_paid_and_not_before(selling: Bench) -> None:
    for number in range(3):
        await selling.orders.match("alice", f"o{number}", BID)
        selling.clock.advance_ms(1_000)
        await selling.reports.report("alice", f"o{number}", ClientOutcome.COMPLETED, Measurement(250_000, 20_000_000))
        await selling.reports.review()
    assert effective_latency_us(selling) == 100_000
    for number in range(3):
        await selling.settlement.settle("p1", f"o{number}", Usage(10, 10), Outcome.COMPLETED)
    await selling.reports.review()
    assert effective_latency_us(selling) == 250_000


async def test_orders_that_nobody_paid_leave_no_figures(selling: Bench) -> None:
    for number in range(4):
        await selling.orders.match("alice", f"o{number}", BID)
        await selling.reports.report("alice", f"o{number}", ClientOutcome.COMPLETED, Measurement(10**9, 1))
        await selling.hears(sequence=number, refused=[f"o{number}"])
    assert await selling.reports.review() == 4
    (seller,) = selling.asks.sellers("p1")
    assert len(seller.samples) == 0
