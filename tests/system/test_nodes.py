"""Three servers over one Redis and one DynamoDB: kill -9 of one, then FLUSHALL, under load. Nothing acknowledged is
lost, no ask is sold twice, and service goes on."""

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.identity import Role, open_key_store
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.credit_grpc import CreditServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from tests.servers.dynamodb_local import make_table
from tests.servers.redis_server import RedisServer, redis_server
from tests.system.server import start_server
from tests.until import until, until_answer

NODES, AGENTS, CALLERS, SLOTS = 3, 20, 10, 1
PHASE = 150  # matches before something is broken, and after it
GAP_S = 5  # far above what is seen, since machines are slow at times
REPORT_S = 0.2
SETTINGS = {
    "server.port": "0",
    "server.drain_timeout_ms": "0",
    "server.requests_per_second": "100000",
    "server.burst": "100000",
    "providers.telemetry_interval_ms": "200",
    "providers.withdraw_after_ms": "3000",
    "providers.forget_after_ms": "10000",
    "nodes.heartbeat_ms": "200",
    "nodes.partitions": "4",
}
BROKEN = (StreamTerminatedError, OSError, TimeoutError)


@dataclass
class Node:
    """One server process."""

    settings: dict[str, str]
    process: asyncio.subprocess.Process | None = None
    channel: Channel | None = None

    async def start(self) -> None:
        words = [word for item in self.settings.items() for word in ("--set", "=".join(item))]
        self.process, port = await start_server(*words)
        self.channel = Channel("127.0.0.1", port)

    async def kill(self) -> None:
        assert self.process is not None
        assert self.channel is not None
        self.process.kill()
        await self.process.wait()
        self.channel.close()


@dataclass
class Cluster:
    """The nodes, and what they have answered, kept outside of them."""

    nodes: list[Node]
    redis: RedisServer
    folder: Path
    ledger: str
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    by_order: dict[str, int] = field(default_factory=dict)  # which node acknowledged it
    at_s: list[float] = field(default_factory=list)
    running: Counter[str] = field(default_factory=Counter)
    oversold: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    settled: int = 0

    async def ask(self, first: int, work: Callable[[Channel], Awaitable[Any]]) -> tuple[Any, int]:
        """The answer of the first node, from this one on, that gives one."""
        at = first
        while True:
            channel = self.nodes[at % NODES].channel
            assert channel is not None
            try:
                return await work(channel), at % NODES
            except GRPCError as error:
                if error.status is not Status.UNAVAILABLE:
                    raise
            except BROKEN:
                pass
            at += 1
            await asyncio.sleep(0)

    def longest_gap_s(self, since_s: float) -> float:
        times = [since_s, *(at_s for at_s in self.at_s if at_s > since_s)]
        return max(later - earlier for earlier, later in pairwise(times))


@dataclass
class Agent:
    """Registers with one node and reports to it; when it is gone, to the next."""

    cluster: Cluster
    name: str
    at: int
    sequence: int = 0

    async def run(self) -> None:
        await self._call(self._register)
        while True:
            self.sequence += 1
            answer = await self._call(self._report)
            if not answer.known:
                await self._call(self._register)
            await asyncio.sleep(REPORT_S)  # as often as an agent reports

    async def settle(self, order_id: str) -> None:
        request = provider_pb2.SettleRequest(
            provider_id=self.name,
            order_id=order_id,
            usage=common_pb2.Usage(prompt_tokens=10, completion_tokens=5),
            outcome=provider_pb2.SettleRequest.COMPLETED,
        )
        await self._call(lambda channel: ProviderServiceStub(channel).Settle(request, metadata=self._key, timeout=5))

    async def _call(self, work: Callable[[Channel], Awaitable[Any]]) -> Any:
        answer, self.at = await self.cluster.ask(self.at, work)
        return answer

    @property
    def _key(self) -> dict[str, str]:
        return self.cluster.metadata[self.name]

    async def _register(self, channel: Channel) -> Any:
        request = provider_pb2.RegisterRequest(
            provider_id=self.name, ask_id="a", model="gpt-3", gpu_type="cpu", price="0.001", latency_ms=10,
            throughput_tps=100, capacity_tokens=10**6, capacity_slots=SLOTS, endpoint="127.0.0.1:9",
        )  # fmt: skip
        return await ProviderServiceStub(channel).Register(request, metadata=self._key, timeout=5)

    async def _report(self, channel: Channel) -> Any:
        request = provider_pb2.TelemetryRequest(provider_id=self.name, ask_id="a", sequence=self.sequence)
        return await ProviderServiceStub(channel).PostStatus(request, metadata=self._key, timeout=5)


