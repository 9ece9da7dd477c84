"""Bids rest in price-time priority, within their number, until their time comes."""

import random

import pytest

from gollem.errors import InvariantBroken, TooManyStreams
from gollem.market import Resting, RestingBids
from gollem.market.types import Bid


def resting(order_id: str, price: int | None = None, expires_at_ms: int = 100, model: str = "m") -> Resting:
    return Resting(order_id, Bid(model, 1, 1, max_price_ticks=price), expires_at_ms)


def order(bids: RestingBids, model: str = "m") -> list[str]:
    return [one.order_id for one in bids.candidates(model)]


def test_the_highest_limit_comes_first_and_none_before_any() -> None:
    bids = RestingBids(10)
    for order_id, price in (("a", 5), ("b", None), ("c", 7), ("d", 5), ("e", None), ("f", 10**20)):
        bids.add(resting(order_id, price))
    assert order(bids) == ["b", "e", "f", "c", "a", "d"]
    assert order(bids, "another") == []


def test_models_do_not_mix() -> None:
    bids = RestingBids(10)
    bids.add(resting("a"))
    bids.add(resting("b", model="n"))
    assert (order(bids, "m"), order(bids, "n")) == (["a"], ["b"])
    assert (bids.count("m"), bids.count("n"), bids.count("o"), len(bids)) == (1, 1, 0, 2)


def test_the_number_is_bounded() -> None:
    bids = RestingBids(2)
    bids.add(resting("a"))
    bids.add(resting("b"))
    with pytest.raises(TooManyStreams) as caught:
        bids.add(resting("c"))
    assert caught.value.figures == {"limit": "2"}
    bids.cancel("a")
    bids.add(resting("c"))
    assert order(bids) == ["b", "c"]


def test_an_order_rests_once() -> None:
    bids = RestingBids(2)
    bids.add(resting("a"))
    with pytest.raises(InvariantBroken):
        bids.add(resting("a"))


def test_cancelling() -> None:
    bids = RestingBids(2)
    bids.add(resting("a"))
    assert bids.get("a") == resting("a")
    assert bids.cancel("a") == resting("a")
    assert bids.cancel("a") is None
    assert bids.get("a") is None
    assert len(bids) == 0


def test_expiry_is_at_the_deadline_and_in_its_order() -> None:
    bids = RestingBids(10)
    for order_id, at in (("a", 30), ("b", 10), ("c", 20), ("d", 20)):
        bids.add(resting(order_id, expires_at_ms=at))
    assert bids.next_expiry_ms() == 10
    assert bids.expire(9) == []
    assert [one.order_id for one in bids.expire(20)] == ["b", "c", "d"]
    assert bids.next_expiry_ms() == 30
    assert order(bids) == ["a"]


def test_a_bid_that_rests_again_has_its_new_deadline() -> None:
    bids = RestingBids(10)
    bids.add(resting("a", expires_at_ms=10))
    bids.cancel("a")
    bids.add(resting("a", expires_at_ms=50))
    assert bids.next_expiry_ms() == 50
    assert bids.expire(49) == []
    assert [one.order_id for one in bids.expire(50)] == ["a"]
    assert bids.next_expiry_ms() is None


def test_the_same_as_sorting_under_churn() -> None:
    random_ = random.Random(11)
    bids, plain = RestingBids(1_000), {}
    for number in range(5_000):
        one = resting(str(number), random_.choice([None, 1, 2, 3]), random_.randrange(number, number + 400))
        bids.add(one)
        plain[one.order_id] = one
        if random_.random() < 0.7 and plain:
            gone = random_.choice(list(plain))
            assert bids.cancel(gone) == plain.pop(gone)
        expired = {one.order_id for one in bids.expire(number)}
        assert expired == {key for key, one in plain.items() if one.expires_at_ms <= number}
        plain = {key: one for key, one in plain.items() if key not in expired}
    wanted = sorted(plain.values(), key=lambda r: (-(r.bid.max_price_ticks or 9), int(r.order_id)))
    assert order(bids) == [one.order_id for one in wanted]
    assert len(bids._deadlines) <= 2 * len(bids) + 64


def test_bids_that_left_leave_nothing() -> None:
    bids = RestingBids(10)
    for number in range(1_000):
        bids.add(resting(str(number), expires_at_ms=10**9))
        bids.cancel(str(number))
    assert len(bids._deadlines) <= 64
    assert not bids._queues
