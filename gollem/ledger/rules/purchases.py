"""Credits bought by card: first what is asked for, then, once paid, the credits, debt repaid first."""

from collections.abc import Mapping

from gollem.errors import InvalidField
from gollem.ledger import records
from gollem.ledger.accounts import STRIPE, user_account, user_debt
from gollem.ledger.rules.parts import debt_first, digest, require_kind, require_names
from gollem.ledger.types import BalanceIs, Kind, Leg, PutRecord, Record, RecordIs, Transaction, UpdateRecord
from gollem.units import ATOMS_PER_CENT

LEAST_CENTS, MOST_CENTS = 100, 100_000
CURRENCY = "usd"
_NO_TERMS: Mapping[str, str | int] = {}


def purchase_created(
    purchase_id: str, user: str, cents: int, now_ms: int, terms: Mapping[str, str | int] = _NO_TERMS
) -> Transaction:
    """What a user wants to buy; no money moves. Key `purchase_created:{purchase_id}`. Raises InvalidField.

    `terms` are the caller's own fields, such as which card is to be charged: kept with the purchase, never changed."""
    require_names(purchase_id=purchase_id, user=user)
    if type(cents) is not int or not LEAST_CENTS <= cents <= MOST_CENTS:
        raise InvalidField("amount_usd", "must be whole cents from 1.00 to 1000.00")
    fields: dict[str, str | int] = {"user": user, "amount_atoms": cents * ATOMS_PER_CENT, "refunded_atoms": 0}
    fields |= {"payment_id": "", "at_ms": now_ms}
    wanted = [f"{name}={value}" for name, value in sorted(terms.items())]
    return Transaction(
        key=f"purchase_created:{purchase_id}",
        kind=Kind.PURCHASE_CREATED,
        legs=(),
        fingerprint=digest("purchase_created", user, cents, *wanted),
        at_ms=now_ms,
        effects=(PutRecord(Record(records.PURCHASE, purchase_id, "CREATED", {**terms, **fields})),),
    )


def purchase_intended(bought: Record, payment_id: str, now_ms: int) -> Transaction:
    """Under which name the payment provider keeps it: one payment a purchase. Key `purchase_intended:{purchase_id}`."""
    require_kind(bought, records.PURCHASE)
    require_names(payment_id=payment_id)
    return Transaction(
        key=f"purchase_intended:{bought.id}",
        kind=Kind.PURCHASE_INTENDED,
        legs=(),
        fingerprint=digest("purchase_intended", payment_id),
        at_ms=now_ms,
        guards=(RecordIs(records.PURCHASE, bought.id, ("CREATED",), {"payment_id": ""}),),
        effects=(UpdateRecord(records.PURCHASE, bought.id, None, {"payment_id": payment_id}),),
        detail=payment_id,
    )


def purchase_cancelled(bought: Record, now_ms: int) -> Transaction:
    """The payment provider says that it will never be paid. Key `purchase_cancelled:{purchase_id}`."""
    require_kind(bought, records.PURCHASE)
    return Transaction(
        key=f"purchase_cancelled:{bought.id}",
        kind=Kind.PURCHASE_CANCELLED,
        legs=(),
        fingerprint=digest("purchase_cancelled"),
        at_ms=now_ms,
        guards=(RecordIs(records.PURCHASE, bought.id, ("CREATED",)),),
        effects=(UpdateRecord(records.PURCHASE, bought.id, "CANCELLED"),),
    )


def purchase(
    bought: Record, payment_id: str, received_cents: int, currency: str, debt_atoms: int, now_ms: int
) -> Transaction:
    """The credits of a payment that succeeded. Key `purchase:{payment_id}`: the object at Stripe, of which many events
    may tell.

    `debt_atoms` is the user's as just read. Raises InvalidField unless exactly what was asked for has been paid, by the
    payment that was made for it."""
    require_kind(bought, records.PURCHASE)
    require_names(payment_id=payment_id)
    user, amount_atoms = bought.text("user"), bought.number("amount_atoms")
    if bought.state == "CREATED" and bought.text("payment_id") not in ("", payment_id):
        raise InvalidField("payment_id", "must be the payment of this purchase")
    if currency.lower() != CURRENCY:
        raise InvalidField("currency", f"must be {CURRENCY}")
    if type(received_cents) is not int or received_cents * ATOMS_PER_CENT != amount_atoms:
        raise InvalidField("amount_received", f"must be {amount_atoms // ATOMS_PER_CENT} cents, as purchased")
    return Transaction(
        key=f"purchase:{payment_id}",
        kind=Kind.PURCHASE,
        legs=(
            Leg(STRIPE, -amount_atoms),
            *debt_first(user_account(user), user_debt(user), debt_atoms, amount_atoms),
        ),
        fingerprint=digest("purchase", bought.id, user, amount_atoms),
        at_ms=now_ms,
        guards=(
            RecordIs(records.PURCHASE, bought.id, ("CREATED",), {"user": user, "amount_atoms": amount_atoms}),
            BalanceIs(user_debt(user), -debt_atoms),
        ),
        effects=(UpdateRecord(records.PURCHASE, bought.id, "CREDITED", {"payment_id": payment_id}),),
        detail=bought.id,
    )
