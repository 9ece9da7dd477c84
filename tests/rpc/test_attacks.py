"""Attacks on money and on the market, over the wire. After each: the books balance, nothing is held for nothing, and
every order under way has its capacity, no more and no less."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel
from grpclib.exceptions import GRPCError

from gollem.app import App
from gollem.config import load
from gollem.identity import Role, open_key_store
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, inference_pb2, market_pb2, provider_pb2
from gollem.rpc.pb.inference_grpc import InferenceServiceStub
from gollem.rpc.pb.market_grpc import MarketServiceStub
from grpclib_guard import fault_info
from provider_agent.agent import Agent
from provider_agent.options import Options
from tests.fakes.provider import FakeProvider
from tests.fakes.upstream import HANG, FakeUpstream
from tests.rpc.conftest import SETTINGS, Site, ask, bid, order, refused
from tests.rpc.test_main_job import report, settle
from tests.until import WITHIN_S, until, until_answer

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
        balance = await _balance(site, account)
        assert _atoms(balance.held) == sum(atoms for user, atoms, _ in held if user == account)
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


async def _balance(site: Site, account: str) -> credit_pb2.BalanceResponse:
    return await site.credit.Balance(credit_pb2.BalanceRequest(account=account), metadata=site.ops)


def _atoms(decimal: str) -> int:
    return int(decimal.replace(".", ""))


async def _cancel(site: Site, order_id: str = "o1") -> market_pb2.CancelResponse:
    return await site.market.Cancel(market_pb2.CancelRequest(order_id=order_id), metadata=site.alice)


# --- (a) cancel and stream all the same ------------------------------------------------------------------------------


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    upstream = FakeUpstream()
    await upstream.start()
    yield upstream
    await upstream.stop()


@pytest.fixture
async def agent(site: Site, upstream: FakeUpstream, tmp_path: Path, capacity: dict[str, Any]) -> AsyncIterator[Agent]:
    """The real agent of p1, between the real exchange and a scripted model server."""
    options = Options(
        provider_id="p1", ask_id="a", model="gpt-4", gpu_type="h100", price="0.001", latency_ms=100,
        throughput_tps=100.0, api_key=site.p1["authorization"].removeprefix("Bearer "), slots=SLOTS,
        exchange=f"127.0.0.1:{site.app.port}", upstream=upstream.url, state_dir=tmp_path / "agent", drain_ms=200,
    )  # fmt: skip
    capacity["p1/a"] = (SLOTS, options.total_tokens)
    agent = Agent(options)
    running = asyncio.ensure_future(agent.run())
    async with asyncio.timeout(WITHIN_S):
        await agent.ready.wait()
    yield agent
    agent.stop()
    async with asyncio.timeout(WITHIN_S):
        await running


async def _stream(agent: Agent, grant: str, texts: list[str]) -> str:
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


async def _receipt(site: Site, order_id: str) -> market_pb2.Receipt | None:
    request = market_pb2.ReportRequest(order_id=order_id, outcome=market_pb2.ReportRequest.COMPLETED)
    answer = await site.market.Report(request, metadata=site.alice)
    return answer.receipt if answer.HasField("receipt") else None


async def _nothing_held(site: Site) -> bool:
    return (await _balance(site, "alice")).held == "0.00000000"


async def test_cancelled_at_once_it_is_not_streamed(site: Site, agent: Agent, upstream: FakeUpstream) -> None:
    await site.fund()
    matched = await site.market.Match(order(), metadata=site.alice)
    cancelled = await _cancel(site)
    assert (cancelled.state, cancelled.refunded) == (CANCELLED, "200.00000000")
    texts: list[str] = []
    assert await _stream(agent, matched.grant, texts) == "ORDER_CANCELLED"
    assert (texts, upstream.bodies) == ([], [])


async def test_cancelled_amid_the_stream_it_is_paid_for(site: Site, agent: Agent, upstream: FakeUpstream) -> None:
    await site.fund()
    upstream.script = ["Hel", HANG, "lo"]
    matched = await site.market.Match(order(), metadata=site.alice)
    texts: list[str] = []
    streaming = asyncio.ensure_future(_stream(agent, matched.grant, texts))
    await until(lambda: texts)
    cancelled = await _cancel(site)
    assert cancelled.state != CANCELLED
    assert await streaming == "cancelled"
    await until_answer(lambda: _receipt(site, "o1"))
    assert (await _balance(site, "p1")).earned != "0.00000000"


async def test_cancelled_while_it_begins_it_is_paid_for_or_not_streamed(site: Site, agent: Agent) -> None:
    """Twenty races of Cancel against the stream. Never text for nothing."""
    await site.fund(amount="100000")
    streamed = 0
    for number in range(20):
        name = f"o{number}"
        matched = await site.market.Match(order(name), metadata=site.alice)
        texts: list[str] = []
        streaming = asyncio.ensure_future(_stream(agent, matched.grant, texts))
        for _ in range(number * 3):
            await asyncio.sleep(0)
        await _cancel(site, name)
        await streaming
        await until_answer(lambda: _nothing_held(site))
        receipt = await _receipt(site, name)
        paid = receipt is not None and _atoms(receipt.charged) > 0
        assert paid or texts == [], number
        streamed += bool(texts)


async def test_a_leaving_provider_is_asked_before_its_order_is_undone(site: Site, agent: Agent) -> None:
    """Without an ask in the book, it is still there and streams."""
    await site.fund()
    matched = await site.market.Match(order(), metadata=site.alice)
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)
    cancelled = await _cancel(site)
    texts: list[str] = []
    reason = await _stream(agent, matched.grant, texts)
    assert (cancelled.state, reason, texts) in [
        (CANCELLED, "ORDER_CANCELLED", []),
        (PENDING, "ORDER_CANCELLED", []),
    ]


async def test_a_provider_that_is_silent_only_to_a_restarted_exchange_is_asked(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    await site.app.stop()
    await site.app.start()
    site.channel._port = site.app.port
    assert (await _cancel(site)).state == PENDING
    await site.sell()
    assert (await site.provider.Settle(settle(), metadata=site.p1)).charged == "101.00000000"


# --- (b) settling what is not to be settled --------------------------------------------------------------------------


async def test_an_order_is_settled_once_and_with_one_set_of_figures(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    calls = [site.provider.Settle(settle(completion=51), metadata=site.p1) for _ in range(20)]
    calls += [site.provider.Settle(settle(completion=100), metadata=site.p1) for _ in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, GRPCError)]
    taken = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert (len(taken), len(refusals)) == (20, 20)
    assert sum(not answer.replayed for answer in taken) == 1
    assert len({answer.charged for answer in taken}) == 1
    assert {fault_info(error)[0] for error in refusals} == {"IDEMPOTENCY_KEY_REUSED"}
    assert (await _balance(site, "p1")).earned == taken[0].provider_share


async def test_usage_beyond_the_grant_is_capped(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    settled = await site.provider.Settle(settle(prompt=2**31 - 1, completion=2**31 - 1), metadata=site.p1)
    assert (settled.charged, settled.refunded) == ("200.00000000", "0.00000000")


async def test_an_order_given_back_is_not_settled(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    await site.provider.PostStatus(report(events=[event]), metadata=site.p1)
    assert (await refused(site.provider.Settle(settle(), metadata=site.p1)))[:2] == (
        "FAILED_PRECONDITION",
        "HOLD_CLOSED",
    )
    assert (await _balance(site, "alice")).available == "1000.00000000"
    # Refused and settled, settled and refused: the first counts.
    await site.market.Match(order("o2"), metadata=site.alice)
    await site.provider.Settle(settle("o2"), metadata=site.p1)
    event = provider_pb2.OrderEvent(order_id="o2", kind=provider_pb2.OrderEvent.REFUSED)
    await site.provider.PostStatus(report(sequence=2, events=[event]), metadata=site.p1)
    assert (await _balance(site, "alice")).available == "899.00000000"


async def test_another_provider_neither_settles_nor_refuses_an_order(site: Site) -> None:
    await site.sell("p1")
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    await site.sell("p2", ask_id="a")
    assert (await refused(site.provider.Settle(settle(provider_id="p2"), metadata=site.p2)))[1] == "FORBIDDEN"
    assert (await refused(site.provider.Settle(settle(), metadata=site.p2)))[1] == "FORBIDDEN"
    for kind in (provider_pb2.OrderEvent.REFUSED, provider_pb2.OrderEvent.STARTED):
        event = provider_pb2.OrderEvent(order_id="o1", kind=kind)
        foreign = provider_pb2.TelemetryRequest(provider_id="p2", ask_id="a", sequence=kind, events=[event])
        await site.provider.PostStatus(foreign, metadata=site.p2)
    assert (await _balance(site, "alice")).held == "200.00000000"


# --- (c), (d), (e) asks that change under their orders ---------------------------------------------------------------


async def _measure(site: Site, ask_id: str, orders: int, ttft_ms: float) -> None:
    for number in range(orders):
        name = f"{ask_id}-{number}"
        await site.market.Match(order(name, prompt_tokens=1, max_tokens=1), metadata=site.alice)
        await site.provider.Settle(settle(name, 1, 1), metadata=site.p1)
        request = market_pb2.ReportRequest(
            order_id=name, outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=ttft_ms, completion_tokens=1
        )
        await site.market.Report(request, metadata=site.alice)


async def _effective_ms(site: Site, ask_id: str) -> float:
    answer = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.ops)
    return {each.ask_id: each.effective_latency_ms for each in answer.asks}[ask_id]


@pytest.mark.parametrize("keep_the_old", [True, False])
async def test_a_new_name_does_not_shed_what_was_measured(site: Site, keep_the_old: bool) -> None:
    await site.sell(ask_id="a", latency_ms=10)
    await site.fund()
    await _measure(site, "a", 3, 700.0)
    assert await _effective_ms(site, "a") == 700.0
    if not keep_the_old:
        request = provider_pb2.DeregisterRequest(provider_id="p1", ask_id="a")
        await site.provider.Deregister(request, metadata=site.p1)
    await site.sell(ask_id="fresh", latency_ms=10)
    assert await _effective_ms(site, "fresh") == 700.0


async def test_a_new_name_does_not_shed_an_open_circuit(site: Site) -> None:
    await site.sell()
    await site.fund()
    for number in range(5):
        await site.market.Match(order(f"o{number}"), metadata=site.alice)
        failed = settle(f"o{number}", 0, 0, outcome=provider_pb2.SettleRequest.FAILED)
        await site.provider.Settle(failed, metadata=site.p1)
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)
    await site.sell(ask_id="fresh")
    status, reason, figures = await refused(site.market.Match(order("next"), metadata=site.alice))
    assert (status, reason, figures["excluded_by.circuit_open"]) == ("RESOURCE_EXHAUSTED", "CAPACITY_EXHAUSTED", "1")
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)


async def test_the_terms_of_the_match_decide_whatever_the_ask_becomes(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell()
    await site.fund()
    first = await site.market.Match(order(), metadata=site.alice)
    await site.provider.PostStatus(report(price="0.9", completion_price="1"), metadata=site.p1)
    await site.sell(price="1", completion_price="1", endpoint="evil.example:1", capacity_slots=1)
    capacity["p1/a"] = (1, 100_000)
    replay = await site.market.Match(order(), metadata=site.alice)
    assert (replay.replayed, replay.grant, replay.offer.endpoint, replay.offer.price) == (
        True,
        first.grant,
        first.offer.endpoint,
        "0.00100000",
    )
    settled = await site.provider.Settle(settle(), metadata=site.p1)
    assert (settled.held, settled.charged) == ("200.00000000", "101.00000000")


async def test_capacity_below_what_runs_is_no_capacity(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell()
    await site.fund()
    for number in range(2):
        await site.market.Match(order(f"o{number}"), metadata=site.alice)
    await site.provider.PostStatus(report(capacity_slots=0, capacity_tokens=0), metadata=site.p1)
    assert (await refused(site.market.Match(order("o2"), metadata=site.alice)))[1] == "CAPACITY_EXHAUSTED"
    for number in range(2):
        await site.provider.Settle(settle(f"o{number}"), metadata=site.p1)
    assert (await refused(site.market.Match(order("o3"), metadata=site.alice)))[1] == "CAPACITY_EXHAUSTED"
    await site.provider.PostStatus(report(sequence=2, capacity_slots=SLOTS, capacity_tokens=100_000), metadata=site.p1)
    await site.market.Match(order("o4"), metadata=site.alice)


async def test_who_leaves_is_paid_for_what_was_under_way(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)
    assert (await site.provider.Settle(settle(), metadata=site.p1)).charged == "101.00000000"
    await site.sell()


# --- (f) one order_id for several things -----------------------------------------------------------------------------


async def test_an_order_id_is_one_order_whoever_and_whichever_way(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.fund("bob")
    first = await site.market.Match(order(), metadata=site.alice)
    status, reason, figures = await refused(site.market.Match(order(), metadata=site.bob))
    assert (status, reason, figures) == ("ALREADY_EXISTS", "DUPLICATE_ORDER_MISMATCH", {"order_id": "o1"})
    async with site.market.MatchStream.open(metadata=site.alice) as stream:
        for _ in range(3):
            await stream.send_message(order())
        await stream.end()
        answers = [answer.match async for answer in stream]
    assert {(answer.replayed, answer.grant) for answer in answers} == {(True, first.grant)}
    assert (await _balance(site, "alice")).held == "200.00000000"
    assert (await _balance(site, "bob")).available == "1000.00000000"


async def _generate(site: Site, order_id: str, **changes: Any) -> tuple[str, str]:
    """The text, and the reason of the error if there was one."""
    hello = common_pb2.ChatMessage(role="user", content="Hello")
    request = market_pb2.MarketGenerateRequest(order_id=order_id, bid=bid(**changes), messages=[hello])
    text = ""
    try:
        async with site.market.Generate.open(metadata=site.alice, timeout=WITHIN_S) as stream:
            await stream.send_message(request, end=True)
            async for event in stream:
                text += event.chunk.text
    except GRPCError as error:
        return text, fault_info(error)[0]
    return text, ""


async def test_a_generation_sent_again_is_not_bought_again(site: Site, agent: Agent) -> None:
    await site.fund()
    other = FakeProvider("p2")
    await other.start()
    await site.sell("p2", price="0.002", endpoint=other.endpoint)
    assert await _generate(site, "g", policy=market_pb2.POLICY_PRICE) == ("Hello!", "")
    await until_answer(lambda: _receipt(site, "g"))
    paid = (await _balance(site, "alice")).available
    for _ in range(3):
        assert await _generate(site, "g", policy=market_pb2.POLICY_PRICE) == ("", "GRANT_SPENT")
    balance = await _balance(site, "alice")
    assert (balance.available, balance.held) == (paid, "0.00000000")
    assert not other.requests
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.ops)
    assert circuit.failures == 0
    await other.stop()


async def test_a_long_prompt_is_no_failure_of_its_provider(site: Site, agent: Agent, upstream: FakeUpstream) -> None:
    await site.fund()
    for number in range(6):
        assert await _generate(site, f"g{number}", prompt_tokens=1) == ("", "PROMPT_TOO_LONG")
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.ops)
    assert (circuit.failures, upstream.bodies) == (0, [])
    assert (await _balance(site, "alice")).available == "1000.00000000"


async def test_anothers_order_under_the_name_of_a_second_try_is_left_alone(site: Site, agent: Agent) -> None:
    """p2 fails, and the name of the next try is taken: the caller is told, and learns nothing of the other's order."""
    await site.fund()
    await site.fund("bob")
    await site.sell("p2", price="0.0001")  # nobody listens there
    squatted = await site.market.Match(order("g.2", only_providers=["p1"]), metadata=site.bob)
    text, reason = await _generate(site, "g", policy=market_pb2.POLICY_PRICE)
    assert (text, reason) == ("", "DUPLICATE_ORDER_MISMATCH")
    assert (await _balance(site, "bob")).held == squatted.held


