"""Providers' use cases: register, report, deregister, and how the exchange sees them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from gollem.config import ProvidersConfig
from gollem.errors import TooManyAsks, UnknownProvider
from gollem.exchange.floor import Floor
from gollem.exchange.links import AgentLinks
from gollem.exchange.settlement import Settlement
from gollem.market import Ask
from gollem.providers import CircuitStatus, Gauge, Promise, Registry, Seller


@dataclass(frozen=True, slots=True)
class Status:
    """One report of an agent, decoded. Absent figures stay as they are."""

    sequence: int
    price_ticks: int | None = None
    completion_price_ticks: int | None = None
    latency_us: int | None = None
    tpot_ns: int | None = None
    capacity_tokens: int | None = None
    capacity_slots: int | None = None
    gauge: Gauge = field(default_factory=Gauge)
    started: Sequence[str] = ()
    refused: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the exchange tells the agent. `known` is False when the ask has to be registered again."""

    known: bool
    blocked_by: tuple[str, ...] = ()
    cancelled_orders: tuple[str, ...] = ()
    matched: int = 0


async def _everybody(provider_id: str) -> None:
    pass


class Asks:
    """Keeps what providers sell on the floor, and listens to their agents. `may_sell` raises NotOnboarded for a
    provider that may not."""

    def __init__(
        self,
        floor: Floor,
        registry: Registry,
        links: AgentLinks,
        settlement: Settlement,
        config: ProvidersConfig,
        may_sell: Callable[[str], Awaitable[None]] = _everybody,
    ) -> None:
        self._floor = floor
        self._registry = registry
        self._links = links
        self._settlement = settlement
        self._config = config
        self._may_sell = may_sell

    async def admit(self, provider_id: str) -> None:
        """Before anything of the provider's is registered. Raises NotOnboarded."""
        await self._may_sell(provider_id)

    def register(self, ask: Ask, per_minute: int | None) -> None:
        """Put an ask into the book, or change the one of the same key. Raises TooManyAsks."""
        if self._floor.ask(ask.key) is None:
            self._check_room(ask.provider_id)
        self._floor.place(ask, per_minute)

    def deregister(self, provider_id: str, ask_id: str | None) -> int:
        """Take one ask, or all of the provider's, out of the book. Returns how many. Orders under way go on."""
        keys = self._floor.asks_of(provider_id) if ask_id is None else [f"{provider_id}/{ask_id}"]
        self._links.heard(provider_id)
        return sum(self._floor.remove(key) for key in keys)

    async def report(self, provider_id: str, ask_id: str, status: Status) -> Answer:
        """Take in a report and answer it. What became of orders counts even if the report is not the newest."""
        key = f"{provider_id}/{ask_id}"
        for order_id in status.started:
            if self._floor.began(key, order_id):
                self._links.order_started(order_id)
        for order_id in status.refused:
            self._links.stopped(key, order_id)
            await self._settlement.refused_by_provider(provider_id, order_id)
        ask, seller = self._floor.ask(key), self._registry.seller(key)
        if ask is None or seller is None:
            self._links.heard(provider_id)
            return Answer(known=False, cancelled_orders=tuple(self._links.cancelled_orders(key)))
        if self._floor.heard(key, status.sequence, _promise(seller, status), status.gauge):
            self._reprice(ask, status)
        return self.answer(provider_id, ask_id)

    def answer(self, provider_id: str, ask_id: str) -> Answer:
        """What the agent of this ask should know now."""
        key = f"{provider_id}/{ask_id}"
        seller = self._registry.seller(key)
        cancelled = tuple(self._links.cancelled_orders(key))
        if seller is None:
            return Answer(known=False, cancelled_orders=cancelled)
        blocked_by = tuple(sorted(block.value for block in self._floor.blocks(key)))
        return Answer(True, blocked_by, cancelled, seller.matched)

    def circuit(self, provider_id: str, now_ms: int) -> CircuitStatus:
        """Raises UnknownProvider."""
        status = self._registry.circuit(provider_id, now_ms)
        if status is None:
            raise _unknown(provider_id)
        return status

    def sellers(self, provider_id: str) -> list[Seller]:
        """The provider's asks as they are watched. Raises UnknownProvider."""
        sellers = self._registry.sellers_of(provider_id)
        if not sellers:
            raise _unknown(provider_id)
        return sellers

    def offered_by(self, provider_id: str) -> list[tuple[Ask, Seller]]:
        """The provider's asks with how they are watched, by ask_id; none if it has none in the book."""
        both = ((self._floor.ask(seller.key), seller) for seller in self._registry.sellers_of(provider_id))
        return [(ask, seller) for ask, seller in both if ask is not None]

    def _check_room(self, provider_id: str) -> None:
        if len(self._floor.asks_of(provider_id)) >= self._config.max_asks_per_provider:
            limit = self._config.max_asks_per_provider
            raise TooManyAsks(f"a provider may have {limit} asks: deregister one first", limit=limit)
        if len(self._floor) >= self._config.max_asks:
            raise TooManyAsks("the book is full", limit=self._config.max_asks)

    def _reprice(self, ask: Ask, status: Status) -> None:
        price = ask.price_ticks if status.price_ticks is None else status.price_ticks
        completion = status.completion_price_ticks
        if completion is None:
            # A provider with one price for both goes on having one.
            same = ask.price_ticks == ask.completion_price_ticks
            completion = price if same else ask.completion_price_ticks
        if (price, completion) != (ask.price_ticks, ask.completion_price_ticks):
            self._floor.reprice(replace(ask, price_ticks=price, completion_price_ticks=completion))


def _promise(seller: Seller, status: Status) -> Promise:
    old = seller.promise
    return Promise(
        old.latency_us if status.latency_us is None else status.latency_us,
        old.tpot_ns if status.tpot_ns is None else status.tpot_ns,
        old.capacity_tokens if status.capacity_tokens is None else status.capacity_tokens,
        old.capacity_slots if status.capacity_slots is None else status.capacity_slots,
    )


def _unknown(provider_id: str) -> UnknownProvider:
    return UnknownProvider(f"provider {provider_id} has no ask in the book", provider_id=provider_id)
