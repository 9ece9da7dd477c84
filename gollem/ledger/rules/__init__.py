"""What each type of transaction is: pure builders, their legs, guards and effects. Nothing else makes transactions.

All amounts are atoms; `now_ms` is the caller's clock. What a builder takes as seen (a record, a debt, a balance) it
also guards, so that a transaction built from a stale read is refused with StaleRead. Builders raise InvariantBroken for
figures that the callers should have refused long before, and a CallerError for those that people give.
"""

from gollem.ledger.rules.adjustments import (
    adjustment_approved,
    adjustment_fingerprint,
    adjustment_proposed,
    adjustment_rejected,
)
from gollem.ledger.rules.disputes import dispute_reinstated, dispute_withdrawn, write_off
from gollem.ledger.rules.earnings import clawback, mature
from gollem.ledger.rules.freezes import (
    dispute_freeze,
    reasons_of,
    unfreeze_fingerprint,
    user_frozen,
    user_released,
    user_unfrozen,
)
from gollem.ledger.rules.notes import noted
from gollem.ledger.rules.orders import expire, hold, partial_settle, settle, void
from gollem.ledger.rules.oversight import (
    alert,
    armed_again,
    fell_below,
    payouts_halted,
    payouts_resumed,
    reconciled,
    watched,
)
from gollem.ledger.rules.parts import digest
from gollem.ledger.rules.payouts import (
    KEPT_ATTEMPTS,
    bank_field,
    payout_cancelled,
    payout_failed,
    payout_fingerprint,
    payout_initiated,
    payout_paid,
    payout_reversed,
    payout_transferred,
)
from gollem.ledger.rules.platform import platform_payout, stripe_fee, unmatched, unmatched_resolved
from gollem.ledger.rules.providers import provider_changed, provider_moved, provider_registered
from gollem.ledger.rules.purchases import purchase, purchase_cancelled, purchase_created, purchase_intended
from gollem.ledger.rules.refunds import refund_failed, refund_fingerprint, refund_initiated, refund_succeeded
from gollem.ledger.rules.spending import counted, spend_limited, spent, uncounted
from gollem.ledger.rules.users import grant, promo

__all__ = [
    "KEPT_ATTEMPTS",
    "adjustment_approved",
    "adjustment_fingerprint",
    "adjustment_proposed",
    "adjustment_rejected",
    "alert",
    "armed_again",
    "bank_field",
    "clawback",
    "counted",
    "digest",
    "dispute_freeze",
    "dispute_reinstated",
    "dispute_withdrawn",
    "expire",
    "fell_below",
    "grant",
    "hold",
    "mature",
    "noted",
    "partial_settle",
    "payout_cancelled",
    "payout_failed",
    "payout_fingerprint",
    "payout_initiated",
    "payout_paid",
    "payout_reversed",
    "payout_transferred",
    "payouts_halted",
    "payouts_resumed",
    "platform_payout",
    "promo",
    "provider_changed",
    "provider_moved",
    "provider_registered",
    "purchase",
    "purchase_cancelled",
    "purchase_created",
    "purchase_intended",
    "reasons_of",
    "reconciled",
    "refund_failed",
    "refund_fingerprint",
    "refund_initiated",
    "refund_succeeded",
    "settle",
    "spend_limited",
    "spent",
    "stripe_fee",
    "uncounted",
    "unfreeze_fingerprint",
    "unmatched",
    "unmatched_resolved",
    "user_frozen",
    "user_released",
    "user_unfrozen",
    "void",
    "watched",
    "write_off",
]