async def trade(cluster: Cluster, agents: dict[str, Agent], caller: int, stop: asyncio.Event) -> None:
    """Match at one node after the other, hold on to a few orders, settle the oldest."""
    open_orders: list[tuple[str, str]] = []
    number = 0
    while not stop.is_set():
        number += 1
        order_id = f"c{caller}-{number}"
        if provider := await _match(cluster, caller + number, order_id):
            open_orders.append((order_id, provider))
        if len(open_orders) > 2 or not provider:
            await _settle(cluster, agents, open_orders[:1])
            del open_orders[:1]
    await _settle(cluster, agents, open_orders)


async def _match(cluster: Cluster, first: int, order_id: str) -> str | None:
    """Whom the order goes to."""
    bid = market_pb2.Bid(model="gpt-3", prompt_tokens=10, max_tokens=10)
    request = market_pb2.MatchRequest(order_id=order_id, bid=bid)

    async def match(channel: Channel) -> Any:
        return await MarketServiceStub(channel).Match(request, metadata=cluster.metadata["alice"], timeout=5)

    try:
        answer, node = await cluster.ask(first, match)
    except GRPCError as error:
        cluster.refused[error.status.name] += 1
        return None
    cluster.by_order[order_id] = node
    cluster.at_s.append(time.monotonic())
    provider: str = answer.offer.provider_id
    cluster.running[provider] += 1
    if cluster.running[provider] > SLOTS:
        cluster.oversold.append(order_id)
    return provider


async def _settle(cluster: Cluster, agents: dict[str, Agent], orders: list[tuple[str, str]]) -> None:
    for order_id, provider in orders:
        cluster.running[provider] -= 1  # from here on the room may be sold again
        await agents[provider].settle(order_id)
        cluster.settled += 1


@pytest.fixture
async def cluster(tmp_path: Path, dynamodb_endpoint: str) -> AsyncIterator[Cluster]:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    ledger = await make_table(folder)
    with redis_server() as redis:
        settings = SETTINGS | {
            "storage.data": str(folder),
            "storage.ledger": ledger,
            "nodes.book": f"redis://127.0.0.1:{redis.port}",
        }
        nodes = [Node(settings | {"nodes.name": f"node-{number}"}) for number in range(NODES)]
        cluster = Cluster(nodes, redis, folder, ledger)
        store = await open_key_store(folder)
        people = [("alice", Role.CONSUMER), ("ops", Role.OPERATOR)]
        for account, role in people + [(f"p{number}", Role.PROVIDER) for number in range(AGENTS)]:
            made = await store.create(account, role)
            cluster.metadata[account] = {"authorization": f"Bearer {made.secret}"}
        await store.close()
        await asyncio.gather(*(node.start() for node in nodes))
        yield cluster
        for node in nodes:
            if node.process is not None and node.process.returncode is None:
                await node.kill()
            if node.channel is not None:
                node.channel.close()


