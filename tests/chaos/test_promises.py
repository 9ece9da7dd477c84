"""The proof after a chaos finds what it is there to find: each promise broken once, on paper."""

from dataclasses import replace

import pytest

from tests.chaos.crowd import Crowd, Told
from tests.chaos.model_server import ModelServer
from tests.chaos.promises import Books, Order, broken
from tests.chaos.run import Plan

ORDER = Order("run-c1-1", "p1", opened_ms=100, closed_ms=200, ending="settle", charged_atoms=7)


def found(*orders: Order, answered: str = "", told: str = "p1", served: int = 1, at_once: int = 1) -> list[str]:
    """What is broken, of a world where ORDER was acknowledged and served."""
    crowd = Crowd("run", "127.0.0.1:1", {}, Plan([]))
    crowd.told[ORDER.order_id] = Told("c1", told, degraded=False)
    crowd.answered |= {answered} - {""}
    model = ModelServer(1, 1)
    model.served[ORDER.base_id] = served
    model.most_at_once = at_once
    return broken(Books({order.order_id: order for order in orders}), crowd, model, slots=1)


def test_a_good_world_is_good() -> None:
    assert found(ORDER, answered=ORDER.order_id) == []


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        (found(), "acknowledged, and not in the ledger"),
        (found(ORDER, told="p2"), "told to be p2's"),
        (found(ORDER, served=0), "charged 1 times, served 0 times"),
        (found(ORDER, replace(ORDER, order_id="run-c1-1.2")), "charged 2 times, served 1 times"),
        (found(replace(ORDER, ending="void", charged_atoms=0), answered=ORDER.order_id), "given back as void"),
        (found(ORDER, at_once=2), "a provider served 2 at once"),
    ],
)
def test_a_broken_promise_is_named(faults: list[str], says: str) -> None:
    assert len(faults) == 1
    assert says in faults[0]


def test_an_answer_whose_deadline_passed_may_be_free() -> None:
    assert found(replace(ORDER, ending="expire", charged_atoms=0), answered=ORDER.order_id) == []


def test_what_is_sold_beyond_the_slots_is_counted_when_it_came() -> None:
    orders = {"a": ORDER, "b": replace(ORDER, opened_ms=150), "c": replace(ORDER, opened_ms=200, closed_ms=300)}
    books = Books(orders)
    assert books.sold_beyond(1, 0, 1_000) == ["run-c1-1 at p1, all held, the last for 50 ms"]
    assert books.sold_beyond(2, 0, 1_000) == []
    assert books.sold_beyond(1, 0, 150) == []
    assert len(books.within(150, 201)) == 2
