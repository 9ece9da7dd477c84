"""Credits bought by card: a purchase is stored, one payment is made for it, and what has been paid is credited.

Clients choose the ids of their purchases. They are stored under a name made of the user and that id, so that two users
who choose the same neither meet nor learn of each other.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from gollem.clock import Clock
from gollem.config import PaymentsConfig
from gollem.errors import InvalidField, KeyReused, Overtaken, PaymentRefused, UnknownPurchase, WrongState
from gollem.ledger import Desk, Ledger, Record, accounts, records, rules
from gollem.payments.alerts import words_of
from gollem.payments.attempts import FLIGHT_MS, Attempts
from gollem.payments.cards import Cards
from gollem.payments.crediting import Crediting, cents_of
from gollem.payments.gateway import PaymentGateway
from gollem.payments.open_purchases import OpenPurchases
from gollem.payments.seen_payments import SeenPayments
from gollem.payments.types import NewPayment, Payment, PaymentOrder, PaymentStatus
from gollem.units import ATOMS_PER_CENT

_log = logging.getLogger(__name__)
SKEW_MS = 10 * 60_000  # between the payment provider's clock and ours
YOUNG_MS = 60_000  # a purchase whose payment may be under way just now
GRACE_MS = 2 * 86_400_000  # in which an abandoned purchase is cancelled by the sweep; after it no payment is made
SWEEP_PAGE = 256

Terms = Mapping[str, str | int]  # of a purchase: `keep_card`, or `customer_id` and `card_id`


@dataclass(frozen=True, slots=True)
class Created:
    """`client_secret` and `pay_url` are told once, by the call that made the payment: whoever repeats it gets empty
    ones. A client that lost them makes another purchase; this one is cancelled when nobody pays it."""

    purchase: Record
    client_secret: str = field(default="", repr=False)
    pay_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PurchaseView:
    """`state` is created, pending (a bank takes its days), credited or cancelled. `stored_id` is the purchase's name in
    the books and at the payment provider. `receipt_url` is empty until paid, or while the payment provider is away."""

    purchase_id: str
    stored_id: str
    state: str
    cents: int
    refunded_cents: int
    created_ms: int
    payment_id: str
    receipt_url: str = ""


def stored_id(user: str, purchase_id: str) -> str:
    """Under which name the user's purchase is kept."""
    return f"pu-{rules.digest('purchase', user, purchase_id)}"


