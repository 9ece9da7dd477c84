"""Bids that rest until an ask allows them: who waits, and who wakes them in price-time priority."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from gollem.errors import GollemError, OrderCancelled, TooManyStreams
from gollem.exchange.floor import Floor
from gollem.exchange.refusals import refusal
from gollem.market import Bid, Match, RestingBids

# Bids tried in one turn, about half a millisecond, and the pause after it: a crowd of waiters takes a fifth of the loop
# at most, however often asks report.
_TRIED_A_TURN = 64
_PAUSE_S = 0.002


@dataclass(slots=True)
class _Waiter:
    user: str
    bid: Bid
    alternates: int
    future: asyncio.Future[Match]


class WaitingRoom:
    """Resting bids and their callers. Bounded: past `limit`, or `limit_per_user` of one user, a bid is refused."""

    def __init__(self, floor: Floor, limit: int, limit_per_user: int) -> None:
        self._floor = floor
        self._limit_per_user = limit_per_user
        self._by_user: Counter[str] = Counter()
        self._bids = RestingBids(limit)
        self._waiters: dict[str, _Waiter] = {}
        self._models: dict[str, None] = {}
        self._serving: asyncio.Task[None] | None = None
        floor.on_room(self._room)

    def __len__(self) -> int:
        return len(self._waiters)

    def resting(self, model: str) -> int:
        """Bids resting for this model."""
        return self._bids.count(model)

    def best_price_ticks(self, model: str) -> int | None:
        """The highest price limit that rests for this model; None if none does, or none has one."""
        return self._bids.best_price_ticks(model)

    async def wait(self, user: str, order_id: str, bid: Bid, good_for_ms: int, alternates: int) -> Match:
        """The first match that comes within `good_for_ms`, its capacity claimed. The order of service is by price
        limit (none is the highest), then by age.

        Raises NoFeasibleAsk or CapacityExhausted when time is up, OrderCancelled; TooManyStreams.
        """
        waiter = self._admit(user, order_id, bid, alternates)
        # There may be room since the caller last looked.
        self._room(bid.model)
        try:
            async with asyncio.timeout(good_for_ms / 1_000):
                return await waiter.future
        except TimeoutError:
            if _holds_match(waiter.future):
                return waiter.future.result()
            last = self._floor.match(bid, alternates)
            if isinstance(last, Match):
                return last
            raise refusal(last) from None
        except asyncio.CancelledError:
            if _holds_match(waiter.future):
                self._floor.undo(waiter.future.result())
            raise
        finally:
            self._leave(order_id, waiter)

    def cancel(self, user: str, order_id: str) -> bool:
        """End a wait of this user. False if there is none."""
        waiter = self._waiters.get(order_id)
        if waiter is None or waiter.user != user or waiter.future.done():
            return False
        waiter.future.set_exception(OrderCancelled(f"order {order_id} was cancelled", order_id=order_id))
        self._leave(order_id, waiter)
        return True

    def close(self, error: GollemError) -> None:
        """End every wait with this error."""
        for waiter in list(self._waiters.values()):
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def _admit(self, user: str, order_id: str, bid: Bid, alternates: int) -> _Waiter:
        if self._by_user[user] >= self._limit_per_user:
            limit = self._limit_per_user
            raise TooManyStreams(f"{limit} of your bids rest in the book already", limit=limit)
        self._bids.add(order_id, bid)
        waiter = _Waiter(user, bid, alternates, asyncio.get_running_loop().create_future())
        self._waiters[order_id] = waiter
        self._by_user[user] += 1
        return waiter

    def _leave(self, order_id: str, waiter: _Waiter) -> None:
        if self._waiters.get(order_id) is waiter:
            del self._waiters[order_id]
            self._by_user[waiter.user] -= 1
            if not self._by_user[waiter.user]:
                del self._by_user[waiter.user]
            self._bids.remove(order_id)

    def _room(self, model: str) -> None:
        if self._bids.count(model):
            self._models[model] = None
            if self._serving is None or self._serving.done():
                self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        """Try the resting bids of every model that may have room, in their order, without holding up the loop."""
        while self._models:
            model = next(iter(self._models))
            del self._models[model]
            for tried, order_id in enumerate(self._bids.candidates(model)):
                if tried % _TRIED_A_TURN == _TRIED_A_TURN - 1:
                    await asyncio.sleep(_PAUSE_S)
                self._try(order_id)

    def _try(self, order_id: str) -> None:
        waiter = self._waiters.get(order_id)
        if waiter is None or waiter.future.done():
            return
        result = self._floor.match(waiter.bid, waiter.alternates)
        if isinstance(result, Match):
            waiter.future.set_result(result)


def _holds_match(future: asyncio.Future[Match]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
