"""Bids that wait for an ask: price-time priority by model. A pure structure without a clock; the exchange drives it."""

import heapq
from bisect import bisect_left, insort
from dataclasses import dataclass

from gollem.errors import InvariantBroken, TooManyStreams
from gollem.market.types import MAX_PRICE_TICKS, Bid

_Rank = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Resting:
    """A bid that rests until `expires_at_ms`. `alternates` is for the answer."""

    order_id: str
    bid: Bid
    expires_at_ms: int
    alternates: int = 0


class RestingBids:
    """At most `limit` bids. The highest price limit comes first, none at all before any, then the older."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bids: dict[str, tuple[_Rank, Resting]] = {}
        # By model, sorted: (rank, order_id).
        self._queues: dict[str, list[tuple[_Rank, str]]] = {}
        # (expires_at_ms, sequence, order_id); entries of bids that have left are skipped, and swept when they prevail.
        self._deadlines: list[tuple[int, int, str]] = []
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._bids)

    def add(self, resting: Resting) -> None:
        """Let a bid rest. Raises TooManyStreams at the limit, InvariantBroken if this order rests already."""
        if resting.order_id in self._bids:
            raise InvariantBroken(f"order {resting.order_id} rests already")
        if len(self._bids) >= self._limit:
            raise TooManyStreams(f"{self._limit} bids rest in the book already", limit=self._limit)
        self._sequence += 1
        price = resting.bid.max_price_ticks
        rank = (-MAX_PRICE_TICKS - 1 if price is None else -min(price, MAX_PRICE_TICKS), self._sequence)
        self._bids[resting.order_id] = (rank, resting)
        insort(self._queues.setdefault(resting.bid.model, []), (rank, resting.order_id))
        heapq.heappush(self._deadlines, (resting.expires_at_ms, self._sequence, resting.order_id))

    def get(self, order_id: str) -> Resting | None:
        """The bid of this order, while it rests."""
        found = self._bids.get(order_id)
        return found[1] if found else None

    def cancel(self, order_id: str) -> Resting | None:
        """Take a bid out, matched or not wanted any more; None if it does not rest."""
        found = self._bids.pop(order_id, None)
        if found is None:
            return None
        rank, resting = found
        queue = self._queues[resting.bid.model]
        del queue[bisect_left(queue, (rank, order_id))]
        if not queue:
            del self._queues[resting.bid.model]
        self._sweep()
        return resting

    def expire(self, now_ms: int) -> list[Resting]:
        """Take out all whose time has come, the earliest first."""
        expired = []
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            _, sequence, order_id = heapq.heappop(self._deadlines)
            if self._is_live(sequence, order_id):
                expired.append(self._bids[order_id][1])
                self.cancel(order_id)
        return expired

    def next_expiry_ms(self) -> int | None:
        """When the next of them expires."""
        while self._deadlines and not self._is_live(*self._deadlines[0][1:]):
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def candidates(self, model: str) -> list[Resting]:
        """The model's bids in the order in which they are to be tried."""
        return [self._bids[order_id][1] for _, order_id in self._queues.get(model, [])]

    def count(self, model: str) -> int:
        """The model's bids."""
        return len(self._queues.get(model, []))

    def _is_live(self, sequence: int, order_id: str) -> bool:
        found = self._bids.get(order_id)
        return found is not None and found[0][1] == sequence

    def _sweep(self) -> None:
        """Keep the heap within twice the bids that rest."""
        if len(self._deadlines) > 2 * len(self._bids) + 64:
            self._deadlines = [entry for entry in self._deadlines if self._is_live(*entry[1:])]
            heapq.heapify(self._deadlines)
