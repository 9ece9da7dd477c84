"""One order from its match to its end, and what it adds to the tally."""

import asyncio
import time
from collections.abc import Sequence

from grpclib.client import Channel

from benchmarks.replay.orders import Fate, Order
from benchmarks.replay.sellers import CALL_TIMEOUT_S, Sellers
from benchmarks.replay.tally import Tally
from gollem import units
from gollem.rpc.pb import market_pb2
from gollem.rpc.pb.market_grpc import MarketServiceStub
from gollem_client.errors import GollemError, OutcomeUnknown
from gollem_client.wire import own_errors


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

    async def trade(self, order: Order) -> None:
        """Quote (a part of them), match, and let its fate take its course."""
        try:
            with own_errors("the exchange"):
                cheapest_atoms = await self._quote(order) if order.quoted else None
                answer = await self._match(order)
                self._count_match(order, answer, cheapest_atoms)
                await self._fulfil(order, answer)
        except OutcomeUnknown:
            self._tally.broken += 1
        except GollemError as refusal:
            self._tally.refuse(refusal.reason, refusal.figures)

    async def _quote(self, order: Order) -> int | None:
        """The worst-case cost in atoms of the cheapest feasible ask; None without any."""
        request = market_pb2.QuoteRequest(bid=order.bid)
        quote = await self._stub.Quote(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata[order.consumer])
        return _atoms(quote.front[0].max_cost) if quote.front else None

    async def _match(self, order: Order) -> market_pb2.MatchResponse:
        request = market_pb2.MatchRequest(order_id=order.order_id, bid=order.bid)
        began_s = time.perf_counter()
        try:
            answer: market_pb2.MatchResponse = await self._stub.Match(
                request, timeout=CALL_TIMEOUT_S, metadata=self._metadata[order.consumer]
            )
            return answer
        finally:
            self._tally.match_ms.append((time.perf_counter() - began_s) * 1_000)

    def _count_match(self, order: Order, answer: market_pb2.MatchResponse, cheapest_atoms: int | None) -> None:
        self._tally.matched += 1
        self._tally.held_atoms += _atoms(answer.held)
        if cheapest_atoms:
            self._tally.spreads[order.policy].append(_atoms(answer.offer.max_cost) / cheapest_atoms - 1)

    async def _fulfil(self, order: Order, answer: market_pb2.MatchResponse) -> None:
        offer = answer.offer
        fate = order.fate(self._failing[offer.provider_id])
        self._tally.fates[fate] += 1
        if fate is Fate.ABANDONED:
            return
        if fate is Fate.CANCELLED:
            await self._cancel(order)
            return
        taken_s = offer.latency_ms / 1_000 + order.completion_tokens / offer.throughput_tps
        await asyncio.sleep(taken_s / self._compression)
        completion = order.completion_tokens if fate is Fate.COMPLETED else 0
        prompt = order.bid.prompt_tokens if completion else 0
        settled = await self._sellers.settle(offer.provider_id, order.order_id, prompt, completion)
        self._tally.charged_atoms += _atoms(settled.charged)
        self._tally.fees_atoms += _atoms(settled.fee)
        self._tally.returned_atoms += _atoms(settled.refunded)

    async def _cancel(self, order: Order) -> None:
        request = market_pb2.CancelRequest(order_id=order.order_id)
        answer = await self._stub.Cancel(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata[order.consumer])
        self._tally.returned_atoms += _atoms(answer.refunded)


def _atoms(amount: str) -> int:
    return units.parse_fixed(amount, "credits")
