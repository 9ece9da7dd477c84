"""The chart of accounts: names, shards, owners, and which accounts may be debited.

`U:{user}` spendable credits, `H:{order}` escrow of one hold, `PM:{provider}:{yyyymmdd}:{shard}` earnings of a day,
`R:fee:{shard}` the platform's fee, `X:promo` what grants cost. What many orders write to is sharded, so that no store
has a hot item.
"""

import re
from functools import lru_cache
from zlib import crc32

from gollem.clock import utc_day

FEE_SHARDS = 16
EARNINGS_SHARDS = 4
PROMO = "X:promo"

_MS_PER_DAY = 86_400_000
_NAME = r"[A-Za-z0-9._-]{1,64}"
_ACCOUNT = re.compile(
    rf"(?:U:{_NAME}|H:[!-~]{{1,128}}|PM:{_NAME}:[0-9]{{8}}:[0-9]+|R:fee:[0-9]+|X:promo)",
    re.ASCII,
)


def user_account(user: str) -> str:
    return f"U:{user}"


def hold_account(order_id: str) -> str:
    return f"H:{order_id}"


def fee_account(order_id: str) -> str:
    return f"R:fee:{crc32(order_id.encode()) % FEE_SHARDS}"


def earnings_account(provider: str, order_id: str, at_ms: int) -> str:
    """The provider's earnings of the UTC day, one shard of them."""
    return f"PM:{provider}:{_name_of_day(at_ms // _MS_PER_DAY)}:{crc32(order_id.encode()) % EARNINGS_SHARDS}"


def is_user(account: str) -> bool:
    return account.startswith("U:")


def is_hold(account: str) -> bool:
    return account.startswith("H:")


def is_expense(account: str) -> bool:
    """Expenses may be debited without a guard; everything else needs one, or takes credits only."""
    return account.startswith("X:")


def is_well_formed(account: str) -> bool:
    return _ACCOUNT.fullmatch(account) is not None


def statement_of(account: str) -> str | None:
    """Whose statement shows the account's legs: `U:{user}`, `P:{provider}`, or nobody's."""
    if account.startswith("U:"):
        return account
    if account.startswith("PM:"):
        return provider_statement(account.split(":", 2)[1])
    return None


def provider_statement(provider: str) -> str:
    return f"P:{provider}"


def earnings_range(provider: str) -> tuple[str, str]:
    """All of a provider's earnings accounts: from the first bound to below the second."""
    return f"PM:{provider}:", f"PM:{provider};"  # ';' comes right after ':'


@lru_cache(maxsize=16)
def _name_of_day(day: int) -> str:
    return utc_day(day * _MS_PER_DAY)
