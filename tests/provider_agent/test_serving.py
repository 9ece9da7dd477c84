"""What a consumer meets at the agent: grants, limits, streams, failures, and what is settled for each."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.config import Configuration

from grpclib_guard import fault_info
from provider_agent.agent import Agent
from provider_agent.pb.common_pb2 import ChatMessage, Chunk, Sampling
from provider_agent.pb.inference_grpc import InferenceServiceStub
from provider_agent.pb.inference_pb2 import GenerateRequest
from tests.fakes.exchange import FakeExchange
from tests.fakes.grants import Signer
from tests.fakes.upstream import DIE, END, HANG, FakeUpstream
from tests.provider_agent.conftest import PATIENT_MS
from tests.provider_agent.slow_reader import SlowReader
from tests.until import WITHIN_S

MESSAGES = [ChatMessage(role="user", content="Say hello")]


async def ask(consumer: InferenceServiceStub, grant: str, **fields: Any) -> list[Chunk]:
    """All chunks of one generation."""
    request = GenerateRequest(grant=grant, **({"messages": MESSAGES} | fields))
    async with asyncio.timeout(WITHIN_S):
        return [answer.chunk for answer in await consumer.Generate(request)]


async def refusal(consumer: InferenceServiceStub, grant: str, **fields: Any) -> tuple[str, dict[str, str]]:
    with pytest.raises(GRPCError) as caught:
        await ask(consumer, grant, **fields)
    return fault_info(caught.value)


async def settled(exchange: FakeExchange, order_id: str = "order-1") -> tuple[int, int, str]:
    """Prompt tokens, completion tokens and outcome of an order, once it is settled."""
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: order_id in exchange.settled)
    request = exchange.settled[order_id]
    outcome = type(request).Outcome.Name(request.outcome)
    return request.usage.prompt_tokens, request.usage.completion_tokens, outcome


async def test_streams_meters_tells_and_settles(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    grant = exchange.signer.grant(max_completion_tokens=9)
    sampling = Sampling(temperature=0.5, seed=7, stop=["END"])
    chunks = await ask(consumer, grant, sampling=sampling)
    assert [chunk.text for chunk in chunks] == ["Hel", "lo", "!", ""]
    assert chunks[-1].finish_reason == "stop"
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (7, 3)
    assert await settled(exchange) == (7, 3, "COMPLETED")
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: ("order-1", "STARTED") in exchange.events)
    [body] = upstream.bodies
    assert (body["model"], body["max_tokens"], body["stream_options"]) == ("m", 9, {"include_usage": True})
    assert (body["temperature"], body["seed"], body["stop"]) == (0.5, 7, ["END"])
    assert "top_p" not in body


NOW_MS = time.time_ns() // 1_000_000


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"provider_id": "p2"}, "GRANT_INVALID"),
        ({"ask_id": "m:h100"}, "GRANT_INVALID"),
        ({"model": "other"}, "GRANT_INVALID"),
        ({"order_id": ""}, "GRANT_INVALID"),
        ({"max_completion_tokens": 0}, "GRANT_INVALID"),
        ({"max_prompt_tokens": -1}, "GRANT_INVALID"),
        ({"expires_at_ms": NOW_MS - 1_000}, "GRANT_EXPIRED"),
    ],
)
async def test_grants_for_somebody_or_some_time_else_are_refused(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub, claims: dict[str, Any], reason: str
) -> None:
    assert (await refusal(consumer, exchange.signer.grant(**claims)))[0] == reason
    assert upstream.bodies == []


async def test_a_grant_that_comes_too_late_to_be_settled_is_refused(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    soon_ms = time.time_ns() // 1_000_000 + 1_900
    assert (await refusal(consumer, exchange.signer.grant(hold_expires_at_ms=soon_ms)))[0] == "GRANT_EXPIRED"
    assert upstream.bodies == []


async def test_forged_grants_are_refused(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    good, other = exchange.signer.grant(), exchange.signer.grant(max_completion_tokens=10**6)
    swapped = f"{other.partition('.')[0]}.{good.partition('.')[2]}"
    forged = [
        "", ".", "x", "not a grant", good.partition(".")[0], good + "A" * 4, good + "=", f"{good}.{good}",
        Signer().grant(), swapped, good[:-4] + "AAAA", "A" * 10_000, "é.é",
    ]  # fmt: skip
    for grant in forged:
        assert (await refusal(consumer, grant))[0] == "GRANT_INVALID", grant
    assert upstream.bodies == []


async def test_a_new_key_for_grants_is_learned_when_a_node_starts_again(
    exchange: FakeExchange, consumer: InferenceServiceStub
) -> None:
    """An exchange that changes its key: first agents learn of the next one, then grants are signed with it."""
    following = Signer()
    assert (await refusal(consumer, following.grant(order_id="order-0")))[0] == "GRANT_INVALID"
    await ask(consumer, exchange.signer.grant(order_id="order-1"))
    await exchange.stop()
    exchange.other_signers.append(following)
    registered = exchange.registrations
    await exchange.start()
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: exchange.registrations > registered)
    assert len(await ask(consumer, following.grant(order_id="order-2"))) == 4
    assert len(await ask(consumer, exchange.signer.grant(order_id="order-3"))) == 4
    assert (await refusal(consumer, Signer().grant(order_id="order-4")))[0] == "GRANT_INVALID"


async def test_a_grant_is_served_once(exchange: FakeExchange, consumer: InferenceServiceStub) -> None:
    grant = exchange.signer.grant()
    answers = await asyncio.gather(ask(consumer, grant), ask(consumer, grant), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, GRPCError)]
    assert [fault_info(each)[0] for each in refusals] == ["GRANT_USED"]
    assert (await refusal(consumer, grant))[0] == "GRANT_USED"
    assert await settled(exchange) == (7, 3, "COMPLETED")


async def test_a_prompt_over_the_cap_is_refused_before_anything_is_generated(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    grant = exchange.signer.grant(max_prompt_tokens=6)
    assert await refusal(consumer, grant) == ("PROMPT_TOO_LONG", {"prompt_tokens": "7", "allowed": "6"})
    assert upstream.bodies == []
    upstream.prompt_tokens = 6
    assert len(await ask(consumer, grant)) == 4  # the grant was not used up


@pytest.mark.parametrize(("kind", "prompt_tokens"), [("vllm", 7), ("", (9 + 1) // 2 + 8 + 32)])
async def test_other_ways_of_counting(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub, kind: str, prompt_tokens: int
) -> None:
    upstream.kind, upstream.usage = kind, None
    assert (await refusal(consumer, exchange.signer.grant(max_prompt_tokens=1)))[1]["prompt_tokens"] == str(
        prompt_tokens
    )
    await ask(consumer, exchange.signer.grant())
    assert await settled(exchange) == (prompt_tokens, 3, "COMPLETED")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [ChatMessage(role="robot")]}, "messages[0].role"),
        ({"messages": [ChatMessage(role="user", content="x" * (2 << 20) + "x")]}, "messages"),
        ({"sampling": Sampling(temperature=float("nan"))}, "sampling.temperature"),
        ({"sampling": Sampling(temperature=2.5)}, "sampling.temperature"),
        ({"sampling": Sampling(top_p=0)}, "sampling.top_p"),
        ({"sampling": Sampling(stop=["x"] * 9)}, "sampling.stop"),
        ({"sampling": Sampling(stop=["x" * 65])}, "sampling.stop"),
    ],
)
async def test_requests_of_bad_form_are_refused(
    exchange: FakeExchange, consumer: InferenceServiceStub, fields: dict[str, Any], field: str
) -> None:
    reason, figures = await refusal(consumer, exchange.signer.grant(), **fields)
    assert (reason, figures["field"]) == ("INVALID_FIELD", field)


async def test_no_more_than_the_slots_at_once(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["Hel", HANG, "lo"]
    async with asyncio.TaskGroup() as group:
        first = [group.create_task(ask(consumer, exchange.signer.grant(order_id=f"o{n}"))) for n in range(2)]
        async with asyncio.timeout(WITHIN_S):
            while len(upstream.bodies) < 2:
                upstream.asked.clear()
                await upstream.asked.wait()
        assert (await refusal(consumer, exchange.signer.grant(order_id="o3")))[0] == "CAPACITY_EXHAUSTED"
        upstream.proceed.set()
    assert [len(task.result()) for task in first] == [3, 3]
    assert len(await ask(consumer, exchange.signer.grant(order_id="o3"))) == 3


FAILURES = {
    "refused with a status": {"status": 500},
    "dies": {"script": [DIE]},
    "ends": {"script": [END]},
    "hangs": {"script": [HANG]},
    "is silent": {"hold": asyncio.Event()},
    "talks garbage": {"script": [b"data: {nonsense\n\n"]},
    "sends an endless line": {"script": [b"data: " + b"x" * (2 << 20)]},
    "is not UTF-8": {"script": [b"data: \xff\n\n"]},
    "tells an error": {"script": [b'data: {"error": {"message": "secret path"}}\n\n']},
}

SILENT = ("hangs", "is silent")


def impatient(names: Iterable[str]) -> list[Any]:
    """A failure and how long the agent waits for the model: not long where it says nothing."""
    return [pytest.param(FAILURES[name], 400 if name in SILENT else PATIENT_MS, id=name) for name in names]


@pytest.mark.parametrize(("knobs", "idle_ms"), impatient(FAILURES))
async def test_a_failure_before_the_first_chunk_costs_nothing(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub, knobs: dict[str, Any]
) -> None:
    for name, value in knobs.items():
        setattr(upstream, name, value)
    with pytest.raises(GRPCError) as caught:
        await ask(consumer, exchange.signer.grant())
    assert fault_info(caught.value)[0] == "UPSTREAM_FAILED"
    assert "secret" not in str(caught.value)
    assert await settled(exchange) == (0, 0, "FAILED")


@pytest.mark.parametrize(("knobs", "idle_ms"), impatient(("dies", "ends", "hangs", "talks garbage")))
async def test_a_failure_midway_is_told_and_charges_what_was_delivered(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub, knobs: dict[str, Any]
) -> None:
    upstream.script = ["Hel", "lo", *knobs["script"]]
    chunks = await ask(consumer, exchange.signer.grant())
    assert [chunk.text for chunk in chunks] == ["Hel", "lo", ""]
    last = chunks[-1]
    assert (last.finish_reason, last.error_reason, last.usage.completion_tokens) == ("error", "UPSTREAM_FAILED", 2)
    assert await settled(exchange) == (7, 2, "FAILED")


async def test_a_model_server_that_is_not_there(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    await upstream.stop()
    assert (await refusal(consumer, exchange.signer.grant()))[0] == "UPSTREAM_FAILED"
    assert exchange.settled == {}  # nothing had begun: the grant is still good


async def test_a_model_server_that_still_loads_is_asked_again_how_it_counts(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.loading = True
    assert (await refusal(consumer, exchange.signer.grant()))[0] == "UPSTREAM_FAILED"
    upstream.loading = False
    assert (await refusal(consumer, exchange.signer.grant(max_prompt_tokens=1)))[1]["prompt_tokens"] == "7"


async def test_a_model_server_that_does_not_stop_is_stopped_at_the_cap(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["x"] * 50
    chunks = await ask(consumer, exchange.signer.grant(max_completion_tokens=5))
    assert [chunk.text for chunk in chunks] == ["x"] * 5 + [""]
    assert chunks[-1].finish_reason == "length"
    assert await settled(exchange) == (7, 5, "COMPLETED")


async def test_usage_beyond_the_grant_is_not_charged(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.usage = {"prompt_tokens": 10**6, "completion_tokens": 10**6}
    await ask(consumer, exchange.signer.grant(max_prompt_tokens=8, max_completion_tokens=4))
    assert await settled(exchange) == (8, 4, "COMPLETED")


@pytest.mark.parametrize("idle_ms", [600_000])
async def test_a_consumer_who_goes_away_stops_the_model_and_pays_for_what_came(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["Hel", "lo", HANG]
    async with consumer.Generate.open() as stream:
        await stream.send_message(GenerateRequest(grant=exchange.signer.grant(), messages=MESSAGES), end=True)
        assert [(await stream.recv_message()).chunk.text for _ in range(2)] == ["Hel", "lo"]
        await stream.cancel()
    async with asyncio.timeout(WITHIN_S):  # sooner than the model may be silent
        await upstream.left.wait()
    assert await settled(exchange) == (7, 2, "CANCELLED")


async def test_a_consumer_who_goes_away_before_anything_came_pays_nothing(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.hold = asyncio.Event()
    async with consumer.Generate.open() as stream:
        await stream.send_message(GenerateRequest(grant=exchange.signer.grant(), messages=MESSAGES), end=True)
        await upstream.asked.wait()
        await stream.cancel()
    assert await settled(exchange) == (0, 0, "CANCELLED")


async def test_a_consumer_who_does_not_read_is_given_up_and_pays_for_what_was_sent(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent
) -> None:
    upstream.script = [*["x" * 10_000] * 100, HANG]
    host, _, port = agent.endpoint.rpartition(":")
    window = Configuration(http2_connection_window_size=1 << 16, http2_stream_window_size=1 << 16)
    request = GenerateRequest(grant=exchange.signer.grant(), messages=MESSAGES)
    channel = Channel(host, int(port), config=window)

    async def ask_and_never_read() -> None:
        async with channel, InferenceServiceStub(channel).Generate.open() as stream:
            await stream.send_message(request, end=True)
            await settled(exchange)

    with pytest.raises(GRPCError):
        await ask_and_never_read()
    prompt, completion, outcome = await settled(exchange)
    assert (prompt, outcome) == (7, "CANCELLED")
    assert 1 <= completion < 100
    async with asyncio.timeout(WITHIN_S):
        await upstream.left.wait()


async def test_a_consumer_who_trickles_is_given_up_and_pays_for_what_was_handed_over(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent
) -> None:
    """Each byte that it takes would start the clock anew, were only silence measured."""
    upstream.script = ["x" * 10_000] * 9
    request = GenerateRequest(grant=exchange.signer.grant(), messages=MESSAGES)
    reader = SlowReader(sip_bytes=60, pause_ms=50)
    async with asyncio.timeout(WITHIN_S):
        await reader.generate(agent.endpoint, request)
    assert reader.grpc_status == str(Status.RESOURCE_EXHAUSTED.value)
    assert 0 < len(reader.data) < 10_000
    assert await settled(exchange) == (7, 1, "CANCELLED")


async def test_a_generation_ends_and_is_settled_before_its_hold_expires(
    exchange: FakeExchange, upstream: FakeUpstream, agent: Agent
) -> None:
    upstream.script = ["x" * 10] * 5_000
    expires_at_ms = time.time_ns() // 1_000_000 + 2_300
    grant = exchange.signer.grant(hold_expires_at_ms=expires_at_ms, max_completion_tokens=10_000)
    reader = SlowReader(sip_bytes=60, pause_ms=20)  # quick enough for each chunk, too slow for all of them
    reading = asyncio.ensure_future(reader.generate(agent.endpoint, GenerateRequest(grant=grant, messages=MESSAGES)))
    prompt, completion, outcome = await settled(exchange)
    # How early is test_parts.py's matter: here a busy machine may use the margin up.
    assert time.time_ns() // 1_000_000 < expires_at_ms + 2_000
    assert (prompt, outcome) == (7, "CANCELLED")
    async with asyncio.timeout(WITHIN_S):
        await reading
    texts = [chunk.text for chunk in reader.chunks() if not chunk.finish_reason]
    assert set(texts) == {"x" * 10}  # nothing follows a chunk that was cut off half way
    assert 1 < len(texts) <= completion < 5_000


async def test_an_order_cancelled_at_the_exchange_is_stopped(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub
) -> None:
    upstream.script = ["Hel", HANG]
    generating = asyncio.ensure_future(ask(consumer, exchange.signer.grant()))
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: ("order-1", "STARTED") in exchange.events)
    exchange.cancelled_orders = ["order-1"]
    chunks = await generating
    assert chunks[-1].finish_reason == "cancelled"
    assert (await settled(exchange))[2] == "CANCELLED"
    assert ("order-1", "REFUSED") not in exchange.events


async def test_an_order_cancelled_before_it_came_is_refused_for_good(
    exchange: FakeExchange, upstream: FakeUpstream, consumer: InferenceServiceStub, agent: Agent
) -> None:
    exchange.cancelled_orders = ["order-1"]
    async with asyncio.timeout(WITHIN_S):
        await exchange.until(lambda: ("order-1", "REFUSED") in exchange.events)
    assert (await refusal(consumer, exchange.signer.grant()))[0] == "ORDER_CANCELLED"
    assert upstream.bodies == []
    assert exchange.settled == {}
