"""Streaming straight from providers: the good path, failover, and who is told what."""

import asyncio
import socket
from typing import Any

import pytest
from grpclib import GRPCError, Status

from gollem.rpc.pb.common_pb2 import Chunk, Usage
from gollem.rpc.pb.market_pb2 import ReportRequest
from gollem.rpc.pb.provider_pb2 import SettleRequest
from gollem_client import GollemClient, Timeouts, errors
from tests.fakes.exchange import HANG as NO_ANSWER
from tests.fakes.exchange import LOST, FakeExchange
from tests.fakes.faults import fault
from tests.fakes.provider import BREAK, END_SILENTLY, HANG, WAIT, AddProvider
from tests.until import WITHIN_S

MESSAGES = [{"role": "user", "content": "Say hello"}]
BEFORE_FIRST = ReportRequest.FAILED_BEFORE_FIRST_CHUNK


async def test_streams_reports_and_brings_the_receipt(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    provider = await add_provider("p1")
    stream = client.generate("m", MESSAGES, max_price="0.002", max_tokens=9, seed=7, temperature=0.5, order_id="o1")
    texts = []
    async for chunk in stream:
        texts.append(chunk.text)
        if chunk.finish_reason:
            exchange.settled["o1"] = settlement("o1")
    assert texts == ["Hel", "lo", "!", ""]
    assert (stream.text, stream.finish_reason) == ("Hello!", "stop")
    assert stream.match is not None
    assert stream.match.offer.provider_id == "p1"
    assert stream.receipt is not None
    assert stream.receipt.charged == "0.5"
    [report] = exchange.reports
    assert (report.order_id, report.outcome, report.completion_tokens) == ("o1", ReportRequest.COMPLETED, 3)
    assert stream.measured is not None
    assert report.ttft_ms == stream.measured.ttft_ms > 0
    [request] = provider.requests
    assert (request.sampling.seed, request.sampling.temperature) == (7, 0.5)
    assert not request.sampling.HasField("top_p")
    assert exchange.orders["o1"].bid.max_price == "0.00200000"
    assert exchange.keys == {"Bearer key-of-alice"}


def settlement(order_id: str) -> SettleRequest:
    return SettleRequest(order_id=order_id, usage=Usage(prompt_tokens=5, completion_tokens=3))


async def test_the_answer_does_not_wait_long_for_a_late_receipt(
    add_provider: AddProvider, client: GollemClient, exchange: FakeExchange
) -> None:
    await add_provider("p1")
    stream = client.generate("m", MESSAGES)
    async with asyncio.timeout(WITHIN_S):
        assert await stream.complete() == "Hello!"
    assert stream.receipt is None
    assert exchange.calls["Report"] > 1


@pytest.mark.parametrize(
    "script",
    [
        [fault(Status.UNAVAILABLE, "UPSTREAM_FAILED")],
        [BREAK],
        [END_SILENTLY],
        [HANG],
        ["", Chunk(finish_reason="error", error_reason="UPSTREAM_FAILED")],
        [fault(Status.RESOURCE_EXHAUSTED, "CAPACITY_EXHAUSTED")],
    ],
    ids=["refuses", "breaks", "ends", "hangs", "tells an error", "is full"],
)
async def test_failure_before_the_first_chunk_goes_to_the_next_provider(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient, script: list[Any]
) -> None:
    bad = await add_provider("bad", price="0.001")
    await add_provider("good", price="0.002")
    bad.script = script
    stream = client.generate("m", MESSAGES, order_id="o1")
    assert await stream.complete() == "Hello!"
    assert stream.order_id == "o1.2"
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.cancelled == ["o1"])
    assert ("o1", BEFORE_FIRST) in [(report.order_id, report.outcome) for report in exchange.reports]
    assert list(exchange.orders["o1.2"].bid.exclude_providers) == ["bad"]


async def test_a_provider_that_is_not_there_or_never_accepts_is_passed_over(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    with socket.socket() as gone, socket.socket() as mute:
        gone.bind(("127.0.0.1", 0))  # bound, never listens: refused
        mute.bind(("127.0.0.1", 0))
        mute.listen()  # the kernel accepts, nobody ever answers
        exchange.add_ask("gone", f"127.0.0.1:{gone.getsockname()[1]}", "0.0001")
        exchange.add_ask("mute", f"127.0.0.1:{mute.getsockname()[1]}", "0.0002")
        await add_provider("good")
        stream = client.generate("m", MESSAGES)
        async with asyncio.timeout(WITHIN_S):
            assert await stream.complete() == "Hello!"
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: len(exchange.cancelled) == 2)


