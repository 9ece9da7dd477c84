"""The compiled book and the reference book run the same programs, and every answer must be the same."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gollem.market import MemoryBook, Report
from gollem.market.types import MAX_TOKENS, Ask, Bid, Block, Match, Policy, Weights
from tests.market import worlds
from tests.market.reference_book import ReferenceBook

KEYS = st.builds("{}/{}".format, worlds.PROVIDERS, st.sampled_from([f"a{i}" for i in range(8)]))
BIDS = worlds.BIDS.filter(lambda bid: bid.prompt_tokens + bid.max_tokens <= MAX_TOKENS)


class BothBooks(RuleBasedStateMachine):
    """Each rule asks both and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.fast = MemoryBook(worlds.CATALOGUE)
        self.plain = ReferenceBook(worlds.CATALOGUE)

    def same(self, method: str, *arguments: object) -> object:
        fast = getattr(self.fast, method)(*arguments)
        plain = getattr(self.plain, method)(*arguments)
        assert fast == plain, f"{method}{arguments}"
        return fast

    @rule(asks=st.lists(worlds.ASKS, min_size=1, max_size=12))
    def place(self, asks: list[Ask]) -> None:
        for ask in asks:
            self.same("place", ask)

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        self.same("remove", key)

    @rule(batch=worlds.reports(KEYS))
    def update(self, batch: list[Report]) -> None:
        self.same("update", batch)

    @rule(key=KEYS, reason=worlds.BLOCKS, lift=st.booleans())
    def block(self, key: str, reason: Block, lift: bool) -> None:
        self.same("unblock" if lift else "block", key, reason)
        self.same("blocks", key)

    @rule(key=KEYS, tokens=worlds.PARTS)
    def claim(self, key: str, tokens: int) -> None:
        self.same("claim", key, tokens)

    @rule(key=KEYS, tokens=worlds.PARTS)
    def release(self, key: str, tokens: int) -> None:
        self.same("release", key, tokens)

    @rule(bid=BIDS, alternates=st.integers(0, 4), key=KEYS)
    def match(self, bid: Bid, alternates: int, key: str) -> None:
        self.same("offer", key, bid)
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


def test_every_answer_is_that_of_the_reference() -> None:
    run_state_machine_as_test(BothBooks, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))


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


def test_many_pages() -> None:
    """Enough asks for more than one page of boxes, under churn, with many ties and with few."""
    for spread in (8, 1_000_000):
        random_ = random.Random(spread)
        fast, plain = MemoryBook(worlds.CATALOGUE), ReferenceBook(worlds.CATALOGUE)
        for number in range(6_000):
            ask = _random_ask(random_, number, spread)
            fast.place(ask)
            plain.place(ask)
        for step in range(12):
            for key in random_.sample(sorted(plain.rows), 80):
                assert fast.remove(key) is plain.remove(key)
            for ask in [_random_ask(random_, 10_000 + 100 * step + i, spread) for i in range(50)]:
                fast.place(ask)
                plain.place(ask)
            batch = [
                Report(key, random_.randrange(1, spread), random_.randrange(1, spread), True, 50, random_.randrange(3))
                for key in random_.sample(sorted(plain.rows), 200)
            ]
            assert fast.update(batch) == plain.update(batch)
            for _ in range(3):
                bid = _random_bid(random_, spread)
                assert fast.match(bid, 0) == plain.match(bid, 0)
