"""Three nodes over one book on Redis and one ledger on DynamoDB Local, each link of each node through a proxy."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from gollem.identity import Role, open_key_store
from gollem_client import ChannelPool, Exchange, GollemError, Timeouts, stubs
from tests.chaos.links import Links, RemoteLink
from tests.chaos.model_server import MODEL
from tests.servers.dynamodb_local import CREDENTIALS
from tests.servers.redis_server import MASTER, RedisServer, free_port, redis_server, sentinels
from tests.until import until_answer

NODES = 3
READY_S = 90
LEAVE_S = 30
OPERATOR = "ops"
SETTINGS = {
    "server.metrics_port": "0",
    "server.drain_timeout_ms": "1000",
    "server.requests_per_second": "100000",
    "server.burst": "100000",
    "providers.telemetry_interval_ms": "500",
    "providers.withdraw_after_ms": "6000",
    "providers.forget_after_ms": "60000",
    "exchange.grant_ttl_ms": "6000",
    "exchange.settle_grace_ms": "6000",
    "nodes.claim_timeout_ms": "1500",
    "nodes.lease_ms": "8000",
    "nodes.heartbeat_ms": "500",
    "nodes.partitions": "4",
}
LEASE_S = int(SETTINGS["nodes.lease_ms"]) / 1_000


class Node:
    """`gollem serve` as a process. It may be killed, frozen, and started again at the same port."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.port = free_port()
        self._log = log
        self._settings: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.links: dict[str, RemoteLink] = {}  # "redis" and "dynamodb"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def configure(self, settings: dict[str, str]) -> None:
        self._settings = settings | {"server.port": str(self.port), "nodes.name": self.name}

    def start(self) -> None:
        # By the environment: a URL of Redis may hold a password, and a command line is everybody's to read.
        told = {f"GOLLEM_{key.replace('.', '_', 1).upper()}": value for key, value in self._settings.items()}
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "gollem", "serve"]
            self._process = subprocess.Popen(command, env=os.environ | CREDENTIALS | told, stdout=log, stderr=log)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    async def leave(self) -> None:
        """As it is told to by whoever deploys: it ends what it has begun, and goes."""
        self._signal(signal.SIGTERM)
        assert self._process is not None
        await asyncio.wait_for(asyncio.to_thread(self._process.wait), LEAVE_S)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)


class World:
    """`async with` it: everything runs. `replicated`: Redis is a master and its replica, watched by Sentinels; then
    nodes reach it without a proxy, since Sentinels tell them where it is."""

    def __init__(self, folder: Path, ledger: str, people: dict[str, Role], replicated: bool) -> None:
        """`ledger`: URL of an empty one, on DynamoDB Local. `people`: accounts who get a key."""
        self.folder = folder
        self.ledger = ledger
        self.keys: dict[str, str] = {}
        self.nodes = [Node(f"node-{number}", folder / f"node-{number}.log") for number in range(NODES)]
        self.replicated = replicated
        self._people = people | {OPERATOR: Role.OPERATOR}
        self._servers: list[RedisServer] = []  # the master first
        self._redis = ExitStack()
        self._stack = AsyncExitStack()
        self._pool = ChannelPool()
        self._asks = 0

    @property
    def exchange(self) -> str:
        """Where clients and agents find any node."""
        return ",".join(node.address for node in self.nodes)

    @property
    def master(self) -> RedisServer:
        return self._servers[0]

    @property
    def replica(self) -> RedisServer:
        return self._servers[1]

    async def __aenter__(self) -> "World":
        try:
            await self._start()
        except BaseException:  # servers that were started do not outlive it
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        await self._make_keys()
        self._stack.callback(self._pool.close)
        self._stack.callback(self._redis.close)
        for node in self.nodes:
            self._stack.callback(node.stop)
        book, links = self._start_redis(), await self._stack.enter_async_context(Links())
        for node in self.nodes:
            node.configure(
                SETTINGS | {"storage.data": str(self.folder / "data")} | await self._linked(node, book, links)
            )
            node.start()
        await self.until_whole(asks=0)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        """Everything that serves, all at once, without warning: nodes, and Redis with all that it knew."""
        for node in self.nodes:
            node.kill()
        if not self.replicated:
            self.master.kill()
            self.master.start()
        for node in self.nodes:
            node.start()

    async def until_whole(self, asks: int | None = None) -> None:
        """All nodes know of each other and of all asks, as many as they were before, and none is cut off."""
        self._asks = self._asks if asks is None else asks
        for node in self.nodes:
            await until_answer(lambda node=node: self._is_whole(node), READY_S)

    async def ask(self, node: Node, method: str, request: object, answer_type: type) -> object:
        """As the operator. Raises GollemError."""
        timeouts = Timeouts(connect_ms=500, call_ms=2_000)
        return await Exchange(node.address, self.keys[OPERATOR], self._pool, timeouts).call(
            method, request, answer_type
        )

    async def nodes_seen(self) -> list[stubs.NodeInfo]:
        """As `gollem nodes` shows them."""
        request = stubs.ListNodesRequest()
        answer = await self.ask(self.nodes[1], "AdminService/ListNodes", request, stubs.ListNodesResponse)
        assert isinstance(answer, stubs.ListNodesResponse)
        return answer.nodes

    async def _is_whole(self, node: Node) -> bool:
        try:
            listed = await self.ask(node, "AdminService/ListNodes", stubs.ListNodesRequest(), stubs.ListNodesResponse)
            request = stubs.GetOrderBookRequest(model=MODEL)
            book = await self.ask(node, "MarketService/GetOrderBook", request, stubs.OrderBook)
        except GollemError:
            await asyncio.sleep(0.05)  # another process, which has to get the processor
            return False
        assert isinstance(listed, stubs.ListNodesResponse)
        assert isinstance(book, stubs.OrderBook)
        known = sum(one.live_asks + one.blocked_asks for one in book.models)
        heard = sum(one.asks for one in listed.nodes)
        all_well = len(listed.nodes) == NODES and not any(one.degraded for one in listed.nodes)
        return all_well and known == heard == self._asks

    def _start_redis(self) -> str:
        """The URL of the book."""
        if not self.replicated:
            self._servers = [self._redis.enter_context(redis_server())]
            return f"redis://127.0.0.1:{self.master.port}"
        self._servers, ports = self._redis.enter_context(sentinels())
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{MASTER}"

    async def _linked(self, node: Node, book: str, links: Links) -> dict[str, str]:
        """The settings that lead a node to its own proxies."""
        ledger = urlsplit(self.ledger)
        endpoint = urlsplit(dict(part.split("=", 1) for part in ledger.query.split("&"))["endpoint"])
        assert endpoint.port is not None
        node.links["dynamodb"] = await links.open(endpoint.port)
        there = self.ledger.replace(f":{endpoint.port}", f":{node.links['dynamodb'].port}")
        if not self.replicated:
            node.links["redis"] = await links.open(self.master.port)
            book = f"redis://127.0.0.1:{node.links['redis'].port}"
        return {"storage.ledger": there, "nodes.book": book}

    async def _make_keys(self) -> None:
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        store = await open_key_store(data)
        for account, role in self._people.items():
            self.keys[account] = (await store.create(account, role)).secret
        await store.close()


@contextmanager
def a_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gollem-chaos-") as name:
        yield Path(name)
