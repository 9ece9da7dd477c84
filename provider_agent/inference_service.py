"""What consumers call: checks the grant, streams from the model server, meters, and hands over to settlement."""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Protocol

from grpclib.server import Stream

from provider_agent.clock import Clock
from provider_agent.events import OrderEvents
from provider_agent.exchange_link import Registration
from provider_agent.grants import check_grant, serving_ms
from provider_agent.journal import Earning, Journal, State
from provider_agent.metering import NOTHING, Meter, Outcome, Tokens
from provider_agent.pb.common_pb2 import Chunk, Usage
from provider_agent.pb.inference_grpc import InferenceServiceBase
from provider_agent.pb.inference_pb2 import GenerateRequest, GenerateResponse, GrantClaims
from provider_agent.refusals import Refusal
from provider_agent.requests import check_request
from provider_agent.running import Generation, Running
from provider_agent.settler import Settler
from provider_agent.tokens import PromptCounter
from provider_agent.upstream import Upstream, UpstreamFailed

_log = logging.getLogger(__name__)

# An order is remembered this long after its hold is over: no grant outlives its hold.
_KEEP_MS = 3_600_000

Call = Stream[GenerateRequest, GenerateResponse]


class Registered(Protocol):
    """Whoever knows how the exchange registered this ask."""

    @property
    def registration(self) -> Registration:
        """Raises Refusal NOT_SERVING."""


