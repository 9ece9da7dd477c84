"""Amounts are exact to the atom, and a bid's scales never overflow nor mislead."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollem.errors import InvalidField
from gollem.market import Catalogue, pricing
from gollem.market.pricing import Terms
from gollem.market.types import MAX_LATENCY_US, MAX_PRICE_TICKS, MAX_TOKENS, MAX_TPOT_NS, Bid, Policy, Weights
from gollem.units import MAX_ATOMS

MODEL = Catalogue.load().resolve("gpt-4")
GREATEST = (10**8 * (2**24 - 1) * 1_000, MAX_LATENCY_US, MAX_TPOT_NS)
FIGURES = st.tuples(*[st.integers(1, most) for most in GREATEST])
PRICES = st.integers(1, MAX_PRICE_TICKS)
TOKENS = st.integers(1, MAX_TOKENS // 2)
TERMS = st.builds(Terms, PRICES, PRICES, st.integers(1, 1_000), st.integers(1, 10**8), TOKENS, TOKENS)


def maybe(most: int) -> st.SearchStrategy[int | None]:
    return st.none() | st.integers(0, 10) | st.integers(0, most)


BIDS = st.builds(
    Bid,
    st.just("gpt-4"),
    TOKENS,
    TOKENS,
    maybe(MAX_PRICE_TICKS),
    maybe(MAX_ATOMS),
    maybe(MAX_LATENCY_US),
    maybe(MAX_TPOT_NS),
    weights=st.tuples(*[st.integers(0, 1_000)] * 3).filter(any).map(lambda three: Weights(*three)),
)


def test_the_base_price_costs_a_quarter_credit_a_token_times_the_multipliers() -> None:
    terms = Terms(100_000, 100_000, 200, 2_000_000, prompt_tokens=600, max_tokens=400)
    assert terms.hold_atoms() == 1_000 * 10**8 // 4 * 2 * 2


@given(TERMS, st.integers(0, MAX_TOKENS), st.integers(0, MAX_TOKENS), st.integers(0, 10_000))
def test_hold_charge_and_shares(terms: Terms, prompt: int, completion: int, fee_bps: int) -> None:
    hold, charge = terms.hold_atoms(), terms.charge_atoms(prompt, completion)
    used = min(prompt, terms.prompt_tokens), min(completion, terms.max_tokens)
    exact = Fraction(terms.price_ticks * used[0] + terms.completion_price_ticks * used[1])
    exact *= Fraction(terms.gpu_centi, 100) * Fraction(terms.multiplier_micro, 10**6) * 1_000 / 4
    assert 0 <= charge - exact < 1
    assert 0 <= charge <= hold
    provider, fee = pricing.share(charge, fee_bps)
    assert provider + fee == charge
    assert 0 <= Fraction(charge * fee_bps, 10_000) - fee < 1


@given(st.integers(0, MAX_ATOMS * 2), st.integers(1, 10**8))
def test_a_cost_limit_in_units_is_the_same_limit(atoms: int, micro: int) -> None:
    most = pricing.max_cost_units(atoms, micro)
    assert pricing.cost_atoms(most, micro) <= min(atoms, MAX_ATOMS - 1) < pricing.cost_atoms(most + 1, micro)
    assert pricing.max_cost_units(None, micro) == pricing.max_cost_units(MAX_ATOMS, micro)


@given(st.integers(0, 10**12), st.integers(1, 10**8))
def test_a_reserve_in_units_is_the_least_that_pays(rate: int, micro: int) -> None:
    units = pricing.reserve_units(rate, micro)
    assert Fraction(units * micro, 400_000) >= rate
    assert units == 0 or Fraction((units - 1) * micro, 400_000) < rate


@given(PRICES, PRICES, TOKENS, TOKENS)
def test_a_blended_price_is_the_least_limit_that_accepts(price: int, completion: int, prompt: int, most: int) -> None:
    exact = Fraction(price * prompt + completion * most, prompt + most)
    assert 0 <= pricing.blended_price_ticks(price, completion, prompt, most) - exact < 1


@given(BIDS, FIGURES, FIGURES)
def test_a_score_fits_and_never_prefers_what_is_dominated(
    bid: Bid, one: tuple[int, ...], other: tuple[int, ...]
) -> None:
    scales = pricing.scales(bid, MODEL)
    for scale, weight in zip(scales, (bid.weights.price, bid.weights.latency, bid.weights.throughput), strict=True):
        assert (scale.factor >= 1) == (weight > 0)
        assert scale.cap * scale.factor <= 2**61
    better = tuple(map(min, one, other))
    assert scales.score(*better) <= scales.score(*one) < 2**63


@given(BIDS, FIGURES)
def test_a_score_is_the_weighted_sum(bid: Bid, figures: tuple[int, int, int]) -> None:
    """Within 2^-24 of the greatest weight for figures up to the scales, whatever the scales are."""
    tokens = bid.prompt_tokens + bid.max_tokens
    by_price = None if bid.max_price_ticks is None else bid.max_price_ticks * tokens * 100
    by_cost = None if bid.max_cost_atoms is None else pricing.max_cost_units(bid.max_cost_atoms, 2_000_000)
    stated = [limit for limit in (by_price, by_cost) if limit is not None]
    tops = (
        min(max(1, min(stated) if stated else MODEL.reference.price_ticks * tokens * 100), 2**61),
        max(1, MODEL.reference.latency_us if bid.max_latency_us is None else bid.max_latency_us),
        max(1, MODEL.reference.tpot_ns if bid.max_tpot_ns is None else bid.max_tpot_ns),
    )
    weights = (bid.weights.price, bid.weights.latency, bid.weights.throughput)
    within = tuple(min(figure, top) for figure, top in zip(figures, tops, strict=True))
    exact = sum(Fraction(w * figure, top) for w, figure, top in zip(weights, within, tops, strict=True))
    full = pricing.scales(bid, MODEL).score(*tops)
    share = Fraction(pricing.scales(bid, MODEL).score(*within), full)
    assert abs(share - exact / sum(weights)) < Fraction(1, 2**22)


def test_the_named_dimension_alone_counts_for_the_other_policies() -> None:
    for policy, index in ((Policy.PRICE, 0), (Policy.LATENCY, 1), (Policy.THROUGHPUT, 2)):
        figures = (GREATEST[0] - 3, 17, 19)
        assert pricing.scales(Bid("gpt-4", 1, 1, policy=policy), MODEL).score(*figures) == figures[index]


@pytest.mark.parametrize(
    ("field", "bid"),
    [
        ("prompt_tokens", Bid("gpt-4", 0, 0)),
        ("prompt_tokens", Bid("gpt-4", -1, 5)),
        ("prompt_tokens", Bid("gpt-4", MAX_TOKENS, 1)),
        ("max_price", Bid("gpt-4", 1, 1, max_price_ticks=-1)),
        ("max_cost", Bid("gpt-4", 1, 1, max_cost_atoms=-1)),
        ("max_latency", Bid("gpt-4", 1, 1, max_latency_us=-1)),
        ("min_throughput", Bid("gpt-4", 1, 1, max_tpot_ns=-1)),
        ("weights", Bid("gpt-4", 1, 1, weights=Weights(0, 0, 0))),
        ("weights", Bid("gpt-4", 1, 1, weights=Weights(1, 1_001, 0))),
        ("weights", Bid("gpt-4", 1, 1, weights=Weights(1, -1, 0))),
        ("only_providers", Bid("gpt-4", 1, 1, only_providers=("p",) * 65)),
        ("exclude_providers", Bid("gpt-4", 1, 1, exclude_providers=("p",) * 65)),
    ],
)
def test_a_bid_out_of_bounds_is_refused(field: str, bid: Bid) -> None:
    with pytest.raises(InvalidField, match=field):
        pricing.check_bid(bid)
