"""Charges: what happens when a payment method is asked for the money of a payment."""

from typing import Any

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.balances import charge_fee_cents
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World


def charge_fields(cents: int, status: str) -> dict[str, Any]:
    """Of one that nothing has happened to yet."""
    return {
        "amount": cents,
        "amount_captured": 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": False,
        "currency": CURRENCY,
        "customer": None,
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "metadata": {},
        "paid": False,
        "payment_intent": None,
        "payment_method": None,
        "receipt_url": None,
        "refunded": False,
        "status": status,
    }


class Charges:
    """Each belongs to a payment. A card's is a `ch_` and a `charge` in the books, a bank's a `py_` and a `payment`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.book_later = False  # whether their balance transactions come with `book_charges`, as they do at Stripe
        self._unbooked: list[tuple[Object, bool]] = []

    def routes(self) -> Routes:
        return {"GET /v1/charges": self._list, "GET /v1/charges/{id}": self._retrieve}

    def of(self, payment: Object) -> Object:
        """The latest."""
        return self._world.store.find("charge", payment["latest_charge"])

    def make(self, payment: Object, method: Object, status: str) -> Object:
        charge = self._world.store.make(
            "charge", "ch" if method["type"] == "card" else "py", **charge_fields(payment["amount"], status)
        )
        charge.update(
            customer=payment["customer"],
            metadata=dict(payment["metadata"]),
            payment_intent=payment["id"],
            payment_method=method["id"],
            payment_method_details={"type": method["type"]},
        )
        payment["latest_charge"] = charge["id"]
        return charge

    def succeed(self, charge: Object, *, is_available_at_once: bool = False) -> None:
        cents = charge["amount"]
        charge.update(status="succeeded", paid=True, captured=True, amount_captured=cents)
        charge["receipt_url"] = f"https://pay.stripe.com/receipts/payment/{charge['id']}"
        if self.book_later:
            self._unbooked.append((charge, is_available_at_once))
        else:
            self._book(charge, is_available_at_once=is_available_at_once)
        self._world.events.tell("charge.succeeded", charge)

    def book_charges(self) -> None:
        """The balance transactions that were to come later."""
        for charge, is_available_at_once in self._unbooked:
            self._book(charge, is_available_at_once=is_available_at_once)
            self._world.events.tell("charge.updated", charge)
        self._unbooked.clear()

    def _book(self, charge: Object, *, is_available_at_once: bool) -> None:
        charge["balance_transaction"] = self._world.balances.move(
            "charge" if charge["id"].startswith("ch_") else "payment",
            charge["amount"],
            charge["id"],
            fee_cents=charge_fee_cents(charge["amount"]),
            is_pending=not is_available_at_once,
        )

    def fail(self, charge: Object, code: str) -> None:
        charge.update(status="failed", failure_code=code, failure_message="The payment was declined.")
        self._world.events.tell("charge.failed", charge)

    # --- endpoints

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "charge", "customer payment_intent")

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self._world.store.find("charge", request.path_ids[0])