class InferenceService(InferenceServiceBase):
    """Serves an order once. The journal knows of it before the model server does."""

    def __init__(
        self,
        registered: Registered,
        upstream: Upstream,
        running: Running,
        journal: Journal,
        settler: Settler,
        events: OrderEvents,
        clock: Clock,
        send_ms: int,
    ) -> None:
        self._registered = registered
        self._upstream = upstream
        self._prompts = PromptCounter(upstream)
        self._running = running
        self._journal = journal
        self._settler = settler
        self._events = events
        self._clock = clock
        # How long a consumer may take for one chunk.
        self._send_ms = send_ms
        self._endings: set[asyncio.Task[None]] = set()

    async def Generate(self, stream: Call) -> None:
        request = await stream.recv_message()
        if request is None:
            return
        try:
            await self._serve(stream, request)
        except Refusal as refusal:
            raise refusal.to_grpc() from None

    async def cancelled(self, order_id: str) -> None:
        """The consumer has cancelled at the exchange: refuse the order for good, or stop it and settle."""
        generation = self._running.get(order_id)
        if generation is not None:
            generation.stop()
        elif await self._journal.refuse(order_id, self._clock.now_ms() + _KEEP_MS) is State.REFUSED:
            self._events.refused(order_id)
            return
        self._events.started(order_id)

    async def ended(self) -> None:
        """Wait until the endings of consumers that went away are in the journal."""
        if self._endings:
            await asyncio.wait(self._endings)

    async def _serve(self, stream: Call, request: GenerateRequest) -> None:
        """Raises Refusal."""
        terms = self._registered.registration
        claims = check_grant(request.grant, terms.grant_keys, terms.seller, self._clock.now_ms())
        check_request(request)
        with self._running.slot():
            prompt_tokens = await self._count(request, claims)
            most_ms = serving_ms(claims, self._clock.now_ms())
            await self._begin(claims)
            allowed = Tokens(claims.max_prompt_tokens, claims.max_completion_tokens)
            with self._running.generation(claims.order_id, Meter(allowed, prompt_tokens), most_ms) as generation:
                await self._generate(stream, request, claims.max_completion_tokens, generation)

    async def _count(self, request: GenerateRequest, claims: GrantClaims) -> int:
        """Before anything is generated, and before the grant is used up: a shorter prompt may still be sent with it."""
        try:
            tokens = await self._prompts.count(request)
        except UpstreamFailed as error:
            raise self._upstream_failed(claims.order_id, error) from None
        if tokens > claims.max_prompt_tokens:
            allowed = claims.max_prompt_tokens
            message = f"the prompt has {tokens} tokens, the order allows {allowed}"
            raise Refusal("PROMPT_TOO_LONG", message, prompt_tokens=tokens, allowed=allowed)
        return tokens

    async def _begin(self, claims: GrantClaims) -> None:
        """Use the grant up. Whether or not the consumer is still there, the order has started from here on."""
        keep_until_ms = max(claims.expires_at_ms, claims.hold_expires_at_ms) + _KEEP_MS
        beginning = asyncio.ensure_future(self._journal.begin(claims.order_id, keep_until_ms))
        try:
            before = await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await self._even_if_cancelled(self._abandon(claims.order_id, beginning))
            raise
        if before is State.REFUSED:
            raise Refusal("ORDER_CANCELLED", "the order was cancelled", order_id=claims.order_id)
        if before is not None:
            raise Refusal("GRANT_USED", "the grant has been used", order_id=claims.order_id)
        self._events.started(claims.order_id)

    async def _abandon(self, order_id: str, beginning: "asyncio.Future[State | None]") -> None:
        """The consumer went away while the order was being begun: if it was, it ends with nothing delivered."""
        if await beginning is None:
            await self._settler.finished(Earning(order_id, NOTHING, Outcome.CANCELLED))

    async def _generate(self, stream: Call, request: GenerateRequest, max_tokens: int, generation: Generation) -> None:
        """Stream, then finish the order whatever happens. Raises Refusal UPSTREAM_FAILED if nothing was delivered."""
        outcome = Outcome.CANCELLED
        last = Chunk(finish_reason="cancelled")
        failure: UpstreamFailed | None = None
        try:
            last.finish_reason = await self._relay(stream, request, max_tokens, generation)
            outcome = Outcome.COMPLETED
        except UpstreamFailed as error:
            outcome, failure = Outcome.FAILED, error
            last = Chunk(finish_reason="error", error_reason="UPSTREAM_FAILED")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not generation.stopped or task is None:
                raise
            task.uncancel()
        finally:
            generation.over = True
            tokens = generation.meter.tokens(outcome)
            await self._even_if_cancelled(self._settler.finished(Earning(generation.order_id, tokens, outcome)))
        if failure is not None:
            refusal = self._upstream_failed(generation.order_id, failure)
            if not generation.meter.anything:
                raise refusal
        last.usage.CopyFrom(Usage(prompt_tokens=tokens.prompt, completion_tokens=tokens.completion))
        await self._send(stream, last, generation)

    async def _relay(self, stream: Call, request: GenerateRequest, max_tokens: int, generation: Generation) -> str:
        """From the model server to the consumer; the reason why it ended. Raises UpstreamFailed, Refusal."""
        finish_reason, meter = "", generation.meter
        async with aclosing(self._upstream.generate(request, max_tokens)) as deltas:
            async for delta in deltas:
                if delta.text and meter.full:
                    return "length"
                if delta.text:
                    meter.delivered()
                    await self._send(stream, Chunk(text=delta.text), generation)
                if delta.usage is not None:
                    meter.told(delta.usage)
                finish_reason = delta.finish_reason or finish_reason
        return finish_reason or "stop"

    async def _send(self, stream: Call, chunk: Chunk, generation: Generation) -> None:
        """Hand a chunk over, in bounded time: one byte now and then keeps a reader from ever looking stalled.

        Raises Refusal READER_TOO_SLOW, also when the chunk before is still stuck half way.
        """
        slow = Refusal("READER_TOO_SLOW", "you do not read your answer: it was given up, and what was sent is charged")
        if generation.sending:
            raise slow
        generation.sending = True
        try:
            async with asyncio.timeout(self._send_ms / 1_000):
                await stream.send_message(GenerateResponse(chunk=chunk))
        except TimeoutError:
            raise slow from None
        generation.sending = False

    async def _even_if_cancelled(self, work: Awaitable[None]) -> None:
        """Do `work` to its end, though the consumer has gone and this task is being cancelled."""
        task = asyncio.ensure_future(work)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        await asyncio.shield(task)

    def _upstream_failed(self, order_id: str, error: UpstreamFailed) -> Refusal:
        """The consumer learns that it failed; how is the provider's own business."""
        _log.warning("order %s: the model server failed: %s", order_id, error)
        return Refusal("UPSTREAM_FAILED", "the model server failed")