class Purchases:
    """What users buy. Every method may be repeated, by anybody, at any time."""

    def __init__(
        self,
        ledger: Ledger,
        desk: Desk,
        gateway: PaymentGateway,
        attempts: Attempts,
        clock: Clock,
        config: PaymentsConfig,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._attempts = attempts
        self._clock = clock
        self._abandon_after_ms = config.abandon_after_ms
        self._cards = Cards(ledger, gateway, attempts, clock)
        self._crediting = Crediting(ledger, desk, gateway, self._cards, clock)
        self._open = OpenPurchases(ledger, clock)
        self._seen = SeenPayments(gateway, clock)
        self._payable_ms = config.abandon_after_ms + GRACE_MS
        self._swept_to = ""

    async def create(self, user: str, purchase_id: str, amount_cents: int, *, keep_card: bool = False) -> Created:
        """Buy credits for 1.00 to 1000.00 USD; with `keep_card`, the card may be charged again by top-ups. The same
        call again answers with the same purchase.

        Raises InvalidField, KeyReused (the user's id, another amount), RateLimited (too many wait to be paid),
        PaymentRefused; PaymentsUnavailable, OutcomeUnknown: repeat the same call."""
        if not accounts.is_name(purchase_id):
            raise InvalidField("purchase_id", "must be 1 to 64 letters, digits, dots, hyphens or underscores")
        terms: Terms = {"keep_card": 1} if keep_card else {}
        stored = stored_id(user, purchase_id)
        rules.purchase_created(stored, user, amount_cents, self._clock.now_ms(), terms)  # what is refused takes no room
        await self._open.admit(user, stored)
        return await self.order(stored, user, amount_cents, terms)

    async def order(self, stored: str, user: str, amount_cents: int, terms: Terms) -> Created:
        """The same under the purchase's stored name. With terms `customer_id` and `card_id`, that card is charged at
        once: raises PaymentRefused if it is declined."""
        await self._ledger.post(rules.purchase_created(stored, user, amount_cents, self._clock.now_ms(), terms))
        bought = await self._read(stored)
        if bought.state != "CREATED" or bought.text("payment_id"):
            return Created(bought)
        if self._age_ms(bought) >= self._payable_ms:  # looked for in that time: a later payment might be overlooked
            await self.cancel(bought)
            return Created(await self._read(stored))
        try:
            made = await self._attempts.carry_out(
                _intent(stored),
                partial(self._find_made, bought),
                partial(self._gateway.create_payment, await self._payment_order(bought)),
            )
        except WrongState:  # it was called off, by somebody who did not live to write so
            await self.cancel(bought)
            return Created(await self._read(stored))
        is_ours = await self._intend(bought, made.payment.payment_id)
        bought = await self._read(stored)
        return Created(bought, made.client_secret, made.pay_url) if is_ours else Created(bought)

    async def call_off(self, stored: str, user: str, amount_cents: int, terms: Terms) -> Record:
        """What `order` would make, or has begun, is not wanted any more: stored, so that nobody makes it, and cancelled
        unless its payment was made. Returns the purchase as it is."""
        await self._ledger.post(rules.purchase_created(stored, user, amount_cents, self._clock.now_ms(), terms))
        bought = await self._read(stored)
        if bought.state == "CREATED" and not bought.text("payment_id"):
            await self.cancel(bought)
        return await self._read(stored)

    async def find(self, user: str, purchase_id: str) -> PurchaseView:
        """The purchase as it is now; if it has just been paid, its credits are booked first. Raises UnknownPurchase."""
        bought = await self._ledger.find_record(records.PURCHASE, stored_id(user, purchase_id))
        if bought is None or bought.text("user") != user:
            raise UnknownPurchase("there is no such purchase", purchase_id=purchase_id)
        payment = await self._seen_payment(bought)
        if payment and bought.state == "CREATED":
            await self._crediting.take(payment)
            bought = await self._read(bought.id)
        is_pending = payment and payment.status is PaymentStatus.PROCESSING and bought.state == "CREATED"
        return PurchaseView(
            purchase_id=purchase_id,
            stored_id=bought.id,
            state="pending" if is_pending else bought.state.lower(),
            cents=cents_of(bought),
            refunded_cents=bought.number("refunded_atoms") // ATOMS_PER_CENT,
            created_ms=bought.number("at_ms"),
            payment_id=bought.text("payment_id"),
            receipt_url=payment.receipt_url if payment else "",
        )

    async def refresh(self, payment_id: str) -> None:
        """Fetch the payment and do what follows from it: credit, cancel, or tell a person."""
        payment = await self._gateway.payment(payment_id)
        if payment is not None:
            await self._crediting.take(payment)

    async def cancel(self, bought: Record) -> None:
        """It is not to be paid any more. Whatever was paid meanwhile is credited all the same."""
        payment_id = bought.text("payment_id")
        is_called_off = not payment_id and await self._attempts.call_off(_intent(bought.id))
        payment = await (self._gateway.payment(payment_id) if payment_id else self._find_payment(bought))
        if payment is None and is_called_off:
            await self._crediting.book_cancelled(bought)
            return
        if payment and payment.status is PaymentStatus.WAITING:
            payment = await self._cancel_payment(bought, payment)
        if payment:
            await self._crediting.take(payment)

    async def sweep(self) -> int:
        """Look at purchases that are not paid yet, a page of them each time, and cancel old ones. Returns how many were
        credited or cancelled."""
        page = await self._ledger.records(records.PURCHASE, "CREATED", self._swept_to, SWEEP_PAGE)
        self._swept_to = page[-1].id if len(page) == SWEEP_PAGE else ""
        changed = 0
        for bought in page:
            try:
                await self._look_at(bought)
                changed += (await self._read(bought.id)).state != "CREATED"
            except Exception as error:  # one keeps none of the others waiting
                _log.warning("purchase %s is looked at again later: %s", bought.id, words_of(error))
        return changed

    # --- making the payment -----------------------------------------------------------------------------------------

    async def _payment_order(self, bought: Record) -> PaymentOrder:
        """Made of what was stored first, so that every attempt asks for the same."""
        customer_id = bought.text("customer_id")
        if bought.number("keep_card"):
            customer_id = await self._cards.customer(bought.text("user"))
        return PaymentOrder(bought.id, cents_of(bought), customer_id, bought.text("card_id"))

    async def _find_payment(self, bought: Record) -> Payment | None:
        """It was made soon after the purchase or never, so that what others have bought since is not looked through."""
        at_ms = bought.number("at_ms")
        until_ms = at_ms + self._payable_ms + FLIGHT_MS + SKEW_MS
        return await self._gateway.find_payment(bought.id, at_ms - SKEW_MS, until_ms)

    async def _find_made(self, bought: Record) -> NewPayment | None:
        payment = await self._find_payment(bought)
        return NewPayment(payment, "") if payment else None

    async def _intend(self, bought: Record, payment_id: str) -> bool:
        """Whether this call has written which payment it is. If the purchase has one already, or is over, the payment
        just made is nobody's: its secret was never told."""
        try:
            posted = await self._ledger.post(rules.purchase_intended(bought, payment_id, self._clock.now_ms()))
        except (KeyReused, Overtaken):
            return False
        return posted.applied

    # --- looking after it -------------------------------------------------------------------------------------------

    async def _look_at(self, bought: Record) -> None:
        age_ms = self._age_ms(bought)
        if age_ms >= self._abandon_after_ms:
            await self.cancel(bought)
        elif bought.text("payment_id"):
            await self.refresh(bought.text("payment_id"))
        elif age_ms >= YOUNG_MS and (payment := await self._find_payment(bought)):
            await self._crediting.take(payment)

    async def _cancel_payment(self, bought: Record, payment: Payment) -> Payment | None:
        """The payment afterwards, which may have been paid in the last moment."""

        async def cancelled() -> Payment | None:
            now = await self._gateway.payment(payment.payment_id)
            return now if now and now.status is not PaymentStatus.WAITING else None

        try:
            return await self._attempts.carry_out(
                f"cancel.{bought.id}", cancelled, partial(self._gateway.cancel_payment, payment.payment_id)
            )
        except PaymentRefused:
            return await self._gateway.payment(payment.payment_id)

    async def _seen_payment(self, bought: Record) -> Payment | None:
        payment_id = bought.text("payment_id")
        return await self._seen.see(payment_id) if payment_id else None

    def _age_ms(self, bought: Record) -> int:
        return self._clock.now_ms() - bought.number("at_ms")

    async def _read(self, stored: str) -> Record:
        bought = await self._ledger.find_record(records.PURCHASE, stored)
        assert bought is not None, "records are never removed"
        return bought


def _intent(stored: str) -> str:
    """Of making the purchase's payment, for `Attempts`."""
    return f"payment.{stored}"
