"""The trading floor: the book and the registry of sellers kept in step, and the claims of orders under way.

Every change of a seller's health or figures reaches the book through here. Reports are collected and applied in one
call of the core before the book is next read. What concerns other nodes is announced to them; what they announced is
taken in by `take_in`, the same way but in silence.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from gollem.clock import Clock
from gollem.market import Ask, Bid, Block, Depth, Match, OrderBook, Quote, Rejection, Report
from gollem.nodes import (
    Began,
    Change,
    Ended,
    Ending,
    FailureReported,
    FailureRetracted,
    Heard,
    Lease,
    Placed,
    Removed,
    Sampled,
    Sent,
)
from gollem.providers import Change as Verdict
from gollem.providers import Gauge, Promise, Registry, What

_FAILURES_REMEMBERED = 100_000
_EARLY_REMEMBERED = 10_000


def _nobody(change: Change) -> None:
    pass


@dataclass(slots=True)
class Claim:
    """Capacity that an order under way takes from an ask. `fence` is of its lease; 0 if another node has that."""

    order_id: str
    ask_key: str
    model: str
    tokens: int
    fence: int = 0
    started: bool = False

    @property
    def provider_id(self) -> str:
        return _provider(self.ask_key)

    @property
    def lease(self) -> Lease:
        return Lease(self.order_id, self.ask_key, self.model, self.tokens, self.fence)


class Floor:
    """Synchronous throughout: what one call decides, no other call interleaves with."""

    def __init__(
        self, book: OrderBook, registry: Registry, clock: Clock, announce: Callable[[Change], None] = _nobody
    ) -> None:
        """`announce` tells the other nodes."""
        self._book = book
        self._registry = registry
        self._clock = clock
        self._announce = announce
        self._own: dict[str, int] = {}  # asks whose agents report here, by when the others last heard of their terms
        self._dirty: dict[str, None] = {}
        self._claims: dict[str, Claim] = {}
        self._claims_of: dict[str, dict[str, Claim]] = {}
        self._undecided: dict[str, list[int]] = {}  # tokens of matches that are neither confirmed nor undone
        self._on_room: Callable[[str], None] = lambda model: None
        self._asks_of: dict[str, set[str]] = {}
        self._models: Counter[str] = Counter()
        self._failed: OrderedDict[str, int] = OrderedDict()
        self._early: OrderedDict[str, str] = OrderedDict()  # orders that began before they were heard of, by whom

    def on_room(self, callback: Callable[[str], None]) -> None:
        """`callback(model)` whenever an ask of the model may have become matchable."""
        self._on_room = callback

    # --- asks -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._book)

    def models(self) -> list[str]:
        """Models with an ask in the book, sorted."""
        return sorted(self._models)

    def asks_of(self, provider_id: str) -> list[str]:
        """Keys of the provider's asks, sorted."""
        return sorted(self._asks_of.get(provider_id, ()))

    def ask(self, key: str) -> Ask | None:
        return self._book.ask(key)

    def is_own(self, key: str) -> bool:
        """Whether the ask's agent reports to this node, as far as is known."""
        return key in self._own

    def foreign(self) -> list[Ask]:
        """Asks whose agents report to other nodes."""
        asks = (self._book.ask(key) for keys in self._asks_of.values() for key in keys - self._own.keys())
        return [ask for ask in asks if ask is not None]

    def promise(self, key: str) -> Promise | None:
        """What the ask's provider says of it now."""
        seller = self._registry.seller(key)
        return seller.promise if seller else None

    def place(self, ask: Ask, per_minute: int | None) -> None:
        """Add or change an ask."""
        old = self._book.ask(ask.key)
        self._place(ask, per_minute)
        if old is not None and old.model != ask.model:
            self._announce(Removed(ask.key, old.model))
        self._claim_as_own(ask, per_minute)

    def _place(self, ask: Ask, per_minute: int | None, age_ms: int = 0) -> None:
        """One that is new takes over the claims of orders that run there, or are about to."""
        old = self._book.ask(ask.key)
        self._book.place(ask)
        self._asks_of.setdefault(ask.provider_id, set()).add(ask.key)
        self._models[ask.model] += 1
        if old is not None:
            self._uncount(old.model)
        else:
            for claim in self._claims_of.get(ask.key, {}).values():
                self._book.claim(ask.key, claim.tokens)
            for tokens in self._undecided.get(ask.key, ()):
                self._book.claim(ask.key, tokens)
        promise = Promise(ask.latency_us, ask.tpot_ns, ask.capacity_tokens, ask.capacity_slots)
        offering = f"{ask.model}/{ask.gpu_type}"
        changes = self._registry.register(
            ask.key, ask.provider_id, offering, promise, per_minute, self._clock.monotonic_ms(), age_ms
        )
        self._dirty[ask.key] = None
        self.apply(changes)
        self._on_room(ask.model)

    def reprice(self, ask: Ask) -> None:
        """Change an ask's price and nothing of its seller."""
        self._book.place(ask)
        self._dirty[ask.key] = None
        self._on_room(ask.model)
        self._claim_as_own(ask, self._registry.per_minute(ask.key))

    def remove(self, key: str) -> bool:
        ask = self._book.ask(key)
        if ask is None:
            return False
        self.drop(key)
        self._announce(Removed(key, ask.model))
        return True

    def drop(self, key: str) -> None:
        """Take the ask out here, and tell nobody."""
        self._registry.remove(key)
        self._take_out(key)

    def heard(self, key: str, sequence: int, promise: Promise, gauge: Gauge) -> bool:
        """A report of the ask's agent. False if it is not newer than the last."""
        if not self._heard(key, sequence, promise, gauge):
            return False
        if ask := self._book.ask(key):
            if self._is_to_be_placed_again(key):
                self._claim_as_own(ask, self._registry.per_minute(key))
            self._announce(Heard(key, ask.model, sequence, promise, gauge))
        return True

    def _heard(self, key: str, sequence: int, promise: Promise, gauge: Gauge, age_ms: int = 0) -> bool:
        changes = self._registry.heard(key, sequence, promise, gauge, self._clock.monotonic_ms(), age_ms)
        if changes is None:
            return False
        self._dirty[key] = None
        self.apply(changes)
        if ask := self._book.ask(key):
            self._on_room(ask.model)
        return True

    def tick(self) -> None:
        """Let time take effect: silence, circuits, rate limits, ageing samples."""
        self.apply(self._registry.tick(self._clock.monotonic_ms()))

    def apply(self, changes: Iterable[Verdict]) -> None:
        """Carry out what the registry decided."""
        for change in changes:
            match change.what:
                case What.BLOCKED:
                    self._book.block(change.key, Block(_reason(change)))
                case What.UNBLOCKED:
                    self._book.unblock(change.key, Block(_reason(change)))
                    if ask := self._book.ask(change.key):
                        self._on_room(ask.model)
                case What.REMEASURED:
                    self._dirty[change.key] = None
                case What.FORGOTTEN:
                    self._forget(change.key)

    def failed(self, ask_key: str, model: str, order_id: str) -> None:
        """The order's client says that it failed."""
        self._failed_once(_provider(ask_key), order_id)
        self._announce(FailureReported(ask_key, model, order_id))

    def failure_retracted(self, ask_key: str, model: str, order_id: str) -> None:
        """The order turned out not to have failed, or not by its provider's fault."""
        self._retract(_provider(ask_key), order_id)
        self._announce(FailureRetracted(ask_key, model, order_id))

    def _failed_once(self, provider_id: str, order_id: str) -> None:
        """Counts once an order, whoever tells: its provider, its client, or both."""
        if order_id in self._failed:
            return
        now_ms = self._clock.monotonic_ms()
        self._failed[order_id] = now_ms
        if len(self._failed) > _FAILURES_REMEMBERED:
            self._failed.popitem(last=False)
        self.apply(self._registry.order_failed(provider_id, now_ms))

    def _retract(self, provider_id: str, order_id: str) -> None:
        at_ms = self._failed.get(order_id)
        if at_ms is not None:
            self.apply(self._registry.failure_retracted(provider_id, at_ms, self._clock.monotonic_ms()))

    def sampled(self, key: str, model: str, latency_us: int, tpot_ns: int | None) -> None:
        """What a client measured of an order of this ask."""
        self._sampled(key, latency_us, tpot_ns)
        self._announce(Sampled(key, model, latency_us, tpot_ns))

    def _sampled(self, key: str, latency_us: int, tpot_ns: int | None) -> None:
        self.apply(self._registry.sampled(key, latency_us, tpot_ns, self._clock.monotonic_ms()))

    def blocks(self, key: str) -> frozenset[Block]:
        return self._book.blocks(key)

    # --- matching ---------------------------------------------------------------------------------------------------

    def match(self, bid: Bid, alternates: int) -> Match | Rejection:
        """Pick and claim. A match must be followed by `confirm` or `undo`."""
        self._flush()
        result = self._book.match(bid, alternates)
        if isinstance(result, Match):
            self._undecided.setdefault(result.offer.ask.key, []).append(result.claimed_tokens)
            self.apply(self._registry.order_sent(result.offer.ask.key, self._clock.monotonic_ms()))
        return result

    def confirm(self, claim: Claim) -> None:
        """A match is committed, or may be: its order's claim stays until `release`, and replaces an earlier one."""
        self._decide(claim.ask_key, claim.tokens)
        self._keep(claim)
        self._announce(Sent(claim.ask_key, claim.model, claim.order_id, claim.tokens))

    def undo(self, match: Match) -> None:
        """The order was not committed: give everything back."""
        key = match.offer.ask.key
        self._decide(key, match.claimed_tokens)
        self.apply(self._registry.order_withdrawn(key, self._clock.monotonic_ms()))
        self._give_back(key, match.claimed_tokens)

    def began(self, key: str, order_id: str) -> bool:
        """The ask's agent serves the order. False if it is not known here, or another provider's."""
        if ask := self._book.ask(key):
            self._announce(Began(key, ask.model, order_id))
        return self._began(key, order_id)

    def _began(self, key: str, order_id: str) -> bool:
        claim = self._claims.get(order_id)
        if claim is None:
            self._early[order_id] = _provider(key)
            if len(self._early) > _EARLY_REMEMBERED:
                self._early.popitem(last=False)
            return False
        claim.started = claim.started or claim.provider_id == _provider(key)
        return claim.provider_id == _provider(key)

    def lower(self, key: str, free_tokens: int, free_slots: int) -> None:
        """Other nodes have taken more of the ask than is known here: it has this much left, until more is heard."""
        tokens, slots = self._claimed(key)
        if (seller := self._registry.seller(key)) is not None:
            latency_us, tpot_ns, measured = seller.figures
            self._dirty.pop(key, None)
            left = Report(key, latency_us, tpot_ns, measured, tokens + free_tokens, slots + free_slots)
            self._book.update([left])

    def restore(self, claim: Claim) -> None:
        """An order that is open, and not by a match of this process as far as it knows."""
        self._keep(claim)
        self._book.claim(claim.ask_key, claim.tokens)

    def claim(self, order_id: str) -> Claim | None:
        return self._claims.get(order_id)

    def claims(self) -> int:
        return len(self._claims)

    def next_claims(self, limit: int) -> list[str]:
        """Orders with claims, at most `limit`, in turn: those not named for longest first."""
        order_ids = list(islice(self._claims, limit))
        for order_id in order_ids:
            self._claims[order_id] = self._claims.pop(order_id)
        return order_ids

    def release(self, order_id: str) -> None:
        """The order has ended. Idempotent."""
        claim = self._claims.pop(order_id, None)
        if claim is None:
            return
        orders = self._claims_of[claim.ask_key]
        del orders[order_id]
        if not orders:
            del self._claims_of[claim.ask_key]
        self._give_back(claim.ask_key, claim.tokens)

    def ended(self, ended: Ended) -> None:
        """The order is closed in the ledger. Idempotent."""
        self._ended(ended)
        self._announce(ended)

    def _ended(self, ended: Ended) -> None:
        self.release(ended.order_id)
        provider_id = _provider(ended.ask_key)
        match ended.ending:
            case Ending.SUCCEEDED:
                self.apply(self._registry.order_succeeded(provider_id, self._clock.monotonic_ms()))
            case Ending.FAILED:
                self._failed_once(provider_id, ended.order_id)
            case Ending.WITHDRAWN:
                self.apply(self._registry.order_withdrawn(ended.ask_key, self._clock.monotonic_ms()))
            case Ending.CLOSED:
                pass

    def quote(self, bid: Bid) -> Quote:
        self._flush()
        return self._book.quote(bid)

    def depth(self, model: str) -> Depth:
        self._flush()
        return self._book.depth(model)

    # --- what other nodes announce ----------------------------------------------------------------------------------

    def take_in(self, change: Change) -> None:
        """The same, said by another node. Raises InvalidField, UnknownModel for an ask that has no place here."""
        match change:
            case Placed(ask, per_minute, age_ms):
                self._placed_elsewhere(ask, per_minute, age_ms)
            case Heard(key, _, sequence, promise, gauge, age_ms):
                if self._registry.seller(key) is not None:
                    self._heard(key, sequence, promise, gauge, age_ms)
            case Removed(key, model):
                if (known := self._book.ask(key)) is not None and known.model == model:
                    self.drop(key)
            case Sampled(key, _, latency_us, tpot_ns):
                self._sampled(key, latency_us, tpot_ns)
            case Sent(key, model, order_id, tokens):
                self._sent(Claim(order_id, key, model, tokens))
            case Began(key, _, order_id):
                self._began(key, order_id)
            case Ended():
                self._ended(change)
                self._dirty[change.ask_key] = None  # what was said to be left of it is past
            case FailureReported(key, _, order_id):
                self._failed_once(_provider(key), order_id)
            case FailureRetracted(key, _, order_id):
                self._retract(_provider(key), order_id)

    def _placed_elsewhere(self, ask: Ask, per_minute: int | None, age_ms: int) -> None:
        """Its agent has gone there; unless it came here since, and that news is late. Others may be misled, too."""
        placed_ms, known = self._own.get(ask.key), self._book.ask(ask.key)
        if placed_ms is None or known is None or self._clock.monotonic_ms() - placed_ms >= age_ms:
            self._own.pop(ask.key, None)
            self._place(ask, per_minute, age_ms)
        elif known != ask:
            self._claim_as_own(known, self._registry.per_minute(ask.key))

    def _sent(self, claim: Claim) -> None:
        if claim.order_id not in self._claims:
            self.restore(claim)
            self.apply(self._registry.order_sent(claim.ask_key, self._clock.monotonic_ms()))
            self._dirty[claim.ask_key] = None

    # --- inside -----------------------------------------------------------------------------------------------------

    def _claim_as_own(self, ask: Ask, per_minute: int | None) -> None:
        self._own[ask.key] = self._clock.monotonic_ms()
        self._announce(Placed(ask, per_minute))

    def _is_to_be_placed_again(self, key: str) -> bool:
        """If its agent has come over from another node; and now and then, for nodes that were cut off for so long that
        they have forgotten it."""
        placed_ms = self._own.get(key)
        return placed_ms is None or self._clock.monotonic_ms() - placed_ms > self._registry.forget_after_ms // 2

    def _forget(self, key: str) -> None:
        """Its agent has been silent for too long; whose agent that is, tells."""
        ask, was_own = self._book.ask(key), key in self._own
        self._take_out(key)
        if ask is not None and was_own:
            self._announce(Removed(key, ask.model))

    def _claimed(self, key: str) -> tuple[int, int]:
        """Tokens and slots that orders take of this ask, as far as is known here."""
        tokens = [claim.tokens for claim in self._claims_of.get(key, {}).values()] + self._undecided.get(key, [])
        return sum(tokens), len(tokens)

    def _decide(self, key: str, tokens: int) -> None:
        undecided = self._undecided[key]
        undecided.remove(tokens)
        if not undecided:
            del self._undecided[key]

    def _keep(self, claim: Claim) -> None:
        self.release(claim.order_id)
        if self._early.pop(claim.order_id, None) == claim.provider_id:
            claim.started = True
        self._claims[claim.order_id] = claim
        self._claims_of.setdefault(claim.ask_key, {})[claim.order_id] = claim

    def _give_back(self, key: str, tokens: int) -> None:
        self._book.release(key, tokens)
        if ask := self._book.ask(key):
            self._on_room(ask.model)

    def _take_out(self, key: str) -> bool:
        self._dirty.pop(key, None)
        self._own.pop(key, None)
        ask = self._book.ask(key)
        if ask is not None:
            keys = self._asks_of[ask.provider_id]
            keys.discard(key)
            if not keys:
                del self._asks_of[ask.provider_id]
            self._uncount(ask.model)
        return self._book.remove(key)

    def _uncount(self, model: str) -> None:
        self._models[model] -= 1
        if not self._models[model]:
            del self._models[model]

    def _flush(self) -> None:
        """Bring collected reports into the book."""
        if not self._dirty:
            return
        reports = []
        for key in self._dirty:
            if (seller := self._registry.seller(key)) is not None:
                latency_us, tpot_ns, measured = seller.figures
                promise = seller.promise
                reports.append(
                    Report(key, latency_us, tpot_ns, measured, promise.capacity_tokens, promise.capacity_slots)
                )
        self._dirty.clear()
        self._book.update(reports)


def _provider(ask_key: str) -> str:
    return ask_key.partition("/")[0]


def _reason(change: Verdict) -> str:
    assert change.reason is not None, change
    return change.reason.value
