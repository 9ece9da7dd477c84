"""An agent between a fake exchange and a fake model server, all on real sockets, and a consumer."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.client import Channel

from gollem_client import Timeouts
from grpclib_guard import Limits
from provider_agent.agent import Agent
from provider_agent.options import Options
from provider_agent.pb.inference_grpc import InferenceServiceStub
from provider_agent.upstream import UpstreamTimeouts
from tests.agents import at_work
from tests.fakes.exchange import FakeExchange
from tests.fakes.upstream import FakeUpstream, fake_upstream

PATIENT_MS = 20_000  # longer than a busy machine stands still


@pytest.fixture
async def exchange() -> AsyncIterator[FakeExchange]:
    exchange = FakeExchange()
    await exchange.start()
    yield exchange
    await exchange.stop()


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as upstream:
        yield upstream


@pytest.fixture
def options(exchange: FakeExchange, upstream: FakeUpstream, tmp_path: Path) -> Options:
    return Options(
        provider_id="p1",
        model="m",
        price="0.001",
        latency_ms=2_000,
        throughput_tps=20.0,
        api_key="key-of-p1",
        exchange=exchange.address,
        upstream=upstream.url,
        slots=2,
        state_dir=tmp_path,
        drain_ms=1_000,
    )


def make_agent(options: Options, idle_ms: int = PATIENT_MS) -> Agent:
    """`idle_ms` is how long the model may say nothing."""
    timeouts = Timeouts(connect_ms=PATIENT_MS, call_ms=500)
    upstream_timeouts = UpstreamTimeouts(PATIENT_MS, first_byte_ms=idle_ms, idle_ms=idle_ms, watch_ms=20)
    return Agent(options, timeouts=timeouts, upstream_timeouts=upstream_timeouts, limits=Limits(stall_timeout_ms=400))


@pytest.fixture
def idle_ms() -> int:
    """For the agent; a test of a model that is silent overrides it."""
    return PATIENT_MS


@pytest.fixture
async def agent(options: Options, idle_ms: int) -> AsyncIterator[Agent]:
    async with at_work(make_agent(options, idle_ms)) as agent:
        yield agent


@pytest.fixture
async def consumer(agent: Agent) -> AsyncIterator[InferenceServiceStub]:
    host, _, port = agent.endpoint.rpartition(":")
    channel = Channel(host, int(port))
    yield InferenceServiceStub(channel)
    channel.close()
