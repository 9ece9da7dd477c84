"""What happens at the local payment gateway: its payments, accounts and payouts, and the books and events they make.

Each method refuses before it writes, so that a refusal leaves nothing behind. Run them within a transaction.
"""

from collections.abc import Mapping
from dataclasses import replace
from secrets import token_hex
from typing import TypeVar

from gollem.errors import InvalidField, PaymentRefused
from gollem.payments.countries import agreement_of
from gollem.payments.local_store import Customer, LocalStore
from gollem.payments.types import (
    CURRENCY,
    BankPayout,
    BankPayoutStatus,
    ConnectedAccount,
    Event,
    Movement,
    MovementKind,
    Payment,
    PaymentOrder,
    PaymentStatus,
    Refund,
    RefundStatus,
    Transfer,
)

T = TypeVar("T")
LIVEMODE = False
FEE_PERCENT = 1
ARRIVES_AFTER_MS = 1_000


class LocalWorld:
    """`url` is where its pages are."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self.url = ""

    def page_of(self, payment_id: str) -> str:
        return f"{self.url}/local/pay/{payment_id}"

    def new_customer(self, user: str) -> Customer:
        return self._store.add(Customer(_new("cus"), user))

    def ordered(self, order: PaymentOrder) -> Payment:
        if order.customer_id:
            customer = required(self._store.find(Customer, order.customer_id))
            if order.card_id not in ("", customer.card_id):
                raise _refusal("resource_missing")
        payment = Payment(
            payment_id=_new("pi"),
            purchase_id=order.purchase_id,
            status=PaymentStatus.WAITING,
            asked_cents=order.cents,
            received_cents=0,
            currency=CURRENCY,
            livemode=LIVEMODE,
            created_ms=self._store.now_ms(),
            customer_id=order.customer_id,
        )
        self._store.add(payment)
        return self.succeed(payment) if order.card_id else payment

    def succeed(self, payment: Payment) -> Payment:
        customer = self._store.find(Customer, payment.customer_id)
        if customer and not customer.card_id:
            customer = self._store.change(replace(customer, card_id=_new("pm")))
        paid = replace(
            payment,
            status=PaymentStatus.SUCCEEDED,
            received_cents=payment.asked_cents,
            charge_id=_new("ch"),
            card_id=customer.card_id if customer else _new("pm"),
            receipt_url=self.page_of(payment.payment_id),
        )
        fee_cents = -(-paid.received_cents * FEE_PERCENT // 100)  # rounded up
        self._moved(
            MovementKind.CHARGE, paid.received_cents, paid.charge_id, {"payment_id": paid.payment_id}, fee_cents
        )
        self._happened("payment_intent.succeeded", paid.payment_id, {"purchase_id": paid.purchase_id})
        return self._store.change(paid)

    def cancelled(self, payment_id: str) -> Payment:
        payment = required(self._store.find(Payment, payment_id))
        if payment.status is not PaymentStatus.WAITING:
            raise _refusal("payment_intent_unexpected_state")
        self._happened("payment_intent.canceled", payment_id, {"purchase_id": payment.purchase_id})
        return self._store.change(replace(payment, status=PaymentStatus.CANCELLED))

    def refunded(self, payment_id: str, refund_id: str, cents: int) -> Refund:
        payment = required(self._store.find(Payment, payment_id))
        before_cents = sum(found.cents for found in self._store.all(Refund) if found.payment_id == payment_id)
        if cents > payment.received_cents - before_cents:
            raise _refusal("charge_already_refunded")
        if cents > self.available_cents(""):
            raise _refusal("balance_insufficient")
        refund = Refund(_new("re"), refund_id, payment_id, cents, RefundStatus.SUCCEEDED)
        behind = {"payment_id": payment_id, "refund_id": refund_id}
        self._moved(MovementKind.REFUND, -cents, refund.stripe_id, behind)
        self._happened("refund.updated", refund.stripe_id, {"refund_id": refund_id})
        return self._store.add(refund)

    def opened(self, provider: str, country: str) -> ConnectedAccount:
        try:
            agreement_of(country)
        except InvalidField as error:
            raise _refusal("country_unsupported") from error
        account = ConnectedAccount(_new("acct"), provider, country, can_be_paid=False, blocked_by="details are missing")
        return self._store.add(account)

    def completed(self, account: ConnectedAccount) -> ConnectedAccount:
        self._happened("account.updated", account.connected_id, {"provider": account.provider}, account.connected_id)
        return self._store.change(replace(account, can_be_paid=True, blocked_by=""))

    def transferred(self, payout_id: str, connected_id: str, cents: int) -> Transfer:
        if not required(self._store.find(ConnectedAccount, connected_id)).can_be_paid:
            raise _refusal("insufficient_capabilities_for_transfer")
        if cents > self.available_cents(""):
            raise _refusal("balance_insufficient")
        transfer = Transfer(_new("tr"), payout_id, connected_id, cents)
        self._moved(MovementKind.TRANSFER, -cents, transfer.transfer_id, {"payout_id": payout_id})
        self._happened("transfer.created", transfer.transfer_id, {"payout_id": payout_id})
        return self._store.add(transfer)

    def reversed(self, transfer_id: str) -> Transfer:
        transfer = required(self._store.find(Transfer, transfer_id))
        if transfer.reversed_cents:
            raise _refusal("transfer_already_reversed")
        if transfer.cents > self.available_cents(transfer.connected_id):
            raise _refusal("balance_insufficient")
        reversal_id = _new("trr")
        self._moved(MovementKind.TRANSFER_REVERSED, transfer.cents, reversal_id, {"payout_id": transfer.payout_id})
        self._happened("transfer.reversed", transfer_id, {"payout_id": transfer.payout_id})
        cents = transfer.cents
        back = replace(transfer, reversed_cents=cents, reversal_id=reversal_id, reversal_cents=cents)
        return self._store.change(back)

    def paid_out(self, connected_id: str, payout_id: str, attempt: int, cents: int) -> BankPayout:
        required(self._store.find(ConnectedAccount, connected_id))
        if cents > self.available_cents(connected_id):
            raise _refusal("balance_insufficient")
        payout = BankPayout(_new("po"), payout_id, attempt, cents, BankPayoutStatus.UNDER_WAY)
        return self._store.add(payout, connected_id)

    def bank_payouts(self, connected_id: str) -> list[BankPayout]:
        """As of now: whoever asks finds what has arrived meanwhile."""
        for owner, payout in self._store.older(BankPayout, self._store.now_ms() - ARRIVES_AFTER_MS):
            if payout.status is BankPayoutStatus.UNDER_WAY:
                self._store.change(replace(payout, status=BankPayoutStatus.PAID))
                about = {"payout_id": payout.payout_id, "attempt": str(payout.attempt)}
                self._happened("payout.paid", payout.bank_payout_id, about, owner)
        return self._store.all(BankPayout, connected_id)

    def available_cents(self, connected_id: str) -> int:
        if not connected_id:
            return sum(movement.net_cents for movement in self._store.all(Movement))
        came = [one.cents - one.reversed_cents for one in self._store.all(Transfer) if one.connected_id == connected_id]
        left = [one.cents for one in self._store.all(BankPayout, connected_id)]
        return sum(came) - sum(left)

    def _moved(
        self, kind: MovementKind, cents: int, source_id: str, behind: Mapping[str, str], fee_cents: int = 0
    ) -> None:
        now_ms = self._store.now_ms()
        self._store.add(Movement(_new("txn"), kind, cents, fee_cents, CURRENCY, now_ms, source_id, **behind))

    def _happened(self, kind: str, object_id: str, about: Mapping[str, str], connected_id: str = "") -> None:
        now_ms = self._store.now_ms()
        self._store.tell(Event(_new("evt"), kind, object_id, now_ms, LIVEMODE, connected_id, about))


def _new(prefix: str) -> str:
    """Never the same again, also when the file was thrown away and the ledger was not."""
    return f"{prefix}_local_{token_hex(12)}"


def required(thing: T | None) -> T:
    if thing is None:
        raise _refusal("resource_missing")
    return thing


def _refusal(code: str) -> PaymentRefused:
    return PaymentRefused(f"the local payment gateway refused this: {code}", code)
