"""What a provider is told of its ask is what the book would do."""

from dataclasses import replace

from hypothesis import assume, given, settings

from gollem.market import Chances, Match, MemoryBook
from gollem.market.types import MAX_LATENCY_US, MAX_PRICE_TICKS, MAX_TPOT_NS, Ask, Bid, Offer
from tests.market.worlds import ASKS, BIDS, CATALOGUE

EXAMPLES = settings(max_examples=150, deadline=None)


def of_one_model(ask: Ask, *others: Ask) -> list[Ask]:
    return [replace(other, model=ask.model, provider_id="other", ask_id="a") for other in others]


def book_of(*asks: Ask) -> MemoryBook:
    """The first is the oldest."""
    book = MemoryBook(CATALOGUE)
    for ask in asks:
        book.place(ask)
    return book


def winner(bid: Bid, *asks: Ask) -> Offer | None:
    found = book_of(*asks).match(bid, 0)
    return found.offer if isinstance(found, Match) else None


def chances(ask: Ask) -> Chances:
    return Chances(ask, ask.latency_us, ask.tpot_ns, CATALOGUE)


@EXAMPLES
@given(ask=ASKS, bid=BIDS)
def test_the_limits_that_it_does_not_meet_are_those_of_a_refusal(ask: Ask, bid: Bid) -> None:
    bid = replace(bid, model=ask.model)
    refused = book_of(ask).quote(bid).rejection.excluded_by
    assert set(chances(ask).judge(bid, None).excluded_by) == set(refused)


@EXAMPLES
@given(ask=ASKS, other=ASKS, bid=BIDS)
def test_it_wins_what_it_would_be_matched_with(ask: Ask, other: Ask, bid: Bid) -> None:
    bid, ask = replace(bid, model=ask.model), replace(ask, provider_id="mine")
    [other] = of_one_model(ask, other)
    found = winner(bid, other, ask)
    won = found is not None and found.ask.key == ask.key
    assert chances(ask).judge(bid, winner(bid, other)).won == won


@EXAMPLES
@given(ask=ASKS, other=ASKS, bid=BIDS)
def test_what_is_said_to_win_wins_and_nothing_worse_does(ask: Ask, other: Ask, bid: Bid) -> None:
    bid, ask = replace(bid, model=ask.model), replace(ask, provider_id="mine", credit_rate_atoms=0)
    [other] = of_one_model(ask, other)
    before = winner(bid, other)
    verdict = chances(ask).judge(bid, before)
    assume(not verdict.won)

    def wins(changed: Ask) -> bool:
        return chances(changed).judge(bid, before).won

    def priced(ticks: int) -> Ask:
        completion = min(max(ticks * ask.completion_price_ticks // ask.price_ticks, 1), MAX_PRICE_TICKS)
        return replace(ask, price_ticks=ticks, completion_price_ticks=completion)

    trials = (
        (verdict.price_ticks, priced, MAX_PRICE_TICKS),
        (verdict.latency_us, lambda us: replace(ask, latency_us=us), MAX_LATENCY_US),
        (verdict.tpot_ns, lambda ns: replace(ask, tpot_ns=ns), MAX_TPOT_NS),
    )
    for figure, changed, most in trials:
        if figure is None:
            assert not wins(changed(1))
        else:
            assert wins(changed(figure))
            assert figure == most or not wins(changed(figure + 1))


def test_an_order_that_it_got_is_its_own() -> None:
    ask = Ask("p", "a", "big", "cpu", 1, 1, 0, 1, 1, 10, 1, "127.0.0.1:1")
    bid = Bid("big", 1, 1, max_price_ticks=1)
    got = winner(bid, ask)
    dearer = replace(ask, price_ticks=9)
    assert chances(dearer).judge(bid, got).won
    assert not chances(replace(dearer, ask_id="b")).judge(bid, got).won