async def test_three_nodes_lose_one_then_what_redis_knew_and_get_it_all_back(cluster: Cluster) -> None:
    await _fund(cluster)
    agents = {f"p{number}": Agent(cluster, f"p{number}", number) for number in range(AGENTS)}
    reporting = [asyncio.create_task(agent.run()) for agent in agents.values()]
    for node in cluster.nodes:
        await until_answer(lambda node=node: _sees_all(cluster, node), within_s=30)
    stop = asyncio.Event()
    callers = [asyncio.create_task(trade(cluster, agents, caller, stop)) for caller in range(CALLERS)]
    await _more(cluster)
    assert set(cluster.by_order.values()) == {0, 1, 2}
    assert await _listed(cluster) == ["node-0", "node-1", "node-2"]

    killed_s = time.monotonic()
    await cluster.nodes[0].kill()
    await _more(cluster)
    print(f"\nlongest gap after kill -9 of a node: {cluster.longest_gap_s(killed_s):.2f} s")
    assert not cluster.oversold, "Redis was there all the time"
    assert cluster.longest_gap_s(killed_s) < GAP_S

    flushed_s = time.monotonic()
    cluster.redis.ask("flushall")
    await _more(cluster)
    print(f"longest gap after FLUSHALL: {cluster.longest_gap_s(flushed_s):.2f} s")
    print(f"sold twice for a moment after FLUSHALL: {len(cluster.oversold)} of {PHASE}")

    await cluster.nodes[0].start()
    await until_answer(lambda: _sees_all(cluster, cluster.nodes[0]), within_s=30)
    before = len(cluster.by_order)
    await _more(cluster)
    assert 0 in list(cluster.by_order.values())[before:], "it matches again"
    print(f"matched {len(cluster.by_order)}, settled {cluster.settled}, refused {dict(cluster.refused)}")

    stop.set()
    await asyncio.gather(*callers)
    for task in reporting:
        task.cancel()
    await asyncio.gather(*reporting, return_exceptions=True)
    await _prove(cluster)


async def _prove(cluster: Cluster) -> None:
    assert cluster.settled == len(cluster.by_order)
    kinds = await _movements(cluster)
    assert not [order for order in cluster.by_order if kinds[f"hold:{order}"] != 1]
    assert not [order for order in cluster.by_order if kinds[f"settle:{order}"] != 1]
    await until_answer(lambda: _nothing_held(cluster), within_s=20)
    audit = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gollem", "ledger", "audit", "--ledger", cluster.ledger, stdout=asyncio.subprocess.PIPE
    )
    findings, _ = await audit.communicate()
    assert audit.returncode == 0, findings.decode()


async def _more(cluster: Cluster) -> None:
    goal = len(cluster.by_order) + PHASE
    await until(lambda: len(cluster.by_order) >= goal, within_s=60)


async def _fund(cluster: Cluster) -> None:
    grant = admin_pb2.GrantCreditsRequest(grant_id="g", account="alice", amount="1000000")
    assert cluster.nodes[0].channel is not None
    await AdminServiceStub(cluster.nodes[0].channel).GrantCredits(grant, metadata=cluster.metadata["ops"])


async def _sees_all(cluster: Cluster, node: Node) -> bool:
    assert node.channel is not None
    request = market_pb2.GetOrderBookRequest(model="gpt-3")
    book = await MarketServiceStub(node.channel).GetOrderBook(request, metadata=cluster.metadata["alice"])
    return any(model.live_asks + model.blocked_asks == AGENTS for model in book.models)


async def _listed(cluster: Cluster) -> list[str]:
    """As `gollem nodes` shows them."""
    assert cluster.nodes[1].channel is not None
    admin = AdminServiceStub(cluster.nodes[1].channel)
    answer = await admin.ListNodes(admin_pb2.ListNodesRequest(), metadata=cluster.metadata["ops"])
    assert sum(node.asks for node in answer.nodes) == AGENTS
    return [node.name for node in answer.nodes]


async def _movements(cluster: Cluster) -> Counter[str]:
    """How often each key stands in alice's statement."""
    channel, keys, token = cluster.nodes[1].channel, Counter[str](), ""
    assert channel is not None
    while True:
        request = credit_pb2.ListTransactionsRequest(page_size=500, page_token=token)
        page = await CreditServiceStub(channel).ListTransactions(request, metadata=cluster.metadata["alice"])
        keys.update(line.key for line in page.transactions)
        token = page.next_page_token
        if not token:
            return keys


async def _nothing_held(cluster: Cluster) -> bool:
    channel = cluster.nodes[1].channel
    assert channel is not None
    with contextlib.suppress(*BROKEN):
        balance = await CreditServiceStub(channel).Balance(
            credit_pb2.BalanceRequest(), metadata=cluster.metadata["alice"]
        )
        return bool(balance.held == "0.00000000")
    return False
