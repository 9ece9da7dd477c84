"""What became of orders, on its way to the exchange: kept until the exchange has acknowledged it."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import chain, islice

from gollem_client.stubs import OrderEvent, OrderEventKind

_MAX_A_REPORT = 256
# The oldest are dropped beyond this: the exchange then learns it from the settlement, or from the hold's deadline.
_MAX_WAITING = 10_000


class OrderEvents:
    """STARTED and REFUSED, each told once a connection however often the exchange asks."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, str]] = deque(maxlen=_MAX_WAITING)
        self._sent: OrderedDict[int, list[tuple[str, str]]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        # Set while there is something to tell.
        self.wake = asyncio.Event()

    def started(self, order_id: str) -> None:
        """From now on the order is settled, not cancelled."""
        self._add(order_id, "STARTED")

    def refused(self, order_id: str) -> None:
        """It never started, and never will."""
        self._add(order_id, "REFUSED")

    def take(self, sequence: int) -> list[OrderEvent]:
        """What goes with the report of this number."""
        taken = [self._waiting.popleft() for _ in range(min(_MAX_A_REPORT, len(self._waiting)))]
        if taken:
            self._sent[sequence] = taken
        if not self._waiting:
            self.wake.clear()
        return [OrderEvent(order_id=order_id, kind=OrderEventKind.from_string(kind)) for order_id, kind in taken]

    def acknowledged(self, sequence: int) -> None:
        """The exchange has answered the report of this number, and so all before it."""
        while self._sent and next(iter(self._sent)) <= sequence:
            self._sent.popitem(last=False)

    def reconnected(self, begun: Iterable[str]) -> None:
        """Whatever was not acknowledged is told again, and first of all which orders have `begun`.

        An exchange that has restarted has forgotten that they did, and would give their money back when asked to.
        """
        started = ((order_id, "STARTED") for order_id in begun)
        events = dict.fromkeys(chain(started, *self._sent.values(), self._waiting))
        self._waiting = deque(islice(events, _MAX_WAITING), maxlen=_MAX_WAITING)
        self._told = OrderedDict.fromkeys(self._waiting)
        self._sent.clear()
        if self._waiting:
            self.wake.set()

    def _add(self, order_id: str, kind: str) -> None:
        if (order_id, kind) in self._told:
            return
        self._told[order_id, kind] = None
        if len(self._told) > _MAX_WAITING:
            self._told.popitem(last=False)
        self._waiting.append((order_id, kind))
        self.wake.set()
