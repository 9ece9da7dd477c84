"""Movements of the platform's own money at Stripe, and those that nobody can explain yet."""

from gollem.ledger import records
from gollem.ledger.accounts import BANK, STRIPE, STRIPE_FEES, UNMATCHED
from gollem.ledger.rules.parts import digest, if_there, require_adjustable, require_cents, require_kind, require_names
from gollem.ledger.types import (
    Kind,
    Leg,
    PutRecord,
    Record,
    RecordIs,
    Transaction,
    UpdateRecord,
)


def stripe_fee(txn_id: str, amount_atoms: int, now_ms: int) -> Transaction:
    """What Stripe kept for itself. Key `stripe:{txn_id}`, of its balance transaction."""
    require_names(txn_id=txn_id)
    require_cents(f"stripe fee {txn_id}", amount_atoms)
    legs = (Leg(STRIPE, amount_atoms), Leg(STRIPE_FEES, -amount_atoms))
    return Transaction(
        f"stripe:{txn_id}", Kind.STRIPE_FEE, legs, digest("stripe_fee", amount_atoms), now_ms, detail=txn_id
    )


def platform_payout(txn_id: str, amount_atoms: int, now_ms: int) -> Transaction:
    """From Stripe to the platform's own bank; negative: what the bank sent back. Key `stripe:{txn_id}`."""
    require_names(txn_id=txn_id)
    require_cents(f"platform payout {txn_id}", abs(amount_atoms))
    legs = (Leg(STRIPE, amount_atoms), Leg(BANK, -amount_atoms))
    return Transaction(
        f"stripe:{txn_id}", Kind.PLATFORM_PAYOUT, legs, digest("platform_payout", amount_atoms), now_ms, detail=txn_id
    )


def unmatched(txn_id: str, amount_atoms: int, now_ms: int) -> Transaction:
    """A movement at Stripe, in if positive, that nothing here explains. Key `stripe:{txn_id}`."""
    require_names(txn_id=txn_id)
    require_cents(f"unmatched {txn_id}", abs(amount_atoms))
    return Transaction(
        key=f"stripe:{txn_id}",
        kind=Kind.UNMATCHED,
        legs=(Leg(STRIPE, -amount_atoms), Leg(UNMATCHED, amount_atoms)),
        fingerprint=digest("unmatched", amount_atoms),
        at_ms=now_ms,
        effects=(PutRecord(Record(records.UNMATCHED, txn_id, "OPEN", {"amount_atoms": amount_atoms})),),
        detail=txn_id,
    )


def unmatched_resolved(movement: Record, account: str, approver: str, now_ms: int) -> Transaction:
    """Whose it was: a user's (U:), a provider's (P:) or the platform's own. Key `resolved:{txn_id}`.

    Money that went out is taken from there, refused if it is not there."""
    require_kind(movement, records.UNMATCHED)
    require_names(approver=approver)
    require_adjustable(account, other_than=UNMATCHED)
    amount_atoms = movement.number("amount_atoms")
    return Transaction(
        key=f"resolved:{movement.id}",
        kind=Kind.UNMATCHED_RESOLVED,
        legs=(Leg(UNMATCHED, -amount_atoms), Leg(account, amount_atoms)),
        fingerprint=digest("resolved", account),
        at_ms=now_ms,
        guards=(
            RecordIs(records.UNMATCHED, movement.id, ("OPEN",), {"amount_atoms": amount_atoms}),
            *if_there(account, amount_atoms),
        ),
        effects=(UpdateRecord(records.UNMATCHED, movement.id, "RESOLVED", {"account": account, "approver": approver}),),
        detail=approver,
    )
