"""Where a provider may be paid, and under which agreement: the table of connect_countries.toml."""

import tomllib
from functools import cache
from pathlib import Path

from gollem.errors import InvalidField
from gollem.payments.types import Agreement

_TABLE = Path(__file__).with_name("connect_countries.toml")


def agreement_of(country: str) -> Agreement:
    """Under which agreement providers of the country (ISO 3166-1 alpha-2) are paid. Raises InvalidField."""
    found = _agreements().get(country)
    if found is None:
        listed = ", ".join(sorted(_agreements()))
        raise InvalidField("country", f"must be a country whose providers can be paid, one of {listed}")
    return found


@cache
def _agreements() -> dict[str, Agreement]:
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return {country: agreement for agreement in Agreement for country in table[agreement.value]}
