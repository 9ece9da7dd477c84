"""A whole exchange on a free port, under uvloop, with stubs to call it."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from gollem.app import App
from gollem.config import load
from gollem.identity import KeyStore, Role, open_key_store
from gollem.rpc.pb import admin_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.credit_grpc import CreditServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.payout_grpc import PayoutServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from grpclib_guard import fault_info


def pytest_asyncio_loop_factories(config: object, item: object) -> dict[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class Site:
    """A running exchange, with a key a role. Stubs take `metadata=site.alice` and the like."""

    app: App
    channel: Channel
    keys: KeyStore
    market: MarketServiceStub = field(init=False)
    provider: ProviderServiceStub = field(init=False)
    credit: CreditServiceStub = field(init=False)
    payout: PayoutServiceStub = field(init=False)
    admin: AdminServiceStub = field(init=False)
    alice: dict[str, str] = field(init=False)
    bob: dict[str, str] = field(init=False)
    p1: dict[str, str] = field(init=False)
    p2: dict[str, str] = field(init=False)
    ops: dict[str, str] = field(init=False)

    async def connect(self) -> None:
        self.market = MarketServiceStub(self.channel)
        self.provider = ProviderServiceStub(self.channel)
        self.credit = CreditServiceStub(self.channel)
        self.payout = PayoutServiceStub(self.channel)
        self.admin = AdminServiceStub(self.channel)
        self.alice = await self.key("alice", Role.CONSUMER)
        self.bob = await self.key("bob", Role.CONSUMER)
        self.p1 = await self.key("p1", Role.PROVIDER)
        self.p2 = await self.key("p2", Role.PROVIDER)
        self.ops = await self.key("ops", Role.OPERATOR)

    async def key(self, account: str, role: Role) -> dict[str, str]:
        made = await self.keys.create(account, role)
        return {"authorization": f"Bearer {made.secret}"}

    async def fund(self, account: str = "alice", amount: str = "1000") -> None:
        request = admin_pb2.GrantCreditsRequest(grant_id=f"g-{account}-{amount}", account=account, amount=amount)
        await self.admin.GrantCredits(request, metadata=self.ops)

    async def sell(self, provider: str = "p1", **changes: object) -> provider_pb2.RegisterResponse:
        metadata = {"p1": self.p1, "p2": self.p2}[provider]
        return await self.provider.Register(ask(provider, **changes), metadata=metadata)


def ask(provider: str = "p1", **changes: Any) -> provider_pb2.RegisterRequest:
    """gpt-4 on an H100 at the base price."""
    fields: dict[str, Any] = {
        "provider_id": provider,
        "ask_id": "a",
        "model": "gpt4",
        "gpu_type": "h100",
        "price": "0.001",
        "latency_ms": 100,
        "throughput_tps": 100,
        "capacity_tokens": 100_000,
        "capacity_slots": 4,
        "endpoint": "127.0.0.1:9",
    }
    return provider_pb2.RegisterRequest(**(fields | changes))


def bid(**changes: Any) -> market_pb2.Bid:
    """200 credits on that ask."""
    fields: dict[str, Any] = {"model": "gpt-4", "prompt_tokens": 100, "max_tokens": 100}
    return market_pb2.Bid(**(fields | changes))


def order(order_id: str = "o1", **changes: Any) -> market_pb2.MatchRequest:
    return market_pb2.MatchRequest(order_id=order_id, bid=bid(**changes))


async def refused(call: Any) -> tuple[str, str, dict[str, str]]:
    """Status, reason and figures of a call that must fail."""
    with pytest.raises(GRPCError) as error:
        await call
    reason, figures = fault_info(error.value)
    return error.value.status.name, reason, dict(figures)


SETTINGS = {
    "server.port": "0",
    "server.metrics_port": "0",
    "payments.gateway": "local",
    "bridge.port": "0",
    "exchange.cancel_wait_ms": "300",
    "providers.samples_needed": "3",
    # Most tests have no agent that reports, and some machines are slow.
    "providers.withdraw_after_ms": "60000",
}


@pytest.fixture
def ledger_url() -> str:
    """Of the exchange's ledger; empty: SQLite in its folder."""
    return ""


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder in memory, where there is one: these tests are not about disks."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
async def site(request: pytest.FixtureRequest, data: Path, ledger_url: str) -> AsyncIterator[Site]:
    """With more settings as an indirect parameter."""
    more = getattr(request, "param", {})
    app = App(load(overrides=SETTINGS | {"storage.data": str(data), "storage.ledger": ledger_url} | more))
    await app.start()
    channel = Channel("127.0.0.1", app.port)
    keys = await open_key_store(data)
    site = Site(app, channel, keys)
    await site.connect()
    yield site
    channel.close()
    await keys.close()
    await app.stop()
