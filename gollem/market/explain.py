"""Why an ask does not get a bid, and what would: the rules of the core for one ask, pure and exact.

The core (`_core.Book.census`, `Book.match`) decides; this says the same of a single ask, so that its provider can be
told. `tests/market/test_explain.py` holds the two together.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gollem.market.catalogue import Catalogue
from gollem.market.pricing import Scales, cost_units, max_cost_units, reserve_units, scales
from gollem.market.types import MAX_LATENCY_US, MAX_PRICE_TICKS, MAX_TPOT_NS, Ask, Bid, Offer

_Rank = tuple[int, int, int, int]  # score, cost units, latency, time per token: the least wins


@dataclass(frozen=True, slots=True)
class Verdict:
    """`excluded_by` are the bid's limits that the ask does not meet, in the order of the core; `won`: it would be
    picked. Each of the others is the worst figure at which, all else as it is, it would be; None if there is none, or
    if it is picked already."""

    excluded_by: tuple[str, ...]
    won: bool
    price_ticks: int | None = None
    latency_us: int | None = None
    tpot_ns: int | None = None


class Chances:
    """One ask before bids for its model, all of its capacity free. `latency_us` and `tpot_ns` are the figures that the
    book uses."""

    def __init__(self, ask: Ask, latency_us: int, tpot_ns: int, catalogue: Catalogue) -> None:
        self._ask = ask
        self._latency_us = latency_us
        self._tpot_ns = tpot_ns
        self._catalogue = catalogue
        self._model = catalogue.resolve(ask.model)
        self._gpu_centi = catalogue.gpu(ask.gpu_type)

    def judge(self, bid: Bid, winner: Offer | None) -> Verdict:
        """`winner` is what the bid was matched with; None: nothing. Of two asks that are alike the older wins: this one
        counts as the younger."""
        if winner is not None and winner.ask.key == self._ask.key:
            return Verdict((), won=True)
        return _Trial(self, bid, winner).verdict()


class _Trial:
    """One bid: what does not depend on the figure that is tried is reckoned once."""

    def __init__(self, chances: Chances, bid: Bid, winner: Offer | None) -> None:
        self._ask, self._model, self._gpu_centi = chances._ask, chances._model, chances._gpu_centi
        self._latency_us, self._tpot_ns = chances._latency_us, chances._tpot_ns
        self._bid = bid
        self._tokens = bid.prompt_tokens + bid.max_tokens
        self._scales: Scales = scales(bid, self._model)
        self._to_beat = self._rank_of(winner, chances._catalogue.gpu(winner.ask.gpu_type)) if winner else None
        by_price = None if bid.max_price_ticks is None else bid.max_price_ticks * self._tokens * self._gpu_centi
        by_cost = max_cost_units(bid.max_cost_atoms, self._model.multiplier_micro)
        self._price_units, self._cost_units = by_price, by_cost
        self._most_units = by_cost if by_price is None else min(by_price, by_cost)
        self._most_latency_us = MAX_LATENCY_US if bid.max_latency_us is None else bid.max_latency_us
        self._most_tpot_ns = MAX_TPOT_NS if bid.max_tpot_ns is None else bid.max_tpot_ns

    def verdict(self) -> Verdict:
        fails = self._fails()
        if not fails and self._wins(self._units(self._ask.price_ticks), self._latency_us, self._tpot_ns):
            return Verdict((), won=True)
        return Verdict(
            tuple(fails),
            won=False,
            price_ticks=self._by_price() if set(fails) <= {"price", "cost"} else None,
            latency_us=self._by_latency() if set(fails) <= {"latency"} else None,
            tpot_ns=self._by_throughput() if set(fails) <= {"throughput"} else None,
        )

    def _fails(self) -> list[str]:
        """The bid's limits that the ask does not meet, by the names that a refusal gives them."""
        ask, bid, units = self._ask, self._bid, self._units(self._ask.price_ticks)
        listed = not bid.only_providers or ask.provider_id in bid.only_providers
        fails = {
            "price": self._price_units is not None and units > self._price_units,
            "cost": units > self._cost_units,
            "latency": self._latency_us > self._most_latency_us,
            "throughput": self._tpot_ns > self._most_tpot_ns,
            "gpu_type": bool(bid.gpu_types) and ask.gpu_type not in bid.gpu_types,
            "provider": not listed or ask.provider_id in bid.exclude_providers,
            "capacity": self._tokens > ask.capacity_tokens or ask.capacity_slots < 1,
            "reserve": units < reserve_units(ask.credit_rate_atoms, self._model.multiplier_micro) * self._tokens,
        }
        return [name for name, is_so in fails.items() if is_so]

    def _by_price(self) -> int | None:
        """The provider's own reserve, which it may lower too, is left aside."""
        return _largest(lambda ticks: self._wins(self._units(ticks), self._latency_us, self._tpot_ns), MAX_PRICE_TICKS)

    def _by_latency(self) -> int | None:
        units = self._units(self._ask.price_ticks)
        return _largest(lambda latency_us: self._wins(units, latency_us, self._tpot_ns), MAX_LATENCY_US)

    def _by_throughput(self) -> int | None:
        units = self._units(self._ask.price_ticks)
        return _largest(lambda tpot_ns: self._wins(units, self._latency_us, tpot_ns), MAX_TPOT_NS)

    def _wins(self, units: int, latency_us: int, tpot_ns: int) -> bool:
        if units > self._most_units or latency_us > self._most_latency_us or tpot_ns > self._most_tpot_ns:
            return False
        return self._to_beat is None or self._rank(units, latency_us, tpot_ns) < self._to_beat

    def _rank(self, units: int, latency_us: int, tpot_ns: int) -> _Rank:
        return self._scales.score(units, latency_us, tpot_ns), units, latency_us, tpot_ns

    def _rank_of(self, winner: Offer, gpu_centi: int) -> _Rank:
        prices = winner.ask.price_ticks, winner.ask.completion_price_ticks
        units = cost_units(*prices, self._bid.prompt_tokens, self._bid.max_tokens, gpu_centi)
        return self._rank(units, winner.latency_us, winner.tpot_ns)

    def _units(self, price_ticks: int) -> int:
        """Cost at this price, the completion price in proportion to it."""
        ask, bid = self._ask, self._bid
        completion = max(price_ticks * ask.completion_price_ticks // ask.price_ticks, 1)
        return cost_units(price_ticks, completion, bid.prompt_tokens, bid.max_tokens, self._gpu_centi)


def _largest(wins: Callable[[int], bool], most: int) -> int | None:
    """What wins at a figure wins at every smaller one."""
    if not wins(1):
        return None
    least, above = 1, most + 1
    while above - least > 1:
        middle = (least + above) // 2
        least, above = (middle, above) if wins(middle) else (least, middle)
    return least
