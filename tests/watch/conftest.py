"""A real Prometheus beside an exchange under traffic."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpclib.client import Channel

from gollem.app import App
from gollem.config import load
from gollem.identity import open_key_store
from gollem_client.stubs import GpuStatus
from provider_agent.metering import Outcome, Tokens
from provider_agent.metrics import AgentMetrics, ServingTimes, gpu_gauges
from provider_agent.metrics_door import MetricsDoor
from tests.rpc.conftest import SETTINGS, Site
from tests.servers.prometheus import Prometheus, prometheus
from tests.servers.redis_server import RedisServer, free_port, redis_server
from tests.watch.traffic import Traffic

# Whatever takes minutes in production takes moments here.
QUICK = {
    "observability.read_interval_ms": "200",
    "reconcile.quick_interval_ms": "200",
    "reconcile.deep_interval_ms": "200",
    "reconcile.seal_interval_ms": "200",
    "nodes.heartbeat_ms": "200",
    "nodes.degraded_ms": "0",
    "providers.withdraw_after_ms": "3000",
    "providers.circuit_failures": "1",
    "providers.circuit_open_ms": "3000",
    "payments.inbox_interval_ms": "200",
    # Nobody expires what is overdue.
    "exchange.sweep_interval_ms": "600000",
    "exchange.max_order_ms": "1000",
}


@asynccontextmanager
async def agent_metrics() -> AsyncIterator[str]:
    """Where an agent's metrics are: one with a GPU that has served, refused and earned."""
    metrics = AgentMetrics("m")
    gpu = GpuStatus(name="H100", utilisation_percent=40, memory_used_bytes=10, memory_total_bytes=80)
    metrics.gauges(lambda: gpu_gauges([gpu]))
    plain = ("selling", "running_orders", "slots", "unsettled_orders", "payout_eligible")
    metrics.gauges(lambda: [(f"gollem_agent_{name}", "A figure.", (), [((), 1.0)]) for name in plain])
    metrics.gauges(lambda: [("gollem_agent_earnings_credits", "By state.", ("state",), [(("payable",), 1.0)])])
    metrics.gauges(
        lambda: [("gollem_agent_engine", "By engine.", ("engine", "figure"), [(("vllm", "running_requests"), 1.0)])]
    )

    async def serve() -> None:
        while True:
            times = ServingTimes()
            times.text()
            times.text()
            metrics.served(times, Tokens(5, 5), Outcome.COMPLETED)
            metrics.refused("GRANT_USED")
            await asyncio.sleep(0.2)

    async with MetricsDoor(metrics, lambda: True, "127.0.0.1", 0) as door:
        serving = asyncio.create_task(serve())
        yield f"127.0.0.1:{door.port}"
        serving.cancel()


@dataclass
class Stage:
    site: Site
    traffic: Traffic
    redis: RedisServer
    data: Path
    settings: dict[str, str]

    @asynccontextmanager
    async def watched(self, rules: dict[str, str]) -> AsyncIterator[Prometheus]:
        exchange = f"127.0.0.1:{self.settings['server.metrics_port']}"
        async with agent_metrics() as agent:
            with prometheus({"gollem": [exchange], "gollem-agent": [agent]}, rules) as server:
                yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def stage(redis: RedisServer, tmp_path: Path) -> AsyncIterator[Stage]:
    settings = (
        SETTINGS
        | QUICK
        | {
            "server.port": str(free_port()),
            "server.metrics_port": str(free_port()),
            "storage.data": str(tmp_path / "data"),
            "nodes.book": f"redis://127.0.0.1:{redis.port}",
        }
    )
    app = App(load(overrides=settings))
    await app.start()
    channel, keys = Channel("127.0.0.1", app.port), await open_key_store(tmp_path / "data")
    site = Site(app, channel, keys)
    await site.connect()
    traffic = Traffic(site)
    await traffic.start()
    yield Stage(site, traffic, redis, tmp_path / "data", settings)
    await traffic.stop()
    channel.close()
    await keys.close()
    await site.app.stop()
