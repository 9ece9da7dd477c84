"""What happened lately on this server's floor: trades, and how many bids were refused for what. In memory and bounded:
it begins anew with each start, and money depends on none of it."""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gollem.clock import Clock
from gollem.market import Bid, Offer, Rejection

MAX_TRADES = 1_000
MAX_BIDS_A_MODEL = 256
MINUTE_MS = 60_000
MINUTES = 60


@dataclass(frozen=True, slots=True)
class Trade:
    """A bid and the ask that it was matched with, as the book had it."""

    at_ms: int
    bid: Bid
    offer: Offer


@dataclass(frozen=True, slots=True)
class SeenBid:
    """A bid and what it was matched with; None: nothing would do."""

    at_ms: int
    bid: Bid
    winner: Offer | None


@dataclass(slots=True)
class BidTally:
    """Of one model: bids matched and refused, and of the latter how many each limit kept an ask from."""

    matched: int = 0
    refused: int = 0
    limited_by: Counter[str] = field(default_factory=Counter)

    def add(self, other: "BidTally") -> None:
        self.matched += other.matched
        self.refused += other.refused
        self.limited_by.update(other.limited_by)


class Tape:
    """The models are the catalogue's, which bounds them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_ms = clock.now_ms()
        self._trades: deque[Trade] = deque(maxlen=MAX_TRADES)
        self._bids: dict[str, deque[SeenBid]] = {}
        self._minutes: OrderedDict[int, dict[str, BidTally]] = OrderedDict()

    def matched(self, bid: Bid, offer: Offer) -> None:
        """The order is committed."""
        self._trades.append(Trade(self._clock.now_ms(), bid, offer))
        self._saw(bid, offer)
        self._tally(bid.model).matched += 1

    def refused(self, bid: Bid, rejection: Rejection) -> None:
        """No ask would do for it."""
        self._saw(bid, None)
        tally = self._tally(bid.model)
        tally.refused += 1
        tally.limited_by.update(rejection.excluded_by.keys())

    def trades(self, model: str, limit: int) -> list[Trade]:
        """Newest first; empty `model`: of all."""
        wanted = (trade for trade in reversed(self._trades) if model in ("", trade.bid.model))
        return [trade for trade, _ in zip(wanted, range(limit), strict=False)]

    def bids(self, model: str) -> list[SeenBid]:
        """Newest first, at most MAX_BIDS_A_MODEL."""
        return list(reversed(self._bids.get(model, ())))

    def tallies(self) -> dict[str, BidTally]:
        """By model, of the last hour."""
        self._forget()
        return _sums(self._minutes.values())

    def since_ms(self) -> int:
        """The moment from which tallies count."""
        return max(self._since_ms, (self._clock.now_ms() // MINUTE_MS - MINUTES + 1) * MINUTE_MS)

    def _saw(self, bid: Bid, winner: Offer | None) -> None:
        seen = self._bids.setdefault(bid.model, deque(maxlen=MAX_BIDS_A_MODEL))
        seen.append(SeenBid(self._clock.now_ms(), bid, winner))

    def _tally(self, model: str) -> BidTally:
        minute = self._clock.now_ms() // MINUTE_MS
        if minute not in self._minutes:
            self._forget()
        return self._minutes.setdefault(minute, {}).setdefault(model, BidTally())

    def _forget(self) -> None:
        oldest = self._clock.now_ms() // MINUTE_MS - MINUTES + 1
        for minute in [minute for minute in self._minutes if minute < oldest]:
            del self._minutes[minute]
        while len(self._minutes) > MINUTES:  # a clock that ran back
            self._minutes.popitem(last=False)


def _sums(minutes: Iterable[dict[str, BidTally]]) -> dict[str, BidTally]:
    sums: dict[str, BidTally] = {}
    for minute in minutes:
        for model, tally in minute.items():
            sums.setdefault(model, BidTally()).add(tally)
    return dict(sorted(sums.items()))