async def test_gives_up_after_the_tries_and_names_all_who_failed(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    for number in range(4):
        (await add_provider(f"p{number}", f"0.00{number + 1}")).script = [fault(Status.UNAVAILABLE, "UPSTREAM_FAILED")]
    with pytest.raises(errors.ProviderFailed) as caught:
        await client.generate("m", MESSAGES, order_id="o").complete()
    assert caught.value.tried == tuple((f"p{number}", "UPSTREAM_FAILED") for number in range(3))
    assert caught.value.text == ""
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: sorted(exchange.cancelled) == ["o", "o.2", "o.3"])


async def test_failing_over_does_not_wait_for_the_failed_order_unless_its_credits_are_needed(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    (await add_provider("bad", "0.001")).script = [BREAK]
    await add_provider("good", "0.002")
    exchange.next["Cancel"].extend([NO_ANSWER] * 3)
    assert await client.generate("m", MESSAGES).complete() == "Hello!"
    assert exchange.next["Cancel"], "it is still being asked for"
    exchange.next["Cancel"].clear()
    poor = fault(Status.FAILED_PRECONDITION, "INSUFFICIENT_CREDITS", needed="2", available="1")
    (await add_provider("worse", "0.0001")).script = [poor_once(exchange, poor)]
    stream = client.generate("m", MESSAGES, order_id="o9", exclude=["bad"])
    assert await stream.complete() == "Hello!"
    assert "o9" in exchange.cancelled


def poor_once(exchange: FakeExchange, error: GRPCError) -> Any:
    """A provider's failure, after which the next match finds too few credits."""

    def fail() -> GRPCError:
        exchange.next["Match"].append(error)
        return fault(Status.UNAVAILABLE, "UPSTREAM_FAILED")

    return fail


async def test_says_provider_failed_when_nobody_else_is_feasible(
    add_provider: AddProvider, client: GollemClient
) -> None:
    (await add_provider("only")).script = [BREAK]
    with pytest.raises(errors.ProviderFailed) as caught:
        await client.generate("m", MESSAGES).complete()
    assert caught.value.tried == (("only", "OUTCOME_UNKNOWN"),)
    assert isinstance(caught.value.__cause__, errors.NoFeasibleAsk)


@pytest.mark.parametrize(
    "end", [BREAK, END_SILENTLY, HANG, Chunk(finish_reason="error", error_reason="UPSTREAM_FAILED")]
)
async def test_never_restarts_after_the_first_chunk(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient, end: Any
) -> None:
    provider = await add_provider("p1")
    await add_provider("p2", "0.002")
    provider.script = ["Hel", "lo", WAIT, end]
    stream = client.generate("m", MESSAGES, order_id="o1")

    async def read() -> None:
        async for _ in stream:
            if stream.text == "Hello":
                provider.proceed.set()

    with pytest.raises(errors.ProviderFailed) as caught:
        await read()
    assert caught.value.text == stream.text == "Hello"
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: bool(exchange.reports))
    assert exchange.reports[0].outcome == ReportRequest.FAILED_MIDSTREAM
    assert list(exchange.orders) == ["o1"]


async def test_a_prompt_that_is_too_long_is_bid_for_again_with_its_real_length(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    provider = await add_provider("p1")
    too_long = fault(Status.INVALID_ARGUMENT, "PROMPT_TOO_LONG", prompt_tokens="77", allowed="3")
    provider.scripts = [[too_long]]
    stream = client.generate("m", MESSAGES, order_id="o1", prompt_tokens=3)
    assert await stream.complete() == "Hello!"
    assert exchange.orders["o1.2"].bid.prompt_tokens == 77
    assert list(exchange.orders["o1.2"].bid.exclude_providers) == []
    assert [report.outcome for report in exchange.reports[:1]] == [ReportRequest.COMPLETED]


async def test_the_length_is_corrected_once_only(add_provider: AddProvider, client: GollemClient) -> None:
    provider = await add_provider("p1")
    provider.script = [fault(Status.INVALID_ARGUMENT, "PROMPT_TOO_LONG", prompt_tokens="99999", allowed="3")]
    with pytest.raises(errors.ProviderFailed):
        await client.generate("m", MESSAGES).complete()
    assert len(provider.requests) == 2


async def test_an_order_that_was_served_is_not_served_by_another(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    (await add_provider("p1")).script = [fault(Status.PERMISSION_DENIED, "GRANT_USED")]
    await add_provider("p2", "0.002")
    with pytest.raises(errors.OrderAlreadyServed):
        await client.generate("m", MESSAGES, order_id="o1").complete()
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.cancelled == ["o1"])
    assert (list(exchange.orders), exchange.reports) == (["o1"], [])


async def test_an_order_that_was_cancelled_is_not_served_by_another(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    (await add_provider("p1")).script = [fault(Status.FAILED_PRECONDITION, "ORDER_CANCELLED")]
    await add_provider("p2", "0.002")
    with pytest.raises(errors.OrderCancelled):
        await client.generate("m", MESSAGES, order_id="o1").complete()
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.cancelled == ["o1"])
    assert (list(exchange.orders), exchange.reports) == (["o1"], [])


async def test_an_expired_grant_is_nobodys_failure_and_another_provider_is_tried(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    (await add_provider("p1")).script = [fault(Status.FAILED_PRECONDITION, "GRANT_EXPIRED")]
    await add_provider("p2", "0.002")
    assert await client.generate("m", MESSAGES, order_id="o1").complete() == "Hello!"
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.cancelled == ["o1"])
    assert {report.order_id for report in exchange.reports} == {"o1.2"}


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "provider.invalid:7000", "no endpoint"])
async def test_a_provider_that_cannot_be_reached_is_named_so(
    exchange: FakeExchange, client: GollemClient, endpoint: str
) -> None:
    exchange.add_ask("p1", endpoint)
    with pytest.raises(errors.ProviderFailed) as caught:
        await client.generate("m", MESSAGES).complete()
    assert caught.value.tried == (("p1", "PROVIDER_UNREACHABLE"),)


