"""What sharing the book costs an order: whole servers as processes, over one ledger, with and without Redis.

Callers, servers, Redis and DynamoDB Local share this machine, so a second node shows what it costs rather than what it
adds; the peer of each case is `--book memory` over the same ledger.
"""

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from grpclib.client import Channel

from benchmarks.redis_usage import Usage, usage
from benchmarks.report import Case, less_is_better, more_is_better
from gollem.identity import Role, open_key_store
from gollem.ledger.dynamodb.ledger import create_dynamodb
from gollem.rpc.pb import admin_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from tests.servers.dynamodb_local import CREDENTIALS, dynamodb_local
from tests.servers.redis_server import RedisServer, redis_server
from tests.system.server import start_server
from tests.until import until_answer

BENCH = "nodes"
MODEL = "gpt-3"
ASKS, CALLERS = 16, 32
PLENTY = 65_536
SETTINGS = {
    "server.port": "0",
    "server.drain_timeout_ms": "0",
    "server.requests_per_second": "1000000",
    "server.burst": "1000000",
    "providers.withdraw_after_ms": "600000",
    "providers.forget_after_ms": "600001",
    "nodes.forget_ms": "600001",
    "nodes.claim_timeout_ms": "5000",
    "nodes.degraded_ms": "0",
}


@dataclass
class Servers:
    """Some nodes, and a provider's and a consumer's way to each."""

    channels: list[Channel]
    keys: dict[str, dict[str, str]]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def fund(self) -> None:
        request = admin_pb2.GrantCreditsRequest(grant_id="g", account="alice", amount="1000000")
        await AdminServiceStub(self.channels[0]).GrantCredits(request, metadata=self.keys["ops"])

    async def sell(self, slots: int) -> None:
        """Every ask at one node after the other, until all know of all."""
        for number in range(ASKS):
            request = provider_pb2.RegisterRequest(
                provider_id="seller", ask_id=f"a{number}", model=MODEL, gpu_type="cpu", price="0.001", latency_ms=10,
                throughput_tps=1_000, capacity_tokens=10**9, capacity_slots=slots, endpoint="127.0.0.1:9",
            )  # fmt: skip
            stub = ProviderServiceStub(self.channels[number % len(self.channels)])
            await stub.Register(request, metadata=self.keys["seller"])
        for channel in self.channels:
            await until_answer(lambda channel=channel: self._knows_all(channel), within_s=60)

    async def match(self, caller: int) -> None:
        number = next(self.numbers)
        bid = market_pb2.Bid(model=MODEL, prompt_tokens=10, max_tokens=10)
        request = market_pb2.MatchRequest(order_id=f"o-{number}", bid=bid, alternates=0)
        stub = MarketServiceStub(self.channels[caller % len(self.channels)])
        await stub.Match(request, metadata=self.keys["alice"])

    async def _knows_all(self, channel: Channel) -> bool:
        request = market_pb2.GetOrderBookRequest(model=MODEL)
        book = await MarketServiceStub(channel).GetOrderBook(request, metadata=self.keys["alice"])
        return sum(model.live_asks for model in book.models) == ASKS


async def open_servers(stack: AsyncExitStack, nodes: int, settings: dict[str, str]) -> Servers:
    """Ended with the stack."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gollem-bench-"))) / "data"
    folder.mkdir(mode=0o700)
    store, keys = await open_key_store(folder), {}
    for account, role in (("alice", Role.CONSUMER), ("ops", Role.OPERATOR), ("seller", Role.PROVIDER)):
        keys[account] = {"authorization": f"Bearer {(await store.create(account, role)).secret}"}
    await store.close()
    servers = Servers([], keys)
    stack.push_async_callback(_end, servers)
    for number in range(nodes):
        told = SETTINGS | {"storage.data": str(folder), "nodes.name": f"node-{number}"} | settings
        process, port = await start_server(*(word for item in told.items() for word in ("--set", "=".join(item))))
        servers.processes.append(process)
        servers.channels.append(Channel("127.0.0.1", port))
    await servers.fund()
    return servers


async def _end(servers: Servers) -> None:
    for channel in servers.channels:
        channel.close()
    for process in servers.processes:
        process.kill()
        await process.wait()


@dataclass(frozen=True)
class Sold:
    """What a second of matching came to."""

    a_second: float
    p99_ms: float
    count: int
    spent: Usage | None


async def sell_for(servers: Servers, seconds: float, redis: RedisServer | None) -> Sold:
    """Matches alone: nothing is settled meanwhile."""
    took_ms: list[float] = []
    before, began = usage(redis) if redis else None, time.perf_counter()

    async def call(caller: int) -> None:
        while time.perf_counter() - began < seconds:
            started = time.perf_counter()
            await servers.match(caller)
            took_ms.append(1_000 * (time.perf_counter() - started))

    await asyncio.gather(*map(call, range(CALLERS)))
    wall_s = time.perf_counter() - began
    spent = usage(redis).since(before) if redis and before else None
    return Sold(len(took_ms) / wall_s, sorted(took_ms)[int(0.99 * (len(took_ms) - 1))], len(took_ms), spent)


async def _sold(nodes: int, settings: dict[str, str], seconds: float, redis: RedisServer | None) -> Sold:
    async with AsyncExitStack() as stack:
        servers = await open_servers(stack, nodes, settings)
        await servers.sell(PLENTY)
        return await sell_for(servers, seconds, redis)


async def match_cases(ledger: str, endpoint: str, nodes: Sequence[int], seconds: float) -> AsyncIterator[Case]:
    """Over a `ledger` of its own each, on DynamoDB at `endpoint` or on SQLite."""
    alone = await _sold(1, await _ledger(ledger, endpoint), seconds, None)
    peer = f"--book memory on {ledger}"
    yield Case(BENCH, f"matches, {peer}", alone.a_second, "matches/s")
    yield Case(BENCH, f"match p99, {peer}", alone.p99_ms, "ms")
    for count in nodes:
        with redis_server() as redis:
            book = {"nodes.book": f"redis://127.0.0.1:{redis.port}"}
            sold = await _sold(count, await _ledger(ledger, endpoint) | book, seconds, redis)
        what = f"{count} node{'s' * (count > 1)} on Redis and {ledger}"
        yield more_is_better(BENCH, f"matches, {what}", sold.a_second, "matches/s", peer, alone.a_second)
        yield less_is_better(BENCH, f"match p99, {what}", sold.p99_ms, "ms", peer, alone.p99_ms)
        assert sold.spent is not None
        yield Case(BENCH, f"Redis commands a match, {what}", sold.spent.commands / sold.count, "commands")
        yield Case(BENCH, f"Redis bytes a match, {what}", sold.spent.bytes / sold.count, "bytes")


async def _ledger(kind: str, endpoint: str) -> dict[str, str]:
    """Settings of a new one; SQLite lies in the data folder by itself."""
    if kind == "SQLite":
        return {}
    url = f"dynamodb://bench-{time.time_ns():x}?endpoint={endpoint}&region=eu-west-1"
    await create_dynamodb(url, stream=False)
    return {"storage.ledger": url}


async def cases(seconds: float, is_quick: bool) -> AsyncIterator[Case]:
    """Quickly: without DynamoDB Local, which takes longer to start than all of it."""
    async for case in match_cases("SQLite", "", (1,), seconds):
        yield case
    if is_quick:
        return
    os.environ.update(CREDENTIALS)
    with dynamodb_local() as endpoint:
        async for case in match_cases("DynamoDB Local", endpoint, (1, 2), seconds):
            yield case
