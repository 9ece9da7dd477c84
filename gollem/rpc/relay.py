"""MarketService.Generate: matches, then streams from the provider on behalf of a client that cannot reach it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from gollem.clock import Clock
from gollem.errors import (
    CallerError,
    CapacityExhausted,
    GrantSpent,
    InvalidField,
    NoFeasibleAsk,
    PromptTooLong,
    ProviderFailed,
)
from gollem.exchange import ClientOutcome, Matched, Measurement, Orders, Reports
from gollem.market import Bid, Catalogue
from gollem.observability import traces
from gollem.rpc import bids, encode, fields, prompts
from gollem.rpc.endpoint import open_channel
from gollem.rpc.grants import GrantSigner
from gollem.rpc.pb import common_pb2, inference_pb2, market_pb2
from gollem.rpc.pb.inference_grpc import InferenceServiceStub
from grpclib_guard import fault_info

_ATTEMPTS = 3
_MAX_ORDER_ID = 62
_FIRST_CHUNK_S = 60.0
_IDLE_S = 60.0
_LONGEST_S = 1_800.0
_RECEIPT_TRIES = 10
# A provider's reasons for not serving a grant that it takes to be good.
_SPENT = frozenset({"GRANT_USED", "GRANT_EXPIRED", "ORDER_CANCELLED"})
_RECEIPT_WAIT_S = 0.1


@dataclass(slots=True)
class _Watch:
    """What the relay measures of one stream, in milliseconds of the monotonic clock."""

    began_ms: int
    first_ms: int | None = None
    last_ms: int = 0
    chunks: int = 0

    def saw_chunk(self, now_ms: int) -> None:
        self.last_ms = now_ms
        if self.first_ms is None:
            self.first_ms = now_ms
        self.chunks += 1

    def measurement(self, usage: common_pb2.Usage) -> Measurement:
        """Latency to the first text; speed over the tokens after it."""
        if self.first_ms is None:
            return Measurement(None, None)
        latency_us = max((self.first_ms - self.began_ms) * 1_000, 1)
        following, spent_ns = usage.completion_tokens - 1, (self.last_ms - self.first_ms) * 1_000_000
        return Measurement(latency_us, spent_ns // following if following > 0 and spent_ns else None)


class Relay:
    """Tries the front until a provider answers; after its first chunk, stays with it to the end."""

    def __init__(
        self, orders: Orders, reports: Reports, catalogue: Catalogue, signer: GrantSigner, clock: Clock
    ) -> None:
        self._orders = orders
        self._reports = reports
        self._catalogue = catalogue
        self._signer = signer
        self._clock = clock

    async def generate(
        self, user: str, request: market_pb2.MarketGenerateRequest
    ) -> AsyncIterator[market_pb2.MarketGenerateResponse]:
        """The match, the chunks, the receipt. Raises what Match raises, and ProviderFailed."""
        bid = self._bid(request)
        order_id = fields.order_id(request.order_id)
        if len(order_id) > _MAX_ORDER_ID:
            raise InvalidField("order_id", f"must be at most {_MAX_ORDER_ID} characters: the next tries append to it")
        failed: list[ProviderFailed] = []
        for attempt in range(1, _ATTEMPTS + 1):
            name = order_id if attempt == 1 else f"{order_id}.{attempt}"
            matched = await self._match(user, name, bid, failed)
            watch = _Watch(self._clock.monotonic_ms())
            try:
                async for event in self._stream(user, matched, request, watch):
                    yield event
                return
            except ProviderFailed as failure:
                # An order matched before may have been generated then, under another id too: never pay for it twice.
                if watch.chunks or matched.replayed or attempt == _ATTEMPTS:
                    raise
                # Before the first chunk nothing was delivered: the next best of the front may try.
                failed.append(failure)

    async def _match(self, user: str, order_id: str, bid: Bid, failed: list[ProviderFailed]) -> Matched:
        """The best provider but for those that failed. With none left, or no room to exclude another, the last failure
        is what the caller hears."""
        try:
            return await self._orders.match(user, order_id, _without(bid, failed), alternates=0)
        except (NoFeasibleAsk, CapacityExhausted, InvalidField):
            if failed:
                raise failed[-1] from None
            raise

    async def _stream(
        self, user: str, matched: Matched, request: market_pb2.MarketGenerateRequest, watch: _Watch
    ) -> AsyncIterator[market_pb2.MarketGenerateResponse]:
        """One provider's stream, reported to the exchange however it ends."""
        usage, finished = common_pb2.Usage(), False
        try:
            async for chunk in self._chunks(matched, request):
                if not watch.chunks:
                    yield self._match_event(matched)
                watch.saw_chunk(self._clock.monotonic_ms())
                if chunk.finish_reason == "error":
                    raise ProviderFailed(
                        f"provider {matched.terms.provider_id} broke off: {chunk.error_reason}",
                        provider_id=matched.terms.provider_id,
                    )
                if chunk.HasField("usage"):
                    usage.CopyFrom(chunk.usage)
                finished = finished or bool(chunk.finish_reason)
                yield market_pb2.MarketGenerateResponse(chunk=chunk)
            if not finished:
                raise ProviderFailed(
                    f"provider {matched.terms.provider_id} ended without a last chunk",
                    provider_id=matched.terms.provider_id,
                )
        except ProviderFailed:
            await self._failed(user, matched, midstream=watch.chunks > 0)
            raise
        except PromptTooLong:
            await self._orders.cancel(user, matched.order_id)
            raise
        await self._reports.report(user, matched.order_id, ClientOutcome.COMPLETED, watch.measurement(usage))
        if (receipt := await self._receipt(user, matched.order_id)) is not None:
            yield market_pb2.MarketGenerateResponse(receipt=receipt)

    async def _chunks(
        self, matched: Matched, request: market_pb2.MarketGenerateRequest
    ) -> AsyncIterator[common_pb2.Chunk]:
        """The provider's chunks; every failure of the provider or the way there is ProviderFailed."""
        message = inference_pb2.GenerateRequest(
            grant=self._signer.grant(matched),
            messages=request.messages,
            sampling=request.sampling if request.HasField("sampling") else None,
        )
        provider_id = matched.terms.provider_id
        try:
            with traces.call_out("stream", order_id=matched.order_id) as metadata:
                async for reply in _replies(matched.terms.endpoint, message, metadata):
                    yield reply.chunk
        except GRPCError as error:
            raise _refusal(error, matched) from error
        except (StreamTerminatedError, ProtocolError, DecodeError, OSError, TimeoutError) as error:
            what = type(error).__name__
            raise ProviderFailed(f"provider {provider_id} failed: {what}", provider_id=provider_id) from error

    async def _failed(self, user: str, matched: Matched, midstream: bool) -> None:
        outcome = ClientOutcome.FAILED_MIDSTREAM if midstream else ClientOutcome.FAILED_BEFORE_FIRST_CHUNK
        await self._reports.report(user, matched.order_id, outcome, Measurement(None, None))
        if not midstream:
            await self._orders.cancel(user, matched.order_id)

    async def _receipt(self, user: str, order_id: str) -> market_pb2.Receipt | None:
        """The receipt, once the provider has settled; it has a second for that."""
        for _ in range(_RECEIPT_TRIES):
            receipt = await self._reports.receipt(user, order_id)
            if receipt is not None:
                return encode.receipt(receipt)
            await asyncio.sleep(_RECEIPT_WAIT_S)
        return None

    def _match_event(self, matched: Matched) -> market_pb2.MarketGenerateResponse:
        # The grant stays here: it is used up, and the client has no use for it.
        return market_pb2.MarketGenerateResponse(match=encode.matched(matched, "", self._catalogue))

    def _bid(self, request: market_pb2.MarketGenerateRequest) -> Bid:
        size = prompts.check(request)
        if not request.bid.prompt_tokens:
            # A token is seldom less than two bytes; what is not used is not charged.
            request.bid.prompt_tokens = size // 2 + 16 * len(request.messages) + 16
        return bids.to_match(request.bid, self._catalogue, self._orders.tally)


