"""The order book and what became of bids."""

from collections.abc import Iterable

from gollem.exchange import Floor, Tally, WaitingRoom
from gollem.observability import Sample, metrics
from gollem.units import TICKS_PER_USD


def depth(floor: Floor, waiting: WaitingRoom) -> Iterable[Sample]:
    """Models with an ask; they are the catalogue's, so that there are few."""
    for model in floor.models():
        book, resting = floor.depth(model), waiting.resting(model)
        yield Sample(metrics.BOOK_DEPTH, book.live_asks, (model, "ask"))
        yield Sample(metrics.BOOK_DEPTH, resting, (model, "bid"))
        yield Sample(metrics.BOOK_BLOCKED, book.blocked_asks, (model,))
        yield Sample(metrics.BOOK_FREE_TOKENS, book.free_tokens, (model,))
        yield Sample(metrics.BOOK_FREE_SLOTS, book.free_slots, (model,))
        yield Sample(metrics.BOOK_FRONT, book.front_size, (model,))
        yield from _prices(model, book.best_price_ticks, waiting.best_price_ticks(model))


def _prices(model: str, ask_ticks: int | None, bid_ticks: int | None) -> Iterable[Sample]:
    if ask_ticks is not None:
        yield Sample(metrics.BOOK_BEST_ASK, ask_ticks / TICKS_PER_USD, (model,))
    if bid_ticks is not None:
        yield Sample(metrics.BOOK_BEST_BID, bid_ticks / TICKS_PER_USD, (model,))
    if ask_ticks is not None and bid_ticks is not None:
        yield Sample(metrics.BOOK_SPREAD, (ask_ticks - bid_ticks) / TICKS_PER_USD, (model,))


def bids(tally: Tally) -> Iterable[Sample]:
    for model, count in tally.matches.items():
        yield Sample(metrics.MATCHES, count, (model,))
    for labels, count in tally.refusals.items():
        yield Sample(metrics.REFUSALS, count, labels)
    for labels, count in tally.refusals_by_limit.items():
        yield Sample(metrics.REFUSALS_BY_LIMIT, count, labels)
