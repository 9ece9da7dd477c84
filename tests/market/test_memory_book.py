"""What the programs against the reference do not say by themselves: the rules in single examples."""

from dataclasses import replace

import pytest

from gollem.errors import InvalidField, UnknownModel
from gollem.market import MemoryBook, Report
from gollem.market.types import Ask, Bid, Block, Match, Policy, Rejection, Weights
from tests.market.worlds import CATALOGUE

ASK = Ask("p", "a", "big", "cpu", 10, 10, 0, 1_000, 1_000, 1_000, 10, "127.0.0.1:1")
BID = Bid("big", 5, 5)


def book(*asks: Ask) -> MemoryBook:
    fresh = MemoryBook(CATALOGUE)
    for ask in asks:
        fresh.place(ask)
    return fresh


def named(ask_id: str, **figures: object) -> Ask:
    return replace(ASK, ask_id=ask_id, **figures)


def winner(b: MemoryBook, bid: Bid = BID) -> str:
    match = b.match(bid, 0)
    assert isinstance(match, Match), match
    return match.offer.ask.ask_id


def test_equal_terms_are_both_on_the_front_and_the_older_wins() -> None:
    b = book(named("z"), named("y"), named("x", latency_us=1_001))
    assert [offer.ask.ask_id for offer in b.quote(BID).front] == ["z", "y"]
    assert winner(b) == "z"
    b.place(named("z", endpoint="elsewhere:1"))
    assert winner(b) == "z", "a change keeps the age"
    b.place(named("z", gpu_type="h100"))
    b.place(named("z"))
    assert winner(b) == "y", "a move does not"


def test_a_move_keeps_claims_and_blocks() -> None:
    b = book(named("a", capacity_slots=1))
    assert winner(b) == "a"
    b.block(ASK.key, Block.CIRCUIT_OPEN)
    b.place(named("a", capacity_slots=1, model="small"))
    bid = replace(BID, model="small")
    assert b.match(bid) == Rejection(1, {"capacity": 1, "circuit_open": 1}, full=1)
    b.unblock(ASK.key, Block.CIRCUIT_OPEN)
    b.release(ASK.key, 10)
    assert winner(b, bid) == "a"
    assert b.match(BID) == Rejection(0, {}, full=0)


def test_a_removed_ask_forgets_its_claims() -> None:
    b = book(named("a", capacity_slots=1))
    assert winner(b) == "a"
    assert b.remove(ASK.key)
    assert not b.release(ASK.key, 10)
    b.place(named("a", capacity_slots=1))
    assert winner(b) == "a"


def test_limits_that_are_just_met_are_met() -> None:
    b = book(named("a", gpu_type="h100", price_ticks=3, completion_price_ticks=7))
    cost = b.quote(BID).front[0].cost_atoms
    assert cost == (3 * 5 + 7 * 5) * 200 * 2_000_000 // 400_000
    met = replace(BID, max_price_ticks=5, max_cost_atoms=cost, max_latency_us=1_000, max_tpot_ns=1_000)
    assert b.quote(met).feasible == 1
    assert winner(b, met) == "a"
    for name, reason in (
        ("max_price_ticks", "price"),
        ("max_cost_atoms", "cost"),
        ("max_latency_us", "latency"),
        ("max_tpot_ns", "throughput"),
    ):
        missed = replace(met, **{name: getattr(met, name) - 1})
        assert b.match(missed) == Rejection(1, {reason: 1}, full=0)


def test_capacity_that_is_just_enough_is_enough() -> None:
    b = book(named("a", capacity_tokens=20, capacity_slots=2))
    assert winner(b) == "a"
    assert winner(b) == "a"
    assert b.match(BID) == Rejection(1, {"capacity": 1}, full=1)
    assert b.match(BID, 0) == Rejection(1, {"capacity": 1}, full=1)
    for tokens, slots in ((9, 1), (10, 0)):
        b.place(named("b", capacity_tokens=tokens, capacity_slots=slots))
        assert isinstance(b.match(BID, 0), Rejection)


