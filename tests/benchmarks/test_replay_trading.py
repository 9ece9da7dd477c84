"""What each order adds to the tally: one outcome, and an end that was refused is not taken for a refused bid."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from grpclib.testing import ChannelFor

from benchmarks.replay.inputs import Request
from benchmarks.replay.listings import Listing
from benchmarks.replay.orders import Fate, Order, orders
from benchmarks.replay.sellers import Sellers
from benchmarks.replay.tally import Tally
from benchmarks.replay.trading import Trading
from gollem.errors import GollemError, HoldClosed, NoFeasibleAsk
from gollem.rpc.errors import to_grpc
from gollem.rpc.pb import market_pb2, provider_pb2
from gollem.rpc.pb.market_grpc import MarketServiceBase
from gollem.rpc.pb.provider_grpc import ProviderServiceBase

ASK = Listing("p", "m:0", "m", "h100", 1_000, 1_000, 100, 50.0, 4)


class Market(MarketServiceBase):
    """Matches everything, unless told to refuse; remembers what clients reported."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.reports: list[market_pb2.ReportRequest] = []

    async def Match(self, stream: Any) -> None:
        request = await stream.recv_message()
        if self.refusal:
            raise self.refusal
        offer = market_pb2.Offer(provider_id="p", ask_id="m:0", max_cost="2.00000000", latency_ms=999, throughput_tps=1)
        await stream.send_message(market_pb2.MatchResponse(order_id=request.order_id, offer=offer, held="2.00000000"))

    async def Report(self, stream: Any) -> None:
        self.reports.append(await stream.recv_message())
        await stream.send_message(market_pb2.ReportResponse())

    async def nothing(self, stream: Any) -> None: ...

    Quote = Cancel = MatchStream = Generate = GetOrderBook = WatchOrderBook = ListTrades = GetRefusals = nothing


class Provider(ProviderServiceBase):
    """Settles everything, unless told to refuse."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None

    async def Settle(self, stream: Any) -> None:
        await stream.recv_message()
        if self.refusal:
            raise self.refusal
        await stream.send_message(provider_pb2.SettleResponse(charged="1.5", refunded="0.5", fee="0.1"))

    async def nothing(self, stream: Any) -> None: ...

    Register = Deregister = Telemetry = PostStatus = GetCircuit = GetRateLimit = GetLatency = nothing
    ListAsks = WhyUnmatched = nothing


class Floor:
    """An order that would be completed, and a way to trade it."""

    def __init__(self, market: Market, provider: Provider, channel: Any) -> None:
        self.market, self.provider = market, provider
        self.tally = Tally(requests=1, at_once=1)
        sellers = Sellers(channel, {"p": "key"}, [ASK])
        self.trading = Trading(channel, ["key"], sellers, {"p": 0.0}, 10_000.0, self.tally)
        [made] = orders([Request(0.0, 100, 20)], [ASK], 1, seed=1)
        self.order: Order = replace(made, luck=0.5, quoted=False, reported=True, slowness=2.0)


@pytest.fixture
async def floor() -> AsyncIterator[Floor]:
    market, provider = Market(), Provider()
    async with ChannelFor([market, provider]) as channel:
        yield Floor(market, provider, channel)


def refusal(error: GollemError) -> Exception:
    return to_grpc(error)


async def test_a_completed_order(floor: Floor) -> None:
    await floor.trading.trade(floor.order)
    tally = floor.tally
    assert (tally.matched, tally.refused, tally.broken, tally.unsettled.total()) == (1, 0, 0, 0)
    assert tally.fates == {Fate.COMPLETED: 1}
    assert (tally.charged_atoms, tally.fees_atoms) == (150_000_000, 10_000_000)
    tally.refunded_atoms = 50_000_000
    assert tally.adds_up


async def test_its_client_reports_what_it_measured_not_what_was_offered(floor: Floor) -> None:
    await floor.trading.trade(floor.order)
    [report] = floor.market.reports
    assert (report.ttft_ms, report.throughput_tps, report.completion_tokens) == (200.0, 25.0, 20)
    assert floor.tally.reported == 1


async def test_a_client_that_does_not_report(floor: Floor) -> None:
    await floor.trading.trade(replace(floor.order, reported=False))
    assert floor.market.reports == []


async def test_an_order_that_cannot_be_settled_is_neither_refused_nor_completed(floor: Floor) -> None:
    floor.provider.refusal = refusal(HoldClosed("too late", order_id="o", state="expired"))
    await floor.trading.trade(floor.order)
    tally = floor.tally
    assert (tally.matched, tally.refused, tally.broken) == (1, 0, 0)
    assert tally.unsettled == {"HOLD_CLOSED": 1}
    assert not tally.fates
    assert not tally.excluded_by
    tally.refunded_atoms = tally.held_atoms
    assert tally.adds_up


async def test_a_refused_bid(floor: Floor) -> None:
    floor.market.refusal = refusal(NoFeasibleAsk("none", **{"excluded_by.price": 3, "excluded_by.latency": 0}))
    await floor.trading.trade(floor.order)
    tally = floor.tally
    assert (tally.matched, tally.refused, tally.broken) == (0, 1, 0)
    assert tally.excluded_by == {"price": 1}
    assert tally.adds_up


async def test_a_request_that_was_counted_twice_does_not_add_up(floor: Floor) -> None:
    floor.market.refusal = refusal(NoFeasibleAsk("none"))
    await floor.trading.trade(floor.order)
    await floor.trading.trade(floor.order)
    assert not floor.tally.adds_up