async def test_break_stops_the_provider(add_provider: AddProvider, patient: GollemClient) -> None:
    provider = await add_provider("p1")
    provider.script = ["Hel", HANG]
    stream = patient.generate("m", MESSAGES)
    async for _ in stream:
        break
    async with asyncio.timeout(WITHIN_S):
        await provider.stopped.wait()
    assert stream.measured is not None


async def test_aclose_and_cancellation_stop_the_provider(add_provider: AddProvider, patient: GollemClient) -> None:
    provider = await add_provider("p1")
    provider.script = ["Hel", HANG]
    async with patient.generate("m", MESSAGES) as stream:
        chunks = aiter(stream)
        await anext(chunks)
    async with asyncio.timeout(WITHIN_S):
        await provider.stopped.wait()
    provider.stopped.clear()
    provider.asked.clear()
    task = asyncio.ensure_future(patient.generate("m", MESSAGES).complete())
    await provider.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(WITHIN_S):
        await provider.stopped.wait()


async def test_leaving_before_the_first_chunk_cancels_the_order(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    provider = await add_provider("p1")
    provider.script = [HANG]
    task = asyncio.ensure_future(client.generate("m", MESSAGES, order_id="o1").complete())
    await provider.asked.wait()
    task.cancel()
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.cancelled == ["o1"])


async def test_a_lost_answer_to_match_is_asked_for_again(
    exchange: FakeExchange, add_provider: AddProvider, client: GollemClient
) -> None:
    await add_provider("p1")
    exchange.next["Match"].extend([LOST, LOST])
    stream = client.generate("m", MESSAGES, order_id="o1")
    assert await stream.complete() == "Hello!"
    assert exchange.calls["Match"] == 3
    assert stream.match is not None
    assert stream.match.replayed
    assert list(exchange.orders) == ["o1"]


async def test_a_match_whose_fate_is_unknown_says_so_and_is_cancelled(
    exchange: FakeExchange, add_provider: AddProvider
) -> None:
    await add_provider("p1")
    exchange.next["Match"].extend([NO_ANSWER] * 3)
    impatient = GollemClient(exchange.address, api_key="k", timeouts=Timeouts(call_ms=100))
    async with asyncio.timeout(WITHIN_S), impatient:
        with pytest.raises(errors.OutcomeUnknown):
            await impatient.generate("m", MESSAGES, order_id="o1").complete()
    assert exchange.cancelled == ["o1"]  # closing the client waited for it


async def test_a_consumer_that_does_not_read_holds_up_nobody(add_provider: AddProvider, client: GollemClient) -> None:
    provider = await add_provider("p1")
    provider.scripts = [["x" * 60_000] * 2_000]
    lazy = aiter(client.generate("m", MESSAGES))
    await anext(lazy)
    async with asyncio.timeout(WITHIN_S):
        assert await client.generate("m", MESSAGES).complete() == "Hello!"
    assert provider.sent < 200  # stopped by flow control, long before all of it
    await lazy.aclose()  # type: ignore[attr-defined]


async def test_an_answer_is_iterated_once(add_provider: AddProvider, client: GollemClient) -> None:
    await add_provider("p1")
    stream = client.generate("m", MESSAGES)
    await stream.complete()
    with pytest.raises(RuntimeError):
        aiter(stream)
