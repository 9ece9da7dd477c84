"""A fake exchange, fake providers and a client, each on real sockets."""

from collections.abc import AsyncIterator

import pytest

from gollem_client import GollemClient, Timeouts
from tests.fakes.exchange import FakeExchange
from tests.fakes.provider import AddProvider, FakeProvider


@pytest.fixture
async def exchange() -> AsyncIterator[FakeExchange]:
    exchange = FakeExchange()
    await exchange.start()
    yield exchange
    await exchange.stop()


@pytest.fixture
async def add_provider(exchange: FakeExchange) -> AsyncIterator[AddProvider]:
    """Starts a provider and puts its ask into the book."""
    providers: list[FakeProvider] = []

    async def add(provider_id: str, price: str = "0.001") -> FakeProvider:
        provider = FakeProvider(provider_id, exchange)
        await provider.start()
        providers.append(provider)
        exchange.add_ask(provider_id, provider.endpoint, price)
        return provider

    yield add
    for provider in providers:
        await provider.stop()


@pytest.fixture
async def patient(exchange: FakeExchange) -> AsyncIterator[GollemClient]:
    """For what must come sooner than any of its time-outs, however slow the machine is."""
    never_ms = 600_000
    timeouts = Timeouts(connect_ms=never_ms, call_ms=never_ms, first_chunk_ms=never_ms, idle_ms=never_ms)
    async with GollemClient(exchange.address, api_key="key-of-alice", timeouts=timeouts) as client:
        yield client


@pytest.fixture
async def client(exchange: FakeExchange) -> AsyncIterator[GollemClient]:
    """Impatient, so that a test of a time-out is quick."""
    timeouts = Timeouts(connect_ms=1_000, call_ms=1_000, first_chunk_ms=400, idle_ms=400, receipt_ms=100)
    async with GollemClient(exchange.address, api_key="key-of-alice", timeouts=timeouts) as client:
        yield client