async def _replies(
    endpoint: str, message: inference_pb2.GenerateRequest, metadata: dict[str, str]
) -> AsyncIterator[inference_pb2.GenerateResponse]:
    """Of the provider there, each within its time."""
    async with (
        open_channel(endpoint) as channel,
        InferenceServiceStub(channel).Generate.open(timeout=_LONGEST_S, metadata=metadata) as stream,
    ):
        await stream.send_message(message, end=True)
        wait_s = _FIRST_CHUNK_S
        while True:
            async with asyncio.timeout(wait_s):
                reply = await stream.recv_message()
            if reply is None:
                return
            yield reply
            wait_s = _IDLE_S


def _refusal(error: GRPCError, matched: Matched) -> CallerError | ProviderFailed:
    """What a provider's refusal means: the consumer's doing, which no other provider mends, or the provider's."""
    reason, figures = fault_info(error)
    provider_id = matched.terms.provider_id
    if reason == "PROMPT_TOO_LONG":
        allowed = matched.terms.prompt_tokens
        message = f"the prompt has more tokens than the {allowed} of bid.prompt_tokens"
        return PromptTooLong(message, prompt_tokens=figures.get("prompt_tokens"), allowed=allowed)
    if reason in _SPENT:
        message = f"order {matched.order_id} was generated, cancelled or left too long before: use a new order_id"
        return GrantSpent(message, order_id=matched.order_id)
    return ProviderFailed(f"provider {provider_id} failed: {error.message}", provider_id=provider_id)


def _without(bid: Bid, failed: list[ProviderFailed]) -> Bid:
    return replace(bid, exclude_providers=(*bid.exclude_providers, *(each.figures["provider_id"] for each in failed)))
