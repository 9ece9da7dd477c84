"""What clients saw: measured figures for the book, failures for the circuit breaker, the receipt in return.

A report costs its consumer nothing, so it is believed only as far as the order itself bears it out. Figures count once
the order is settled with tokens delivered. A failure counts at once, and the agent is asked. If it answers and tells
another story, one consumer's word counts once within the breaker's window: more than that is retracted.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from gollem.clock import Clock
from gollem.config import ProvidersConfig
from gollem.errors import UnknownOrder, WorldError
from gollem.exchange.floor import Floor
from gollem.exchange.links import AgentLinks
from gollem.exchange.settlement import REFUSED_BY_PROVIDER, Settlement
from gollem.exchange.types import ClientOutcome, Outcome, Receipt, Terms
from gollem.ledger import Hold, HoldState, Ledger
from gollem.nodes import Contested

Key = TypeVar("Key")
Value = TypeVar("Value")

# Orders of which it is remembered that their client has reported, and consumers whose word has counted.
_REMEMBERED = 100_000
_REVIEWED_A_TURN = 256


@dataclass(frozen=True, slots=True)
class Measurement:
    """Microseconds to the first token, nanoseconds per token after it; None where too little was received to tell."""

    latency_us: int | None
    tpot_ns: int | None


@dataclass(frozen=True, slots=True)
class _Report:
    """What a client said, until its order bears it out or not."""

    outcome: ClientOutcome
    measurement: Measurement


def _nobody(change: Contested) -> None:
    pass


class Reports:
    """Takes one report an order, from its own consumer."""

    def __init__(
        self,
        floor: Floor,
        ledger: Ledger,
        settlement: Settlement,
        links: AgentLinks,
        clock: Clock,
        config: ProvidersConfig,
        announce: Callable[[Contested], None] = _nobody,
    ) -> None:
        """`announce` tells the other nodes."""
        self._announce = announce
        self._floor = floor
        self._ledger = ledger
        self._settlement = settlement
        self._links = links
        self._clock = clock
        self._window_ms = config.circuit_window_ms
        self._reported: OrderedDict[str, None] = OrderedDict()
        self._waiting: OrderedDict[str, _Report] = OrderedDict()
        self._counted: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def report(
        self, user: str, order_id: str, outcome: ClientOutcome, measurement: Measurement
    ) -> Receipt | None:
        """Returns the receipt, if the order is settled. A second report of an order changes nothing.

        A failure also asks the agent to stop: its client does not want the order any more. Raises UnknownOrder.
        """
        hold = await self._own_hold(user, order_id)
        receipt = await self._settlement.receipt(hold)
        if order_id not in self._reported:
            _remember(self._reported, order_id, None)
            report = _Report(outcome, measurement)
            if outcome is not ClientOutcome.COMPLETED:
                self._blame(hold)
            if not await self._conclude(hold, report):
                _remember(self._waiting, order_id, report)
        return receipt

    async def receipt(self, user: str, order_id: str) -> Receipt | None:
        """What the order cost; None until it is settled. Raises UnknownOrder."""
        return await self._settlement.receipt(await self._own_hold(user, order_id))

    async def review(self) -> int:
        """Look again at reports whose orders had not ended, in turn. Returns how many were concluded."""
        concluded = 0
        for order_id in list(islice(self._waiting, _REVIEWED_A_TURN)):
            report = self._waiting.pop(order_id)
            if await self._review(order_id, report):
                concluded += 1
            else:
                self._waiting[order_id] = report
        return concluded

    def take_in(self, contested: Contested) -> None:
        """A word has counted at another node."""
        provider_id = contested.ask_key.partition("/")[0]
        _remember(self._counted, (contested.user, provider_id), self._clock.monotonic_ms())

    async def _review(self, order_id: str, report: _Report) -> bool:
        try:
            hold = await self._ledger.find_hold(order_id)
        except WorldError:
            return False
        return hold is None or await self._conclude(hold, report)

    def _blame(self, hold: Hold) -> None:
        """Count the failure, and let the agent hear that its client does not want the order any more."""
        terms = Terms.from_text(hold.terms)
        self._floor.failed(terms.ask_key, terms.model, hold.order_id)
        if hold.state is HoldState.OPEN:
            self._links.ask_to_cancel(terms.ask_key, terms.model, hold.order_id)

    async def _conclude(self, hold: Hold, report: _Report) -> bool:
        """Let the report count as far as its order bears it out. False: it is too early to tell, or cannot be read."""
        if hold.state is HoldState.OPEN:
            return False
        try:
            await self._count(hold, report)
        except WorldError:
            return False
        return True

    async def _count(self, hold: Hold, report: _Report) -> None:
        terms = Terms.from_text(hold.terms)
        if report.outcome is ClientOutcome.COMPLETED:
            receipt = await self._settlement.receipt(hold)
            latency_us = report.measurement.latency_us
            if receipt is not None and receipt.usage.completion_tokens and latency_us is not None:
                self._floor.sampled(terms.ask_key, terms.model, latency_us, report.measurement.tpot_ns)
        elif await self._is_contested(hold) and not self._may_count(hold):
            self._floor.failure_retracted(terms.ask_key, terms.model, hold.order_id)

    async def _is_contested(self, hold: Hold) -> bool:
        """Whether the provider was there at the order's end, and tells another story than its consumer."""
        if hold.state is HoldState.SETTLED:
            return await self._settlement.outcome(hold) is not Outcome.FAILED
        entry = await self._ledger.find_entry(f"void:{hold.order_id}")
        return entry is not None and entry.detail == REFUSED_BY_PROVIDER

    def _may_count(self, hold: Hold) -> bool:
        """One consumer's word against its provider's: once within the window, at whatever node."""
        who, now_ms = (hold.user, hold.provider), self._clock.monotonic_ms()
        last_ms = self._counted.get(who)
        if last_ms is not None and now_ms - last_ms < self._window_ms:
            return False
        _remember(self._counted, who, now_ms)
        terms = Terms.from_text(hold.terms)
        self._announce(Contested(terms.ask_key, terms.model, hold.user))
        return True

    async def _own_hold(self, user: str, order_id: str) -> Hold:
        hold = await self._ledger.find_hold(order_id)
        if hold is None or hold.user != user:
            raise UnknownOrder(f"you have no order {order_id}", order_id=order_id)
        return hold


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    """Keep the latest `_REMEMBERED`."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)
