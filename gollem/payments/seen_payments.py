"""Payments as they were seen a moment ago: however often somebody looks at a purchase, the payment provider is asked
now and then."""

from collections import OrderedDict

from gollem.clock import Clock
from gollem.errors import WorldError
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import Payment

FRESH_MS = 3_000
MAX_SEEN = 4_096


class SeenPayments:
    """For people to look at, not to book by. Lives on one event loop."""

    def __init__(self, gateway: PaymentGateway, clock: Clock, max_seen: int = MAX_SEEN) -> None:
        self._gateway = gateway
        self._clock = clock
        self._max_seen = max_seen
        self._seen: OrderedDict[str, tuple[int, Payment | None]] = OrderedDict()  # when, and what; the oldest first

    async def see(self, payment_id: str) -> Payment | None:
        """None if there is none, or while the payment provider is away."""
        now_ms = self._clock.monotonic_ms()
        seen_ms, payment = self._seen.get(payment_id, (now_ms - FRESH_MS, None))
        if now_ms - seen_ms < FRESH_MS:
            return payment
        try:
            payment = await self._gateway.payment(payment_id)
        except WorldError:
            payment = None
        self._seen[payment_id] = (now_ms, payment)
        self._seen.move_to_end(payment_id)
        if len(self._seen) > self._max_seen:
            self._seen.popitem(last=False)
        return payment
