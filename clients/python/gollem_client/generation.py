"""Match, stream straight from the provider, settle accounts: one request from beginning to end."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from gollem_client.attempts import Attempts
from gollem_client.channels import ChannelPool
from gollem_client.chunk_stream import ChunkStream, Stopwatch
from gollem_client.errors import (
    GollemError,
    InsufficientCredits,
    NoFeasibleAsk,
    OrderAlreadyServed,
    OutcomeUnknown,
    ProviderFailed,
    from_reason,
)
from gollem_client.exchange import Exchange
from gollem_client.provider_stream import ProviderStream
from gollem_client.stubs import (
    CancelRequest,
    CancelResponse,
    Chunk,
    GenerateRequest,
    MatchResponse,
    ReportRequest,
    ReportRequestOutcome,
    ReportResponse,
)
from gollem_client.timeouts import Timeouts

_log = logging.getLogger("gollem_client")

# Runs work to its end even if the caller goes away.
Later = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Generation(ChunkStream):
    """An answer streamed straight from its provider. See ChunkStream."""

    def __init__(
        self,
        exchange: Exchange,
        pool: ChannelPool,
        timeouts: Timeouts,
        attempts: Attempts,
        request: GenerateRequest,
        later: Later,
    ) -> None:
        super().__init__()
        self._exchange = exchange
        self._pool = pool
        self._timeouts = timeouts
        self._attempts = attempts
        self._request = request
        self._later = later
        self._undoing: asyncio.Task[None] | None = None

    @property
    def order_id(self) -> str:
        """The order that is served, or was tried last."""
        return self._attempts.order_id

    async def _chunks(self) -> AsyncGenerator[Chunk, None]:
        while True:
            source, stopwatch = await self._match()
            async with aclosing(source):
                chunk = await self._first(source)
                if chunk is None:
                    continue
                async with aclosing(self._deliver(source, chunk, stopwatch)) as chunks:
                    async for each in chunks:
                        yield each
            return

    async def _match(self) -> tuple[ProviderStream, Stopwatch]:
        """Match the order of this attempt and turn to the winner. Raises GollemError."""
        try:
            self.match = await self._matched()
        except (NoFeasibleAsk, InsufficientCredits) as error:
            if not self._attempts.failovers:
                raise
            failed = ", ".join(f"{provider_id} ({reason})" for provider_id, reason in self._attempts.tried)
            raise self._given_up(f"failed: {failed}; and for another provider: {error.message}") from error
        except (OutcomeUnknown, asyncio.CancelledError):
            # It may have been matched all the same.
            self._later(self._cancel(self._attempts.order_id))
            raise
        offer = self.match.offer
        self._request.grant = self.match.grant
        source = ProviderStream(self._pool, offer.provider_id, offer.endpoint, self._request, self._timeouts)
        return source, Stopwatch()

    async def _matched(self) -> MatchResponse:
        """Credits may still be held for the attempt that failed: then they are waited for."""
        request = self._attempts.request()
        try:
            return await self._exchange.call("MarketService/Match", request, MatchResponse)
        except InsufficientCredits:
            if self._undoing is None:
                raise
            await asyncio.shield(self._undoing)
        return await self._exchange.call("MarketService/Match", request, MatchResponse)

    async def _first(self, source: ProviderStream) -> Chunk | None:
        """The first chunk; None when another order is to be tried. Raises GollemError when none is left."""
        try:
            return await source.first()
        except ProviderFailed as failure:
            order_id = self._attempts.order_id
            # The next provider need not wait until the failed one has let go of its order.
            self._undoing = self._later(self._undo(order_id, blame=self._attempts.blames_provider(failure)))
            if self._attempts.after(failure):
                _log.info("order %s: %s; trying %s", order_id, failure.message, self._attempts.order_id)
                return None
            raise self._final(failure) from failure
        except BaseException:
            self._later(self._cancel(self._attempts.order_id))
            raise

    async def _deliver(self, source: ProviderStream, chunk: Chunk, stopwatch: Stopwatch) -> AsyncGenerator[Chunk, None]:
        """From the first chunk to the last, then report. Raises ProviderFailed with the text so far."""
        tokens: int | None = None
        try:
            while True:
                stopwatch.saw(chunk)
                self.text += chunk.text
                self.finish_reason = chunk.finish_reason
                if chunk.finish_reason and chunk.usage is not None:
                    tokens = chunk.usage.completion_tokens
                yield chunk
                if chunk.finish_reason:
                    break
                chunk = await source.following()
        except ProviderFailed as failure:
            self._later(self._report_failure(self._attempts.order_id, "FAILED_MIDSTREAM"))
            failure.text = self.text
            raise
        finally:
            self.measured = stopwatch.measured(tokens)
        await self._conclude()

    async def _conclude(self) -> None:
        """Report what was measured, and wait briefly for the receipt. The answer is good without either."""
        seen = self.measured
        report = ReportRequest(
            order_id=self._attempts.order_id,
            outcome=ReportRequestOutcome.from_string("COMPLETED"),
            ttft_ms=seen.ttft_ms if seen else None,
            completion_tokens=seen.completion_tokens if seen else None,
            throughput_tps=seen.throughput_tps if seen else None,
        )
        pause_s = 0.01
        try:
            async with asyncio.timeout(self._timeouts.receipt_ms / 1_000):
                while self.receipt is None:
                    answer = await self._exchange.call("MarketService/Report", report, ReportResponse)
                    self.receipt = answer.receipt
                    if self.receipt is None:
                        await asyncio.sleep(pause_s)
                        pause_s = min(2 * pause_s, 0.2)
        except (GollemError, TimeoutError) as error:
            _log.info("order %s: no receipt yet: %s", report.order_id, error or "not settled")

    async def _undo(self, order_id: str, *, blame: bool) -> None:
        """Before another try: tell of the failure if it was the provider's, and get the hold back."""
        calls = [self._cancel(order_id)]
        if blame:
            calls.insert(0, self._report_failure(order_id, "FAILED_BEFORE_FIRST_CHUNK"))
        for call in calls:
            await call

    async def _cancel(self, order_id: str) -> None:
        await self._best_effort("Cancel", CancelRequest(order_id=order_id), CancelResponse)

    async def _report_failure(self, order_id: str, outcome: str) -> None:
        report = ReportRequest(order_id=order_id, outcome=ReportRequestOutcome.from_string(outcome))
        await self._best_effort("Report", report, ReportResponse)

    async def _best_effort(self, method: str, request: Any, answer_type: Any) -> None:
        try:
            await self._exchange.call(f"MarketService/{method}", request, answer_type)
        except GollemError as error:
            _log.info("order %s: %s: %s", request.order_id, method, error)

    def _final(self, failure: ProviderFailed) -> GollemError:
        """What the user is told when there is nothing left to try."""
        reason = failure.figures["provider_reason"]
        if reason == OrderAlreadyServed.reason or reason == "INVALID_FIELD":
            return from_reason(reason, failure.message, failure.figures)
        return self._given_up(failure.message)

    def _given_up(self, message: str) -> ProviderFailed:
        tried = tuple(self._attempts.tried)
        return ProviderFailed(message, tried=tried, provider_id=tried[-1][0], provider_reason=tried[-1][1])
