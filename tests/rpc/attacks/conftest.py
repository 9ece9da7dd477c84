"""What must hold after every attack, the usual ask, and a real agent behind it."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, inference_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.inference_grpc import InferenceServiceStub
from grpclib_guard import fault_info
from provider_agent.agent import Agent
from provider_agent.options import Options
from tests.agents import at_work
from tests.fakes.upstream import FakeUpstream, fake_upstream
from tests.rpc.conftest import Site
from tests.until import WITHIN_S

SLOTS = 4
CANCELLED = market_pb2.CancelResponse.CANCELLED
PENDING = market_pb2.CancelResponse.PENDING


@pytest.fixture(autouse=True)
async def fair(site: Site, data: Path) -> AsyncIterator[None]:
    """What must hold after every attack."""
    yield
    audit = await site.admin.Audit(admin_pb2.AuditRequest(), metadata=site.ops)
    assert (audit.ok, list(audit.findings)) == (True, [])
    database = sqlite3.connect(f"file:{data / 'ledger.db'}?mode=ro", uri=True)
    held = database.execute("SELECT user, amount_atoms, terms FROM hold WHERE state = 'OPEN'").fetchall()
    database.close()
    for account in ("alice", "bob"):
        balance = await balance_of(site, account)
        assert atoms_of(balance.held) == sum(atoms for user, atoms, _ in held if user == account)
    terms = [json.loads(text) for _, _, text in held]
    for model in (await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(), metadata=site.ops)).models:
        sold = await _sold(site, model.model)
        mine = [each for each in terms if f"{each['provider_id']}/{each['ask_id']}" in sold]
        assert model.live_asks == len(sold), "else free capacity tells nothing"
        assert model.free_slots == max(sum(slots for slots, _ in sold.values()) - len(mine), 0)
        taken = sum(each["prompt_tokens"] + each["max_tokens"] for each in mine)
        assert model.free_tokens == sum(tokens for _, tokens in sold.values()) - taken


# Capacity of every ask that a test has left in the book: (slots, tokens) by key.
_CAPACITY: dict[str, tuple[int, int]] = {}


async def _sold(site: Site, model: str) -> dict[str, tuple[int, int]]:
    found = {}
    for provider in ("p1", "p2"):
        try:
            asks = await site.provider.GetLatency(
                provider_pb2.GetLatencyRequest(provider_id=provider), metadata=site.ops
            )
        except GRPCError:
            continue
        for each in asks.asks:
            key = f"{provider}/{each.ask_id}"
            found[key] = _CAPACITY.get(key, (SLOTS, 100_000))
    return found


@pytest.fixture(autouse=True)
def capacity() -> AsyncIterator[dict[str, tuple[int, int]]]:
    """A test that sells another capacity than the usual writes it here."""
    _CAPACITY.clear()
    yield _CAPACITY  # type: ignore[misc]
    _CAPACITY.clear()


async def balance_of(site: Site, account: str) -> credit_pb2.BalanceResponse:
    return await site.credit.Balance(credit_pb2.BalanceRequest(account=account), metadata=site.ops)


def atoms_of(decimal: str) -> int:
    return int(decimal.replace(".", ""))


async def cancel(site: Site, order_id: str = "o1") -> market_pb2.CancelResponse:
    return await site.market.Cancel(market_pb2.CancelRequest(order_id=order_id), metadata=site.alice)


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with fake_upstream() as upstream:
        yield upstream


@pytest.fixture
async def agent(site: Site, upstream: FakeUpstream, tmp_path: Path, capacity: dict[str, Any]) -> AsyncIterator[Agent]:
    """The real agent of p1, between the real exchange and a scripted model server."""
    options = Options(
        provider_id="p1", ask_id="a", model="gpt-4", gpu_type="h100", price="0.001", latency_ms=100,
        throughput_tps=100.0, api_key=site.p1["authorization"].removeprefix("Bearer "), slots=SLOTS,
        exchange=f"127.0.0.1:{site.app.port}", upstream=upstream.url, state_dir=tmp_path / "agent", drain_ms=200,
    )  # fmt: skip
    capacity["p1/a"] = (SLOTS, options.total_tokens)
    async with at_work(Agent(options)) as agent:
        yield agent


async def stream_of(agent: Agent, grant: str, texts: list[str]) -> str:
    """Collects what the provider streams; the finish reason, or the reason of a refusal."""
    host, _, port = agent.endpoint.rpartition(":")
    hello = common_pb2.ChatMessage(role="user", content="Hello")
    try:
        async with (
            Channel(host, int(port)) as channel,
            InferenceServiceStub(channel).Generate.open(timeout=WITHIN_S) as stream,
        ):
            await stream.send_message(inference_pb2.GenerateRequest(grant=grant, messages=[hello]), end=True)
            last = ""
            async for answer in stream:
                texts += [answer.chunk.text] if answer.chunk.text else []
                last = answer.chunk.finish_reason
            return last
    except GRPCError as error:
        return fault_info(error)[0]


async def receipt_of(site: Site, order_id: str) -> market_pb2.Receipt | None:
    request = market_pb2.ReportRequest(order_id=order_id, outcome=market_pb2.ReportRequest.COMPLETED)
    answer = await site.market.Report(request, metadata=site.alice)
    return answer.receipt if answer.HasField("receipt") else None


async def nothing_held(site: Site) -> bool:
    return (await balance_of(site, "alice")).held == "0.00000000"