def test_an_ask_far_above_the_reference_is_matched_when_it_is_the_only_one() -> None:
    dear = named("a", price_ticks=10**8, completion_price_ticks=10**8, latency_us=3_600_000_000, tpot_ns=10**13)
    assert winner(book(dear)) == "a"
    assert winner(book(dear, named("b", price_ticks=10**8 - 1, completion_price_ticks=10**8))) == "b"


def test_a_hold_that_no_ledger_could_keep_is_refused_as_cost() -> None:
    b = book(named("a", gpu_type="h100", price_ticks=10**8, completion_price_ticks=10**8, capacity_tokens=10**12))
    assert isinstance(b.match(replace(BID, prompt_tokens=2**23, max_tokens=2**23 - 1)), Match)
    assert b.quote(BID).front[0].cost_atoms < 2**62


def test_weights_of_zero_leave_a_dimension_to_the_ties() -> None:
    b = book(named("slow", latency_us=2_000), named("quick", price_ticks=11))
    assert winner(b, replace(BID, weights=Weights(0, 0, 1))) == "slow", "equal speed: the cheaper"
    assert winner(b, replace(BID, weights=Weights(0, 1, 0))) == "quick"
    assert winner(b, replace(BID, policy=Policy.LATENCY)) == "quick"


def test_reports_replace_promises_until_the_ask_is_placed_again() -> None:
    b = book(named("a"), named("b", latency_us=900))
    assert b.update([Report(ASK.key, 500, 700, True, 50, 1), Report("p/none", 1, 1, True, 1, 1)]) == 1
    offer = b.offer(ASK.key, BID)
    assert offer is not None
    assert (offer.latency_us, offer.tpot_ns, offer.measured) == (500, 700, True)
    assert b.ask(ASK.key) == ASK
    assert b.match(BID, 0).offer == offer
    assert b.match(BID, 0).offer.ask.ask_id == "b", "the reported slot is claimed"
    b.place(ASK)
    assert b.offer(ASK.key, BID).latency_us == 1_000


def test_alternates_are_the_rest_of_the_front_in_the_order_of_the_policy() -> None:
    asks = [named(f"a{i}", latency_us=1_000 + i, price_ticks=20 - i) for i in range(5)]
    match = book(*asks).match(replace(BID, policy=Policy.LATENCY), alternates=3)
    assert match.offer.ask.ask_id == "a0"
    assert [offer.ask.ask_id for offer in match.alternates] == ["a1", "a2", "a3"]
    assert (match.front_size, match.claimed_tokens) == (5, 10)


def test_what_the_book_cannot_hold_is_refused() -> None:
    b = book(ASK)
    for field, figures in (
        ("price_ticks", {"price_ticks": 0}),
        ("latency_us", {"latency_us": 3_600_000_001}),
        ("capacity_slots", {"capacity_slots": 65_537}),
        ("credit_rate", {"credit_rate_atoms": 2**40}),
        ("figures", {"capacity_tokens": 2**70}),
        ("gpu_type", {"gpu_type": "abacus"}),
    ):
        for key in ("a", "new"):
            with pytest.raises(InvalidField, match=f"{field}: must be"):
                b.place(named(key, **figures))
    with pytest.raises(UnknownModel):
        b.place(replace(ASK, model="nothing"))
    with pytest.raises(UnknownModel):
        b.match(replace(BID, model="nothing"))
    with pytest.raises(InvalidField, match="latency_us: must be"):
        b.update([Report(ASK.key, 0, 1, True, 1, 1)])
    assert (len(b), b.ask(ASK.key), b.offer(ASK.key, BID).measured) == (1, ASK, False)


def test_numbers_of_providers_are_used_again() -> None:
    b = book()
    for i in range(1_000):
        ask = replace(ASK, provider_id=f"p{i}")
        b.place(ask)
        assert isinstance(b.match(replace(BID, exclude_providers=(f"p{i}",))), Rejection)
        assert winner(b, replace(BID, only_providers=(f"p{i}", "nobody"))) == "a"
        b.remove(ask.key)
    assert len(b._providers._uses) == 1
    assert isinstance(b.match(replace(BID, only_providers=("p1",))), Rejection)
