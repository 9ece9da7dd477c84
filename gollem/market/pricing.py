"""Money and scores of the market, pure and exact: what is held, charged and shared, and how a bid weighs asks.

An amount is summed in cost units and rounded once, at the end: a hold and a charge up, a fee down.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from gollem.errors import InvalidField
from gollem.market.catalogue import Model
from gollem.market.types import DEFAULT_WEIGHTS, MAX_LISTED, MAX_TOKENS, MAX_WEIGHT, Bid, Policy
from gollem.units import MAX_ATOMS

UNITS_PER_MICRO_ATOM = 400_000  # 4 tokens a standard credit, hundredths of the GPU's, millionths of the model's
STANDARD_GPU_CENTI = 100
BPS = 10_000

# A score must stay below 2^63: three terms of at most 2^61 each.
_MAX_TERM = 1 << 61
# Bits of precision of a weighed figure and of its factor, where no ask that a bid accepts can be above its scale, and
# where some can: then what is left of the 61 bits lets an ask be 512 times the scale before its term saturates.
_BITS_BOUNDED, _BITS_OPEN = 30, 26


def cost_units(
    price_ticks: int, completion_price_ticks: int, prompt_tokens: int, completion_tokens: int, gpu_centi: int
) -> int:
    """Exact cost of a request, comparable among all asks of a model."""
    return (price_ticks * prompt_tokens + completion_price_ticks * completion_tokens) * gpu_centi


def cost_atoms(units: int, multiplier_micro: int) -> int:
    """Cost units in atoms, rounded up."""
    return -(-units * multiplier_micro // UNITS_PER_MICRO_ATOM)


def max_cost_units(max_cost_atoms: int | None, multiplier_micro: int) -> int:
    """The most cost units that round up to at most this many atoms; without a limit, to an amount a ledger can hold."""
    most = MAX_ATOMS - 1 if max_cost_atoms is None else min(max_cost_atoms, MAX_ATOMS - 1)
    return most * UNITS_PER_MICRO_ATOM // multiplier_micro


def reserve_units(credit_rate_atoms: int, multiplier_micro: int) -> int:
    """The least cost units a token that pay this many atoms a token."""
    return -(-credit_rate_atoms * UNITS_PER_MICRO_ATOM // multiplier_micro)


def blended_price_ticks(price_ticks: int, completion_price_ticks: int, prompt_tokens: int, max_tokens: int) -> int:
    """An ask's price over a bid's own mix, rounded up: the least `max_price` that accepts it."""
    return -(
        -cost_units(price_ticks, completion_price_ticks, prompt_tokens, max_tokens, 1) // (prompt_tokens + max_tokens)
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order is charged by, fixed when it is matched. The tokens are caps."""

    price_ticks: int
    completion_price_ticks: int
    gpu_centi: int
    multiplier_micro: int
    prompt_tokens: int
    max_tokens: int

    def hold_atoms(self) -> int:
        """The worst case, rounded up."""
        return self._atoms(self.prompt_tokens, self.max_tokens)

    def charge_atoms(self, prompt_tokens: int, completion_tokens: int) -> int:
        """What was used, up to the caps, rounded up: never above the hold."""
        return self._atoms(min(prompt_tokens, self.prompt_tokens), min(completion_tokens, self.max_tokens))

    def _atoms(self, prompt_tokens: int, completion_tokens: int) -> int:
        units = cost_units(
            self.price_ticks, self.completion_price_ticks, prompt_tokens, completion_tokens, self.gpu_centi
        )
        return cost_atoms(units, self.multiplier_micro)


class Shares(NamedTuple):
    """A charge divided: the two sum to it."""

    provider_atoms: int
    fee_atoms: int


def share(charge_atoms: int, fee_bps: int) -> Shares:
    """The platform's fee, rounded down, and the rest."""
    fee = charge_atoms * fee_bps // BPS
    return Shares(charge_atoms - fee, fee)


class Scale(NamedTuple):
    """How one dimension enters a score: min(figure >> shift, cap) * factor."""

    cap: int
    factor: int
    shift: int

    def term(self, figure: int) -> int:
        """The dimension's part of the score, at most 2^61."""
        return min(figure >> self.shift, self.cap) * self.factor


class Scales(NamedTuple):
    """The score of a bid: the sum of three terms, the least wins. Ties go by cost, latency, time per token, age."""

    cost: Scale
    latency: Scale
    tpot: Scale

    def score(self, cost_units: int, latency_us: int, tpot_ns: int) -> int:
        return self.cost.term(cost_units) + self.latency.term(latency_us) + self.tpot.term(tpot_ns)


