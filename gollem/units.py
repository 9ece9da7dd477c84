"""Decimal strings to integers and back; the only file that touches Decimal.

1 credit = 10^8 atoms = 0.001 USD. 1 tick = 10^-8 USD per standard credit of work. Inside there are integers only, named
`_atoms` and `_ticks`; strings of at most 8 places are for the wire and for people.
"""

import re
from decimal import ROUND_HALF_UP, Decimal

from gollem.errors import InvalidField

PLACES = 8
_ONE = 100_000_000
ATOMS_PER_CREDIT = _ONE
ATOMS_PER_USD = 1_000 * ATOMS_PER_CREDIT
ATOMS_PER_CENT = ATOMS_PER_USD // 100
TICKS_PER_USD = _ONE
# Every amount stays below this, so that sums of two never leave 64 bits.
MAX_ATOMS = 2**62

_DECIMAL = re.compile(r"(?P<whole>[0-9]{1,12})(?:\.(?P<part>[0-9]{1,8}))?", re.ASCII)


def parse_fixed(text: str, field: str) -> int:
    """A decimal string of at most 12 whole digits and 8 places, as an integer of 10^-8. Raises InvalidField."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidField(field, "must be a decimal such as 0.00100000: digits, at most 8 of them after the point")
    value = int(match["whole"]) * _ONE + int((match["part"] or "").ljust(PLACES, "0"))
    if value >= MAX_ATOMS:
        raise InvalidField(field, f"must be below {format_fixed(MAX_ATOMS)}")
    return value


def format_fixed(value: int) -> str:
    """An integer of 10^-8 as a decimal string of exactly 8 places."""
    sign = "-" if value < 0 else ""
    whole, part = divmod(abs(value), _ONE)
    return f"{sign}{whole}.{part:08d}"


def format_usd(atoms: int) -> str:
    """Atoms of credits in USD, exact: 11 places at most, trailing zeros beyond the cent dropped."""
    return _plain(Decimal(atoms) / ATOMS_PER_USD, least=2)


def usd_per_mtok(price_ticks: int, multiplier_micro: int, gpu_centi: int) -> str:
    """What a price means for people: USD per million tokens, six significant places after rounding half up.

    `multiplier_micro` is the model's multiplier in millionths, `gpu_centi` the GPU's in hundredths; a standard credit
    of work is 4 tokens times both.
    """
    exact = Decimal(price_ticks) * multiplier_micro * gpu_centi / (4 * TICKS_PER_USD * 100)
    return _plain(exact.quantize(Decimal("0.000001"), ROUND_HALF_UP), least=2)


def tpot_ns(tokens_per_second: float) -> int:
    """Speed as nanoseconds per token, rounded down, so that equal speeds are equal. `tokens_per_second` is above 0."""
    return int(1e9 / tokens_per_second)


def tokens_per_second(tpot: int) -> float:
    """The inverse, for people."""
    return round(1e9 / tpot, 3) if tpot else 1e9


def format_cents(cents: int) -> str:
    """Cents of USD as a decimal string of 2 places."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def parse_cents(text: str, field: str) -> int:
    """A decimal string of USD as whole cents. Raises InvalidField."""
    match = _DECIMAL.fullmatch(text)
    part = (match["part"] or "") if match else ""
    if match is None or part[2:].strip("0"):
        raise InvalidField(field, "must be whole cents of USD, such as 25.00")
    return int(match["whole"]) * 100 + int(part[:2].ljust(2, "0"))


def _plain(value: Decimal, least: int) -> str:
    """Without exponent or trailing zeros, but with `least` places."""
    text = f"{value:f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(least, '0')}"
