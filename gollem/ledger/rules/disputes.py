"""Disputed payments: Stripe takes the money at once, and gives it back, or not, weeks later.

Amounts are those of Stripe's balance transactions, whatever was charged. The provider keeps what was earned: the work
was done. What the user has spent already becomes debt.
"""

from gollem.ledger import records
from gollem.ledger.accounts import BAD_DEBT, DISPUTE_FEES, STRIPE, user_account, user_debt
from gollem.ledger.rules.freezes import dispute_freeze, freezes_changed, reasons_of
from gollem.ledger.rules.parts import debt_first, debt_last, digest, require_cents, require_kind, require_names
from gollem.ledger.types import (
    BalanceIs,
    Kind,
    Leg,
    PutRecord,
    Record,
    RecordIs,
    Transaction,
    UpdateRecord,
)


def dispute_withdrawn(
    dispute_id: str,
    txn_id: str,
    user: str,
    amount_atoms: int,
    fee_atoms: int,
    available_atoms: int,
    freezes: Record | None,
    now_ms: int,
) -> Transaction:
    """Stripe took the amount and its fee: the user loses what is there, owes the rest, and is frozen by the dispute.

    `available_atoms` and `freezes` are the user's as just read. Key `stripe:{txn_id}`, of the dispute's balance
    transaction."""
    require_names(dispute_id=dispute_id, txn_id=txn_id, user=user)
    require_cents(f"dispute {dispute_id}", amount_atoms)
    if fee_atoms:
        require_cents(f"fee of dispute {dispute_id}", fee_atoms)
    legs = [Leg(STRIPE, amount_atoms + fee_atoms)]
    legs += [Leg(DISPUTE_FEES, -fee_atoms)] if fee_atoms else []
    legs += debt_last(user_account(user), user_debt(user), available_atoms, amount_atoms)
    guards, effects = freezes_changed(user, freezes, reasons_of(freezes) | {dispute_freeze(dispute_id)})
    return Transaction(
        key=f"stripe:{txn_id}",
        kind=Kind.DISPUTE_WITHDRAWN,
        legs=tuple(legs),
        fingerprint=digest("dispute_withdrawn", dispute_id, user, amount_atoms, fee_atoms),
        at_ms=now_ms,
        guards=(BalanceIs(user_account(user), available_atoms), *guards),
        effects=(
            PutRecord(Record(records.DISPUTE, dispute_id, "WITHDRAWN", {"user": user, "amount_atoms": amount_atoms})),
            *effects,
        ),
        detail=dispute_id,
    )


def dispute_reinstated(
    dispute: Record,
    txn_id: str,
    amount_atoms: int,
    available_atoms: int,
    debt_atoms: int,
    freezes: Record | None,
    now_ms: int,
    *,
    fee_atoms: int = 0,
) -> Transaction:
    """The dispute was won and Stripe gave this back, and perhaps its fee: debt is repaid first, the rest is the user's,
    whom this dispute no longer freezes; but the last reason stays while anything is owed. Key `stripe:{txn_id}`.

    `available_atoms`, `debt_atoms` and `freezes` are the user's as just read."""
    require_kind(dispute, records.DISPUTE)
    require_names(txn_id=txn_id)
    require_cents(f"dispute {dispute.id}", amount_atoms)
    if fee_atoms:
        require_cents(f"fee of dispute {dispute.id}", fee_atoms)
    user = dispute.text("user")
    reasons = reasons_of(freezes) - {dispute_freeze(dispute.id)}
    if not reasons and debt_atoms > amount_atoms:
        reasons = frozenset({dispute_freeze(dispute.id)})
    guards, effects = freezes_changed(user, freezes, reasons)
    account, debt_account = user_account(user), user_debt(user)
    return Transaction(
        key=f"stripe:{txn_id}",
        kind=Kind.DISPUTE_REINSTATED,
        legs=(
            Leg(STRIPE, -amount_atoms - fee_atoms),
            *([Leg(DISPUTE_FEES, fee_atoms)] if fee_atoms else []),
            *debt_first(account, debt_account, debt_atoms, amount_atoms),
        ),
        fingerprint=digest("dispute_reinstated", dispute.id, amount_atoms, *([fee_atoms] if fee_atoms else [])),
        at_ms=now_ms,
        guards=(
            RecordIs(records.DISPUTE, dispute.id, ("WITHDRAWN",)),
            BalanceIs(account, available_atoms),
            BalanceIs(debt_account, -debt_atoms),
            *guards,
        ),
        effects=(UpdateRecord(records.DISPUTE, dispute.id, "WON"), *effects),
        detail=dispute.id,
    )


def write_off(dispute: Record, approver: str, debt_atoms: int, now_ms: int) -> Transaction:
    """The dispute was lost, and what the user still owes of it will never come. Key `writeoff:{dispute_id}`.

    `debt_atoms` is the user's as just read: at most the dispute's amount of it is written off; nothing, if it has been
    repaid."""
    require_kind(dispute, records.DISPUTE)
    require_names(approver=approver)
    debt_account = user_debt(dispute.text("user"))
    written_atoms = min(debt_atoms, dispute.number("amount_atoms"))
    legs = (Leg(BAD_DEBT, -written_atoms), Leg(debt_account, written_atoms)) if written_atoms else ()
    return Transaction(
        key=f"writeoff:{dispute.id}",
        kind=Kind.WRITE_OFF,
        legs=legs,
        fingerprint=digest("writeoff", dispute.id),
        at_ms=now_ms,
        guards=(RecordIs(records.DISPUTE, dispute.id, ("WITHDRAWN",)), BalanceIs(debt_account, -debt_atoms)),
        effects=(UpdateRecord(records.DISPUTE, dispute.id, "LOST", {"approver": approver}),),
        detail=approver,
    )
