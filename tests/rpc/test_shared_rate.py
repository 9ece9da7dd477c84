"""The rate of an account is one over two servers: what it did at one is missing at the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from gollem.app import App
from gollem.config import load
from gollem.identity import Role, open_key_store
from gollem.rpc.pb import credit_pb2
from gollem.rpc.pb.credit_grpc import CreditServiceStub
from tests.servers.redis_server import redis_server

BURST = 200
SETTINGS = {
    "server.port": "0",
    "server.requests_per_second": "1",
    "server.burst": str(BURST),
    "storage.ledger": "memory:",
    "nodes.heartbeat_ms": "20",
    "nodes.flush_ms": "2",
    "nodes.partitions": "1",
    "nodes.claim_timeout_ms": "2000",
}


@pytest.fixture
async def channels(tmp_path: Path) -> AsyncIterator[list[Channel]]:
    with redis_server() as redis:
        book = {"nodes.book": f"redis://127.0.0.1:{redis.port}", "storage.data": str(tmp_path)}
        apps = [App(load(overrides=SETTINGS | book | {"nodes.name": name})) for name in ("one", "other")]
        for app in apps:
            await app.start()
        opened = [Channel("127.0.0.1", app.port) for app in apps]
        yield opened
        for channel, app in zip(opened, apps, strict=True):
            channel.close()
            await app.stop()


async def test_what_is_called_at_one_is_taken_from_the_other(channels: list[Channel], tmp_path: Path) -> None:
    store = await open_key_store(tmp_path)
    made = [await store.create(account, Role.CONSUMER) for account in ("alice", "bob")]
    alice, bob = ({"authorization": f"Bearer {key.secret}"} for key in made)
    await store.close()
    for _ in range(BURST - 10):
        assert await is_admitted(channels[0], alice)
    admitted = 0
    while admitted < BURST and await is_admitted(channels[1], alice):
        admitted += 1
    assert admitted < BURST - 10, "as long as the other had not heard, and what was left"
    assert await is_admitted(channels[1], bob)


async def is_admitted(channel: Channel, key: dict[str, str]) -> bool:
    try:
        await CreditServiceStub(channel).Balance(credit_pb2.BalanceRequest(), metadata=key, timeout=10)
    except GRPCError as error:
        if error.status is Status.RESOURCE_EXHAUSTED:
            return False
        raise
    return True
