"""The exchange's word to agents: which orders their consumers have cancelled. Delivered on the telemetry stream."""

import asyncio
from collections.abc import Callable
from itertools import islice

from gollem.clock import Clock
from gollem.nodes import CancelAsked
from gollem.providers import Registry

_TOLD_AT_ONCE = 256
_TO_STOP_KEPT = 1_000


def _nobody(change: CancelAsked) -> None:
    pass


class AgentLinks:
    """Cancellations by ask until the agent answers, and who waits for the answer.

    Bounded by the open orders: a cancellation leaves when its order closes or its provider answers.
    """

    def __init__(self, registry: Registry, clock: Clock, announce: Callable[[CancelAsked], None] = _nobody) -> None:
        """`announce` tells the other nodes: the agent may report to one of them."""
        self._announce = announce
        self._registry = registry
        self._clock = clock
        self._cancelled: dict[str, dict[str, asyncio.Event]] = {}
        self._ask_of: dict[str, str] = {}
        self._wakers: dict[str, set[asyncio.Event]] = {}
        # Providers who report without an ask, by when they last did: those who leave finish their orders first.
        self._leaving: dict[str, int] = {}
        # Orders voided behind a silent agent's back, by ask, until their deadline: it must not serve them any more.
        self._to_stop: dict[str, dict[str, int]] = {}
        self._began_ms = clock.monotonic_ms()

    def heard(self, provider_id: str) -> None:
        """The provider reports, though it has no ask (any more). Bounded by the providers who have a key."""
        self._leaving[provider_id] = self._clock.monotonic_ms()

    def reachable(self, provider_id: str) -> bool:
        """Whether the provider was heard of lately enough to be asked before its order is taken away.

        This process has not been silent to anybody before it began: after a restart, agents get their time to return.
        """
        now_ms = self._clock.monotonic_ms()
        if not self._registry.is_silent(provider_id, now_ms):
            return True
        return now_ms - self._leaving.get(provider_id, self._began_ms) < self._registry.withdraw_after_ms

    def ask_to_cancel(self, ask_key: str, model: str, order_id: str) -> asyncio.Event:
        """Tell the agent at its next report, or at once if it holds a stream. The event is set when the order closes
        or turns out to have started."""
        self._announce(CancelAsked(ask_key, model, order_id))
        return self.asked_to_cancel(ask_key, order_id)

    def asked_to_cancel(self, ask_key: str, order_id: str) -> asyncio.Event:
        """The same, after it was asked at any node."""
        orders = self._cancelled.setdefault(ask_key, {})
        answered = orders.setdefault(order_id, asyncio.Event())
        self._ask_of[order_id] = ask_key
        for waker in self._wakers.get(ask_key, ()):
            waker.set()
        return answered

    def cancelled_orders(self, ask_key: str) -> list[str]:
        """What the agent of this ask has to hear, until it answers; 256 at most."""
        now_ms = self._clock.now_ms()
        to_stop = {order_id: at_ms for order_id, at_ms in self._to_stop.pop(ask_key, {}).items() if at_ms > now_ms}
        if to_stop:
            self._to_stop[ask_key] = to_stop
        return [*self._cancelled.get(ask_key, {}), *to_stop][:_TOLD_AT_ONCE]

    def tell_to_stop(self, ask_key: str, order_id: str, until_ms: int) -> None:
        """The order is gone already. Bounded an ask: past that the oldest are not told."""
        orders = self._to_stop.setdefault(ask_key, {})
        orders[order_id] = until_ms
        if len(orders) > _TO_STOP_KEPT:
            del orders[next(iter(orders))]

    def stopped(self, ask_key: str, order_id: str) -> None:
        """The agent has answered what it was told."""
        orders = self._to_stop.get(ask_key, {})
        orders.pop(order_id, None)
        if not orders:
            self._to_stop.pop(ask_key, None)

    def order_started(self, order_id: str) -> None:
        """The agent says that it has begun: whoever waits need not any longer, but the agent is still told to stop."""
        ask_key = self._ask_of.get(order_id)
        if ask_key is not None:
            self._cancelled[ask_key][order_id].set()

    def order_closed(self, order_id: str) -> None:
        """Nothing is left to cancel."""
        ask_key = self._ask_of.pop(order_id, None)
        if ask_key is None:
            return
        orders = self._cancelled[ask_key]
        orders.pop(order_id).set()
        if not orders:
            del self._cancelled[ask_key]

    def next_cancelled(self, limit: int) -> list[str]:
        """Cancelled orders of every ask, at most `limit`, in turn: those not named for longest first."""
        order_ids = list(islice(self._ask_of, limit))
        for order_id in order_ids:
            self._ask_of[order_id] = self._ask_of.pop(order_id)
        return order_ids

    def listen(self, ask_key: str, waker: asyncio.Event) -> None:
        """`waker` is set whenever there is something new for this ask, until `unlisten`."""
        self._wakers.setdefault(ask_key, set()).add(waker)

    def unlisten(self, ask_key: str, waker: asyncio.Event) -> None:
        wakers = self._wakers.get(ask_key, set())
        wakers.discard(waker)
        if not wakers:
            self._wakers.pop(ask_key, None)
