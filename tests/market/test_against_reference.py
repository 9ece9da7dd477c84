"""The compiled book and the reference book run the same programs, and every answer must be the same."""

import random
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gollem.market import MemoryBook, Report
from gollem.market.types import MAX_TOKENS, Ask, Bid, Block, Match, Policy, Weights
from tests.market import worlds
from tests.market.reference_book import ReferenceBook

PICKS = st.integers(0, 2**16)
BIDS = worlds.BIDS.filter(lambda bid: bid.prompt_tokens + bid.max_tokens <= MAX_TOKENS)


class BothBooks(RuleBasedStateMachine):
    """Each rule asks both and compares."""

    lanes = 64

    def __init__(self) -> None:
        super().__init__()
        self.fast = MemoryBook(worlds.CATALOGUE, self.lanes)
        self.plain = ReferenceBook(worlds.CATALOGUE)

    def same(self, method: str, *arguments: object) -> object:
        fast = getattr(self.fast, method)(*arguments)
        plain = getattr(self.plain, method)(*arguments)
        assert fast == plain, f"{method}{arguments}"
        return fast

    def key(self, pick: int) -> str:
        """One of the asks in the book; now and then one that is not."""
        keys = [*self.plain.rows, "nobody/nothing"]
        return keys[pick % len(keys)]

    @initialize(seed=st.integers(0, 2**16), asks=st.sampled_from([0, 0, 10, 70, 140]))
    def fill(self, seed: int, asks: int) -> None:
        """More than one page of a partition."""
        random_ = random.Random(seed)
        for number in range(asks):
            self.same("place", _random_ask(random_, number, 20))

    @rule(asks=st.lists(worlds.ASKS, min_size=1, max_size=12))
    def place(self, asks: list[Ask]) -> None:
        for ask in asks:
            self.same("place", ask)

    @rule(ask=worlds.ASKS, twin=st.sampled_from(["a0", "a1", "a2"]))
    def place_twins(self, ask: Ask, twin: str) -> None:
        """Two of equal terms."""
        self.same("place", ask)
        self.same("place", replace(ask, ask_id=twin))

    @rule(picks=st.lists(PICKS, min_size=1, max_size=4))
    def remove(self, picks: list[int]) -> None:
        for pick in picks:
            self.same("remove", self.key(pick))

    @rule(batch=st.lists(st.tuples(PICKS, worlds.FIGURES), max_size=12))
    def update(self, batch: list[tuple[int, worlds.Figures]]) -> None:
        self.same("update", [Report(self.key(pick), *figures) for pick, figures in batch])

    @rule(pick=PICKS, reason=worlds.BLOCKS, lift=st.booleans())
    def block(self, pick: int, reason: Block, lift: bool) -> None:
        self.same("unblock" if lift else "block", self.key(pick), reason)
        self.same("blocks", self.key(pick))

    @rule(picks=st.lists(PICKS, min_size=1, max_size=4), tokens=worlds.PARTS)
    def claim(self, picks: list[int], tokens: int) -> None:
        for pick in picks:
            self.same("claim", self.key(pick), tokens)

    @rule(picks=st.lists(PICKS, min_size=1, max_size=4), tokens=worlds.PARTS)
    def release(self, picks: list[int], tokens: int) -> None:
        for pick in picks:
            self.same("release", self.key(pick), tokens)

    @rule(bid=BIDS, alternates=st.integers(0, 4), pick=PICKS)
    def match(self, bid: Bid, alternates: int, pick: int) -> None:
        self.same("offer", self.key(pick), bid)
        quote = self.same("quote", bid)
        match = self.same("match", bid, alternates)
        if isinstance(match, Match):
            assert match.offer in quote.front
            assert match.offer == quote.winner

    @rule(bid=BIDS)
    def match_until_full(self, bid: Bid) -> None:
        for _ in range(4):
            self.same("match", bid, 0)

    @rule(model=worlds.MODELS)
    def depth(self, model: str) -> None:
        self.same("depth", model)

    @invariant()
    def same_size(self) -> None:
        assert len(self.fast) == len(self.plain)
        self.fast.check()


