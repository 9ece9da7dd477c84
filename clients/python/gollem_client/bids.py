"""A bid from keyword arguments: prices exact, names of policies in words, mistakes told before anything is sent."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TypedDict

from gollem_client.errors import invalid
from gollem_client.stubs import Bid, Policy, Weights

Amount = str | Decimal | int

_POLICIES = ("balanced", "price", "latency", "throughput")
_PLACES = 8
# The exchange's own rule for amounts.
_DIGITS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,8})?", re.ASCII)
_MAX_TOKENS = 256


class Limits(TypedDict, total=False):
    """What the consumer accepts. Every limit that is stated is hard; whatever is left out is no limit."""

    # Tokens to generate at most; 256 unless told.
    max_tokens: int
    # USD per standard credit of work, such as "0.002".
    max_price: Amount
    # Credits for the whole request.
    max_cost: Amount
    # Milliseconds to the first token (p95).
    max_latency_ms: int
    # Tokens per second.
    min_throughput_tps: float
    # GPU types and providers accepted; providers refused.
    gpu_types: Iterable[str]
    only: Iterable[str]
    exclude: Iterable[str]
    # "balanced" (the default), "price", "latency" or "throughput".
    policy: str
    # For the balanced policy: {"price": 1, "latency": 1, "throughput": 1}, whole numbers of 0 to 1000.
    weights: Mapping[str, int]


def make_bid(
    model: str,
    prompt_tokens: int,
    *,
    max_tokens: int = _MAX_TOKENS,
    max_price: Amount | None = None,
    max_cost: Amount | None = None,
    max_latency_ms: int | None = None,
    min_throughput_tps: float | None = None,
    gpu_types: Iterable[str] = (),
    only: Iterable[str] = (),
    exclude: Iterable[str] = (),
    policy: str = "balanced",
    weights: Mapping[str, int] | None = None,
) -> Bid:
    """The bid on the wire. Raises InvalidField; most ranges are the exchange's to check."""
    if policy not in _POLICIES:
        raise invalid("policy", f"must be one of {', '.join(_POLICIES)}")
    return Bid(
        model=model,
        prompt_tokens=_whole(prompt_tokens, "prompt_tokens"),
        max_tokens=_whole(max_tokens, "max_tokens"),
        max_price=decimal_text(max_price, "max_price"),
        max_cost=decimal_text(max_cost, "max_cost"),
        max_latency_ms=None if max_latency_ms is None else _whole(max_latency_ms, "max_latency_ms"),
        min_throughput_tps=min_throughput_tps,
        gpu_types=_names(gpu_types, "gpu_types"),
        only_providers=_names(only, "only"),
        exclude_providers=_names(exclude, "exclude"),
        policy=Policy.from_string(policy.upper()),
        weights=_weights(weights),
    )


def decimal_text(amount: Amount | None, field: str) -> str:
    """An exact amount as the decimal of at most 8 places that the API wants; None is "". Raises InvalidField."""
    if amount is None:
        return ""
    if isinstance(amount, float):
        raise invalid(field, f'must not be a float, which is not exact; pass "{amount}" or a Decimal')
    if isinstance(amount, bool) or not isinstance(amount, str | Decimal | int):
        raise invalid(field, "must be a decimal string, a Decimal or an int")
    if isinstance(amount, str) and not _DIGITS.fullmatch(amount):
        raise invalid(field, "must be a decimal such as 0.002: digits, at most 12 before and 8 after the point")
    value = Decimal(amount)
    # The exponent is looked at before the number is written out: Decimal("1E+999999999") is short, its digits are not.
    if not value.is_finite() or value.is_signed() or value.adjusted() >= 12:
        raise invalid(field, "must be a decimal of 0 or more, with at most 12 digits before the point")
    if value.as_tuple().exponent < -_PLACES and value != value.quantize(Decimal(1).scaleb(-_PLACES)):  # type: ignore[operator]
        raise invalid(field, f"must have at most {_PLACES} places")
    return f"{value:.{_PLACES}f}"


def _whole(value: int, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise invalid(field, "must be a whole number of 1 or more")
    return value


def _names(names: Iterable[str], field: str) -> list[str]:
    if isinstance(names, str):
        raise invalid(field, f'must be a list of names, such as ["{names}"]')
    return list(names)


def _weights(weights: Mapping[str, int] | None) -> Weights | None:
    if weights is None:
        return None
    if unknown := set(weights) - {"price", "latency", "throughput"}:
        raise invalid(f"weights.{min(unknown)}", "is not known; there are price, latency and throughput")
    return Weights(**weights)
