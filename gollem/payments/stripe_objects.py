"""Stripe's objects, as plain dicts, in our words. Knows their fields, and nothing of how they are fetched."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gollem.payments.types import (
    CURRENCY,
    BankPayout,
    BankPayoutStatus,
    ConnectedAccount,
    Dispute,
    DisputeStatus,
    Event,
    Funds,
    Movement,
    MovementKind,
    Page,
    Payment,
    PaymentStatus,
    Refund,
    RefundStatus,
    Transfer,
)

Json = Mapping[str, Any]
T = TypeVar("T")

# What these do not name is none of their last two states: only what is known for certain is money, or is over.
_PAYMENT = {
    "processing": PaymentStatus.PROCESSING,
    "succeeded": PaymentStatus.SUCCEEDED,
    "canceled": PaymentStatus.CANCELLED,
}
_REFUND = {
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}
_DISPUTE = {
    "warning_needs_response": DisputeStatus.INQUIRY,
    "warning_under_review": DisputeStatus.INQUIRY,
    "warning_closed": DisputeStatus.CLOSED,
    "prevented": DisputeStatus.CLOSED,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}
_BANK_PAYOUT = {
    "paid": BankPayoutStatus.PAID,
    "failed": BankPayoutStatus.FAILED,
    "canceled": BankPayoutStatus.FAILED,
}
_MOVEMENT = {
    "charge": MovementKind.CHARGE,
    "payment": MovementKind.CHARGE,  # by bank debit
    "refund": MovementKind.REFUND,
    "payment_refund": MovementKind.REFUND,
    "refund_failure": MovementKind.REFUND_FAILED,
    "transfer": MovementKind.TRANSFER,
    "transfer_refund": MovementKind.TRANSFER_REVERSED,
    "transfer_cancel": MovementKind.TRANSFER_REVERSED,
    "transfer_failure": MovementKind.TRANSFER_REVERSED,
    "payout": MovementKind.PLATFORM_PAYOUT,
    "payout_cancel": MovementKind.PLATFORM_PAYOUT_FAILED,
    "payout_failure": MovementKind.PLATFORM_PAYOUT_FAILED,
    "stripe_fee": MovementKind.FEE,
    "stripe_fx_fee": MovementKind.FEE,
    "tax_fee": MovementKind.FEE,
}
# An adjustment is named by the object behind it.
_ADJUSTMENT = {"dispute": MovementKind.DISPUTE, "refund": MovementKind.REFUND_FAILED}
_MOST_MISSING = 5  # fields named in `blocked_by`


def page(listed: Json, item: Callable[[Json], T]) -> Page[T]:
    found = listed["data"]
    return Page([item(one) for one in found], found[-1]["id"] if found and listed["has_more"] else "")


def payment(intent: Json) -> Payment:
    charge = intent.get("latest_charge")
    return Payment(
        payment_id=intent["id"],
        purchase_id=_metadata(intent).get("purchase_id", ""),
        status=_PAYMENT.get(intent["status"], PaymentStatus.WAITING),
        asked_cents=intent["amount"],
        received_cents=intent.get("amount_received") or 0,
        currency=intent["currency"],
        livemode=intent["livemode"],
        created_ms=_ms(intent),
        charge_id=_id(charge),
        customer_id=_id(intent.get("customer")),
        card_id=_id(intent.get("payment_method")),
        receipt_url=(charge.get("receipt_url") or "") if isinstance(charge, Mapping) else "",
    )


def refund(found: Json) -> Refund:
    return Refund(
        stripe_id=found["id"],
        refund_id=_metadata(found).get("refund_id", ""),
        payment_id=_id(found.get("payment_intent")),
        cents=found["amount"],
        status=_REFUND.get(found["status"], RefundStatus.PENDING),
    )


def dispute(found: Json) -> Dispute:
    """Its balance transactions are always a part of it, but name it by its id alone."""
    movements = [movement({**txn, "source": found}) for txn in found["balance_transactions"]]
    return Dispute(
        dispute_id=found["id"],
        payment_id=_id(found.get("payment_intent")),
        status=_DISPUTE.get(found["status"], DisputeStatus.OPEN),
        movements=sorted(movements, key=lambda moved: (moved.created_ms, moved.txn_id)),
    )


def account(found: Json) -> ConnectedAccount:
    requirements = found.get("requirements") or {}
    transfers = (found.get("capabilities") or {}).get("transfers", "inactive")
    can_be_paid = transfers == "active" and bool(found.get("payouts_enabled"))
    return ConnectedAccount(
        connected_id=found["id"],
        provider=_metadata(found).get("provider", ""),
        country=found.get("country") or "",
        can_be_paid=can_be_paid,
        blocked_by="" if can_be_paid else _blocked_by(requirements, transfers),
    )


def transfer(found: Json) -> Transfer:
    reversals = (found.get("reversals") or {}).get("data") or []
    return Transfer(
        transfer_id=found["id"],
        payout_id=found.get("transfer_group") or "",
        connected_id=_id(found.get("destination")),
        cents=found["amount"],
        reversed_cents=found.get("amount_reversed") or 0,
        reversal_id=reversals[0]["id"] if reversals else "",
        reversal_cents=reversals[0]["amount"] if reversals else 0,
    )


def bank_payout(found: Json) -> BankPayout:
    about = _metadata(found)
    attempt = about.get("attempt", "")
    return BankPayout(
        bank_payout_id=found["id"],
        payout_id=about.get("payout_id", ""),
        attempt=int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
        cents=found["amount"],
        status=_BANK_PAYOUT.get(found["status"], BankPayoutStatus.UNDER_WAY),
        failure=found.get("failure_code") or "",
    )


def movement(txn: Json) -> Movement:
    """Of a balance transaction; what is behind it is known only where its source was fetched along."""
    source = txn.get("source")
    behind: Json = source if isinstance(source, Mapping) else {}
    kind = _movement_kind(txn, behind)
    about = _metadata(behind)
    return Movement(
        txn_id=txn["id"],
        kind=kind,
        cents=txn["amount"],
        fee_cents=txn["fee"],
        currency=txn["currency"],
        created_ms=_ms(txn),
        source_id=_id(source),
        payment_id=_id(behind.get("payment_intent")),
        refund_id=about.get("refund_id", "") if behind.get("object") == "refund" else "",
        dispute_id=behind["id"] if behind.get("object") == "dispute" else "",
        payout_id=behind.get("transfer_group") or "" if kind is MovementKind.TRANSFER else "",
    )


def reversed_transfer_id(txn: Json) -> str:
    """Which transfer a balance transaction brought back; empty for any other."""
    source = txn.get("source")
    if not isinstance(source, Mapping) or source.get("object") != "transfer_reversal":
        return ""
    return _id(source["transfer"])


def funds(balance: Json) -> Funds:
    return Funds(available_cents=_total(balance["available"]), pending_cents=_total(balance["pending"]))


def event(told: Json) -> Event:
    subject = told["data"]["object"]
    return Event(
        event_id=told["id"],
        type=told["type"],
        object_id=subject.get("id") or "",
        created_ms=_ms(told),
        livemode=told["livemode"],
        connected_id=told.get("account") or "",
        about={str(name): str(value) for name, value in _metadata(subject).items()},
    )


def _movement_kind(txn: Json, behind: Json) -> MovementKind:
    if txn["type"] == "adjustment":
        return _ADJUSTMENT.get(behind.get("object", ""), MovementKind.OTHER)
    return _MOVEMENT.get(txn["type"], MovementKind.OTHER)


def _blocked_by(requirements: Json, transfers: str) -> str:
    reason = requirements.get("disabled_reason") or (
        f"transfers {transfers}" if transfers != "active" else "payouts off"
    )
    missing = requirements.get("currently_due") or []
    return f"{reason}: {', '.join(missing[:_MOST_MISSING])}" if missing else reason


def _total(parts: list[Json]) -> int:
    return sum(part["amount"] for part in parts if part["currency"] == CURRENCY)


def _metadata(found: Json) -> Json:
    return found.get("metadata") or {}


def _id(reference: Any) -> str:
    """Of an object that is there whole, by its id, or not at all."""
    return str(reference["id"] if isinstance(reference, Mapping) else reference or "")


def _ms(found: Json) -> int:
    return int(found["created"]) * 1_000