# --- (g), (h) many at once -------------------------------------------------------------------------------------------


async def test_two_hundred_at_once_with_funds_for_seven(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    capacity["p1/a"] = (1_000, 10**6)
    await site.fund(amount="1599.99999999")
    calls = [site.market.Match(order(f"o{number}"), metadata=site.alice) for number in range(200)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = {fault_info(answer)[0] for answer in answers if isinstance(answer, GRPCError)}
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 7
    assert refusals == {"INSUFFICIENT_CREDITS"}
    balance = await _balance(site, "alice")
    assert (balance.available, balance.held) == ("199.99999999", "1400.00000000")


async def test_a_storm_of_one_order_id_is_one_order(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    capacity["p1/a"] = (1_000, 10**6)
    await site.fund(amount="100000")
    calls = [site.market.Match(order("o1", max_tokens=100 + number % 10), metadata=site.alice) for number in range(200)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    matched = [answer for answer in answers if not isinstance(answer, BaseException)]
    refusals = {fault_info(answer)[0] for answer in answers if isinstance(answer, GRPCError)}
    assert len(matched) == 20
    assert len({(answer.grant, answer.held) for answer in matched}) == 1
    assert sum(not answer.replayed for answer in matched) == 1
    assert refusals == {"DUPLICATE_ORDER_MISMATCH"}
    assert (await _balance(site, "alice")).held == matched[0].held


# --- (i), (j) what is told -------------------------------------------------------------------------------------------


async def test_a_client_measures_its_own_orders_only_and_each_once(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    absurd = market_pb2.ReportRequest(
        order_id="o1", outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=3_600_000, throughput_tps=0.0001
    )
    assert (await refused(site.market.Report(absurd, metadata=site.bob)))[1] == "UNKNOWN_ORDER"
    for _ in range(10):
        await site.market.Report(absurd, metadata=site.alice)
    failed = market_pb2.ReportRequest(order_id="o1", outcome=market_pb2.ReportRequest.FAILED_MIDSTREAM)
    for _ in range(10):
        await site.market.Report(failed, metadata=site.alice)
    latency = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.ops)
    assert (latency.asks[0].samples, latency.asks[0].effective_latency_ms) == (0, 100.0)
    circuit = await site.provider.GetCircuit(provider_pb2.GetCircuitRequest(provider_id="p1"), metadata=site.ops)
    assert circuit.failures == 0


async def test_an_order_taken_back_measures_nothing(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    await site.provider.PostStatus(report(events=[event]), metadata=site.p1)
    done = market_pb2.ReportRequest(order_id="o1", outcome=market_pb2.ReportRequest.COMPLETED, ttft_ms=9_999)
    await site.market.Report(done, metadata=site.alice)
    latency = await site.provider.GetLatency(provider_pb2.GetLatencyRequest(provider_id="p1"), metadata=site.ops)
    assert latency.asks[0].samples == 0


async def test_reports_that_go_backwards_change_nothing(site: Site) -> None:
    await site.sell()
    async with site.provider.Telemetry.open(metadata=site.p1) as line:
        for sequence, price in ((2**63 - 1, "0.002"), (5, "0.5"), (0, "0.5"), (2**63 - 1, "0.5")):
            await line.send_message(report(sequence=sequence, price=price))
            answer = await line.recv_message()
            assert answer is not None
            assert answer.known
        await line.end()
    quote = await site.market.Quote(market_pb2.QuoteRequest(bid=bid()), metadata=site.alice)
    assert quote.front[0].price == "0.00200000"


async def test_a_hundred_thousand_events_are_refused_at_once(site: Site) -> None:
    await site.sell()
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    status, reason, figures = await refused(
        site.provider.PostStatus(report(events=[event] * 100_000), metadata=site.p1)
    )
    assert (status, reason, figures["field"]) == ("INVALID_ARGUMENT", "INVALID_FIELD", "events")


async def test_many_telemetry_streams_of_one_ask_all_hear_and_leave_nothing(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    lines = [site.provider.Telemetry.open(metadata=site.p1) for _ in range(50)]
    for number, line in enumerate(lines):
        await line.__aenter__()
        await line.send_message(report(sequence=number + 1))
        assert await line.recv_message() is not None
    cancelling = asyncio.ensure_future(_cancel(site))
    for line in lines:
        pushed = await line.recv_message()
        assert pushed is not None
        assert list(pushed.cancelled_orders) == ["o1"]
    event = provider_pb2.OrderEvent(order_id="o1", kind=provider_pb2.OrderEvent.REFUSED)
    await lines[0].send_message(report(sequence=100, events=[event]))
    assert (await cancelling).state == CANCELLED
    for line in lines:
        await line.cancel()


# --- (k) resting bids ------------------------------------------------------------------------------------------------


async def _resting(site: Site) -> int:
    books = await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(model="gpt-4"), metadata=site.ops)
    return books.models[0].resting_bids


async def _report_all_the_time(site: Site) -> None:
    """Each report may make room, so that every waiting bid is tried again."""
    for sequence in range(1, 10**6):
        await site.provider.PostStatus(report(sequence=sequence), metadata=site.p1)
        await asyncio.sleep(0.01)


async def test_ten_thousand_hopeless_bids_do_not_hold_up_a_match(site: Site, capacity: dict[str, Any]) -> None:
    await site.sell(capacity_slots=1_000, capacity_tokens=10**6)
    capacity["p1/a"] = (1_000, 10**6)
    await site.fund()
    crowd = Channel("127.0.0.1", site.app.port)
    streams = []
    for number in range(40):
        key = await site.key(f"crowd{number}", Role.CONSUMER)
        await site.fund(f"crowd{number}", "1")
        streams.append(MarketServiceStub(crowd).MatchStream.open(metadata=key))
        await streams[-1].__aenter__()
    for number in range(10_000):
        hopeless = order(f"r{number}", max_price="0.00000001")
        hopeless.good_for_ms = 600_000
        await streams[number % 40].send_message(hopeless)

    async def all_rest() -> bool:
        return await _resting(site) == 10_000

    await until_answer(all_rest)
    reporting = asyncio.ensure_future(_report_all_the_time(site))
    try:
        for number in range(30):
            name = f"crowded{number}"
            await site.market.Match(order(name, prompt_tokens=1, max_tokens=1), metadata=site.alice, timeout=5)
    finally:
        reporting.cancel()
    one_more = order("more", max_price="0.00000001")
    one_more.good_for_ms = 600_000
    assert (await refused(site.market.Match(one_more, metadata=site.alice)))[1] == "TOO_MANY_STREAMS"
    for stream in streams:
        await stream.cancel()

    async def none_rests() -> bool:
        return await _resting(site) == 0

    await until_answer(none_rests)
    crowd.close()


async def test_a_storm_of_cancels_ends_each_wait_once(site: Site) -> None:
    await site.fund()
    waiting = []
    for number in range(100):
        request = order(f"r{number}")
        request.good_for_ms = 60_000
        waiting.append(asyncio.ensure_future(site.market.Match(request, metadata=site.alice)))

    async def all_rest() -> bool:
        return await _resting(site) == 100

    await until_answer(all_rest)
    cancels = await asyncio.gather(
        *(_cancel(site, f"r{number % 100}") for number in range(300)), return_exceptions=True
    )
    assert sum(not isinstance(each, BaseException) for each in cancels) == 100
    assert {fault_info(each)[0] for each in cancels if isinstance(each, GRPCError)} == {"UNKNOWN_ORDER"}
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {fault_info(each)[0] for each in ended if isinstance(each, GRPCError)} == {"ORDER_CANCELLED"}
    assert len(ended) == 100
    await site.sell()


# --- (l) revoked keys, (m) too many calls ----------------------------------------------------------------------------


async def _revoke(site: Site, account: str) -> None:
    keys = await site.admin.ListKeys(admin_pb2.ListKeysRequest(account=account), metadata=site.ops)
    for key in keys.keys:
        await site.admin.RevokeKey(admin_pb2.RevokeKeyRequest(key_id=key.key_id), metadata=site.ops)


async def _is_refused(site: Site, key: dict[str, str]) -> bool:
    try:
        await site.market.GetOrderBook(market_pb2.GetOrderBookRequest(), metadata=key)
    except GRPCError as error:
        return fault_info(error)[0] == "UNAUTHENTICATED"
    return False


async def test_a_revoked_providers_stream_ends_and_it_settles_nothing(site: Site) -> None:
    await site.sell()
    await site.fund()
    await site.market.Match(order(), metadata=site.alice)
    ended = ""
    try:
        async with site.provider.Telemetry.open(metadata=site.p1) as line:
            await line.send_message(report())
            await line.recv_message()
            await _revoke(site, "p1")
            await until_answer(lambda: _is_refused(site, site.p1))
            await line.send_message(report(sequence=2))
            await line.recv_message()
    except GRPCError as error:
        ended = fault_info(error)[0]
    assert ended == "UNAUTHENTICATED"
    for call in (site.provider.Settle(settle(), metadata=site.p1), site.sell()):
        assert (await refused(call))[1] == "UNAUTHENTICATED"
    assert (await _balance(site, "alice")).held == "200.00000000", "its deadline gives it back, or another key settles"
    again = await site.key("p1", Role.PROVIDER)
    assert (await site.provider.Settle(settle(), metadata=again)).charged == "101.00000000"


async def test_a_revoked_consumers_stream_matches_no_more(site: Site) -> None:
    await site.sell(capacity_slots=SLOTS)
    await site.fund()
    async with site.market.MatchStream.open(metadata=site.alice) as stream:
        await stream.send_message(order("bad id"))
        await stream.recv_message()
        await _revoke(site, "alice")
        await until_answer(lambda: _is_refused(site, site.alice))
        await stream.send_message(order())
        answer = await stream.recv_message()
        assert answer is not None
        assert answer.refusal.reason == "UNAUTHENTICATED"
        await stream.end()
    assert (await _balance(site, "alice")).held == "0.00000000"


async def test_the_rate_limit_counts_messages_and_touches_nobody_else(site: Site, tmp_path: Path) -> None:
    slow = {"server.requests_per_second": "1", "server.burst": "5", "storage.data": str(tmp_path / "slow")}
    app = App(load(overrides=SETTINGS | slow))
    await app.start()
    channel = Channel("127.0.0.1", app.port)
    keys = await open_key_store(tmp_path / "slow")
    other = Site(app, channel, keys)
    await other.connect()
    try:
        await other.sell()  # p1's first
        async with other.market.MatchStream.open(metadata=other.alice) as stream:  # alice's first
            for number in range(8):
                await stream.send_message(order(f"o{number}"))
            await stream.end()
            refusals = [answer.refusal async for answer in stream]
        limited = [each for each in refusals if each.reason == "RATE_LIMITED"]
        assert (len(refusals), len(limited)) == (8, 4)
        assert all(0 < int(each.figures["retry_after_ms"]) <= 1_000 for each in limited)
        status, reason, figures = await refused(other.credit.Balance(credit_pb2.BalanceRequest(), metadata=other.alice))
        assert (status, reason, figures["limit"]) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED", "1")
        await other.credit.Balance(credit_pb2.BalanceRequest(), metadata=other.bob)

        async def report_often() -> None:
            async with other.provider.Telemetry.open(metadata=other.p1) as line:
                for sequence in range(1, 10):
                    await line.send_message(report(sequence=sequence))
                    await line.recv_message()

        assert (await refused(report_often()))[1] == "RATE_LIMITED"
    finally:
        channel.close()
        await keys.close()
        await app.stop()


def test_the_ask_of_these_tests_has_the_usual_capacity() -> None:
    assert (ask().capacity_slots, ask().capacity_tokens) == (SLOTS, 100_000)
