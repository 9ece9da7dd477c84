"""Money back to a card: the credits wait in an account of the refund until Stripe has decided."""

from gollem.errors import InvalidField, InvariantBroken
from gollem.ledger import records
from gollem.ledger.accounts import STRIPE, refund_account, user_account
from gollem.ledger.rules.parts import digest, require_cents, require_kind, require_names
from gollem.ledger.types import (
    AvailableAtLeast,
    BalanceIs,
    Kind,
    Leg,
    PutRecord,
    Record,
    RecordIs,
    Transaction,
    UpdateRecord,
    UserActive,
)
from gollem.units import format_fixed


def refund_initiated(refund_id: str, bought: Record, amount_atoms: int, now_ms: int, operator: str = "") -> Transaction:
    """Credits set aside, to go back to the card that bought them. Key `rf_init:{refund_id}`. `operator` decided it.

    Refused for a frozen user (a dispute may take the same money), or if fewer credits are left. Raises InvalidField for
    more than the part of the purchase that was not refunded."""
    require_kind(bought, records.PURCHASE)
    require_names(refund_id=refund_id)
    require_cents(f"refund {refund_id}", amount_atoms)
    refunded_atoms = bought.number("refunded_atoms")
    left_atoms = bought.number("amount_atoms") - refunded_atoms
    if amount_atoms > left_atoms:
        raise InvalidField("amount", f"must be at most {format_fixed(left_atoms)}, what is left of the purchase")
    user = bought.text("user")
    fields: dict[str, str | int] = {"purchase": bought.id, "user": user, "amount_atoms": amount_atoms}
    return Transaction(
        key=f"rf_init:{refund_id}",
        kind=Kind.REFUND_INITIATED,
        legs=(Leg(user_account(user), -amount_atoms), Leg(refund_account(refund_id), amount_atoms)),
        fingerprint=refund_fingerprint(bought.id, amount_atoms),
        at_ms=now_ms,
        guards=(
            RecordIs(records.PURCHASE, bought.id, ("CREDITED",), {"user": user, "refunded_atoms": refunded_atoms}),
            UserActive(user),
            AvailableAtLeast(user_account(user), amount_atoms),
        ),
        effects=(
            UpdateRecord(records.PURCHASE, bought.id, None, {"refunded_atoms": refunded_atoms + amount_atoms}),
            PutRecord(Record(records.REFUND, refund_id, "INITIATED", fields)),
        ),
        detail=operator,
    )


def refund_fingerprint(purchase_id: str, amount_atoms: int) -> str:
    return digest("rf_init", purchase_id, amount_atoms)


def refund_succeeded(refund: Record, stripe_id: str, now_ms: int) -> Transaction:
    """The card has its money. Key `rf_ok:{stripe_id}`."""
    require_kind(refund, records.REFUND)
    require_names(stripe_id=stripe_id)
    amount_atoms, account = refund.number("amount_atoms"), refund_account(refund.id)
    return Transaction(
        key=f"rf_ok:{stripe_id}",
        kind=Kind.REFUND_SUCCEEDED,
        legs=(Leg(account, -amount_atoms), Leg(STRIPE, amount_atoms)),
        fingerprint=digest("rf_ok", refund.id),
        at_ms=now_ms,
        guards=(RecordIs(records.REFUND, refund.id, ("INITIATED",)), BalanceIs(account, amount_atoms)),
        effects=(UpdateRecord(records.REFUND, refund.id, "SUCCEEDED", {"stripe_id": stripe_id}),),
    )


def refund_failed(refund: Record, bought: Record, stripe_id: str, now_ms: int) -> Transaction:
    """The card did not take it, told at once or after it seemed to succeed: the credits back to the user, and that part
    of the purchase may be refunded again. Key `rf_fail:{stripe_id}`."""
    require_kind(refund, records.REFUND)
    require_kind(bought, records.PURCHASE)
    require_names(stripe_id=stripe_id)
    if refund.text("purchase") != bought.id:
        raise InvariantBroken(f"refund {refund.id} is not of purchase {bought.id}")
    amount_atoms, refunded_atoms = refund.number("amount_atoms"), bought.number("refunded_atoms")
    has_succeeded = refund.state == "SUCCEEDED"
    source = STRIPE if has_succeeded else refund_account(refund.id)
    state = RecordIs(records.REFUND, refund.id, ("SUCCEEDED" if has_succeeded else "INITIATED",))
    held = () if has_succeeded else (BalanceIs(source, amount_atoms),)
    return Transaction(
        key=f"rf_fail:{stripe_id}",
        kind=Kind.REFUND_FAILED,
        legs=(Leg(source, -amount_atoms), Leg(user_account(refund.text("user")), amount_atoms)),
        fingerprint=digest("rf_fail", refund.id),
        at_ms=now_ms,
        guards=(state, RecordIs(records.PURCHASE, bought.id, ("CREDITED",), {"refunded_atoms": refunded_atoms}), *held),
        effects=(
            UpdateRecord(records.REFUND, refund.id, "FAILED"),
            UpdateRecord(records.PURCHASE, bought.id, None, {"refunded_atoms": refunded_atoms - amount_atoms}),
        ),
    )
