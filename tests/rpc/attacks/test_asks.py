"""Attacks by asks that change under their orders, and by what is told of them."""

import asyncio
from typing import Any

import pytest

from gollem.rpc.pb import market_pb2, provider_pb2
from tests.rpc.attacks.conftest import CANCELLED, SLOTS, cancel
from tests.rpc.conftest import Site, ask, bid, order, refused
from tests.rpc.test_main_job import report, settle

# --- (c), (d), (e) asks that change under their orders ---------------------------------------------------------------


async def _measure(site: Site, ask_id: str, orders: int, ttft_ms: float) -> None:
    for number in range(orders):
        name = f"{ask_id}-{number}"
        await site.market.Match(order(name, prompt_tokens=1, max_tokens=1), metadata=site.alice)
        await site.provider.Settle(settle(name, 1, 1), metadata=site.p1)
        request = market_pb2.ReportRequest(
            order_id=name, outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=ttft_ms, completion_tokens=1
        )
        await site.market.Report(request, metadata=site.alice)


async def _effective_ms(site: Site, ask_id: str) -> float:
    answer = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.ops)
    return {each.ask_id: each.effective_latency_ms for each in answer.asks}[ask_id]


@pytest.mark.parametrize("keep_the_old", [True, False])
async def test_a_new_name_does_not_shed_what_was_measured(site: Site, keep_the_old: bool) -> None:
    await site.sell(ask_id="a", latency_ms=10)
    await site.fund()
    await _measure(site, "a", 3, 700.0)
    assert await _effective_ms(site, "a") == 700.0
    if not keep_the_old:
        request = provider_pb2.DeregisterRequest(provider_id="p1", ask_id="a")
        await site.provider.Deregister(request, metadata=site.p1)
    await site.sell(ask_id="fresh", latency_ms=10)
    assert await _effective_ms(site, "fresh") == 700.0


async def test_a_new_name_does_not_shed_an_open_circuit(site: Site) -> None:
    await site.sell()
    await site.fund()
    for number in range(5):
        await site.market.Match(order(f"o{number}"), metadata=site.alice)
        failed = settle(f"o{number}", 0, 0, outcome=provider_pb2.SettleRequest.FAILED)
        await site.provider.Settle(failed, metadata=site.p1)
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)
    await site.sell(ask_id="fresh")
    status, reason, figures = await refused(site.market.Match(order("next"), metadata=site.alice))
    assert (status, reason, figures["excluded_by.circuit_open"]) == ("RESOURCE_EXHAUSTED", "CAPACITY_EXHAUSTED", "1")
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)


async def test_the_terms_of_the_match_decide_whatever_the_ask_becomes(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell()
    await site.fund()
    first = await site.market.Match(order(), metadata=site.alice)
    await site.provider.PostStatus(report(price="0.9", completion_price="1"), metadata=site.p1)
    await site.sell(price="1", completion_price="1", endpoint="evil.example:1", capacity_slots=1)
    capacity["p1/a"] = (1, 100_000)
    replay = await site.market.Match(order(), metadata=site.alice)
    assert (replay.replayed, replay.grant, replay.offer.endpoint, replay.offer.price) == (
        True,
        first.grant,
        first.offer.endpoint,
        "0.00100000",
    )
    settled = await site.provider.Settle(settle(), metadata=site.p1)
    assert (settled.held, settled.charged) == ("200.00000000", "101.00000000")


async def test_capacity_below_what_runs_is_no_capacity(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell()
    await site.fund()
    for number in range(2):
        await site.market.Match(order(f"o{number}"), metadata=site.alice)
    await site.provider.PostStatus(report(capacity_slots=0, capacity_tokens=0), metadata=site.p1)
    assert (await refused(site.market.Match(order("o2"), metadata=site.alice)))[1] == "CAPACITY_EXHAUSTED"
    for number in range(2):
        await site.provider.Settle(settle(f"o{number}"), metadata=site.p1)
    assert (await refused(site.market.Match(order("o3"), metadata=site.alice)))[1] == "CAPACITY_EXHAUSTED"
    await site.provider.PostStatus(report(sequence=2, capacity_slots=SLOTS, capacity_tokens=100_000), metadata=site.p1)
    await site.market.Match(order("o4"), metadata=site.alice)


async def test_who_leaves_is_paid_for_what_was_under_way(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)
    assert (await site.provider.Settle(settle(), metadata=site.p1)).charged == "101.00000000"
    await site.sell()


# --- (i), (j) what is told -------------------------------------------------------------------------------------------


async def test_a_client_measures_its_own_orders_only_and_each_once(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    absurd = market_pb2.ReportRequest(
        order_id="o1", outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=3_600_000, throughput_tps=0.0001
    )
    assert (await refused(site.market.Report(absurd, metadata=site.bob)))[1] == "UNKNOWN_ORDER"
    for _ in range(10):
        await site.market.Report(absurd, metadata=site.alice)
    failed = market_pb2.ReportRequest(order_id="o1", outcome=market_pb2.ReportRequest.FAILED_MIDSTREAM)
    for _ in range(10):
        await site.market.Report(failed, metadata=site.alice)
    latency = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.ops)
    assert (latency.asks[0].samples, latency.asks[0].effective_latency_ms) == (0, 100.0)
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.ops)
    assert circuit.failures == 0


async def test_an_order_taken_back_measures_nothing(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    await site.provider.PostStatus(report(events=[event]), metadata=site.p1)
    done = market_pb2.ReportRequest(order_id="o1", outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=9_999)
    await site.market.Report(done, metadata=site.alice)
    latency = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.ops)
    assert latency.asks[0].samples == 0


async def test_reports_that_go_backwards_change_nothing(site: Site) -> None:
    await site.sell()
    async with site.provider.Telemetry.open(metadata=site.p1) as line:
        for sequence, price in ((2**63 - 1, "0.002"), (5, "0.5"), (0, "0.5"), (2**63 - 1, "0.5")):
            await line.send_message(report(sequence=sequence, price=price))
            answer = await line.recv_message()
            assert answer is not None
            assert answer.known
        await line.end()
    quote = await site.market.Quote(market_pb2.QuoteRequest(bid=bid()), metadata=site.alice)
    assert quote.front[0].price == "0.00200000"


async def test_a_hundred_thousand_events_are_refused_at_once(site: Site) -> None:
    await site.sell()
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    status, reason, figures = await refused(
        site.provider.PostStatus(report(events=[event] * 100_000), metadata=site.p1)
    )
    assert (status, reason, figures["field"]) == ("INVALID_ARGUMENT", "INVALID_FIELD", "events")


async def test_many_telemetry_streams_of_one_ask_all_hear_and_leave_nothing(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    lines = [site.provider.Telemetry.open(metadata=site.p1) for _ in range(50)]
    for number, line in enumerate(lines):
        await line.__aenter__()
        await line.send_message(report(sequence=number + 1))
        assert await line.recv_message() is not None
    cancelling = asyncio.ensure_future(cancel(site))
    for line in lines:
        pushed = await line.recv_message()
        assert pushed is not None
        assert list(pushed.cancelled_orders) == ["o1"]
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    await lines[0].send_message(report(sequence=100, events=[event]))
    assert (await cancelling).state == CANCELLED
    for line in lines:
        await line.cancel()


def test_the_ask_of_these_tests_has_the_usual_capacity() -> None:
    assert (ask().capacity_slots, ask().capacity_tokens) == (SLOTS, 100_000)
