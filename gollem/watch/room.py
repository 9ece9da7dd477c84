"""The room as one thing to build: where each figure is read, what is to be done again and again, when it is ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gollem.clock import Clock
from gollem.config import ObservabilityConfig
from gollem.exchange import Floor, Tally, WaitingRoom
from gollem.ledger import Ledger
from gollem.nodes import SharedBook
from gollem.observability import Meters, Readiness, Sample, metrics
from gollem.payments import Payments
from gollem.providers import Registry
from gollem.watch import market, nodes, payments, sellers
from gollem.watch.books import Books


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at. `queues`: what waits inside, and how long each is."""

    floor: Floor
    registry: Registry
    waiting: WaitingRoom
    tally: Tally
    shared: SharedBook
    ledger: Ledger
    payments: Payments | None
    queues: Mapping[str, Callable[[], int]]


class Watch:
    def __init__(
        self, of: Watched, meters: Meters, readiness: Readiness, clock: Clock, config: ObservabilityConfig
    ) -> None:
        self._of = of
        self._clock = clock
        self._books = Books(of.ledger, clock)
        meters.read_from("book", lambda: market.depth(of.floor, of.waiting))
        meters.read_from("bids", lambda: market.bids(of.tally))
        meters.read_from("sellers", lambda: sellers.sellers(of.registry, clock.monotonic_ms(), config.max_series))
        meters.read_from("nodes", lambda: nodes.shared_book(of.shared))
        meters.read_from("queues", lambda: nodes.queues(of.queues))
        meters.read_from("orders", self._orders)
        meters.read_from("ledger", self._books.samples)
        if of.payments is not None:
            webhooks, inbox = of.payments.webhooks, of.payments.inbox
            meters.read_from("payments", lambda: payments.events(webhooks.counts, inbox.counts))
        readiness.ask("ledger", self._books.ping)
        readiness.degraded_if(lambda: of.shared.status().degraded)

    async def look(self) -> None:
        """Read the ledger's figures. To be called again and again."""
        await self._books.look()

    def _orders(self) -> list[Sample]:
        oldest_ms = self._of.floor.oldest_claim_ms()
        age_ms = 0 if oldest_ms is None else max(self._clock.now_ms() - oldest_ms, 0)
        return [Sample(metrics.HOLDS_OPEN, self._of.floor.claims()), Sample(metrics.HOLD_AGE, age_ms / 1_000)]