_IGNORED = Scale(0, 0, 0)
_EXACT = Scale(_MAX_TERM, 1, 0)
_LEXICOGRAPHIC = {
    Policy.PRICE: Scales(_EXACT, _IGNORED, _IGNORED),
    Policy.LATENCY: Scales(_IGNORED, _EXACT, _IGNORED),
    Policy.THROUGHPUT: Scales(_IGNORED, _IGNORED, _EXACT),
}


def scales(bid: Bid, model: Model) -> Scales:
    """How this bid weighs asks of its model.

    The scale of a dimension is the bid's own limit, or the model's reference where it states none. Each weight becomes
    one integer factor: floor(2^(2 * bits) * weight * 2^shift / (greatest weight * scale)), at least 1, where `shift`
    leaves the scale `bits` bits. Terms far above the scale saturate; that never turns the order of two asks of which
    one dominates the other. A weight of 0 leaves its dimension to the ties.
    """
    if bid.policy is not Policy.BALANCED:
        return _LEXICOGRAPHIC[bid.policy]
    weights = bid.weights
    most = max(weights.price, weights.latency, weights.throughput)
    cost, cost_bounded = _cost_scale(bid, model)
    bounded = (
        (cost_bounded or not weights.price)
        and (bid.max_latency_us is not None or not weights.latency)
        and (bid.max_tpot_ns is not None or not weights.throughput)
    )
    bits = _BITS_BOUNDED if bounded else _BITS_OPEN
    reference = model.reference
    latency = reference.latency_us if bid.max_latency_us is None else bid.max_latency_us
    tpot = reference.tpot_ns if bid.max_tpot_ns is None else bid.max_tpot_ns
    return Scales(
        _scale(cost, weights.price, most, bits),
        _known_scale(latency, weights.latency, most, bits),
        _known_scale(tpot, weights.throughput, most, bits),
    )


def _cost_scale(bid: Bid, model: Model) -> tuple[int, bool]:
    """C of the balanced policy in cost units, and whether no feasible ask costs more.

    A price limit is one on the ask's own price: as C it stands for a GPU of multiplier 1, and dearer
    GPUs may pass it.
    """
    tokens = bid.prompt_tokens + bid.max_tokens
    by_cost = None if bid.max_cost_atoms is None else max_cost_units(bid.max_cost_atoms, model.multiplier_micro)
    by_price = None if bid.max_price_ticks is None else bid.max_price_ticks * tokens * STANDARD_GPU_CENTI
    if by_cost is not None and (by_price is None or by_cost <= by_price):
        return by_cost, True
    if by_price is not None:
        return by_price, False
    return model.reference.price_ticks * tokens * STANDARD_GPU_CENTI, False


def _scale(scale: int, weight: int, most: int, bits: int) -> Scale:
    if weight == 0:
        return _IGNORED
    scale = min(max(scale, 1), _MAX_TERM)
    shift = max(0, scale.bit_length() - bits)
    factor = max(1, (weight << (2 * bits + shift)) // (most * scale))
    return Scale(_MAX_TERM // factor, factor, shift)


# Consumers state the same few latencies and speeds again and again; costs vary with the tokens.
_known_scale = lru_cache(maxsize=1_024)(_scale)


def check_bid(bid: Bid) -> None:
    """Raise InvalidField where a bid is beyond what can be weighed."""
    tokens = bid.prompt_tokens + bid.max_tokens
    if bid.prompt_tokens < 0 or bid.max_tokens < 0 or not 1 <= tokens <= MAX_TOKENS:
        raise InvalidField("prompt_tokens + max_tokens", f"must be 1 to {MAX_TOKENS}, not {tokens}")
    _check_limit("max_price", bid.max_price_ticks)
    _check_limit("max_cost", bid.max_cost_atoms)
    _check_limit("max_latency", bid.max_latency_us)
    _check_limit("min_throughput", bid.max_tpot_ns)
    if bid.weights is not DEFAULT_WEIGHTS:
        weights = (bid.weights.price, bid.weights.latency, bid.weights.throughput)
        if min(weights) < 0 or not 1 <= max(weights) <= MAX_WEIGHT:
            raise InvalidField("weights", f"must be 0 to {MAX_WEIGHT} each, and not all 0")
    if len(bid.only_providers) > MAX_LISTED:
        raise InvalidField("only_providers", f"must be at most {MAX_LISTED}")
    if len(bid.exclude_providers) > MAX_LISTED:
        raise InvalidField("exclude_providers", f"must be at most {MAX_LISTED}")


def _check_limit(name: str, limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise InvalidField(name, "must not be negative")
