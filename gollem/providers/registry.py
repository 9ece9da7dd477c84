"""Every ask's seller: when it was last heard, its circuit, its rate limit, its figures. Says what the book must change.

Each method decides and returns the changes; whoever calls applies them. Times are monotonic milliseconds.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum

from gollem.config import ProvidersConfig
from gollem.providers.circuit_breaker import CircuitBreaker, CircuitState, CircuitStatus
from gollem.providers.measurement import Samples
from gollem.providers.rate_limit import SlidingWindow

# Offerings without an ask whose measurements are kept.
_LEFT_KEPT = 10_000


class Reason(Enum):
    """Why an ask must not be matched."""

    SILENT = "silent"
    CIRCUIT_OPEN = "circuit_open"
    RATE_LIMITED = "rate_limited"


class What(Enum):
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    REMEASURED = "remeasured"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Change:
    """What has to happen to one ask in the book. `reason` goes with BLOCKED and UNBLOCKED."""

    key: str
    what: What
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """What a provider says of an ask. Latency in microseconds to the first token, speed in nanoseconds per token."""

    latency_us: int
    tpot_ns: int
    capacity_tokens: int
    capacity_slots: int


@dataclass(frozen=True, slots=True)
class Gauge:
    """What an agent last reported of its model server; None where it does not know.

    `gpus` are (name, utilisation_percent, memory_used_bytes, memory_total_bytes).
    """

    running: int | None = None
    queued: int | None = None
    gpus: tuple[tuple[str, int, int, int], ...] = ()


@dataclass(slots=True)
class Seller:
    """One ask's state. `offering` names what is sold (model and GPU), whatever the ask is called."""

    key: str
    provider_id: str
    offering: str
    promise: Promise
    samples: Samples
    window: SlidingWindow | None
    heard_at_ms: int
    sequence: int = -1
    matched: int = 0
    gauge: Gauge = field(default_factory=Gauge)
    reasons: set[Reason] = field(default_factory=set)
    due_ms: int | None = None
    figures: tuple[int, int, bool] = (0, 0, False)


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many asks there are, and how many of them each reason blocks."""

    asks: int
    blocked: Mapping[Reason, int]


class Registry:
    """All sellers. Memory grows with the asks and the providers, both of which the caller bounds."""

    def __init__(self, config: ProvidersConfig) -> None:
        self._config = config
        self._sellers: dict[str, Seller] = {}
        self._by_provider: dict[str, set[str]] = {}
        self._breakers: dict[str, CircuitBreaker] = {}
        self._timers: list[tuple[int, str]] = []
        self._left: OrderedDict[str, Samples] = OrderedDict()
        self._blocked: Counter[Reason] = Counter()

    def __len__(self) -> int:
        return len(self._sellers)

    def statistics(self) -> Statistics:
        return Statistics(len(self._sellers), {reason: self._blocked[reason] for reason in Reason})

    def providers(self) -> Iterable[str]:
        """Those with an ask, in the order in which they came."""
        return self._by_provider

    @property
    def withdraw_after_ms(self) -> int:
        """Silence after which a provider counts as gone."""
        return self._config.withdraw_after_ms

    @property
    def forget_after_ms(self) -> int:
        """Silence after which an ask is forgotten."""
        return self._config.forget_after_ms

    def seller(self, key: str) -> Seller | None:
        return self._sellers.get(key)

    def sellers_of(self, provider_id: str) -> list[Seller]:
        """By ask key."""
        return [self._sellers[key] for key in sorted(self._by_provider.get(provider_id, ()))]

    def register(
        self,
        key: str,
        provider_id: str,
        offering: str,
        promise: Promise,
        per_minute: int | None,
        now_ms: int,
        age_ms: int = 0,
    ) -> list[Change]:
        """A new ask, or new terms of one that is known, whose history stays. It was said `age_ms` ago.

        A new ask inherits what was measured of the same offering, so that nobody sheds a bad record by a new name.
        """
        seller = self._sellers.get(key)
        if seller is not None and seller.offering != offering:
            self.remove(key)
            seller = None
        if seller is None:
            seller = self._admit(key, provider_id, offering, promise, now_ms - age_ms)
        seller.promise, seller.sequence = promise, -1
        seller.heard_at_ms = max(seller.heard_at_ms, now_ms - age_ms)
        seller.window = _window(seller.window, per_minute)
        return self._review(seller, now_ms)

    def remove(self, key: str) -> bool:
        """Forget an ask. Its provider's circuit stays, and what was measured stays with the offering for a while."""
        seller = self._sellers.pop(key, None)
        if seller is None:
            return False
        self._blocked.subtract(seller.reasons)
        keys = self._by_provider[seller.provider_id]
        keys.discard(key)
        if not keys:
            del self._by_provider[seller.provider_id]
        if len(seller.samples):
            self._left[_left_key(seller.provider_id, seller.offering)] = seller.samples
            if len(self._left) > _LEFT_KEPT:
                self._left.popitem(last=False)
        return True

    def heard(
        self, key: str, sequence: int, promise: Promise, gauge: Gauge, now_ms: int, age_ms: int = 0
    ) -> list[Change] | None:
        """A report that the agent made `age_ms` ago. None if it is not newer than the last one: nothing is taken from
        it."""
        seller = self._sellers[key]
        seller.heard_at_ms = max(seller.heard_at_ms, now_ms - age_ms)
        if sequence <= seller.sequence:
            return None
        seller.sequence, seller.promise, seller.gauge = sequence, promise, gauge
        return self._review(seller, now_ms)

    def is_silent(self, provider_id: str, now_ms: int) -> bool:
        """Whether no ask of this provider has been heard of within the time after which asks are withdrawn."""
        heard = max((seller.heard_at_ms for seller in self.sellers_of(provider_id)), default=None)
        return heard is None or now_ms - heard >= self._config.withdraw_after_ms

    def per_minute(self, key: str) -> int | None:
        """The ask's own rate limit."""
        seller = self._sellers.get(key)
        return seller.window.limit if seller and seller.window else None

    def order_sent(self, key: str, now_ms: int) -> list[Change]:
        """An order was matched to this ask."""
        seller = self._sellers.get(key)
        if seller is None:
            return []
        seller.matched += 1
        self._breakers[seller.provider_id].order_sent(now_ms)
        if seller.window is not None:
            seller.window.add(now_ms)
        return self._review_provider(seller.provider_id, now_ms)

    def order_withdrawn(self, key: str, now_ms: int) -> list[Change]:
        """The match came to nothing before the provider could know of it."""
        seller = self._sellers.get(key)
        if seller is None:
            return []
        seller.matched -= 1
        self._breakers[seller.provider_id].order_withdrawn()
        if seller.window is not None:
            seller.window.undo(now_ms)
        return self._review_provider(seller.provider_id, now_ms)

    def order_succeeded(self, provider_id: str, now_ms: int) -> list[Change]:
        if breaker := self._breakers.get(provider_id):
            breaker.succeeded(now_ms)
        return self._review_provider(provider_id, now_ms)

    def order_failed(self, provider_id: str, now_ms: int) -> list[Change]:
        if breaker := self._breakers.get(provider_id):
            breaker.failed(now_ms)
        return self._review_provider(provider_id, now_ms)

    def failure_retracted(self, provider_id: str, at_ms: int, now_ms: int) -> list[Change]:
        """What was said to have failed at that moment had not."""
        if breaker := self._breakers.get(provider_id):
            breaker.retracted(at_ms)
        return self._review_provider(provider_id, now_ms)

    def sampled(self, key: str, latency_us: int, tpot_ns: int | None, now_ms: int) -> list[Change]:
        """A client measured an order of this ask."""
        seller = self._sellers.get(key)
        if seller is None:
            return []
        seller.samples.add(now_ms, latency_us, tpot_ns)
        return self._review(seller, now_ms)

    def tick(self, now_ms: int) -> list[Change]:
        """What time alone has changed. Costs nothing for asks of which nothing is due."""
        changes: list[Change] = []
        while self._timers and self._timers[0][0] <= now_ms:
            due_ms, key = heapq.heappop(self._timers)
            seller = self._sellers.get(key)
            if seller is not None and seller.due_ms == due_ms:
                seller.due_ms = None
                changes += self._review(seller, now_ms)
        return changes

    def circuit(self, provider_id: str, now_ms: int) -> CircuitStatus | None:
        """None for a provider that never had an ask."""
        breaker = self._breakers.get(provider_id)
        return breaker.status(now_ms) if breaker else None

    def open_circuits(self, now_ms: int) -> int:
        return sum(b.status(now_ms).state is not CircuitState.CLOSED for b in self._breakers.values())

    def _admit(self, key: str, provider_id: str, offering: str, promise: Promise, now_ms: int) -> Seller:
        settings = self._config
        samples = self._left.pop(_left_key(provider_id, offering), None) or self._of_a_sibling(provider_id, offering)
        samples = samples or Samples(settings.samples_kept, settings.samples_max_age_ms)
        seller = Seller(key, provider_id, offering, promise, samples, None, now_ms)
        self._sellers[key] = seller
        self._by_provider.setdefault(provider_id, set()).add(key)
        if provider_id not in self._breakers:
            self._breakers[provider_id] = CircuitBreaker(
                settings.circuit_failures, settings.circuit_window_ms, settings.circuit_open_ms
            )
        return seller

    def _of_a_sibling(self, provider_id: str, offering: str) -> Samples | None:
        """A copy of what was measured of the provider's ask of the same offering that is known best."""
        siblings = [seller.samples for seller in self.sellers_of(provider_id) if seller.offering == offering]
        best = max(siblings, key=len, default=None)
        return deepcopy(best) if best else None

    def _review_provider(self, provider_id: str, now_ms: int) -> list[Change]:
        return [change for seller in self.sellers_of(provider_id) for change in self._review(seller, now_ms)]

    def _review(self, seller: Seller, now_ms: int) -> list[Change]:
        """Compare what holds now with what was last said of this ask."""
        if now_ms - seller.heard_at_ms >= self._config.forget_after_ms:
            self.remove(seller.key)
            return [Change(seller.key, What.FORGOTTEN)]
        reasons = self._reasons(seller, now_ms)
        changes = [Change(seller.key, What.BLOCKED, reason) for reason in sorted_reasons(reasons - seller.reasons)]
        changes += [Change(seller.key, What.UNBLOCKED, reason) for reason in sorted_reasons(seller.reasons - reasons)]
        self._blocked.update(reasons - seller.reasons)
        self._blocked.subtract(seller.reasons - reasons)
        seller.reasons = reasons
        figures = self._figures(seller, now_ms)
        if figures != seller.figures:
            seller.figures = figures
            changes.append(Change(seller.key, What.REMEASURED))
        self._schedule(seller, now_ms)
        return changes

    def _reasons(self, seller: Seller, now_ms: int) -> set[Reason]:
        reasons = set()
        if now_ms - seller.heard_at_ms >= self._config.withdraw_after_ms:
            reasons.add(Reason.SILENT)
        if not self._breakers[seller.provider_id].allows(now_ms):
            reasons.add(Reason.CIRCUIT_OPEN)
        if seller.window is not None and not seller.window.allows(now_ms):
            reasons.add(Reason.RATE_LIMITED)
        return reasons

    def _figures(self, seller: Seller, now_ms: int) -> tuple[int, int, bool]:
        """(latency_us, tpot_ns, measured) as the book is to use them."""
        seller.samples.expire(now_ms)
        measured = seller.samples.measured()
        promise = seller.promise
        if measured is None or measured.samples < self._config.samples_needed:
            return promise.latency_us, promise.tpot_ns, False
        return measured.latency_p95_us, measured.tpot_p50_ns or promise.tpot_ns, True

    def _schedule(self, seller: Seller, now_ms: int) -> None:
        """Make sure that `tick` looks at this ask when something may change by itself."""
        heard = seller.heard_at_ms
        limit = self._config.forget_after_ms if Reason.SILENT in seller.reasons else self._config.withdraw_after_ms
        moments = [heard + limit]
        circuit = self._breakers[seller.provider_id].next_change_ms()
        if Reason.CIRCUIT_OPEN in seller.reasons and circuit is not None:
            moments.append(circuit)
        if Reason.RATE_LIMITED in seller.reasons and seller.window is not None:
            moments.append(now_ms + seller.window.status(now_ms).retry_after_ms)
        if (expiry := seller.samples.next_expiry_ms()) is not None:
            moments.append(expiry)
        due_ms = max(min(moments), now_ms + 1)
        if seller.due_ms is None or due_ms < seller.due_ms:
            seller.due_ms = due_ms
            heapq.heappush(self._timers, (due_ms, seller.key))


def sorted_reasons(reasons: set[Reason]) -> list[Reason]:
    """In the order of their definition, so that the same history gives the same changes."""
    return [reason for reason in Reason if reason in reasons]


def _left_key(provider_id: str, offering: str) -> str:
    return f"{provider_id}/{offering}"


def _window(window: SlidingWindow | None, per_minute: int | None) -> SlidingWindow | None:
    if per_minute is None:
        return None
    return window.with_limit(per_minute) if window else SlidingWindow(per_minute)
