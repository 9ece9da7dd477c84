"""The line to the exchange: telemetry, falls and returns, settlement over outages, leaving in order."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from grpclib import Status
from grpclib.client import Channel

from gollem_client import ChannelPool, Exchange, Timeouts, errors, stubs
from provider_agent import agent as agent_module
from provider_agent.agent import Agent
from provider_agent.clock import SystemClock
from provider_agent.events import OrderEvents
from provider_agent.exchange_link import ExchangeLink
from provider_agent.journal import JournalInUse
from provider_agent.options import Options
from provider_agent.pb.inference_grpc import InferenceServiceStub
from tests.fakes.exchange import HANG as NO_ANSWER
from tests.fakes.exchange import LOST, FakeExchange
from tests.fakes.faults import fault
from tests.fakes.upstream import HANG, FakeUpstream
from tests.provider_agent.conftest import make_agent
from tests.provider_agent.test_serving import ask, refusal, settled
from tests.until import WITHIN_S


async def test_registers_with_what_the_options_say(exchange: FakeExchange, agent: Agent) -> None:
    [registered] = exchange.asks.values()
    assert (registered.provider_id, registered.model, registered.gpu_type) == ("p1", "m", "cpu")
    assert (registered.price, registered.latency_ms, registered.throughput_tps) == ("0.001", 2_000, 20.0)
    assert (registered.capacity_slots, registered.capacity_tokens) == (2, 8_192)
    assert registered.endpoint == agent.endpoint
    assert "Bearer key-of-p1" in exchange.keys


async def test_reports_rise_and_tell_what_runs(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["Hel", HANG]
    generating = asyncio.ensure_future(ask(consumer, exchange.signer.grant()))
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: any(report.running == 1 for report in exchange.telemetry))
        upstream.proceed.set()
        await generating
        await exchange.until(lambda: exchange.telemetry[-1].running == 0)
    sequences = [report.sequence for report in exchange.telemetry]
    assert sequences == sorted(set(sequences))


async def test_comes_back_after_the_exchange_was_away(exchange: FakeExchange, agent: Agent) -> None:
    async with asyncio.timeout(WITHIN_S):
        await exchange.stop()
        exchange.asks.clear()
        await exchange.start()
        await exchange.until(lambda: exchange.registrations == 2)
        seen = len(exchange.telemetry)
        await exchange.until(lambda: len(exchange.telemetry) > seen)


async def test_registers_again_when_the_exchange_has_forgotten_it(exchange: FakeExchange, agent: Agent) -> None:
    exchange.asks.clear()
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.registrations == 2)


async def test_waits_for_an_exchange_that_is_not_there_yet(exchange: FakeExchange, options: Options) -> None:
    exchange.next["Register"].extend([fault(Status.UNAVAILABLE, "SHUTTING_DOWN")] * 4)
    agent = make_agent(options)
    running = asyncio.ensure_future(agent.run())
    async with asyncio.timeout(WITHIN_S):
        await agent.ready.wait()
        agent.stop()
        await running
    assert exchange.calls["Register"] == 5


@pytest.mark.parametrize("reason", ["UNAUTHENTICATED", "FORBIDDEN", "UNKNOWN_MODEL", "INVALID_FIELD"])
async def test_a_refused_ask_ends_the_agent(exchange: FakeExchange, options: Options, reason: str) -> None:
    exchange.next["Register"].append(fault(Status.FAILED_PRECONDITION, reason))
    with pytest.raises(errors.GollemError) as caught:
        await make_agent(options).run()
    assert caught.value.reason == reason


async def test_settles_over_an_outage(exchange: FakeExchange, consumer: InferenceServiceStub) -> None:
    unavailable = fault(Status.UNAVAILABLE, "LEDGER_UNAVAILABLE")
    exchange.next["Settle"].extend([unavailable] * 4)
    await ask(consumer, exchange.signer.grant())
    assert await settled(exchange) == (7, 3, "COMPLETED")
    assert exchange.calls["Settle"] == 5


async def test_a_lost_answer_to_settle_is_asked_for_again(
    exchange: FakeExchange, consumer: InferenceServiceStub
) -> None:
    exchange.next["Settle"].append(LOST)
    await ask(consumer, exchange.signer.grant())
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.calls["Settle"] == 2)
    assert len(exchange.settled) == 1


async def test_one_order_that_is_never_settled_does_not_hold_up_the_others(
    exchange: FakeExchange, consumer: InferenceServiceStub
) -> None:
    exchange.next["Settle"].append(fault(Status.FAILED_PRECONDITION, "HOLD_CLOSED"))
    await ask(consumer, exchange.signer.grant(order_id="closed"))
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.calls["Settle"] == 1)
    await ask(consumer, exchange.signer.grant(order_id="open"))
    assert await settled(exchange, "open") == (7, 3, "COMPLETED")
    assert exchange.calls["Settle"] == 2  # the closed one was given up


async def test_cut_off_it_begins_nothing_and_finishes_what_runs(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["Hel", HANG, "lo"]
    generating = asyncio.ensure_future(ask(consumer, exchange.signer.grant()))
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: ("order-1", "STARTED") in exchange.events)
        await exchange.stop()
        await _until_refused(exchange, consumer, "NOT_SERVING")  # once half of withdraw_after_ms has passed
        upstream.proceed.set()
        assert [chunk.text for chunk in await generating] == ["Hel", "lo", ""]
        await exchange.start()
        await _until_refused(exchange, consumer, "PROMPT_TOO_LONG")
    assert (await settled(exchange))[2] == "COMPLETED"


async def _until_refused(exchange: FakeExchange, consumer: InferenceServiceStub, reason: str) -> None:
    """Asks with a grant too short for the prompt, which is not used up, until it is refused for `reason`."""
    while (told := await refusal(consumer, exchange.signer.grant(max_prompt_tokens=1)))[0] != reason:
        assert told[0] in ("PROMPT_TOO_LONG", "NOT_SERVING")


async def test_an_exchange_that_restarts_hears_first_of_all_what_has_begun(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    """One order runs and one has ended and is not settled: an exchange that did not know would give the money back."""
    exchange.unsettling = True
    await ask(consumer, exchange.signer.grant(order_id="ended"))
    upstream.script = ["Hel", HANG, "lo"]
    generating = asyncio.ensure_future(ask(consumer, exchange.signer.grant(order_id="runs")))
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: {("runs", "STARTED"), ("ended", "STARTED")} <= set(exchange.events))
        await exchange.stop()
        exchange.asks.clear()
        exchange.telemetry.clear()
        await exchange.start()
        await exchange.until(lambda: bool(exchange.telemetry))
        assert {event.order_id for event in exchange.telemetry[0].events} == {"runs", "ended"}
        exchange.asks.clear()  # forgotten without a fall: the same again after registering
        registrations = exchange.registrations
        await exchange.until(lambda: exchange.registrations > registrations)
        exchange.telemetry.clear()
        await exchange.until(lambda: bool(exchange.telemetry))
        assert {event.order_id for event in exchange.telemetry[0].events} == {"runs", "ended"}
        exchange.unsettling = False
        upstream.proceed.set()
        await generating
    assert (await settled(exchange, "runs"))[2] == "COMPLETED"


async def test_leaves_in_order(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent, consumer: InferenceServiceStub
) -> None:
    """No new order from the first moment; what runs may end and is settled; only then out of the book."""
    upstream.script = ["Hel", HANG, "lo"]
    exchange.unsettling = True
    generating = asyncio.ensure_future(ask(consumer, exchange.signer.grant()))
    async with asyncio.timeout(WITHIN_S):
        await upstream.asked.wait()
        assert exchange.telemetry[-1].capacity_slots == 2
        agent.stop()
        await exchange.until(lambda: exchange.telemetry[-1].capacity_slots == 0)
        assert (await refusal(consumer, exchange.signer.grant(order_id="late")))[0] == "NOT_SERVING"
        upstream.proceed.set()
        assert [chunk.text for chunk in await generating] == ["Hel", "lo", ""]
        await exchange.until(lambda: exchange.calls["Settle"] > 1)
        seen = len(exchange.telemetry)
        await exchange.until(lambda: len(exchange.telemetry) > seen + 2)
        assert exchange.deregistrations == 0
        exchange.unsettling = False
        await exchange.until(lambda: exchange.deregistrations == 1)
    assert (await settled(exchange))[2] == "COMPLETED"
    assert exchange.registrations == 1


async def test_leaving_it_is_told_of_cancellations_even_by_an_exchange_that_restarts(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["Hel", HANG]
    generating = asyncio.ensure_future(ask(consumer, exchange.signer.grant()))
    async with asyncio.timeout(WITHIN_S):
        await upstream.asked.wait()
        agent.stop()
        await exchange.until(lambda: exchange.telemetry[-1].capacity_slots == 0)
        await exchange.stop()
        exchange.asks.clear()
        exchange.cancelled_orders = ["order-1"]
        exchange.events.clear()
        await exchange.start()
        assert (await generating)[-1].finish_reason == "cancelled"
    assert (await settled(exchange))[2] == "CANCELLED"
    assert ("order-1", "STARTED") in exchange.events
    assert exchange.registrations == 1  # it does not come back into the book to leave it


async def test_what_runs_too_long_is_stopped_and_settled(
    exchange: FakeExchange, options: Options, upstream: FakeUpstream
) -> None:
    upstream.script = ["Hel", HANG]
    agent = make_agent(dataclasses.replace(options, drain_ms=50))
    running = asyncio.ensure_future(agent.run())
    await agent.ready.wait()
    async with asyncio.timeout(WITHIN_S):
        generating = asyncio.ensure_future(_ask_at(agent, exchange.signer.grant()))
        await exchange.until(lambda: ("order-1", "STARTED") in exchange.events)
        agent.stop()
        assert await generating == "cancelled"
        await running
    assert exchange.settled["order-1"].usage.completion_tokens <= 1


async def test_consumers_who_have_hung_up_are_not_waited_for(
    exchange: FakeExchange, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_PARTING_MS", 3_600_000)
    agent = make_agent(options)
    running = asyncio.ensure_future(agent.run())
    await agent.ready.wait()
    async with asyncio.timeout(WITHIN_S):
        await _ask_at(agent, exchange.signer.grant())
        agent.stop()
        await running


async def _ask_at(agent: Agent, grant: str) -> str:
    host, _, port = agent.endpoint.rpartition(":")
    async with Channel(host, int(port)) as channel:
        chunks = await ask(InferenceServiceStub(channel), grant)
    return chunks[-1].finish_reason


async def test_an_exchange_that_never_answers_does_not_keep_the_agent_from_leaving(
    exchange: FakeExchange, options: Options
) -> None:
    agent = make_agent(options)
    running = asyncio.ensure_future(agent.run())
    await agent.ready.wait()
    exchange.next["Deregister"].extend([NO_ANSWER] * 3)
    agent.stop()
    async with asyncio.timeout(WITHIN_S):
        await running


async def test_used_grants_and_unsettled_earnings_survive_a_restart(exchange: FakeExchange, options: Options) -> None:
    grant = exchange.signer.grant()
    agent = make_agent(options)
    running = asyncio.ensure_future(agent.run())
    await agent.ready.wait()
    exchange.unsettling = True
    await _ask_at(agent, grant)
    running.cancel()  # as abrupt as it gets within one process; test_process.py kills a real one
    await asyncio.wait([running])
    assert exchange.settled == {}
    exchange.unsettling = False
    again = make_agent(options)
    running = asyncio.ensure_future(again.run())
    assert await settled(exchange) == (7, 3, "COMPLETED")
    await again.ready.wait()
    with pytest.raises(Exception, match="has been used"):
        await _ask_at(again, grant)
    again.stop()
    await running


async def test_one_agent_a_folder(agent: Agent, options: Options, tmp_path: Path) -> None:
    with pytest.raises(JournalInUse):
        await make_agent(options).run()


async def test_a_stop_is_heeded_though_the_exchange_breaks_off_at_that_moment(exchange: FakeExchange) -> None:
    """As when both are ended with one `kill`."""

    async def break_off() -> stubs.TelemetryRequest:
        link.end()
        running.cancel()
        raise errors.ExchangeUnavailable("gone")

    async def nothing(*_: object) -> tuple[str, ...]:
        return ()

    pool = ChannelPool()
    ask = stubs.RegisterRequest(provider_id="p1", model="m", endpoint="127.0.0.1:1")
    line = Exchange(exchange.address, "key-of-p1", pool, Timeouts())
    link = ExchangeLink(line, ask, OrderEvents(), break_off, nothing, nothing, SystemClock())
    await link.register()
    running = asyncio.create_task(link.run())
    done, _ = await asyncio.wait({running}, timeout=WITHIN_S)
    pool.close()
    assert done == {running}


@pytest.mark.parametrize("is_silent", [False, True])
async def test_an_agent_goes_on_at_another_exchange(exchange: FakeExchange, options: Options, is_silent: bool) -> None:
    """Its ask is there before the silence limit of the first would have taken it out."""
    other = FakeExchange()
    await other.start()
    other.signer = exchange.signer
    agent = make_agent(dataclasses.replace(options, exchange=f"{exchange.address},{other.address}"))
    running = asyncio.ensure_future(agent.run())
    async with asyncio.timeout(WITHIN_S):
        await agent.ready.wait()
        first, second = (exchange, other) if exchange.registrations else (other, exchange)
        assert not second.registrations
        if is_silent:
            first.silent = True
        else:
            await first.stop()
        await second.until(lambda: second.registrations == 1 and len(second.telemetry) > 1)
        agent.stop()
        await running
    await other.stop()
