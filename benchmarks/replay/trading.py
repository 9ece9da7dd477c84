"""One order from its match to its end, and what it adds to the tally."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from grpclib.client import Channel

from benchmarks.replay.listings import Listing
from benchmarks.replay.orders import Fate, Order
from benchmarks.replay.sellers import CALL_TIMEOUT_S, Sellers
from benchmarks.replay.tally import Tally
from gollem import units
from gollem.rpc.pb import market_pb2
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem_client.errors import GollemError, OutcomeUnknown
from gollem_client.wire import own_errors

T = TypeVar("T")
# Calls of all consumers and providers together. More would measure the queue before the exchange, not the exchange.
MAX_CALLS = 4
# An answer takes no longer than this, however little time is compressed: within the hold's deadline.
LONGEST_ANSWER_S = 4.0


class Trading:
    """Carries out orders. `compression` divides the time that an answer takes; `failing` are shares by provider."""

    def __init__(
        self,
        channel: Channel,
        consumer_keys: Sequence[str],
        sellers: Sellers,
        failing: dict[str, float],
        compression: float,
        tally: Tally,
    ) -> None:
        self._stub = MarketServiceStub(channel)
        self._metadata = [{"authorization": f"Bearer {key}"} for key in consumer_keys]
        self._sellers = sellers
        self._failing = failing
        self._compression = compression
        self._tally = tally
        self._calls = asyncio.Semaphore(MAX_CALLS)

    async def trade(self, order: Order) -> None:
        """Quote (a part of them), match, and let its fate take its course. Counts it as matched, refused or broken."""
        try:
            with own_errors("the exchange"):
                cheapest_atoms = await self._quote(order) if order.quoted else None
                answer = await self._match(order)
        except OutcomeUnknown:
            self._tally.broken += 1
        except GollemError as refusal:
            self._tally.refuse(refusal.reason, refusal.figures)
        else:
            self._count_match(order, answer, cheapest_atoms)
            await self._end(order, answer)

    async def _quote(self, order: Order) -> int | None:
        """The worst-case cost in atoms of the cheapest feasible ask; None without any."""
        request = market_pb2.QuoteRequest(bid=order.bid)
        quote = await self._call(self._stub.Quote(request, timeout=CALL_TIMEOUT_S, metadata=self._key(order)))
        return _atoms(quote.front[0].max_cost) if quote.front else None

    async def _match(self, order: Order) -> market_pb2.MatchResponse:
        request = market_pb2.MatchRequest(order_id=order.order_id, bid=order.bid)
        return await self._call(self._timed(order, request))

    async def _timed(self, order: Order, request: market_pb2.MatchRequest) -> market_pb2.MatchResponse:
        """From sending to the answer; not the wait for a turn among MAX_CALLS."""
        began_s = time.perf_counter()
        try:
            answer: market_pb2.MatchResponse = await self._stub.Match(
                request, timeout=CALL_TIMEOUT_S, metadata=self._key(order)
            )
            return answer
        finally:
            self._tally.match_ms.append((time.perf_counter() - began_s) * 1_000)

    def _count_match(self, order: Order, answer: market_pb2.MatchResponse, cheapest_atoms: int | None) -> None:
        self._tally.matched += 1
        self._tally.held_atoms += _atoms(answer.held)
        if cheapest_atoms:
            self._tally.spreads[order.policy].append(_atoms(answer.offer.max_cost) / cheapest_atoms - 1)

    async def _end(self, order: Order, answer: market_pb2.MatchResponse) -> None:
        """Count the order under its fate, or as one that could not be brought to its end."""
        fate = order.fate(self._failing[answer.offer.provider_id])
        try:
            with own_errors("the exchange"):
                if fate is Fate.CANCELLED:
                    await self._cancel(order)
                elif fate is not Fate.ABANDONED:
                    await self._serve(order, self._sellers.listing(answer.offer.ask_id), fate)
        except GollemError as error:
            self._tally.unsettled[error.reason] += 1
        else:
            self._tally.fates[fate] += 1

    async def _serve(self, order: Order, listing: Listing, fate: Fate) -> None:
        """Take the time of an answer, settle, and have a part of the consumers tell what they saw."""
        latency_ms, speed_tps = listing.latency_ms * order.slowness, listing.throughput_tps / order.slowness
        taken_s = latency_ms / 1_000 + order.completion_tokens / speed_tps
        await asyncio.sleep(min(taken_s / self._compression, LONGEST_ANSWER_S))
        completion = order.completion_tokens if fate is Fate.COMPLETED else 0
        prompt = order.bid.prompt_tokens if completion else 0
        settled = await self._call(self._sellers.settle(listing.provider_id, order.order_id, prompt, completion))
        self._tally.charged_atoms += _atoms(settled.charged)
        self._tally.fees_atoms += _atoms(settled.fee)
        self._tally.returned_atoms += _atoms(settled.refunded)
        if order.reported:
            await self._report(order, latency_ms, speed_tps, completion)

    async def _report(self, order: Order, latency_ms: float, speed_tps: float, completion: int) -> None:
        outcome = market_pb2.ReportRequest.Outcome
        request = market_pb2.ReportRequest(order_id=order.order_id, outcome=outcome.FAILED_BEFORE_FIRST_CHUNK)
        if completion:
            request.outcome, request.ttft_ms, request.completion_tokens = outcome.COMPLETED, latency_ms, completion
        if completion > 1:
            request.throughput_tps = speed_tps
        await self._call(self._stub.Report(request, timeout=CALL_TIMEOUT_S, metadata=self._key(order)))
        self._tally.reported += 1

    async def _cancel(self, order: Order) -> None:
        request = market_pb2.CancelRequest(order_id=order.order_id)
        # Without a turn: it waits for the provider's word, and would keep others waiting.
        self._tally.calls += 1
        answer = await self._stub.Cancel(request, timeout=CALL_TIMEOUT_S, metadata=self._key(order))
        self._tally.returned_atoms += _atoms(answer.refunded)

    async def _call(self, call: Awaitable[T]) -> T:
        """Make a call when it is its turn."""
        async with self._calls:
            self._tally.calls += 1
            return await call

    def _key(self, order: Order) -> dict[str, str]:
        return self._metadata[order.consumer]


def _atoms(amount: str) -> int:
    return units.parse_fixed(amount, "credits")
