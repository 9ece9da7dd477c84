"""The trees of the compiled core: a match reads few nodes, whatever happens to the asks. It counts them."""

import random
from array import array

import pytest

from gollem._core import NO_LIMIT, Book, Query

ASKS = 20_000  # some 450 pages
FEW = 25
WEIGHED = (2**61 // 1_000, 1_000, 0)


class Market:
    """Asks of spread figures in one partition, and a bid that weighs all three dimensions."""

    def __init__(self, asks: int = ASKS, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.book = Book()
        self.book.partition(100)
        self.rows = [self.row() for _ in range(asks)]
        self.handles = [self.book.add(0, i % 50, *row[:1] * 2, 0, *row[1:]) for i, row in enumerate(self.rows)]

    def row(self) -> tuple[int, int, int, int, int]:
        """Price, latency, time per token, tokens, slots."""
        draw = self.random.lognormvariate
        price, latency, tpot = self.random.randrange(20, 52), int(5_000 * draw(0, 0.6)), int(5_000 * draw(0, 0.5))
        return price, latency, tpot, int(1_000 * self.random.paretovariate(1.1)), 100

    def report(self, indices: list[int], **figures: int) -> None:
        names = ("price", "latency", "tpot", "tokens", "slots")
        rows = []
        for i in indices:
            self.rows[i] = self.rows[i][:1] + self.row()[1:]
            rows.append([figures.get(name, value) for name, value in zip(names, self.rows[i], strict=True)][1:])
        self.book.update(
            array("q", [self.handles[i] for i in indices]),
            *[array("q", values) for values in zip(*rows, strict=True)],
        )

    def reprice(self, i: int, price: int) -> None:
        self.rows[i] = (price, *self.rows[i][1:])
        self.book.change(self.handles[i], price, price, 0, *self.rows[i][1:])

    def nodes_a_match(self, matches: int = 20) -> float:
        """Matches at a standstill: nothing is claimed."""
        before = self.book.nodes_scanned()
        for _ in range(matches):
            self.book.match(bid(), False)
        return (self.book.nodes_scanned() - before) / matches


def bid(need: int = 1_000) -> Query:
    scales = (*WEIGHED, *WEIGHED, *WEIGHED)
    return Query((0,), 50, 50, need, NO_LIMIT, NO_LIMIT, NO_LIMIT, NO_LIMIT, scales)


def test_like_lies_beside_like() -> None:
    assert Market().nodes_a_match() < FEW


def test_figures_drawn_anew_at_every_report() -> None:
    """What becomes good is found where it lay before, and is moved to its like: the boxes do not stay wide."""
    market = Market()
    for _ in range(300):
        market.report(market.random.sample(range(ASKS), 100))
        market.book.match(bid(), False)
    assert market.nodes_a_match() < FEW
    assert market.book.match_by_scan(bid()) == market.book.match(bid())
    market.book.check()


def test_boxes_that_were_wide_for_a_moment() -> None:
    """Every ask was the best once. The first match after it pays, the next do not."""
    market = Market()
    market.report(list(range(ASKS)), latency=1, tpot=1)
    market.report(list(range(ASKS)))
    assert market.nodes_a_match(1) > FEW
    market.nodes_a_match(40)
    assert market.nodes_a_match() < FEW


@pytest.mark.parametrize("drained", [{"slots": 0}, {"tokens": 0}, None])
def test_a_depleted_front(drained: dict[str, int] | None) -> None:
    """The best 95 % have nothing free, or are blocked."""
    market = Market()
    by_score = sorted(range(ASKS), key=lambda i: 100 * market.rows[i][0] + market.rows[i][1] + market.rows[i][2])
    best = by_score[: ASKS * 95 // 100]
    if drained:
        market.report(best, **drained)
    else:
        for i in best:
            market.book.set_blocks(market.handles[i], 1)
    market.nodes_a_match(40)
    assert market.nodes_a_match() < FEW


def test_a_front_that_is_depleted_bit_by_bit() -> None:
    """Boxes shrink up to the root, though nothing ever widened them."""
    market = Market()
    by_score = sorted(range(ASKS), key=lambda i: 100 * market.rows[i][0] + market.rows[i][1] + market.rows[i][2])
    for start in range(0, ASKS - 40, 1_000):
        for i in by_score[start : min(start + 1_000, ASKS - 40)]:
            market.book.set_blocks(market.handles[i], 1)
        market.nodes_a_match(3)
    assert market.nodes_a_match() < 6


def test_one_ask_that_is_repriced_again_and_again() -> None:
    market = Market()
    best = market.handles[7]
    market.rows[7] = (20, 1, 1, 10**6, 100)
    costs = []
    for turn in range(200):
        market.reprice(7, (1, 10**6)[turn % 2])
        costs.append(market.nodes_a_match(1))
        assert (market.book.match(bid(), False)[0] == best) is (turn % 2 == 0)
    assert sum(costs) / len(costs) < FEW


def test_pages_of_asks_that_have_left_are_merged() -> None:
    """Half a market leaves, then nearly all of it: the pages are given back for others."""
    market = Market()
    full = market.book.memory_bytes()
    gone = market.random.sample(range(ASKS), ASKS - 50)
    for i in gone:
        market.book.remove(market.handles[i])
    market.book.check()
    assert market.nodes_a_match() <= 5
    for i in gone:
        market.book.add(0, 1, *market.rows[i][:1] * 2, 0, *market.rows[i][1:])
    assert market.book.memory_bytes() <= full * 1.02
    market.book.check()


@pytest.mark.parametrize("order", ["up", "down", "alike"])
def test_asks_that_arrive_in_order(order: str) -> None:
    """The tree stays shallow and its pages half full at least."""
    book = Book()
    book.partition(100)
    for i in range(ASKS):
        price = {"up": i + 1, "down": ASKS - i, "alike": 7}[order]
        book.add(0, 1, price, price, 0, 1_000, 1_000, 10_000, 10)
    book.check()
    assert book.memory_bytes() / ASKS < 165
    before = book.nodes_scanned()
    assert book.match(bid())[1] == {"up": 1, "down": 1, "alike": 7}[order] * 100 * 100
    if order != "alike":
        assert book.nodes_scanned() - before < 10
