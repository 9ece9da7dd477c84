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


async def test_failures_open_the_circuit_of_the_provider(selling: Bench) -> None:
    for number in range(5):
        await selling.orders.match("alice", f"o{number}", BID)
        await selling.reports.report("alice", f"o{number}", ClientOutcome.FAILED_BEFORE_FIRST_CHUNK, NOTHING)
        await selling.settlement.settle("p1", f"o{number}", Usage(0, 0), Outcome.FAILED)
        failures = selling.asks.circuit("p1", selling.clock.monotonic_ms()).failures
        assert failures == number + 1, "an order fails once, whoever tells"
    assert selling.asks.circuit("p1", selling.clock.monotonic_ms()).state is CircuitState.OPEN
    assert selling.floor.depth("gpt-4").live_asks == 0


async def test_a_failure_of_an_order_that_was_delivered_does_not_count(selling: Bench) -> None:
    await served(selling, "o1")
    await selling.reports.report("alice", "o1", ClientOutcome.FAILED_MIDSTREAM, NOTHING)
    assert selling.asks.circuit("p1", selling.clock.monotonic_ms()).failures == 0
