"""MarketService.Generate relays a provider's stream, and changes provider only before the first chunk."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from gollem.rpc.pb import common_pb2, credit_pb2, market_pb2, provider_pb2
from grpclib_guard import fault_info
from tests.fakes.provider import BREAK, END_SILENTLY, HANG, WAIT, FakeProvider
from tests.rpc.conftest import Site, bid
from tests.until import WITHIN_S

UNAVAILABLE = GRPCError(Status.UNAVAILABLE, "no model")


@pytest.fixture
async def providers(site: Site) -> AsyncIterator[dict[str, FakeProvider]]:
    """p1 is cheap, p2 is dear and as quick: p1 wins whenever it is allowed to."""
    made = {name: FakeProvider(name) for name in ("p1", "p2")}
    for name, price in (("p1", "0.001"), ("p2", "0.002")):
        await made[name].start()
        await site.sell(name, price=price, endpoint=made[name].endpoint, latency_ms=200 if name == "p1" else 100)
    await site.fund()
    yield made
    for provider in made.values():
        await provider.stop()


def request(order_id: str = "o1", **changes: Any) -> market_pb2.MarketGenerateRequest:
    hello = common_pb2.ChatMessage(role="user", content="Say hello.")
    return market_pb2.MarketGenerateRequest(
        order_id=order_id, bid=bid(policy=market_pb2.POLICY_PRICE, **changes), messages=[hello]
    )


async def relayed(site: Site, **metadata: str) -> list[market_pb2.MarketGenerateResponse]:
    async with site.market.Generate.open(metadata=site.alice | metadata) as stream:
        await stream.send_message(request(), end=True)
        return [event async for event in stream]


def text(events: list[market_pb2.MarketGenerateResponse]) -> str:
    return "".join(event.chunk.text for event in events)


async def settle_when_asked(site: Site, provider: FakeProvider) -> None:
    await provider.asked.wait()
    usage = common_pb2.Usage(prompt_tokens=5, completion_tokens=3)
    completed = provider_pb2.SettleRequest.COMPLETED
    await site.provider.Settle(
        provider_pb2.SettleRequest(provider_id="p1", order_id="o1", usage=usage, outcome=completed),
        metadata=site.p1,
    )


async def test_match_chunks_and_receipt_in_this_order(site: Site, providers: dict[str, FakeProvider]) -> None:
    settling = asyncio.create_task(settle_when_asked(site, providers["p1"]))
    events = await relayed(site)
    await settling
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["match", "chunk", "chunk", "chunk", "chunk", "receipt"]
    assert text(events) == "Hello!"
    assert events[0].match.offer.provider_id == "p1"
    assert events[0].match.grant == "", "a used grant is nobody's business"
    assert events[-1].receipt.charged == "8.00000000"
    latency = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.alice)
    assert latency.asks[0].samples == 1


@pytest.mark.parametrize("failure", [[UNAVAILABLE], [BREAK], [END_SILENTLY]])
async def test_before_the_first_chunk_the_next_provider_is_tried(
    site: Site, providers: dict[str, FakeProvider], failure: list[object]
) -> None:
    providers["p1"].script = failure
    events = await relayed(site)
    assert events[0].match.offer.provider_id == "p2"
    assert events[0].match.order_id == "o1.2"
    assert text(events) == "Hello!"
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.alice)
    assert circuit.failures == 1


@pytest.mark.parametrize("failure", [UNAVAILABLE, BREAK, END_SILENTLY])
async def test_after_the_first_chunk_a_failure_is_told_and_nothing_restarts(
    site: Site, providers: dict[str, FakeProvider], failure: object
) -> None:
    providers["p1"].script = ["Hel", WAIT, failure]
    seen: list[str] = []

    async def follow() -> None:
        async with site.market.Generate.open(metadata=site.alice) as stream:
            await stream.send_message(request(), end=True)
            async for event in stream:
                seen.append(event.chunk.text)
                if event.chunk.text:
                    providers["p1"].proceed.set()

    with pytest.raises(GRPCError) as error:
        await follow()
    assert "".join(seen) == "Hel"
    assert fault_info(error.value)[0] == "PROVIDER_FAILED"
    assert not providers["p2"].requests


async def test_when_every_provider_fails_the_caller_is_told(site: Site, providers: dict[str, FakeProvider]) -> None:
    for provider in providers.values():
        provider.script = [UNAVAILABLE]
    with pytest.raises(GRPCError) as error:
        await relayed(site)
    assert (error.value.status, fault_info(error.value)[0]) == (Status.UNAVAILABLE, "PROVIDER_FAILED")


async def test_headers_stand_in_for_absent_limits(site: Site, providers: dict[str, FakeProvider]) -> None:
    events = await relayed(site, **{"x-max-price": "0.002", "x-max-latency": "150"})
    assert events[0].match.offer.provider_id == "p2"
    with pytest.raises(GRPCError) as error:
        await relayed(site, **{"x-max-price": "0.0000001"})
    assert fault_info(error.value)[0] in {"NO_FEASIBLE_ASK", "DUPLICATE_ORDER_MISMATCH"}
    with pytest.raises(GRPCError) as error:
        await relayed(site, **{"x-max-latency": "soon"})
    assert fault_info(error.value) == (
        "INVALID_FIELD",
        {"field": "x-max-latency", "rule": "must be a whole number of milliseconds"},
    )


async def test_a_client_that_leaves_stops_the_provider(site: Site, providers: dict[str, FakeProvider]) -> None:
    providers["p1"].script = ["Hel", HANG]
    async with site.market.Generate.open(metadata=site.alice) as stream:
        await stream.send_message(request(), end=True)
        await stream.recv_message()
        await stream.recv_message()
        await stream.cancel()
    await asyncio.wait_for(providers["p1"].stopped.wait(), WITHIN_S)
    balance = await site.credit.Balance(credit_pb2.BalanceRequest(), metadata=site.alice)
    assert balance.held == "200.00000000", "it is the provider who settles what was delivered"
