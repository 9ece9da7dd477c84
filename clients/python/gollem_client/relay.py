"""Generation through the exchange, for clients that cannot reach providers."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import betterproto

from gollem_client.chunk_stream import ChunkStream, Stopwatch
from gollem_client.errors import GollemError, ProviderFailed
from gollem_client.exchange import Exchange
from gollem_client.stubs import Chunk, MarketGenerateRequest, MarketGenerateResponse
from gollem_client.timeouts import Timeouts


class RelayedGeneration(ChunkStream):
    """An answer relayed by the exchange, which tries other providers itself. See ChunkStream."""

    def __init__(self, exchange: Exchange, timeouts: Timeouts, request: MarketGenerateRequest) -> None:
        super().__init__()
        self._exchange = exchange
        self._timeouts = timeouts
        self._request = request

    @property
    def order_id(self) -> str:
        return self._request.order_id

    async def _chunks(self) -> AsyncGenerator[Chunk, None]:
        stopwatch = Stopwatch()
        tokens: int | None = None
        events = self._exchange.stream("MarketService/Generate", self._request, MarketGenerateResponse)
        try:
            async with aclosing(events):
                while (chunk := await self._next(events)) is not None:
                    stopwatch.saw(chunk)
                    self.text += chunk.text
                    self.finish_reason = chunk.finish_reason
                    tokens = chunk.usage.completion_tokens if chunk.usage else tokens
                    yield chunk
        finally:
            self.measured = stopwatch.measured(tokens)

    async def _next(self, events: AsyncGenerator[MarketGenerateResponse, None]) -> Chunk | None:
        """The next chunk; None at the end. Raises GollemError; ProviderFailed once text has been received."""
        try:
            async with asyncio.timeout(self._wait_ms() / 1_000):
                chunk = await self._read(events)
        except TimeoutError:
            raise self._failed("nothing came in time", "OUTCOME_UNKNOWN") from None
        except GollemError as error:
            if not self.text:
                raise
            raise self._failed(error.message, error.reason) from error
        if chunk is not None and chunk.finish_reason == "error":
            raise self._failed("the provider failed", chunk.error_reason)
        if chunk is None and not self.finish_reason:
            raise self._failed("the stream ended without its last chunk", "PROVIDER_FAILED")
        return chunk

    async def _read(self, events: AsyncGenerator[MarketGenerateResponse, None]) -> Chunk | None:
        async for event in events:
            kind, _ = betterproto.which_one_of(event, "event")
            if kind == "match":
                self.match = event.match
            elif kind == "receipt":
                self.receipt = event.receipt
            elif kind == "chunk" and (event.chunk.text or event.chunk.finish_reason):
                return event.chunk
        return None

    def _wait_ms(self) -> int:
        return self._timeouts.idle_ms if self.text else self._timeouts.first_chunk_ms

    def _failed(self, message: str, reason: str) -> ProviderFailed:
        provider_id = self.match.offer.provider_id if self.match else ""
        tried = ((provider_id, reason),) if provider_id else ()
        return ProviderFailed(message, text=self.text, tried=tried, provider_id=provider_id, provider_reason=reason)
