"""An upgrade as docs/deploy.md says: two exchanges over one book and one ledger, behind a gateway, are replaced one
after the other while orders go on, and none fails. `make deploy-check` runs it."""

import asyncio
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gollem.cli.output import Message
from gollem.identity import Role, open_key_store
from gollem_client import ChannelPool, Exchange, GollemError, Timeouts, stubs
from tests.servers.dynamodb_local import make_table
from tests.servers.redis_server import RedisServer, free_port, redis_server, wait_for
from tests.until import until

CALLERS = 4
ORDERS_BETWEEN = 40


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@dataclass
class Node:
    """One exchange, which may be ended and started again at the same ports."""

    words: list[str]
    port: int = field(default_factory=free_port)
    watch_port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        ports = ["--port", str(self.port), "--set", f"server.metrics_port={self.watch_port}"]
        command = [sys.executable, "-m", "gollem", "serve", *self.words, *ports]
        self.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        await asyncio.to_thread(wait_for, self.is_ready, "an exchange that is ready", 90)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.watch_port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    async def end(self) -> int:
        """By SIGTERM, as systemd and ECS do; its status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()


@asynccontextmanager
async def gateway(nodes: list[Node]) -> AsyncIterator[str]:
    place = f"127.0.0.1:{free_port()}"
    words = ["--listen", place, *[word for node in nodes for word in ("--exchange", f"127.0.0.1:{node.port}")]]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gollem", "gateway", *words)
    try:
        yield place
    finally:
        process.terminate()
        await process.wait()


@dataclass
class Trade:
    """Orders, made until it is told to end. Each exchange has an ask of its own agent, told of anew every second."""

    place: str
    keys: dict[str, str]
    pool: ChannelPool = field(default_factory=ChannelPool)
    done: int = 0
    repeated: int = 0
    is_over: bool = False

    async def offer(self) -> None:
        request = stubs.RegisterRequest(
            provider_id="seller", ask_id="a", model="gpt-3", gpu_type="cpu", price="0.001", latency_ms=10,
            throughput_tps=100, capacity_tokens=10**9, capacity_slots=60_000, endpoint="127.0.0.1:9",
        )  # fmt: skip
        seller = Exchange(self.place, self.keys["seller"], self.pool, Timeouts())
        while not self.is_over:
            await self._answered(seller, "ProviderService/Register", request, stubs.RegisterResponse)
            await asyncio.sleep(1)

    async def buy(self, caller: int) -> None:
        buyer = Exchange(self.place, self.keys["alice"], self.pool, Timeouts())
        bid = stubs.Bid(model="gpt-3", prompt_tokens=10, max_tokens=10)
        number = 0
        while not self.is_over:
            number += 1
            request = stubs.MatchRequest(order_id=f"{caller}-{number}", bid=bid)
            await self._answered(buyer, "MarketService/Match", request, stubs.MatchResponse)
            self.done += 1

    async def _answered(self, at: Exchange, method: str, request: Message, answer_type: type[Message]) -> None:
        """As callers are told to: the same request again, where the answer says that this may help."""
        for pause_ms in (100, 200, 400, 800, 1_600):
            try:
                await at.call(method, request, answer_type)
            except GollemError as error:
                if not error.retryable:
                    raise
                self.repeated += 1
                await asyncio.sleep(pause_ms / 1_000)
            else:
                return
        raise AssertionError(f"{method} was not answered in five attempts")

    async def more(self) -> None:
        target = self.done + ORDERS_BETWEEN
        await until(lambda: self.done >= target, 90)


async def test_two_exchanges_are_replaced_and_no_order_fails(
    redis: RedisServer, dynamodb_endpoint: str, tmp_path: Path
) -> None:
    ledger = await make_table(tmp_path)
    store = await open_key_store(tmp_path)
    roles = {"ops": Role.OPERATOR, "alice": Role.CONSUMER, "seller": Role.PROVIDER}
    keys = {account: (await store.create(account, role)).secret for account, role in roles.items()}
    await store.close()
    words = ["--data", str(tmp_path), "--ledger", ledger, "--book", f"redis://127.0.0.1:{redis.port}"]
    nodes = [Node(words), Node(words)]
    try:
        for node in nodes:
            await node.start()
        async with gateway(nodes) as place:
            operator = Exchange(f"127.0.0.1:{nodes[0].port}", keys["ops"], ChannelPool(), Timeouts())
            grant = stubs.GrantCreditsRequest(grant_id="g", account="alice", amount="1000000")
            await operator.call("AdminService/GrantCredits", grant, stubs.GrantCreditsResponse)
            await asyncio.to_thread(wait_for, lambda: is_open(place), "the gateway", 60)
            await replaced_under_way(Trade(place, keys), nodes)
    finally:
        for node in nodes:
            node.kill()


async def replaced_under_way(trade: Trade, nodes: list[Node]) -> None:
    async with asyncio.TaskGroup() as group:  # what fails in one ends all, and is raised
        group.create_task(trade.offer())
        await asyncio.sleep(1)  # the first look of the gateway at the exchanges, and the ask
        for caller in range(CALLERS):
            group.create_task(trade.buy(caller))
        await trade.more()
        for node in nodes:
            assert await node.end() == 0
            await trade.more()
            await node.start()
            await trade.more()
        trade.is_over = True
    print(f"{trade.done} orders, {trade.repeated} calls repeated")
    assert trade.done >= (1 + 2 * len(nodes)) * ORDERS_BETWEEN


def is_open(place: str) -> bool:
    host, _, port = place.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
