"""MarketService.Generate: matches, then streams from the provider on behalf of a client that cannot reach it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from grpclib.exceptions import GRPCError, StreamTerminatedError

from gollem.clock import Clock
from gollem.errors import InvalidField, ProviderFailed
from gollem.exchange import ClientOutcome, Matched, Measurement, Orders, Reports
from gollem.market import Bid, Catalogue
from gollem.rpc import decode, encode, fields
from gollem.rpc.endpoint import open_channel
from gollem.rpc.grants import GrantSigner
from gollem.rpc.pb import common_pb2, inference_pb2, market_pb2
from gollem.rpc.pb.inference_grpc import InferenceServiceStub

_ATTEMPTS = 3
_FIRST_CHUNK_S = 60.0
_IDLE_S = 60.0
_LONGEST_S = 1_800.0
_MAX_MESSAGES = 1_024
_MAX_CONTENT_BYTES = 2 << 20
_RECEIPT_TRIES = 10
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
        fields.whole(len(request.order_id), "order_id length", 1, 62)
        failed: list[str] = []
        for attempt in range(1, _ATTEMPTS + 1):
            name = order_id if attempt == 1 else f"{order_id}.{attempt}"
            matched = await self._orders.match(user, name, _without(bid, failed), alternates=0)
            watch = _Watch(self._clock.monotonic_ms())
            try:
                async for event in self._stream(user, matched, request, watch):
                    yield event
                return
            except ProviderFailed:
                if watch.chunks or attempt == _ATTEMPTS:
                    raise
                # Before the first chunk nothing was delivered: the next best of the front may try.
                failed.append(matched.terms.provider_id)

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
            async with (
                open_channel(matched.terms.endpoint) as channel,
                InferenceServiceStub(channel).Generate.open(timeout=_LONGEST_S) as stream,
            ):
                await stream.send_message(message, end=True)
                wait_s = _FIRST_CHUNK_S
                while True:
                    async with asyncio.timeout(wait_s):
                        reply = await stream.recv_message()
                    if reply is None:
                        return
                    yield reply.chunk
                    wait_s = _IDLE_S
        except (GRPCError, StreamTerminatedError, OSError, TimeoutError) as error:
            what = error.message if isinstance(error, GRPCError) else type(error).__name__
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
        fields.count(len(request.messages), "messages", _MAX_MESSAGES, least=1)
        size = sum(len(message.content.encode()) for message in request.messages)
        if size > _MAX_CONTENT_BYTES:
            raise InvalidField("messages", f"must be at most {_MAX_CONTENT_BYTES} bytes together, not {size}")
        if not request.bid.prompt_tokens:
            # A token is seldom less than two bytes; what is not used is not charged.
            request.bid.prompt_tokens = size // 2 + 16 * len(request.messages) + 16
        return decode.bid(request.bid, self._catalogue)


def _without(bid: Bid, failed: list[str]) -> Bid:
    return replace(bid, exclude_providers=(*bid.exclude_providers, *failed))
