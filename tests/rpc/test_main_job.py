"""The life of an order over the wire, on each ledger: register, match, settle, report, balance."""

import asyncio
from typing import Any

import pytest

from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2, provider_pb2
from tests.rpc.conftest import Site, bid, order, refused
from tests.until import WITHIN_S, until, until_answer


@pytest.fixture(params=["sqlite", "dynamodb"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else request.getfixturevalue("dynamodb_table")


def settle(order_id: str = "o1", prompt: int = 50, completion: int = 51, **changes: object) -> object:
    fields = {
        "provider_id": "p1",
        "order_id": order_id,
        "usage": common_pb2.Usage(prompt_tokens=prompt, completion_tokens=completion),
        "outcome": provider_pb2.SettleRequest.COMPLETED,
    }
    return provider_pb2.SettleRequest(**(fields | changes))


def report(**changes: object) -> provider_pb2.TelemetryRequest:
    return provider_pb2.TelemetryRequest(**({"provider_id": "p1", "ask_id": "a", "sequence": 1} | changes))


async def test_an_order_from_match_to_receipt(site: Site) -> None:
    registered = await site.sell()
    assert (registered.model, len(registered.grant_public_key), registered.prompt_usd_per_mtok) == (
        "gpt-4",
        32,
        "1000.00",
    )
    await site.fund()
    matched = await site.market.Match(order(max_price="0.002", max_latency_ms=500), metadata=site.alice)
    assert (matched.held, matched.available, matched.offer.provider_id) == ("200.00000000", "800.00000000", "p1")
    assert (matched.offer.price, matched.offer.latency_ms, matched.front_size) == ("0.00100000", 100.0, 1)

    settled = await site.provider.Settle(settle(), metadata=site.p1)
    assert (settled.held, settled.charged, settled.refunded) == ("200.00000000", "101.00000000", "99.00000000")
    assert (settled.provider_share, settled.fee) == ("95.95000000", "5.05000000")

    reported = await site.market.Report(
        market_pb2.ReportRequest(
            order_id="o1", outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=12.5, completion_tokens=51
        ),
        metadata=site.alice,
    )
    assert reported.receipt.charged == "101.00000000"

    balance = await site.credit.Balance(credit_pb2.BalanceRequest(), metadata=site.alice)
    assert (balance.available, balance.held, balance.available_usd) == ("899.00000000", "0.00000000", "0.899")
    earned = await site.credit.Balance(credit_pb2.BalanceRequest(), metadata=site.p1)
    assert earned.earned == "95.95000000"
    assert (await site.admin.Audit(admin_pb2.AuditRequest(), metadata=site.ops)).ok


async def test_a_server_alone_is_the_only_node(site: Site) -> None:
    await site.sell()
    (node,) = (await site.admin.ListNodes(admin_pb2.ListNodesRequest(), metadata=site.ops)).nodes
    assert (node.asks, node.degraded, node.epoch) == (1, False, 0)
    assert node.name
    assert await refused(site.admin.ListNodes(admin_pb2.ListNodesRequest(), metadata=site.alice))


async def test_a_replayed_match_carries_the_same_grant(site: Site) -> None:
    await site.sell()
    await site.fund()
    first = await site.market.Match(order(), metadata=site.alice)
    again = await site.market.Match(order(), metadata=site.alice)
    assert again.replayed
    assert again.grant == first.grant


async def test_quote_deducts_nothing_and_shows_the_front(site: Site) -> None:
    await site.sell()
    await site.sell("p2", price="0.003", latency_ms=10)
    quote = await site.market.Quote(market_pb2.QuoteRequest(bid=bid(max_price="0.0005")), metadata=site.alice)
    assert (len(quote.front), quote.feasible, dict(quote.excluded_by)) == (0, 0, {"price": 2})
    quote = await site.market.Quote(market_pb2.QuoteRequest(bid=bid()), metadata=site.p1)
    assert [offer.provider_id for offer in quote.front] == ["p1", "p2"]
    assert quote.winner_provider_id in {"p1", "p2"}
    balance = await site.credit.Balance(credit_pb2.BalanceRequest(), metadata=site.alice)
    assert balance.held == "0.00000000"


async def test_telemetry_answers_each_report_and_pushes_cancellations(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    async with site.provider.Telemetry.open(metadata=site.p1) as line:
        await line.send_message(report(capacity_slots=2, gpus=[common_pb2.GpuStatus(name="H100")]))
        answer = await line.recv_message()
        assert answer is not None
        assert (answer.known, answer.matched, list(answer.blocked_by)) == (True, 1, [])
        cancelling = asyncio.create_task(
            site.market.Cancel(market_pb2.CancelRequest(order_id="o1"), metadata=site.alice)
        )
        pushed = await line.recv_message()
        assert pushed is not None
        assert list(pushed.cancelled_orders) == ["o1"]
        refusal = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
        await line.send_message(report(sequence=2, events=[refusal]))
        cancelled = await cancelling
        assert cancelled.state == market_pb2.CancelResponse.CANCELLED
        assert cancelled.refunded == "200.00000000"
        await line.end()


async def test_unknown_asks_are_told_to_register(site: Site) -> None:
    answer = await site.provider.PostStatus(report(), metadata=site.p1)
    assert not answer.known


async def test_repricing_by_telemetry_moves_the_market(site: Site) -> None:
    await site.sell()
    await site.provider.PostStatus(report(price="0.002"), metadata=site.p1)
    quote = await site.market.Quote(market_pb2.QuoteRequest(bid=bid()), metadata=site.alice)
    assert (quote.front[0].price, quote.front[0].completion_price) == ("0.00200000", "0.00200000")


async def test_the_order_book_is_shown_and_watched(site: Site) -> None:
    request = market_pb2.WatchOrderBookRequest(interval_ms=100)
    async with site.market.WatchOrderBook.open(metadata=site.bob) as watch:
        await watch.send_message(request, end=True)
        first = await watch.recv_message()
        assert first is not None
        assert len(first.models) == 0
        await site.sell()
        second = await watch.recv_message()
        assert second is not None
        assert [book.model for book in second.models] == ["gpt-4"]
        await watch.cancel()
    book = await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(model="gpt4"), metadata=site.bob)
    (model,) = book.models
    assert (model.live_asks, model.free_slots, model.best_price) == (1, 4, "0.00100000")


async def test_many_bids_on_one_stream(site: Site) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    await site.fund(amount="2000")
    async with site.market.MatchStream.open(metadata=site.alice) as stream:
        for number in range(20):
            await stream.send_message(order(f"o{number}"))
        await stream.send_message(order("bad order"))
        await stream.end()
        answers = [answer async for answer in stream]
    outcomes = {answer.order_id: answer.WhichOneof("outcome") for answer in answers}
    assert len(outcomes) == 21
    assert sum(outcome == "match" for outcome in outcomes.values()) == 10
    refusals = {answer.refusal.reason for answer in answers if answer.WhichOneof("outcome") == "refusal"}
    assert refusals == {"INSUFFICIENT_CREDITS", "INVALID_FIELD"}


async def test_a_resting_bid_waits_over_the_wire(site: Site) -> None:
    await site.fund()
    request = order()
    request.good_for_ms = 5_000
    waiting = asyncio.create_task(site.market.Match(request, metadata=site.alice))
    watch = market_pb2.GetOrderBookRequest(model="gpt-4")

    async def resting() -> int:
        return (await site.market.GetOrderBook(watch, metadata=site.alice)).models[0].resting_bids

    await until_answer(resting)
    await site.sell()
    assert (await waiting).held == "200.00000000"


async def test_circuit_rate_limit_and_latency_are_readable(site: Site) -> None:
    await site.sell(max_requests_per_minute=10)
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.alice)
    assert (circuit.state, circuit.threshold) == (provider_pb2.Circuit.CLOSED, 5)
    limits = await site.provider.GetRateLimit(provider_pb2.GetRateLimitRequest(provider_id="p1"), metadata=site.alice)
    assert (limits.asks[0].limit_per_minute, limits.asks[0].remaining) == (10, 9)
    latency = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.alice)
    assert (latency.asks[0].promised_latency_ms, latency.asks[0].samples) == (100.0, 0)
    assert not latency.asks[0].HasField("latency_p95_ms")


