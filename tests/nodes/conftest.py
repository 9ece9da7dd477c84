"""Redis for the session, emptied for each test, and nodes that are closed in the end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from gollem.clock import Clock, SystemClock
from gollem.config import NodesConfig
from gollem.nodes import SharedBook, open_shared_book
from tests.nodes.samples import Recorder
from tests.servers.redis_server import RedisServer, redis_server
from tests.servers.redis_server import cluster as a_cluster

OpenNode = Callable[..., Awaitable[tuple[SharedBook, Recorder]]]


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """Empty, and without functions."""
    shared_redis.ask("flushall")
    shared_redis.ask("function", "flush")
    return shared_redis


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[list[RedisServer]]:
    with a_cluster() as servers:
        yield servers


@pytest.fixture
def cluster(shared_cluster: list[RedisServer]) -> list[RedisServer]:
    for server in shared_cluster:
        server.ask("flushall")
    return shared_cluster


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    return f"redis://127.0.0.1:{redis.port}"


@pytest.fixture
def cluster_url(cluster: list[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in cluster)


@pytest.fixture
async def open_node() -> AsyncIterator[OpenNode]:
    """`await open_node(url, name, clock=..., **settings)`: a started node of quick settings, and its listener."""
    opened: list[SharedBook] = []

    async def open_one(
        url: str, name: str = "node", clock: Clock | None = None, **settings: int
    ) -> tuple[SharedBook, Recorder]:
        chosen = {"partitions": 2, "flush_ms": 2, "heartbeat_ms": 50, "claim_timeout_ms": 5_000} | settings
        config = NodesConfig(book=url, name=name, **chosen)
        node, listener = open_shared_book(config, "test", clock or SystemClock()), Recorder()
        opened.append(node)
        await node.start(listener)
        return node, listener

    yield open_one
    for node in opened:
        await node.close()
