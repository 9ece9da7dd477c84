"""A generated answer over HTTP: it comes as it is made, and stops where its reader leaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from gollem.rpc.pb.common_pb2 import Usage
from gollem.rpc.pb.provider_pb2 import SettleRequest
from tests.fakes.provider import BREAK, HANG, WAIT
from tests.gateway.conftest import Market
from tests.until import WITHIN_S


@asynccontextmanager
async def generating(market: Market, **headers: str) -> AsyncIterator[tuple[str, aiohttp.ClientResponse]]:
    """The order's id, and the answer to read."""
    request = market.request()
    url = market.client.place.url + "/api/generate"
    async with market.client.session.post(url, json=request, headers=market.buyer.authorization | headers) as answer:
        assert answer.status == 200
        yield request["orderId"], answer


async def settled(market: Market, order_id: str, tokens: int) -> None:
    usage = Usage(prompt_tokens=5, completion_tokens=tokens)
    await market.client.settle(market.seller, order_id, usage=usage, outcome=SettleRequest.COMPLETED)


async def test_lines_come_as_they_are_generated(market: Market) -> None:
    market.provider.script = ["Hel", WAIT, "lo!"]
    async with generating(market) as (order_id, answer):
        assert answer.content_type == "application/x-ndjson"
        first = json.loads(await answer.content.readline())
        assert first["match"]["held"] == "200.00000000"
        assert json.loads(await answer.content.readline())["chunk"]["text"] == "Hel"
        market.provider.proceed.set()
        assert json.loads(await answer.content.readline())["chunk"]["text"] == "lo!"
        await settled(market, order_id, 3)
        rest = [json.loads(line) async for line in answer.content]
    assert rest[0]["chunk"]["finishReason"] == "stop"
    assert rest[-1]["receipt"]["charged"] == "8.00000000"


async def test_server_sent_events_for_whoever_asks(market: Market) -> None:
    async with generating(market, accept="text/event-stream") as (order_id, answer):
        assert answer.content_type == "text/event-stream"
        await settled(market, order_id, 3)
        events = (await answer.text()).strip().split("\n\n")
    assert all(event.startswith("data: ") for event in events)
    texts = [json.loads(event.removeprefix("data: ")).get("chunk", {}).get("text", "") for event in events]
    assert "".join(texts) == "Hello!"


async def test_a_reader_who_leaves_stops_the_provider(market: Market) -> None:
    market.provider.script = ["Hel", HANG]
    async with generating(market) as (_, answer):
        await answer.content.readline()
        assert b"Hel" in await answer.content.readline()
        answer.close()
    await asyncio.wait_for(market.provider.stopped.wait(), WITHIN_S)


@pytest.mark.parametrize("failure", [BREAK, GRPCError(Status.UNAVAILABLE, "gone")])
async def test_what_breaks_off_says_so_in_its_last_line(market: Market, failure: Any) -> None:
    market.provider.script = ["Hel", WAIT, failure]
    async with generating(market) as (_, answer):
        await answer.content.readline()
        assert b"Hel" in await answer.content.readline()
        market.provider.proceed.set()
        [last] = [json.loads(line) async for line in answer.content]
    assert last["refusal"]["reason"] == "PROVIDER_FAILED"
    assert last["refusal"]["code"] == 14


async def test_a_failure_before_the_first_chunk_is_a_status(market: Market) -> None:
    market.provider.script = [GRPCError(Status.UNAVAILABLE, "no model")]
    refused = await market.client.post("/api/generate", market.buyer, market.request())
    assert refused.error[:2] == (503, "PROVIDER_FAILED")