async def test_statements_page_without_gap_or_repeat(site: Site) -> None:
    await site.sell(capacity_slots=100)
    await site.fund()
    for number in range(5):
        await site.market.Match(order(f"o{number}", prompt_tokens=1, max_tokens=1), metadata=site.alice)
        await site.provider.Settle(settle(f"o{number}", 1, 1), metadata=site.p1)
    seen, token = [], ""
    while True:
        page = await site.credit.ListTransactions(
            credit_pb2.ListTransactionsRequest(page_size=2, page_token=token), metadata=site.alice
        )
        seen += [line.key for line in page.transactions]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen))
    assert set(seen) >= {"grant:g-alice-1000", *(f"hold:o{n}" for n in range(5))}
    earned = await site.credit.ListTransactions(credit_pb2.ListTransactionsRequest(), metadata=site.p1)
    assert [line.key for line in earned.transactions] == [f"settle:o{n}" for n in reversed(range(5))]


async def test_statements_are_filtered_by_kind_and_time(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)

    async def listed(**only: object) -> list[str]:
        request = credit_pb2.ListTransactionsRequest(**only)
        return [line.key for line in (await site.credit.ListTransactions(request, metadata=site.alice)).transactions]

    whole = await site.credit.ListTransactions(credit_pb2.ListTransactionsRequest(), metadata=site.alice)
    held, granted = whole.transactions
    assert await listed(kinds=["hold"]) == [held.key]
    assert await listed(kinds=["hold", "grant"]) == [held.key, granted.key]
    assert await listed(from_ms=held.at_ms + 1) == []
    assert await listed(to_ms=granted.at_ms) == []
    assert granted.key in await listed(from_ms=granted.at_ms, to_ms=granted.at_ms + 1)
    for wrong in ({"kinds": ["gift"]}, {"from_ms": -1}, {"to_ms": -1}, {"page_token": "x"}, {"page_token": "9" * 300}):
        request = credit_pb2.ListTransactionsRequest(**wrong)
        assert (await refused(site.credit.ListTransactions(request, metadata=site.alice)))[1] == "INVALID_FIELD"


