"""Bids rest in price-time priority, within their number, and leave nothing behind."""

import random

import pytest

from gollem.errors import InvariantBroken, TooManyStreams
from gollem.market import Bid, RestingBids


def bid(price: int | None = None, model: str = "m") -> Bid:
    return Bid(model, 1, 1, max_price_ticks=price)


def test_the_highest_limit_comes_first_and_none_before_any() -> None:
    bids = RestingBids(10)
    for order_id, price in (("a", 5), ("b", None), ("c", 7), ("d", 5), ("e", None), ("f", 10**20)):
        bids.add(order_id, bid(price))
    assert bids.candidates("m") == ["b", "e", "f", "c", "a", "d"]
    assert bids.candidates("another") == []


def test_models_do_not_mix() -> None:
    bids = RestingBids(10)
    bids.add("a", bid())
    bids.add("b", bid(model="n"))
    assert (bids.candidates("m"), bids.candidates("n")) == (["a"], ["b"])
    assert (bids.count("m"), bids.count("n"), bids.count("o"), len(bids)) == (1, 1, 0, 2)


def test_the_number_is_bounded() -> None:
    bids = RestingBids(2)
    bids.add("a", bid())
    bids.add("b", bid())
    with pytest.raises(TooManyStreams) as caught:
        bids.add("c", bid())
    assert caught.value.figures == {"limit": "2"}
    bids.remove("a")
    bids.add("c", bid())
    assert bids.candidates("m") == ["b", "c"]


def test_an_order_rests_once() -> None:
    bids = RestingBids(2)
    bids.add("a", bid())
    with pytest.raises(InvariantBroken):
        bids.add("a", bid())
    assert bids.remove("a")
    assert not bids.remove("a")
    assert "a" not in bids
    bids.add("a", bid())
    assert "a" in bids


def test_the_same_as_sorting_under_churn() -> None:
    dice = random.Random(11)
    bids = RestingBids(5_000)
    plain: dict[str, int | None] = {}
    for number in range(5_000):
        price = dice.choice([None, 1, 2, 3])
        bids.add(str(number), bid(price))
        plain[str(number)] = price
        if dice.random() < 0.9:
            gone = dice.choice(list(plain))
            assert bids.remove(gone)
            del plain[gone]
    wanted = sorted(plain, key=lambda order_id: (-(plain[order_id] or 9), int(order_id)))
    assert bids.candidates("m") == wanted


def test_bids_that_left_leave_nothing() -> None:
    bids = RestingBids(10)
    for number in range(100):
        bids.add(str(number), bid())
        bids.remove(str(number))
    assert not bids._queues
    assert not bids._places
