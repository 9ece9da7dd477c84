"""Attacks on one order: streaming what was cancelled, settling what is not to be settled, one id for several things."""

import asyncio
from typing import Any

from grpclib.exceptions import GRPCError

from gollem.rpc.pb import common_pb2, market_pb2, provider_pb2
from grpclib_guard import fault_info
from provider_agent.agent import Agent
from tests.fakes.provider import FakeProvider
from tests.fakes.upstream import HANG, FakeUpstream
from tests.rpc.attacks.conftest import (
    CANCELLED,
    PENDING,
    atoms_of,
    balance_of,
    cancel,
    nothing_held,
    receipt_of,
    stream_of,
)
from tests.rpc.conftest import Site, bid, order, refused
from tests.rpc.test_main_job import report, settle
from tests.until import WITHIN_S, until, until_answer

# --- (a) cancel and stream all the same ------------------------------------------------------------------------------


async def test_cancelled_at_once_it_is_not_streamed(site: Site, agent: Agent, upstream: FakeUpstream) -> None:
    await site.fund()
    matched = await site.market.Match(order(), metadata=site.alice)
    cancelled = await cancel(site)
    assert (cancelled.state, cancelled.refunded) == (CANCELLED, "200.00000000")
    texts: list[str] = []
    assert await stream_of(agent, matched.grant, texts) == "ORDER_CANCELLED"
    assert (texts, upstream.bodies) == ([], [])


async def test_cancelled_amid_the_stream_it_is_paid_for(site: Site, agent: Agent, upstream: FakeUpstream) -> None:
    await site.fund()
    upstream.script = ["Hel", HANG, "lo"]
    matched = await site.market.Match(order(), metadata=site.alice)
    texts: list[str] = []
    streaming = asyncio.ensure_future(stream_of(agent, matched.grant, texts))
    await until(lambda: texts)
    cancelled = await cancel(site)
    assert cancelled.state != CANCELLED
    assert await streaming == "cancelled"
    await until_answer(lambda: receipt_of(site, "o1"))
    assert (await balance_of(site, "p1")).earned != "0.00000000"


async def test_cancelled_while_it_begins_it_is_paid_for_or_not_streamed(site: Site, agent: Agent) -> None:
    """Twenty races of Cancel against the stream. Never text for nothing."""
    await site.fund(amount="100000")
    streamed = 0
    for number in range(20):
        name = f"o{number}"
        matched = await site.market.Match(order(name), metadata=site.alice)
        texts: list[str] = []
        streaming = asyncio.ensure_future(stream_of(agent, matched.grant, texts))
        for _ in range(number * 3):
            await asyncio.sleep(0)
        await cancel(site, name)
        await streaming
        await until_answer(lambda: nothing_held(site))
        receipt = await receipt_of(site, name)
        paid = receipt is not None and atoms_of(receipt.charged) > 0
        assert paid or texts == [], number
        streamed += bool(texts)


async def test_a_leaving_provider_is_asked_before_its_order_is_undone(site: Site, agent: Agent) -> None:
    """Without an ask in the book, it is still there and streams."""
    await site.fund()
    matched = await site.market.Match(order(), metadata=site.alice)
    await site.provider.Deregister(provider_pb2.DeregisterRequest(provider_id="p1"), metadata=site.p1)
    cancelled = await cancel(site)
    texts: list[str] = []
    reason = await stream_of(agent, matched.grant, texts)
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
    assert (await cancel(site)).state == PENDING
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
    assert (await balance_of(site, "p1")).earned == taken[0].provider_share


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
    assert (await balance_of(site, "alice")).available == "1000.00000000"
    # Refused and settled, settled and refused: the first counts.
    await site.market.Match(order("o2"), metadata=site.alice)
    await site.provider.Settle(settle("o2"), metadata=site.p1)
    event = provider_pb2.OrderEvent(order_id="o2", kind=provider_pb2.OrderEvent.REFUSED)
    await site.provider.PostStatus(report(sequence=2, events=[event]), metadata=site.p1)
    assert (await balance_of(site, "alice")).available == "899.00000000"


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
    assert (await balance_of(site, "alice")).held == "200.00000000"


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
    assert (await balance_of(site, "alice")).held == "200.00000000"
    assert (await balance_of(site, "bob")).available == "1000.00000000"


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
    await until_answer(lambda: receipt_of(site, "g"))
    paid = (await balance_of(site, "alice")).available
    for _ in range(3):
        assert await _generate(site, "g", policy=market_pb2.POLICY_PRICE) == ("", "GRANT_SPENT")
    balance = await balance_of(site, "alice")
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
    assert (await balance_of(site, "alice")).available == "1000.00000000"


async def test_anothers_order_under_the_name_of_a_second_try_is_left_alone(site: Site, agent: Agent) -> None:
    """p2 fails, and the name of the next try is taken: the caller is told, and learns nothing of the other's order."""
    await site.fund()
    await site.fund("bob")
    await site.sell("p2", price="0.0001")  # nobody listens there
    squatted = await site.market.Match(order("g.2", only_providers=["p1"]), metadata=site.bob)
    text, reason = await _generate(site, "g", policy=market_pb2.POLICY_PRICE)
    assert (text, reason) == ("", "DUPLICATE_ORDER_MISMATCH")
    assert (await balance_of(site, "bob")).held == squatted.held
