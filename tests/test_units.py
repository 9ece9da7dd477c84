"""Decimal strings and integers are the same money, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollem import units
from gollem.errors import InvalidField

amounts = st.integers(0, units.MAX_ATOMS - 1)


@given(amounts)
def test_what_is_formatted_is_parsed_back(value: int) -> None:
    text = units.format_fixed(value)
    assert units.parse_fixed(text, "x") == value
    assert Decimal(text) == Decimal(value).scaleb(-8)
    assert units.format_fixed(-value) == (f"-{text}" if value else text)


@given(st.decimals(0, 10**9, allow_nan=False, places=8))
def test_every_decimal_of_eight_places_is_exact(value: Decimal) -> None:
    assert Decimal(units.parse_fixed(f"{value:f}", "x")) == value * 10**8


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".5", "-1", "+1", " 1", "1 ", "1e5", "0x1", "1,0", "1_0", "NaN", "inf", "1.123456789", "1\n",
     "1234567890123", "٣", "1.0.0", "46116860184.27387904"],
)  # fmt: skip
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidField) as refused:
        units.parse_fixed(text, "price")
    assert refused.value.figures["field"] == "price"


@given(amounts)
def test_usd_is_a_thousandth_of_credits(atoms: int) -> None:
    assert Decimal(units.format_usd(atoms)) * 1_000 * 10**8 == atoms


def test_usd_per_million_tokens_is_what_people_know() -> None:
    # The base price on a model and GPU of multiplier 1: 0.001 USD for 4 tokens.
    assert units.usd_per_mtok(100_000, 10**6, 100) == "250.00"
    assert units.usd_per_mtok(1, 10**6, 100) == "0.0025"
    assert units.usd_per_mtok(1_000, 4_000, 100) == "0.01"


@given(st.floats(0.0001, 1e6), st.floats(0.0001, 1e6))
def test_the_quicker_never_takes_longer_per_token(one: float, other: float) -> None:
    quick, slow = max(one, other), min(one, other)
    assert units.tpot_ns(quick) <= units.tpot_ns(slow)
    # A nanosecond of 10^9 / speed is worth speed^2 / 10^9; what is shown is rounded to a thousandth.
    assert abs(units.tokens_per_second(units.tpot_ns(quick)) - quick) <= quick * quick * 1.01e-9 + 0.001
