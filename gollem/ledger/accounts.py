"""The chart of accounts: names, shards, owners, and how far each may be credited and debited.

Owned by users: `U:{user}` spendable credits, `H:{order}` escrow of one hold, `RF:{refund}` one card refund under way,
`D:{user}` debt. By providers: `PM:{provider}:{yyyymmdd}:{shard}` earnings of a day, `P:{provider}` payable,
`PO:{payout}` one payout under way, `DP:{provider}` debt. The platform's own: `R:fee:{shard}` its fee, `A:` assets, `X:`
expenses, `E:adjust`, `S:unmatched`, and the memo accounts `L:conn:{provider}`, all that came to a provider's
own account with Stripe, `A:conn:{provider}`, what lies there, and `A:paid:{provider}`, what its bank has taken. What
many orders write to is sharded, so that no store has a hot item.
"""

import re
from enum import Enum
from functools import lru_cache
from zlib import crc32

from gollem.clock import DAY_MS, utc_day
from gollem.ledger.types import Kind

FEE_SHARDS = 16
EARNINGS_SHARDS = 4
PROMO = "X:promo"
STRIPE_FEES = "X:stripe_fee"
DISPUTE_FEES = "X:dispute_fee"
BAD_DEBT = "X:bad_debt"
GOODWILL = "X:sla"
STRIPE = "A:stripe"
BANK = "A:bank"
ADJUSTMENTS = "E:adjust"
UNMATCHED = "S:unmatched"

_NAME = r"[A-Za-z0-9._-]{1,64}"
_ACCOUNT = re.compile(
    rf"(?:(?:U|D|P|DP|PO|RF|[AL]:conn|A:paid):{_NAME}|H:[!-~]{{1,128}}|PM:{_NAME}:[0-9]{{8}}:[0-9]|R:fee:[0-9]{{1,2}}"
    r"|X:(?:promo|stripe_fee|dispute_fee|bad_debt|sla)|A:stripe|A:bank|E:adjust|S:unmatched)",
    re.ASCII,
)


class Bounds(Enum):
    """How far an account may go. What is bounded moves towards its bound under a guard only."""

    FLOOR = "never below 0"  # what somebody owns: a debit needs a guard
    CEILING = "never above 0"  # what somebody owes: a credit needs a guard
    CREDIT_ONLY = "only ever credited"  # revenue
    FREE = "any balance"  # the platform's own


_BOUNDS = dict.fromkeys(("U", "H", "PM", "P", "PO", "RF"), Bounds.FLOOR)
_BOUNDS |= {"D": Bounds.CEILING, "DP": Bounds.CEILING, "R": Bounds.CREDIT_ONLY}


def bounds(account: str) -> Bounds:
    return _BOUNDS.get(account.partition(":")[0], Bounds.FREE)


def is_within_bounds(account: str, balance_atoms: int) -> bool:
    """Whether the account may ever have this balance."""
    bound = bounds(account)
    if bound is Bounds.CEILING:
        return balance_atoms <= 0
    return bound is Bounds.FREE or balance_atoms >= 0


def user_account(user: str) -> str:
    return f"U:{user}"


def user_debt(user: str) -> str:
    return f"D:{user}"


def hold_account(order_id: str) -> str:
    return f"H:{order_id}"


def hold_key(order_id: str) -> str:
    """Of the entry that opens the order's hold. Keys are unique, so an order has one hold at most."""
    return f"hold:{order_id}"


def refund_account(refund_id: str) -> str:
    return f"RF:{refund_id}"


def fee_account(order_id: str) -> str:
    return f"R:fee:{crc32(order_id.encode()) % FEE_SHARDS}"


def earnings_account(provider: str, order_id: str, at_ms: int) -> str:
    """The provider's earnings of the UTC day, one shard of them."""
    return earnings_shard(provider, _name_of_day(at_ms // DAY_MS), crc32(order_id.encode()) % EARNINGS_SHARDS)


def earnings_shard(provider: str, day: str, shard: int) -> str:
    return f"PM:{provider}:{day}:{shard}"


def payable_account(provider: str) -> str:
    return f"P:{provider}"


def provider_debt(provider: str) -> str:
    return f"DP:{provider}"


def payout_account(payout_id: str) -> str:
    return f"PO:{payout_id}"


def connected_account(provider: str) -> str:
    return f"A:conn:{provider}"


def paid_account(provider: str) -> str:
    return f"A:paid:{provider}"


def connected_liability(provider: str) -> str:
    return f"L:conn:{provider}"


def is_user(account: str) -> bool:
    return account.startswith("U:")


def is_hold(account: str) -> bool:
    return account.startswith("H:")


def is_debt(account: str) -> bool:
    return account.startswith("D")


def is_well_formed(account: str) -> bool:
    return _ACCOUNT.fullmatch(account) is not None


def is_name(text: str) -> bool:
    """Whether it can be part of an account's name: of users, providers, payouts and refunds."""
    return is_well_formed(user_account(text))


def statement_of(account: str, kind: Kind) -> str | None:
    """Whose statement shows the leg of such a transaction: `U:{user}`, `P:{provider}`, or nobody's."""
    if kind is Kind.MATURE:
        return None  # from one pocket of the provider's to another
    if account.startswith("U:"):
        return account
    if account.startswith("PM:"):
        return provider_statement(account.split(":", 2)[1])
    if account.startswith("D:"):
        return user_account(account[2:])
    return provider_statement(account.split(":")[1]) if account.startswith(("P:", "DP:")) else None


def provider_statement(provider: str) -> str:
    return f"P:{provider}"


def earnings_range(provider: str) -> tuple[str, str]:
    """All of a provider's earnings accounts: from the first bound to below the second."""
    return f"PM:{provider}:", f"PM:{provider};"  # ';' comes right after ':'


def earnings_of(account: str) -> tuple[str, str]:
    """The provider and the day (yyyymmdd) of an earnings account."""
    _, provider, day, _ = account.split(":")
    return provider, day


@lru_cache(maxsize=16)
def _name_of_day(day: int) -> str:
    return utc_day(day * DAY_MS)
