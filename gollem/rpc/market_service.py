"""MarketService: what consumers call."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gollem import units
from gollem.clock import Clock
from gollem.errors import GollemError, TooManyStreams
from gollem.exchange import CancelState, Floor, Orders, Reports, Tape, WaitingRoom
from gollem.market import Catalogue
from gollem.rpc import bids, context, decode, encode, fields, headers
from gollem.rpc.errors import public, status_of
from gollem.rpc.grants import GrantSigner
from gollem.rpc.middleware import Middleware
from gollem.rpc.pb import market_pb2
from gollem.rpc.pb.market_grpc import MarketServiceBase
from gollem.rpc.relay import Relay
from gollem.rpc.unary import answer

# Bids of one MatchStream that may be under way at once; more wait their turn.
_STREAM_BIDS = 256
_MAX_WATCHERS = 1_000
_MAX_WATCHERS_PER_ACCOUNT = 16
_DEFAULT_WATCH_MS = 1_000
_DEFAULT_TRADES, _MAX_TRADES = 100, 500

_CANCEL_STATES = {
    CancelState.CANCELLED: market_pb2.CancelResponse.CANCELLED,
    CancelState.PENDING: market_pb2.CancelResponse.PENDING,
    CancelState.SETTLED: market_pb2.CancelResponse.SETTLED,
}


class MarketService(MarketServiceBase):
    """Decodes, calls the use case, encodes."""

    def __init__(
        self,
        orders: Orders,
        reports: Reports,
        relay: Relay,
        floor: Floor,
        waiting: WaitingRoom,
        tape: Tape,
        catalogue: Catalogue,
        signer: GrantSigner,
        middleware: Middleware,
        clock: Clock,
    ) -> None:
        self._orders = orders
        self._reports = reports
        self._relay = relay
        self._floor = floor
        self._waiting = waiting
        self._tape = tape
        self._catalogue = catalogue
        self._signer = signer
        self._middleware = middleware
        self._clock = clock
        self._watchers: Counter[str] = Counter()

    async def Match(self, stream: Any) -> None:
        await answer(stream, self._match, headers.order)

    async def Quote(self, stream: Any) -> None:
        await answer(stream, self._quote, headers.quote)

    async def Cancel(self, stream: Any) -> None:
        await answer(stream, self._cancel)

    async def Report(self, stream: Any) -> None:
        await answer(stream, self._report)

    async def GetOrderBook(self, stream: Any) -> None:
        await answer(stream, self._order_book)

    async def ListTrades(self, stream: Any) -> None:
        await answer(stream, self._trades)

    async def GetRefusals(self, stream: Any) -> None:
        await answer(stream, self._refusals)

    async def Generate(self, stream: Any) -> None:
        request, user = await stream.recv_message(), context.consumer()
        headers.order(request, stream.metadata)
        has_begun = False
        try:
            async for event in self._relay.generate(user, request):
                await stream.send_message(event)
                has_begun = True
        except GollemError as error:
            if has_begun:  # over HTTP the status has been sent: only the stream itself can tell
                await stream.send_message(market_pb2.MarketGenerateResponse(refusal=_refusal(public(error))))
            raise

    async def MatchStream(self, stream: Any) -> None:
        """Bids are matched side by side; the stream ends when the last one is answered."""
        context.consumer()
        room, sending = asyncio.Semaphore(_STREAM_BIDS), asyncio.Lock()
        tasks: set[asyncio.Task[None]] = set()

        async def serve(request: market_pb2.MatchRequest) -> None:
            try:
                message = await self._outcome(request)
                async with sending:
                    await stream.send_message(message)
            finally:
                room.release()

        try:
            async for request in stream:
                await room.acquire()
                task = asyncio.create_task(serve(request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def WatchOrderBook(self, stream: Any) -> None:
        """A picture now, then one whenever something has changed, until the caller leaves."""
        request = await stream.recv_message()
        interval_ms = _DEFAULT_WATCH_MS
        if request.HasField("interval_ms"):
            interval_ms = fields.whole(request.interval_ms, "interval_ms", 100, 60_000)
        with self._watching(context.caller().account):
            await self._watch(stream, request.model, interval_ms)

    @contextmanager
    def _watching(self, account: str) -> Iterator[None]:
        """One more watcher. Raises TooManyStreams."""
        if self._watchers[account] >= _MAX_WATCHERS_PER_ACCOUNT:
            raise TooManyStreams(
                f"this account watches {_MAX_WATCHERS_PER_ACCOUNT} times already", limit=_MAX_WATCHERS_PER_ACCOUNT
            )
        if self._watchers.total() >= _MAX_WATCHERS:
            raise TooManyStreams(f"{_MAX_WATCHERS} are watching already", limit=_MAX_WATCHERS)
        self._watchers[account] += 1
        try:
            yield
        finally:
            self._watchers[account] -= 1
            if not self._watchers[account]:
                del self._watchers[account]

    async def _watch(self, stream: Any, model: str, interval_ms: int) -> None:
        last = None
        while True:
            book = self._book(model)
            shown = [each.SerializeToString(deterministic=True) for each in book.models]
            if shown != last:
                await stream.send_message(book)
                last = shown
            await asyncio.sleep(interval_ms / 1_000)

    async def _outcome(self, request: market_pb2.MatchRequest) -> market_pb2.MatchStreamResponse:
        """What a unary Match would answer, errors included."""
        try:
            await self._middleware.admit()
            return market_pb2.MatchStreamResponse(order_id=request.order_id, match=await self._match(request))
        except Exception as error:
            return market_pb2.MatchStreamResponse(order_id=request.order_id, refusal=_refusal(public(error)))

    async def _match(self, request: market_pb2.MatchRequest) -> market_pb2.MatchResponse:
        user = context.consumer()
        order_id = fields.order_id(request.order_id)
        good_for_ms = fields.whole(request.good_for_ms, "good_for_ms", 0, decode.MAX_GOOD_FOR_MS)
        alternates = 3
        if request.HasField("alternates"):
            alternates = fields.whole(request.alternates, "alternates", 0, decode.MAX_ALTERNATES)
        bid = bids.to_match(request.bid, self._catalogue, self._orders.tally)
        matched = await self._orders.match(user, order_id, bid, good_for_ms, alternates)
        return encode.matched(matched, self._signer.grant(matched), self._catalogue)

    async def _quote(self, request: market_pb2.QuoteRequest) -> market_pb2.QuoteResponse:
        quote = self._orders.quote(decode.bid(request.bid, self._catalogue))
        return market_pb2.QuoteResponse(
            front=[encode.offer(offer, self._catalogue) for offer in quote.front[:256]],
            front_size=len(quote.front),
            feasible=quote.feasible,
            excluded_by=quote.rejection.excluded_by,
            winner_ask_id=quote.winner.ask.ask_id if quote.winner else "",
            winner_provider_id=quote.winner.ask.provider_id if quote.winner else "",
        )

    async def _cancel(self, request: market_pb2.CancelRequest) -> market_pb2.CancelResponse:
        cancelled = await self._orders.cancel(context.consumer(), fields.order_id(request.order_id))
        return market_pb2.CancelResponse(
            state=_CANCEL_STATES[cancelled.state], refunded=units.format_fixed(cancelled.refunded_atoms)
        )

    async def _report(self, request: market_pb2.ReportRequest) -> market_pb2.ReportResponse:
        user = context.consumer()
        outcome, measurement = decode.measurement(request)
        receipt = await self._reports.report(user, fields.order_id(request.order_id), outcome, measurement)
        return market_pb2.ReportResponse(receipt=encode.receipt(receipt) if receipt else None)

    async def _order_book(self, request: market_pb2.GetOrderBookRequest) -> market_pb2.OrderBook:
        return self._book(request.model)

    async def _trades(self, request: market_pb2.ListTradesRequest) -> market_pb2.ListTradesResponse:
        limit = fields.whole(request.limit or _DEFAULT_TRADES, "limit", 1, _MAX_TRADES)
        trades = self._tape.trades(self._named(request.model), limit)
        return market_pb2.ListTradesResponse(trades=[encode.trade(trade, self._catalogue) for trade in trades])

    async def _refusals(self, request: market_pb2.GetRefusalsRequest) -> market_pb2.Refusals:
        model = self._named(request.model)
        tallies = {name: tally for name, tally in self._tape.tallies().items() if model in ("", name)}
        return encode.refusals(tallies, self._tape.since_ms())

    def _named(self, model: str) -> str:
        """The catalogue's own name; empty for none. Raises UnknownModel."""
        return self._catalogue.resolve(model).name if model else ""

    def _book(self, model: str) -> market_pb2.OrderBook:
        names = [self._catalogue.resolve(model).name] if model else self._floor.models()
        return market_pb2.OrderBook(
            models=[
                encode.model_book(self._floor.depth(name), self._waiting.resting(name), self._catalogue)
                for name in names
            ],
            at_ms=self._clock.now_ms(),
        )


def _refusal(error: GollemError) -> market_pb2.Refusal:
    return market_pb2.Refusal(
        code=status_of(error).value, reason=error.reason, message=error.message, figures=error.figures
    )
