"""kill -9 of the exchange under load: nothing acknowledged is lost, no hold outlives its deadline."""

import asyncio
import contextlib
import os
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.identity import Role, open_key_store
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.credit_grpc import CreditServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from tests.system.server import start_server
from tests.until import until_answer

ROUNDS = 20 if "KILL_ROUNDS" in os.environ else 8  # twenty with `make kill-rounds`
CALLERS = 8
SETTINGS = {
    "server.port": "0",
    "server.drain_timeout_ms": "0",
    "exchange.grant_ttl_ms": "1000",
    "exchange.settle_grace_ms": "1000",
    "exchange.max_order_ms": "1000",
    "exchange.sweep_interval_ms": "50",
}
# What a call may end with when the server is killed under it.
BROKEN = (GRPCError, StreamTerminatedError, OSError, TimeoutError)


@dataclass
class Acknowledged:
    """What the exchange has answered, kept outside of it."""

    matched: dict[str, market_pb2.MatchResponse] = field(default_factory=dict)
    settled: dict[str, provider_pb2.SettleResponse] = field(default_factory=dict)


@dataclass
class Rig:
    """One data folder, and the exchange that is running on it."""

    folder: Path
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None
    channel: Channel | None = None

    async def start(self) -> None:
        settings = [word for item in SETTINGS.items() for word in ("--set", "=".join(item))]
        self.process, port = await start_server("--data", str(self.folder), *settings)
        self.channel = Channel("127.0.0.1", port)
        await ProviderServiceStub(self.channel).Register(ASK, metadata=self.metadata["p1"])

    async def kill(self) -> None:
        assert self.process is not None
        assert self.channel is not None
        self.process.kill()
        await self.process.wait()
        self.channel.close()


ASK = provider_pb2.RegisterRequest(
    provider_id="p1", ask_id="a", model="gpt-3", gpu_type="cpu", price="0.001", latency_ms=10, throughput_tps=100,
    capacity_tokens=10**9, capacity_slots=60_000, endpoint="127.0.0.1:9",
)  # fmt: skip


async def trade(rig: Rig, caller: str, acknowledged: Acknowledged) -> None:
    """Match and sometimes settle until the server is gone."""
    assert rig.channel is not None
    market, provider = MarketServiceStub(rig.channel), ProviderServiceStub(rig.channel)
    bid = market_pb2.Bid(model="gpt-3", prompt_tokens=10, max_tokens=10)
    with contextlib.suppress(*BROKEN):
        for number in range(10_000):
            order = f"{caller}-{number}"
            answer = await market.Match(
                market_pb2.MatchRequest(order_id=order, bid=bid), metadata=rig.metadata["alice"], timeout=5
            )
            acknowledged.matched[order] = answer
            if number % 2:
                request = provider_pb2.SettleRequest(
                    provider_id="p1",
                    order_id=order,
                    usage=common_pb2.Usage(prompt_tokens=10, completion_tokens=number % 10),
                    outcome=provider_pb2.SettleRequest.COMPLETED,
                )
                settled = await provider.Settle(request, metadata=rig.metadata["p1"], timeout=5)
                acknowledged.settled[order] = settled


async def every_transaction(rig: Rig, who: str) -> dict[str, str]:
    """Key to kind of all of the account's movements."""
    assert rig.channel is not None
    credit, keys, token = CreditServiceStub(rig.channel), {}, ""
    while True:
        request = credit_pb2.ListTransactionsRequest(page_size=500, page_token=token)
        page = await credit.ListTransactions(request, metadata=rig.metadata[who])
        keys |= {line.key: line.kind for line in page.transactions}
        token = page.next_page_token
        if not token:
            return keys


async def set_up(rig: Rig) -> None:
    store = await open_key_store(rig.folder)
    for account, role in (("alice", Role.CONSUMER), ("p1", Role.PROVIDER), ("ops", Role.OPERATOR)):
        made = await store.create(account, role)
        rig.metadata[account] = {"authorization": f"Bearer {made.secret}"}
    await store.close()
    await rig.start()
    assert rig.channel is not None
    grant = admin_pb2.GrantCreditsRequest(grant_id="g", account="alice", amount="1000000")
    await AdminServiceStub(rig.channel).GrantCredits(grant, metadata=rig.metadata["ops"])


async def test_killed_again_and_again_under_load(tmp_path: Path) -> None:
    rig, acknowledged, dice = Rig(tmp_path / "data"), Acknowledged(), random.Random(7)
    rig.folder.mkdir(mode=0o700)
    await set_up(rig)
    for number in range(ROUNDS):
        callers = [asyncio.create_task(trade(rig, f"r{number}-c{caller}", acknowledged)) for caller in range(CALLERS)]
        done = len(acknowledged.matched) + dice.randrange(5, 60)
        await until_answer(lambda goal=done: _reached(acknowledged, goal))
        await rig.kill()
        await asyncio.gather(*callers)
        await rig.start()

    held = await every_transaction(rig, "alice")
    earned = await every_transaction(rig, "p1")
    assert len(acknowledged.matched) > 5 * ROUNDS
    assert not [order for order in acknowledged.matched if held.get(f"hold:{order}") != "hold"]
    assert not [order for order, receipt in acknowledged.settled.items() if f"settle:{order}" not in earned]

    await until_answer(lambda: _nothing_held(rig))
    assert rig.process is not None
    rig.process.terminate()
    await rig.process.wait()
    audit = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gollem", "ledger", "audit", "--data", str(rig.folder), stdout=asyncio.subprocess.PIPE
    )
    findings, _ = await audit.communicate()
    assert audit.returncode == 0, findings.decode()
    assert rig.channel is not None
    rig.channel.close()


async def _reached(acknowledged: Acknowledged, goal: int) -> bool:
    await asyncio.sleep(0.001)
    return len(acknowledged.matched) >= goal


async def _nothing_held(rig: Rig) -> bool:
    assert rig.channel is not None
    balance = await CreditServiceStub(rig.channel).Balance(credit_pb2.BalanceRequest(), metadata=rig.metadata["alice"])
    return balance.held == "0.00000000"
