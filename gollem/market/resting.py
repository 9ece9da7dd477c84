"""Bids that wait for an ask: price-time priority by model. A pure structure; whoever drives it keeps the time."""

from bisect import bisect_left, insort

from gollem.errors import InvariantBroken, TooManyStreams
from gollem.market.types import MAX_PRICE_TICKS, Bid

# Less is better: the negated price limit, then the sequence.
_Rank = tuple[int, int]


class RestingBids:
    """At most `limit` bids. The highest price limit comes first, none at all before any, then the older."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # By order_id: the model and the rank.
        self._places: dict[str, tuple[str, _Rank]] = {}
        # By model, sorted.
        self._queues: dict[str, list[tuple[_Rank, str]]] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._places

    def add(self, order_id: str, bid: Bid) -> None:
        """Let a bid rest. Raises TooManyStreams at the limit, InvariantBroken if this order rests already."""
        if order_id in self._places:
            raise InvariantBroken(f"order {order_id} rests already")
        if len(self._places) >= self._limit:
            raise TooManyStreams(f"{self._limit} bids rest in the book already: try again later", limit=self._limit)
        self._sequence += 1
        price = bid.max_price_ticks
        rank = (-MAX_PRICE_TICKS - 1 if price is None else -min(price, MAX_PRICE_TICKS), self._sequence)
        self._places[order_id] = (bid.model, rank)
        insort(self._queues.setdefault(bid.model, []), (rank, order_id))

    def remove(self, order_id: str) -> bool:
        """Take a bid out: matched, cancelled or out of time. False if it does not rest."""
        place = self._places.pop(order_id, None)
        if place is None:
            return False
        model, rank = place
        queue = self._queues[model]
        del queue[bisect_left(queue, (rank, order_id))]
        if not queue:
            del self._queues[model]
        return True

    def candidates(self, model: str) -> list[str]:
        """The model's orders as they are to be tried."""
        return [order_id for _, order_id in self._queues.get(model, [])]

    def best_price_ticks(self, model: str) -> int | None:
        """The model's highest price limit; None if no bid has one. Those without any come first."""
        queue = self._queues.get(model, [])
        first = bisect_left(queue, ((-MAX_PRICE_TICKS, -1), ""))
        return -queue[first][0][0] if first < len(queue) else None

    def count(self, model: str) -> int:
        """The model's bids."""
        return len(self._queues.get(model, []))
