"""A payment provider for development keeps the promise of `gateway.py`: inside the exchange's process, with no account
anywhere, and no money. Whoever opens its pages has paid, or has completed an account.

It takes a fee of 1 % of a charge, has no disputes and no pending funds, and a bank is reached within a second.
"""

from collections.abc import Callable
from dataclasses import astuple
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from secrets import token_hex
from typing import TypeVar
from urllib.parse import urlencode

from aiohttp import web

from gollem.clock import Clock
from gollem.errors import PaymentRefused
from gollem.payments.event_reader import EventReader
from gollem.payments.local_pages import routes
from gollem.payments.local_store import LocalStore
from gollem.payments.local_webhooks import Deliveries, is_signed
from gollem.payments.local_world import LIVEMODE, LocalWorld, required
from gollem.payments.types import (
    Agreement,
    BankPayout,
    BankPayoutStatus,
    ConnectedAccount,
    Dispute,
    Event,
    Funds,
    Movement,
    NewPayment,
    Page,
    Payment,
    PaymentOrder,
    PaymentStatus,
    Refund,
    Transfer,
)

T = TypeVar("T")


class LocalGateway:
    """State is in the file at `path`. Give `routes()` to the bridge, `tell` its address once it is up, `close` when
    done."""

    livemode = LIVEMODE

    def __init__(self, path: Path, clock: Clock, retry_s: float = 1.0) -> None:
        self._store = LocalStore(path, clock)
        self._world = LocalWorld(self._store)
        self._deliveries = Deliveries(self._store, clock, retry_s)
        secret = (self._store.secret,)
        self._events = EventReader(secret, secret, self.livemode, clock, is_signed)

    def routes(self) -> list[web.RouteDef]:
        """Pages for people, and `POST /local/pay` with a `client_secret`, in JSON or a form, for programs."""
        return routes(self)

    def tell(self, url: str) -> None:
        """Webhooks go to the bridge at `url`, and its pages are there. Once, and within the event loop."""
        self._world.url = url
        self._deliveries.start(f"{url}/webhooks/stripe")

    async def close(self) -> None:
        await self._deliveries.close()
        self._store.close()

    # --- what people do

    def pay(self, client_secret: str) -> Payment | None:
        """Pay what waits; what does not stays as it is. None if no payment has this secret."""
        found = self.to_pay(client_secret.partition("_secret_")[0])
        if found is None or not compare_digest(found[1].encode(), client_secret.encode()):
            return None
        payment = found[0]
        with self._store.transaction():
            paid = self._world.succeed(payment) if payment.status is PaymentStatus.WAITING else payment
        self._deliveries.wake()
        return paid

    def to_pay(self, payment_id: str) -> tuple[Payment, str] | None:
        payment = self._store.find(Payment, payment_id)
        return (payment, self._client_secret(payment_id)) if payment else None

    def complete(self, connected_id: str) -> ConnectedAccount | None:
        account = self._store.find(ConnectedAccount, connected_id)
        if account is None or account.can_be_paid:
            return account
        with self._store.transaction():
            account = self._world.completed(account)
        self._deliveries.wake()
        return account

    # --- money in

    async def create_customer(self, user: str, key: str) -> str:
        return self._once(key, ("customer", user), lambda: self._world.new_customer(user)).customer_id

    async def create_payment(self, order: PaymentOrder, key: str) -> NewPayment:
        payment = self._once(key, ("payment", *astuple(order)), lambda: self._world.ordered(order))
        secret = self._client_secret(payment.payment_id)
        return NewPayment(payment, secret, self._world.page_of(payment.payment_id))

    async def find_payment(self, purchase_id: str, since_ms: int, until_ms: int | None = None) -> Payment | None:
        return _first(self._store.all(Payment), lambda payment: payment.purchase_id == purchase_id)

    async def payment(self, payment_id: str) -> Payment | None:
        return self._store.find(Payment, payment_id)

    async def cancel_payment(self, payment_id: str, key: str) -> Payment:
        return self._once(key, ("cancel", payment_id), lambda: self._world.cancelled(payment_id))

    async def payments_since(self, since_ms: int, page: str = "") -> Page[Payment]:
        return self._store.page(Payment, since_ms, page)

    async def create_refund(self, payment_id: str, refund_id: str, cents: int, key: str) -> Refund:
        request = ("refund", payment_id, refund_id, cents)
        return self._once(key, request, lambda: self._world.refunded(payment_id, refund_id, cents))

    async def find_refund(self, payment_id: str, refund_id: str) -> Refund | None:
        refunds = self._store.all(Refund)
        return _first(refunds, lambda found: (found.payment_id, found.refund_id) == (payment_id, refund_id))

    async def refund(self, stripe_id: str) -> Refund | None:
        return self._store.find(Refund, stripe_id)

    async def dispute(self, dispute_id: str) -> Dispute | None:
        return None

    # --- providers and money out

    async def create_account(self, provider: str, country: str, agreement: Agreement, key: str) -> ConnectedAccount:
        return self._once(key, ("account", provider, country, agreement), lambda: self._world.opened(provider, country))

    async def find_account(self, provider: str, since_ms: int) -> ConnectedAccount | None:
        return _first(self._store.all(ConnectedAccount), lambda account: account.provider == provider)

    async def account(self, connected_id: str) -> ConnectedAccount | None:
        return self._store.find(ConnectedAccount, connected_id)

    async def onboarding_url(self, connected_id: str, return_url: str) -> str:
        required(self._store.find(ConnectedAccount, connected_id))
        query = urlencode({"once": token_hex(4), "return_url": return_url})
        return f"{self._world.url}/local/onboarding/{connected_id}?{query}"

    async def create_transfer(self, payout_id: str, connected_id: str, cents: int, key: str) -> Transfer:
        request = ("transfer", payout_id, connected_id, cents)
        return self._once(key, request, lambda: self._world.transferred(payout_id, connected_id, cents))

    async def find_transfer(self, payout_id: str) -> Transfer | None:
        return _first(self._store.all(Transfer), lambda transfer: transfer.payout_id == payout_id)

    async def transfer(self, transfer_id: str) -> Transfer | None:
        return self._store.find(Transfer, transfer_id)

    async def reverse_transfer(self, transfer_id: str, key: str) -> Transfer:
        return self._once(key, ("reverse", transfer_id), lambda: self._world.reversed(transfer_id))

    async def create_bank_payout(
        self, connected_id: str, payout_id: str, attempt: int, cents: int, key: str
    ) -> BankPayout:
        request = ("bank payout", connected_id, payout_id, attempt, cents)
        return self._once(key, request, lambda: self._world.paid_out(connected_id, payout_id, attempt, cents))

    async def find_bank_payout(self, connected_id: str, payout_id: str, attempt: int) -> BankPayout | None:
        found = self._bank_payouts(connected_id)
        return _first(found, lambda one: (one.payout_id, one.attempt) == (payout_id, attempt))

    async def bank_payout(self, connected_id: str, bank_payout_id: str) -> BankPayout | None:
        return _first(self._bank_payouts(connected_id), lambda one: one.bank_payout_id == bank_payout_id)

    async def bank_payouts_since(self, connected_id: str, since_ms: int, page: str = "") -> Page[BankPayout]:
        """All there ever were, on one page."""
        return Page(list(reversed(self._bank_payouts(connected_id))), "")

    async def bank_payouts_under_way(self, connected_id: str) -> list[BankPayout]:
        return [one for one in self._bank_payouts(connected_id) if one.status is BankPayoutStatus.UNDER_WAY]

    # --- its books, and what it tells

    async def funds(self, connected_id: str = "") -> Funds:
        return Funds(available_cents=self._world.available_cents(connected_id), pending_cents=0)

    async def movements_since(self, since_ms: int, page: str = "") -> Page[Movement]:
        return self._store.page(Movement, since_ms, page)

    async def events_since(self, since_ms: int, page: str = "") -> Page[Event]:
        return self._store.page(Event, since_ms, page)

    def read_event(self, raw: bytes, signature: str) -> Event:
        return self._events.read(raw, signature)

    def _once(self, key: str, request: tuple[object, ...], act: Callable[[], T]) -> T:
        """`act`, in one transaction with its key; under a known key what was answered then."""
        text = repr(request)
        with self._store.transaction():
            result = self._store.answer(key, text)
            if result is None:
                try:
                    result = act()
                except PaymentRefused as refusal:
                    result = refusal
                self._store.remember(key, text, result)
        self._deliveries.wake()
        if isinstance(result, PaymentRefused):
            raise result
        answer: T = result
        return answer

    def _bank_payouts(self, connected_id: str) -> list[BankPayout]:
        with self._store.transaction():
            found = self._world.bank_payouts(connected_id)
        self._deliveries.wake()
        return found

    def _client_secret(self, payment_id: str) -> str:
        digest = blake2b(payment_id.encode(), key=self._store.secret.encode(), digest_size=16).hexdigest()
        return f"{payment_id}_secret_{digest}"


def _first(things: list[T], is_it: Callable[[T], bool]) -> T | None:
    return next(filter(is_it, things), None)
