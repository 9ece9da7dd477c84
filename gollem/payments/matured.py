"""How a provider's days became payable: the entries, of all parts of each day."""

import asyncio
from collections.abc import Sequence

from gollem.ledger import Entry, Ledger

MAX_PARTS = 8  # of a day that matured in parts
_AT_ONCE = 16


async def matured_entries(ledger: Ledger, provider: str, days: Sequence[str]) -> list[tuple[str, Entry]]:
    """Day (yyyymmdd) and entry, in the order of `days`. A second part of a day is rare."""
    found = list[tuple[str, Entry]]()
    firsts = await entries(ledger, [f"mature:{provider}:{day}" for day in days])
    for day, first in zip(days, firsts, strict=True):
        entry, part = first, 0
        while entry is not None and part < MAX_PARTS:
            found.append((day, entry))
            part += 1
            entry = await ledger.find_entry(f"mature:{provider}:{day}:{part}")
    return found


async def entries(ledger: Ledger, keys: Sequence[str]) -> list[Entry | None]:
    """Of the keys, some at once."""
    found = list[Entry | None]()
    for start in range(0, len(keys), _AT_ONCE):
        found += await asyncio.gather(*map(ledger.find_entry, keys[start : start + _AT_ONCE]))
    return found