async def test_a_restart_keeps_orders_and_their_capacity(site: Site) -> None:
    await site.sell()
    await site.fund()
    first = await site.market.Match(order(), metadata=site.alice)
    await site.app.stop()
    await site.app.start()
    site.channel._port = site.app.port
    await site.sell()
    book = await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(), metadata=site.alice)
    assert book.models[0].free_slots == 3
    again = await site.market.Match(order(), metadata=site.alice)
    assert (again.replayed, again.grant) == (True, first.grant)
    assert (await site.provider.Settle(settle(), metadata=site.p1)).charged == "101.00000000"


@pytest.mark.parametrize("site", [{"server.drain_timeout_ms": "600000"}], indirect=True)
async def test_endless_streams_do_not_hold_up_a_stop(site: Site) -> None:
    await site.sell()
    answered = 0

    async def follow(stream: Any, request: Any) -> None:
        nonlocal answered
        async with stream:
            await stream.send_message(request)
            async for _ in stream:
                answered += 1

    watching = follow(site.market.WatchOrderBook.open(metadata=site.bob), market_pb2.WatchOrderBookRequest())
    reporting = follow(site.provider.Telemetry.open(metadata=site.p1), report())
    streams = [asyncio.create_task(stream) for stream in (watching, reporting)]
    await until(lambda: answered == len(streams))
    async with asyncio.timeout(WITHIN_S):
        await site.app.stop()
    for stream in streams:
        status, reason, _ = await refused(stream)
        assert (status, reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
