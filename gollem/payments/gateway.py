"""The promise of a payment provider. Two keep it: Stripe, and a local one for development.

Every method that writes takes an idempotency `key`: the same key again answers with the first result for a day at
least, refusals and internal errors of the payment provider among them. `attempts.py` knows what follows from that.

Every method may raise:
    PaymentsUnavailable   nothing happened: not sent, or sent away (429)
    PaymentRefused        the payment provider said no, for good under this key
    PaymentFault          it broke down (5xx): whether it happened is unknown, and the same key answers the same
    OutcomeUnknown        no answer came: whether it happened is unknown, the same key tells
"""

from typing import Protocol

from gollem.payments.types import (
    Agreement,
    BankPayout,
    ConnectedAccount,
    Dispute,
    Event,
    Funds,
    Movement,
    NewPayment,
    Page,
    Payment,
    PaymentOrder,
    Refund,
    Transfer,
)


class PaymentGateway(Protocol):
    """What is asked of a payment provider. Amounts are cents of USD."""

    @property
    def livemode(self) -> bool:
        """Whether the money is real."""

    # --- money in

    async def create_customer(self, user: str, key: str) -> str:
        """Somebody whose card is kept. Returns the customer's id."""

    async def create_payment(self, order: PaymentOrder, key: str) -> NewPayment: ...

    async def find_payment(self, purchase_id: str, since_ms: int, until_ms: int | None = None) -> Payment | None:
        """The payment made for the purchase from `since_ms` to `until_ms`, by its metadata."""

    async def payment(self, payment_id: str) -> Payment | None: ...

    async def cancel_payment(self, payment_id: str, key: str) -> Payment:
        """PaymentRefused for one that has succeeded."""

    async def payments_since(self, since_ms: int, page: str = "") -> Page[Payment]: ...

    async def create_refund(self, payment_id: str, refund_id: str, cents: int, key: str) -> Refund: ...

    async def find_refund(self, payment_id: str, refund_id: str) -> Refund | None:
        """The refund of the payment that carries our id."""

    async def refund(self, stripe_id: str) -> Refund | None: ...

    async def dispute(self, dispute_id: str) -> Dispute | None: ...

    # --- providers and money out

    async def create_account(self, provider: str, country: str, agreement: Agreement, key: str) -> ConnectedAccount: ...

    async def find_account(self, provider: str, since_ms: int) -> ConnectedAccount | None:
        """The account made for the provider at or after `since_ms`, by its metadata."""

    async def account(self, connected_id: str) -> ConnectedAccount | None: ...

    async def onboarding_url(self, connected_id: str, return_url: str) -> str:
        """A page, good for minutes and once, where the provider completes its details."""

    async def create_transfer(self, payout_id: str, connected_id: str, cents: int, key: str) -> Transfer:
        """PaymentRefused with code `balance_insufficient` while the platform's available balance is smaller."""

    async def find_transfer(self, payout_id: str) -> Transfer | None:
        """By its transfer group."""

    async def transfer(self, transfer_id: str) -> Transfer | None: ...

    async def reverse_transfer(self, transfer_id: str, key: str) -> Transfer:
        """All of it back to the platform."""

    async def create_bank_payout(
        self, connected_id: str, payout_id: str, attempt: int, cents: int, key: str
    ) -> BankPayout: ...

    async def find_bank_payout(self, connected_id: str, payout_id: str, attempt: int) -> BankPayout | None:
        """By its metadata, among those of the last 90 days."""

    async def bank_payout(self, connected_id: str, bank_payout_id: str) -> BankPayout | None: ...

    async def bank_payouts_since(self, connected_id: str, since_ms: int, page: str = "") -> Page[BankPayout]:
        """Those made at or after `since_ms`, by whomever, newest first."""

    async def bank_payouts_under_way(self, connected_id: str) -> list[BankPayout]:
        """Those that have left the connected balance and have not arrived."""

    # --- its books, and what it tells

    async def funds(self, connected_id: str = "") -> Funds:
        """The balance of the platform, or of a connected account."""

    async def movements_since(self, since_ms: int, page: str = "") -> Page[Movement]:
        """The platform's balance transactions created at or after `since_ms`."""

    async def events_since(self, since_ms: int, page: str = "") -> Page[Event]:
        """The platform's events created at or after `since_ms`; of the last 30 days."""

    def read_event(self, raw: bytes, signature: str) -> Event:
        """The event of a webhook's body as it came. Raises Unauthenticated unless one of the secrets signed it within
        the last, or next, five minutes; Forbidden for one of another mode or of the other endpoint; InvalidField."""

    async def close(self) -> None: ...
