"""What clients saw: measured figures for the book, failures for the circuit breaker, the receipt in return."""

from collections import OrderedDict
from dataclasses import dataclass

from gollem.errors import UnknownOrder
from gollem.exchange.floor import Floor
from gollem.exchange.settlement import Settlement
from gollem.exchange.types import ClientOutcome, Receipt, Terms
from gollem.ledger import Hold, HoldState, Ledger

# Orders of which it is remembered that their client has reported.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """Microseconds to the first token, nanoseconds per token after it; None where too little was received to tell."""

    latency_us: int | None
    tpot_ns: int | None


class Reports:
    """Takes one report an order, from its own consumer."""

    def __init__(self, floor: Floor, ledger: Ledger, settlement: Settlement) -> None:
        self._floor = floor
        self._ledger = ledger
        self._settlement = settlement
        self._reported: OrderedDict[str, None] = OrderedDict()

    async def report(
        self, user: str, order_id: str, outcome: ClientOutcome, measurement: Measurement
    ) -> Receipt | None:
        """Returns the receipt, if the order is settled. A second report of an order changes nothing.

        Raises UnknownOrder.
        """
        hold = await self._own_hold(user, order_id)
        receipt = await self._settlement.receipt(hold)
        if order_id not in self._reported:
            self._remember(order_id)
            self._learn(hold, receipt, outcome, measurement)
        return receipt

    async def receipt(self, user: str, order_id: str) -> Receipt | None:
        """What the order cost; None until it is settled. Raises UnknownOrder."""
        return await self._settlement.receipt(await self._own_hold(user, order_id))

    async def _own_hold(self, user: str, order_id: str) -> Hold:
        hold = await self._ledger.find_hold(order_id)
        if hold is None or hold.user != user:
            raise UnknownOrder(f"you have no order {order_id}", order_id=order_id)
        return hold

    def _learn(self, hold: Hold, receipt: Receipt | None, outcome: ClientOutcome, measurement: Measurement) -> None:
        """Figures count for orders that were served; a failure counts unless the provider was paid for all of it."""
        delivered = receipt is not None and receipt.usage.completion_tokens > 0
        if outcome is ClientOutcome.COMPLETED:
            if measurement.latency_us is not None and (delivered or hold.state is HoldState.OPEN):
                ask_key = Terms.from_text(hold.terms).ask_key
                self._floor.sampled(ask_key, measurement.latency_us, measurement.tpot_ns)
        elif not delivered:
            self._floor.order_failed(hold.provider, hold.order_id)

    def _remember(self, order_id: str) -> None:
        self._reported[order_id] = None
        if len(self._reported) > _REMEMBERED:
            self._reported.popitem(last=False)
