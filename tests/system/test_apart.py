"""Two servers with nothing in common but Redis, DynamoDB and a secret, as on two machines: keys and grants of one are
good at the other, and a key that is revoked at one is refused at the other within two seconds."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from gollem.identity import Role, open_key_store
from gollem.rpc.pb import admin_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from provider_agent.grants import Seller, check_grant
from tests.identity.tables import make_keys_table
from tests.servers.dynamodb_local import make_table
from tests.servers.redis_server import redis_server
from tests.system.server import start_server
from tests.until import until_answer

GRANT_KEYS = ",".join(base64.urlsafe_b64encode(bytes([fill]) * 32).decode() for fill in (1, 2))
BID = market_pb2.Bid(model="gpt-3", prompt_tokens=10, max_tokens=10)


@dataclass
class Apart:
    """Two servers, and what to call them with: key ids and metadata by account."""

    here: Channel
    there: Channel
    key_ids: dict[str, str]
    metadata: dict[str, dict[str, str]]


@pytest.fixture
async def apart(tmp_path: Path, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Apart]:
    monkeypatch.setenv("GOLLEM_STORAGE_GRANT_KEYS", GRANT_KEYS)
    keys, ledger = await make_keys_table(dynamodb_endpoint, tmp_path), await make_table(tmp_path)
    store = await open_key_store(tmp_path, url=keys)
    people = {"alice": Role.CONSUMER, "ops": Role.OPERATOR, "p1": Role.PROVIDER}
    made = {account: await store.create(account, role) for account, role in people.items()}
    await store.close()
    with redis_server() as redis:
        settings = {
            "server.port": "0",
            "server.drain_timeout_ms": "0",
            "storage.keys": keys,
            "storage.ledger": ledger,
            "nodes.book": f"redis://127.0.0.1:{redis.port}",
            "nodes.claim_timeout_ms": "2000",
        }
        words = [word for item in settings.items() for word in ("--set", "=".join(item))]
        started = await asyncio.gather(
            *(start_server(*words, "--set", f"storage.data={tmp_path / name}") for name in ("one", "other"))
        )
        channels = [Channel("127.0.0.1", port) for _, port in started]
        metadata = {account: {"authorization": f"Bearer {key.secret}"} for account, key in made.items()}
        yield Apart(*channels, {account: key.key_id for account, key in made.items()}, metadata)
        for channel, (process, _) in zip(channels, started, strict=True):
            channel.close()
            process.kill()
            await process.wait()
    assert not list(tmp_path.rglob("keys.db")), "no keys in a folder"
    assert not list(tmp_path.rglob("grant.key"))


async def test_two_servers_with_no_folder_in_common(apart: Apart) -> None:
    """One start of both for all: it is what takes the time."""
    keys = await _sold_here(apart)
    grant = await _matched_there(apart)
    now_ms = time.time_ns() // 1_000_000
    assert check_grant(grant, keys, Seller("p1", "a", "gpt-3"), now_ms).order_id == "o1"
    request = admin_pb2.ListNodesRequest()
    nodes = await AdminServiceStub(apart.there).ListNodes(request, metadata=apart.metadata["ops"], timeout=10)
    assert [len(node.grant_keys) for node in nodes.nodes] == [2, 2]
    assert await _taken_after_revocation_s(apart) < 2
    report = provider_pb2.TelemetryRequest(provider_id="p1", ask_id="a", sequence=1)
    with pytest.raises(GRPCError, match="UNAUTHENTICATED"):
        await ProviderServiceStub(apart.there).PostStatus(report, metadata=apart.metadata["p1"], timeout=10)


async def _sold_here(apart: Apart) -> list[Ed25519PublicKey]:
    """The keys that the seller's agent has learned."""
    ask = provider_pb2.RegisterRequest(
        provider_id="p1", ask_id="a", model="gpt-3", gpu_type="cpu", price="0.001", latency_ms=10,
        throughput_tps=100, capacity_tokens=10**6, capacity_slots=4, endpoint="127.0.0.1:9",
    )  # fmt: skip
    registered = await ProviderServiceStub(apart.here).Register(ask, metadata=apart.metadata["p1"], timeout=10)
    assert len(registered.grant_public_keys) == 2
    return [Ed25519PublicKey.from_public_bytes(key) for key in registered.grant_public_keys]


async def _matched_there(apart: Apart) -> str:
    """The grant of an order."""
    funds = admin_pb2.GrantCreditsRequest(grant_id="g", account="alice", amount="1000")
    await AdminServiceStub(apart.here).GrantCredits(funds, metadata=apart.metadata["ops"], timeout=10)
    request = market_pb2.MatchRequest(order_id="o1", bid=BID)
    grants: list[str] = []

    async def match() -> bool:
        try:
            matched = await MarketServiceStub(apart.there).Match(request, metadata=apart.metadata["alice"], timeout=10)
        except GRPCError:
            return False  # it has not heard of the ask yet
        grants.append(matched.grant)
        return True

    await until_answer(match)
    return grants[0]


async def _taken_after_revocation_s(apart: Apart) -> float:
    """How long after a key was revoked here, messages with it are still taken there, on a stream that was open."""
    taken_s: list[float] = []
    with pytest.raises(GRPCError, match="UNAUTHENTICATED"):
        await _report_until_refused(apart, taken_s)
    return taken_s[-1]


async def _report_until_refused(apart: Apart, taken_s: list[float]) -> None:
    """Adds when each message was sent that was taken, in seconds after the revocation that follows the first."""
    report = provider_pb2.TelemetryRequest(provider_id="p1", ask_id="a", sequence=1)
    revoke = admin_pb2.RevokeKeyRequest(key_id=apart.key_ids["p1"])
    async with ProviderServiceStub(apart.there).Telemetry.open(metadata=apart.metadata["p1"]) as stream:
        await stream.send_message(report)
        assert await stream.recv_message() is not None
        taken_s.append(0)
        await AdminServiceStub(apart.here).RevokeKey(revoke, metadata=apart.metadata["ops"], timeout=10)
        revoked_s = time.monotonic()
        while taken_s[-1] < 10:
            sent_s = time.monotonic()
            await stream.send_message(report)
            if await stream.recv_message() is not None:
                taken_s.append(sent_s - revoked_s)
