"""What the agent looks at before it sells: whether the model server is there, and where consumers are sent."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from grpclib.client import Channel

from provider_agent.agent import Agent
from provider_agent.options import Options
from provider_agent.pb.inference_grpc import InferenceServiceStub
from tests.fakes.exchange import FakeExchange
from tests.fakes.upstream import FakeUpstream
from tests.provider_agent.conftest import make_agent
from tests.provider_agent.test_serving import ask
from tests.until import WITHIN_S


@asynccontextmanager
async def started(options: Options) -> AsyncIterator[Agent]:
    """An agent that runs, ready or not."""
    agent = make_agent(options)
    running = asyncio.ensure_future(agent.run())
    async with asyncio.timeout(WITHIN_S):
        yield agent
        agent.stop()
        await running


async def looks(upstream: FakeUpstream, times: int) -> None:
    """Wait until the agent has looked that often from now on."""
    for _ in range(times):
        upstream.looked.clear()
        await upstream.looked.wait()


async def test_nothing_is_sold_before_the_model_is_loaded(
    exchange: FakeExchange, upstream: FakeUpstream, options: Options
) -> None:
    upstream.loading = True
    async with started(options) as agent:
        await looks(upstream, 3)
        assert exchange.registrations == 0
        upstream.loading = False
        await agent.ready.wait()
    assert exchange.registrations == 1


async def test_it_waits_for_a_model_server_that_is_not_there_yet(
    exchange: FakeExchange, upstream: FakeUpstream, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.kind = ""  # no /health: /models says that it is there
    await upstream.stop()
    async with started(options) as agent:
        while "waiting for the model server" not in caplog.text:  # noqa: ASYNC110 - a line of the log wakes nobody
            await asyncio.sleep(0)
        assert exchange.registrations == 0
        await upstream.start()
        await agent.ready.wait()


async def test_stopping_does_not_wait_for_the_model_server(
    exchange: FakeExchange, upstream: FakeUpstream, options: Options
) -> None:
    upstream.loading = True
    async with started(options):
        await looks(upstream, 1)
    assert (exchange.registrations, exchange.deregistrations) == (0, 0)


async def test_no_new_orders_while_the_model_server_is_away(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent
) -> None:
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: bool(exchange.telemetry))
        assert exchange.telemetry[-1].capacity_slots == 2
        await upstream.stop()
        await exchange.until(lambda: exchange.telemetry[-1].capacity_slots == 0)
        await upstream.start()
        await exchange.until(lambda: exchange.telemetry[-1].capacity_slots == 2)
    assert exchange.registrations == 1


async def test_one_hiccup_of_the_model_server_changes_nothing(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent
) -> None:
    async with asyncio.timeout(WITHIN_S):
        await looks(upstream, 1)
        upstream.loading = True
        await looks(upstream, 2)
        upstream.loading = False
        await looks(upstream, 3)
        seen = len(exchange.telemetry)
        await exchange.until(lambda: len(exchange.telemetry) > seen)
    assert {report.capacity_slots for report in exchange.telemetry} == {2}


@pytest.mark.parametrize(("listed", "warned"), [(["m"], False), (["other"], True), ([], False)])
async def test_a_model_that_is_not_listed_is_warned_of(
    upstream: FakeUpstream, options: Options, caplog: pytest.LogCaptureFixture, listed: list[str], warned: bool
) -> None:
    upstream.models = listed
    async with started(options) as agent:
        await agent.ready.wait()
    assert ("lists other, not m" in caplog.text) is warned


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_consumers_find_it_where_the_endpoint_says(
    exchange: FakeExchange, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    async with started(dataclasses.replace(options, endpoint=f"localhost:{port}")) as agent:
        await agent.ready.wait()
        [registered] = exchange.asks.values()
        assert registered.endpoint == f"localhost:{port}"
        async with Channel("127.0.0.1", port) as channel:
            assert len(await ask(InferenceServiceStub(channel), exchange.signer.grant())) == 4
    assert "the ports differ" not in caplog.text


async def test_it_warns_when_it_listens_elsewhere_than_consumers_are_told(
    options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(dataclasses.replace(options, listen="127.0.0.1:0", endpoint="localhost:1")) as agent:
        await agent.ready.wait()
    assert "the ports differ" in caplog.text