class BothBooksInTinyPages(BothBooks):
    """Pages of four asks: trees of several levels, in which asks move and nodes split, share and merge all the time."""

    lanes = 4


@pytest.mark.parametrize("books", [BothBooks, BothBooksInTinyPages])
def test_every_answer_is_that_of_the_reference(books: type[BothBooks]) -> None:
    run_state_machine_as_test(books, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


def _random_ask(random_: random.Random, number: int, spread: int) -> Ask:
    return Ask(
        provider_id=f"p{random_.randrange(12)}",
        ask_id=f"a{number}",
        model="big",
        gpu_type=random_.choice(["cpu", "cpu", "cpu", "h100"]),
        price_ticks=random_.randrange(1, spread),
        completion_price_ticks=random_.randrange(1, spread),
        credit_rate_atoms=random_.choice([0, 0, 0, random_.randrange(2 * spread)]),
        latency_us=random_.randrange(1, spread),
        tpot_ns=random_.randrange(1, spread),
        capacity_tokens=random_.choice([10, 100, 1_000]),
        capacity_slots=random_.randrange(1, 4),
        endpoint="",
    )


def _random_bid(random_: random.Random, spread: int) -> Bid:
    def limit(scale: int = spread) -> int | None:
        return random_.choice([None, random_.randrange(1, scale)])

    return Bid(
        model="big",
        prompt_tokens=random_.randrange(1, 9),
        max_tokens=random_.randrange(1, 9),
        max_price_ticks=limit(),
        max_cost_atoms=limit(10 * spread),
        max_latency_us=limit(),
        max_tpot_ns=limit(),
        gpu_types=random_.choice([(), (), ("cpu",), ("h100",)]),
        exclude_providers=random_.choice([(), ("p1", "p1", "nobody")]),
        policy=random_.choice([Policy.BALANCED, *Policy]),
        weights=Weights(*random_.choice([(1, 1, 1), (3, 1, 2), (0, 1, 0), (1_000, 1, 0)])),
    )


@pytest.mark.parametrize(("lanes", "asks"), [(64, 3_000), (4, 1_500), (7, 1_500)])
@pytest.mark.parametrize("spread", [8, 1_000_000])
def test_many_pages(lanes: int, asks: int, spread: int) -> None:
    """Enough asks for trees of several levels, under churn, with many ties and with few."""
    random_ = random.Random(spread)
    fast, plain = MemoryBook(worlds.CATALOGUE, lanes), ReferenceBook(worlds.CATALOGUE)
    for number in range(asks):
        ask = _random_ask(random_, number, spread)
        fast.place(ask)
        plain.place(ask)
    for step in range(12):
        _churn(random_, spread, 100 * step, fast, plain)
        for _ in range(3):
            bid = _random_bid(random_, spread)
            assert fast.match(bid, 0) == plain.match(bid, 0)
            fast.check()
    for key in random_.sample(sorted(plain.rows), len(plain) - 5):
        assert fast.remove(key) is plain.remove(key)
    fast.check()
    bid = _random_bid(random_, spread)
    assert fast.quote(bid) == plain.quote(bid)


def _churn(random_: random.Random, spread: int, number: int, fast: MemoryBook, plain: ReferenceBook) -> None:
    for key in random_.sample(sorted(plain.rows), 80):
        assert fast.remove(key) is plain.remove(key)
    for ask in [_random_ask(random_, 10_000 + number + i, spread) for i in range(50)]:
        fast.place(ask)
        plain.place(ask)
    batch = [
        Report(key, random_.randrange(1, spread), random_.randrange(1, spread), True, 50, random_.randrange(3))
        for key in random_.sample(sorted(plain.rows), 200)
    ]
    assert fast.update(batch) == plain.update(batch)
