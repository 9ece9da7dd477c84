"""A small market with a past: providers, orders that were settled and refused, money in and out."""

from dataclasses import dataclass
from pathlib import Path

from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from gollem.identity import Role, open_key_store
from gollem.rpc.pb import admin_pb2, common_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub

# Provider, model, GPU, prices of prompt and completion, ms to the first token, tokens a second.
ASKS = (
    ("borealis", "llama-3.1-8b", "h100", "0.00080000", "0.00090000", 120, 140),
    ("quarry", "llama-3.1-8b", "a100", "0.00050000", "0.00055000", 310, 85),
    ("thrift", "llama-3.1-8b", "l4", "0.00022000", "0.00030000", 900, 32),
    ("meadow", "llama-3.1-8b", "rtx4090", "0.00036000", "0.00036000", 480, 60),
    ("borealis", "llama-3.3-70b", "h100", "0.00030000", "0.00040000", 400, 60),
    ("quarry", "llama-3.3-70b", "a100", "0.00024000", "0.00030000", 700, 40),
)
GPU = common_pb2.GpuStatus(
    name="NVIDIA H100 80GB HBM3", utilisation_percent=71, memory_used_bytes=58 << 30, memory_total_bytes=80 << 30
)
SETTLED = 14  # orders of each model


@dataclass
class World:
    """Keys by account, and how to go on trading."""

    keys: dict[str, str]
    market: MarketServiceStub
    provider: ProviderServiceStub
    admin: AdminServiceStub
    channel: Channel
    orders: int = 0

    def metadata(self, account: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[account]}"}

    async def trade(self, model: str, settle: bool = True, **limits: object) -> market_pb2.MatchResponse:
        """One order of alice's; half of what it may use is used."""
        self.orders += 1
        bid = market_pb2.Bid(model=model, prompt_tokens=20_000 + 10 * self.orders, max_tokens=4_000, **limits)
        request = market_pb2.MatchRequest(order_id=f"order-{self.orders:03}", bid=bid)
        matched = await self.market.Match(request, metadata=self.metadata("alice"))
        if settle:
            await self._settle(matched)
        return matched

    async def _settle(self, matched: market_pb2.MatchResponse) -> None:
        request = provider_pb2.SettleRequest(
            provider_id=matched.offer.provider_id,
            order_id=matched.order_id,
            usage=common_pb2.Usage(prompt_tokens=20_000, completion_tokens=3_100),
            outcome=provider_pb2.SettleRequest.COMPLETED,
        )
        await self.provider.Settle(request, metadata=self.metadata(matched.offer.provider_id))
        report = market_pb2.ReportRequest(
            order_id=matched.order_id,
            outcome=market_pb2.ReportRequest.COMPLETED,
            ttft_ms=matched.offer.latency_ms * (0.75 + self.orders % 5 / 20),
            completion_tokens=3_100,
            throughput_tps=matched.offer.throughput_tps,
        )
        await self.market.Report(report, metadata=self.metadata("alice"))


async def make_world(port: int, data: Path) -> World:
    """Everything on the exchange at this port, whose keys are in `data`."""
    roles = {"alice": Role.CONSUMER, "ops": Role.OPERATOR} | {name: Role.PROVIDER for name, *_ in ASKS}
    store = await open_key_store(data)
    keys = {account: (await store.create(account, role)).secret for account, role in roles.items()}
    await store.close()
    channel = Channel("127.0.0.1", port)
    world = World(keys, MarketServiceStub(channel), ProviderServiceStub(channel), AdminServiceStub(channel), channel)
    grant = admin_pb2.GrantCreditsRequest(grant_id="welcome", account="alice", amount="25000")
    await world.admin.GrantCredits(grant, metadata=world.metadata("ops"))
    for number, ask in enumerate(ASKS):
        await _sell(world, number, *ask)
    await _past(world)
    return world


async def _sell(
    world: World, number: int, name: str, model: str, gpu: str, price: str, completion: str, ms: int, tps: int
) -> None:
    request = provider_pb2.RegisterRequest(
        provider_id=name,
        model=model,
        gpu_type=gpu,
        price=price,
        completion_price=completion,
        latency_ms=ms,
        throughput_tps=tps,
        capacity_tokens=4_000_000,
        capacity_slots=16,
        endpoint=f"127.0.0.1:{7000 + number}",
        max_requests_per_minute=600,
    )
    registered = await world.provider.Register(request, metadata=world.metadata(name))
    report = provider_pb2.TelemetryRequest(
        provider_id=name, ask_id=registered.ask_id, sequence=1, running=2, queued=0, gpus=[GPU] if gpu == "h100" else []
    )
    await world.provider.PostStatus(report, metadata=world.metadata(name))


async def _past(world: World) -> None:
    """Orders that were settled by several policies, and bids that nobody could meet."""
    for number in range(SETTLED):
        policy = (market_pb2.POLICY_PRICE, market_pb2.POLICY_LATENCY, market_pb2.POLICY_BALANCED)[number % 3]
        await world.trade("llama-3.1-8b", policy=policy)
        await world.trade("llama-3.3-70b", policy=market_pb2.POLICY_LATENCY)
    for limits in ({"max_price": "0.00010000"}, {"max_latency_ms": 60}, {"min_throughput_tps": 400.0}) * 2:
        await refused(world, **limits)
    await refused(world, max_price="0.00010000", max_latency_ms=50)


async def refused(world: World, **limits: object) -> None:
    """A bid that no ask meets."""
    try:
        await world.trade("llama-3.1-8b", settle=False, **limits)
    except GRPCError:
        return
    raise AssertionError(f"{limits} were met")
