"""What payments speak of, whoever the payment provider is. Money is whole cents of USD; times are milliseconds.

Ids that begin with Stripe's prefixes (`pi_`, `re_`, `tr_`, ...) are the payment provider's; the others are ours, and go
along as metadata, so that whatever was lost on the way can be found again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

CURRENCY = "usd"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Newest first. `next` asks for what is older; empty on the last page."""

    items: Sequence[T]
    next: str = ""


# --- money in -------------------------------------------------------------------------------------------------------


class PaymentStatus(StrEnum):
    """Of what the card, or the bank, has done so far. Only SUCCEEDED is money."""

    WAITING = "waiting"  # for a payment method, a confirmation, 3-D Secure
    PROCESSING = "processing"  # a bank debit takes days
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Payment:
    """One PaymentIntent. `purchase_id` is what its metadata says, and nothing to be trusted: the purchase decides."""

    payment_id: str
    purchase_id: str
    status: PaymentStatus
    asked_cents: int
    received_cents: int
    currency: str
    livemode: bool
    created_ms: int
    charge_id: str = ""
    customer_id: str = ""
    card_id: str = ""  # the payment method, if one was used
    receipt_url: str = ""


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """What is to be paid. With `customer_id`, the card is kept for later; with `card_id` too, it is charged at once,
    while nobody is there."""

    purchase_id: str
    cents: int
    customer_id: str = ""
    card_id: str = ""


@dataclass(frozen=True, slots=True)
class NewPayment:
    """`client_secret` is for the payer's browser: never stored, never logged. `pay_url` is a place to pay without one,
    which only the local gateway has."""

    payment: Payment
    client_secret: str = field(repr=False)
    pay_url: str = ""


class RefundStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # also after it had succeeded


@dataclass(frozen=True, slots=True)
class Refund:
    """Money back to a card. `refund_id` is ours, empty for one made by hand at the payment provider."""

    stripe_id: str
    refund_id: str
    payment_id: str
    cents: int
    status: RefundStatus


class DisputeStatus(StrEnum):
    INQUIRY = "inquiry"  # a warning: no money has moved
    OPEN = "open"
    WON = "won"
    LOST = "lost"
    CLOSED = "closed"  # an inquiry that came to nothing


@dataclass(frozen=True, slots=True)
class Dispute:
    """`movements` are its balance transactions, oldest first: none, the withdrawal, or that and the reinstatement."""

    dispute_id: str
    payment_id: str
    status: DisputeStatus
    movements: Sequence["Movement"] = ()


# --- providers and money out ----------------------------------------------------------------------------------------


class Agreement(StrEnum):
    """Whose customer the provider is: under `full` also Stripe's, under `recipient` it only receives transfers."""

    FULL = "full"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True)
class ConnectedAccount:
    """A provider's account at the payment provider. `can_be_paid`: it takes transfers and its bank payouts are on."""

    connected_id: str
    provider: str
    country: str
    can_be_paid: bool
    blocked_by: str = ""  # why not, in the payment provider's words


@dataclass(frozen=True, slots=True)
class Transfer:
    """From the platform's balance to a connected account. `payout_id` is ours (its transfer group)."""

    transfer_id: str
    payout_id: str
    connected_id: str
    cents: int
    reversed_cents: int = 0
    reversal_id: str = ""  # of the newest reversal
    reversal_cents: int = 0  # of that one alone


class BankPayoutStatus(StrEnum):
    UNDER_WAY = "under_way"
    PAID = "paid"  # not final: it may still fail some days later
    FAILED = "failed"  # or cancelled: the money lies at the connected account again


@dataclass(frozen=True, slots=True)
class BankPayout:
    """From a connected account to its bank. `payout_id` and `attempt` are ours."""

    bank_payout_id: str
    payout_id: str
    attempt: int
    cents: int
    status: BankPayoutStatus
    failure: str = ""


# --- the payment provider's own books -------------------------------------------------------------------------------


class MovementKind(StrEnum):
    """What moved a balance, in our words."""

    CHARGE = "charge"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"  # withdrawn if negative, reinstated if positive
    TRANSFER = "transfer"
    TRANSFER_REVERSED = "transfer_reversed"
    PLATFORM_PAYOUT = "platform_payout"
    PLATFORM_PAYOUT_FAILED = "platform_payout_failed"
    FEE = "fee"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Movement:
    """One balance transaction: `cents` in (positive) or out, less `fee_cents`. `source_id` is the object behind it."""

    txn_id: str
    kind: MovementKind
    cents: int
    fee_cents: int
    currency: str
    created_ms: int
    source_id: str = ""
    payment_id: str = ""  # of a charge, a refund or a dispute
    refund_id: str = ""  # ours, of a refund
    dispute_id: str = ""
    payout_id: str = ""  # ours, of a transfer

    @property
    def net_cents(self) -> int:
        return self.cents - self.fee_cents


@dataclass(frozen=True, slots=True)
class Funds:
    """A balance at the payment provider, in USD."""

    available_cents: int
    pending_cents: int

    @property
    def cents(self) -> int:
        return self.available_cents + self.pending_cents


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to an object. Events come twice, late, in any order, or not at all: whoever handles one
    fetches the object. `connected_id` is empty for the platform's own."""

    event_id: str
    type: str
    object_id: str
    created_ms: int
    livemode: bool
    connected_id: str = ""
    about: Mapping[str, str] = field(default_factory=dict)  # metadata of the object
