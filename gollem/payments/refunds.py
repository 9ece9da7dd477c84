"""Money back to cards: the credits are set aside, the refund is made, and what becomes of it is booked.

Only refunds made here are: one made by hand at the payment provider carries no id of ours, and its movement is found
when the books are compared.
"""

import logging
from functools import partial

from gollem.clock import Clock
from gollem.errors import InvalidField, PaymentRefused, WrongState
from gollem.ledger import Desk, Ledger, Record, records, rules
from gollem.payments.alerts import raise_alert, words_of
from gollem.payments.attempts import Attempts, LookUp
from gollem.payments.gateway import PaymentGateway
from gollem.payments.types import Refund, RefundStatus
from gollem.units import ATOMS_PER_CENT

_log = logging.getLogger(__name__)
SWEEP_PAGE = 256


class Refunds:
    """Records of kind `refund`: INITIATED, SUCCEEDED, FAILED. A bank may fail one days after it succeeded."""

    def __init__(self, ledger: Ledger, desk: Desk, gateway: PaymentGateway, attempts: Attempts, clock: Clock) -> None:
        self._ledger = ledger
        self._desk = desk
        self._gateway = gateway
        self._attempts = attempts
        self._clock = clock
        self._swept_to = ""

    async def create(self, refund_id: str, purchase_id: str, amount_cents: int, operator: str = "") -> bool:
        """Give back so much of a purchase (its stored id), all or part, out of credits that are not spent. The same
        call again goes on where the last one broke off. Returns whether this call decided it: banks take days.

        Raises InvalidField, InsufficientCredits, AccountFrozen, KeyReused, WrongState (no such purchase, or unpaid);
        PaymentRefused, and the credits are back unless another try made it; PaymentsUnavailable or OutcomeUnknown:
        repeat it, or leave it to the sweep."""
        if type(amount_cents) is not int or amount_cents <= 0:
            raise InvalidField("amount_usd", "must be whole cents, above 0")
        decided = await self._desk.refund(refund_id, purchase_id, amount_cents * ATOMS_PER_CENT, operator)
        await self._drive(await self._read(refund_id))
        return decided.applied

    async def refresh(self, stripe_id: str) -> None:
        """Fetch the refund and book what it has come to."""
        made = await self._gateway.refund(stripe_id)
        refund = await self._ledger.find_record(records.REFUND, made.refund_id) if made else None
        if made and refund:
            await self._book(refund, made)

    async def sweep(self) -> int:
        """Go on with refunds that are not decided, a page each time. Returns how many are now."""
        page = await self._ledger.records(records.REFUND, "INITIATED", self._swept_to, SWEEP_PAGE)
        self._swept_to = page[-1].id if len(page) == SWEEP_PAGE else ""
        decided = 0
        for refund in page:
            try:
                await self._drive(refund)
                decided += (await self._read(refund.id)).state != "INITIATED"
            except Exception as error:  # one keeps none of the others waiting
                _log.warning("refund %s is looked at again later: %s", refund.id, words_of(error))
        return decided

    async def _drive(self, refund: Record) -> None:
        """Make it, or find it made, and book the result."""
        if refund.state != "INITIATED":
            return
        payment_id = await self._payment_id(refund)
        cents = refund.number("amount_atoms") // ATOMS_PER_CENT
        find = partial(self._gateway.find_refund, payment_id, refund.id)
        create = partial(self._gateway.create_refund, payment_id, refund.id, cents)
        try:
            made = await self._attempts.carry_out(_intent(refund), find, create)
        except (PaymentRefused, WrongState) as error:  # refused now, or given up by somebody who did not finish
            await self._give_up(refund, find)
            if isinstance(error, PaymentRefused):
                raise
        else:
            await self._book(refund, made)

    async def _give_up(self, refund: Record, find: LookUp[Refund]) -> None:
        """The credits back to the user; unless somebody tries once more, or has made it after all."""
        if not await self._attempts.call_off(_intent(refund)):
            return
        made = await find()
        if made is None:
            await self._desk.fail_refund(refund.id, f"refused.{rules.digest(refund.id)}")
        else:
            await self._book(refund, made)

    async def _book(self, refund: Record, made: Refund) -> None:
        """Forward only: from INITIATED to either end, and from SUCCEEDED to FAILED."""
        wrong = await self._mismatch(refund, made)
        if wrong:
            await self._tell(made, wrong)
        elif made.status is RefundStatus.SUCCEEDED and refund.state == "INITIATED":
            await self._book_succeeded(refund, made)
        elif made.status is RefundStatus.FAILED and refund.state in ("INITIATED", "SUCCEEDED"):
            await self._desk.fail_refund(refund.id, made.stripe_id)

    async def _book_succeeded(self, refund: Record, made: Refund) -> None:
        try:
            await self._ledger.post(rules.refund_succeeded(refund, made.stripe_id, self._clock.now_ms()))
        except WrongState:  # booked as failed since it was read
            await self._book(await self._read(refund.id), made)

    async def _mismatch(self, refund: Record, made: Refund) -> str:
        """Why this cannot be the refund that was asked for; empty if it is."""
        if made.payment_id != await self._payment_id(refund):
            return "it is of another payment"
        if made.cents * ATOMS_PER_CENT != refund.number("amount_atoms"):
            return f"{refund.number('amount_atoms') // ATOMS_PER_CENT} cents were asked for"
        if refund.state == "FAILED" and made.status is not RefundStatus.FAILED:
            return "it was booked as failed, and its credits are back"
        return ""

    async def _tell(self, made: Refund, why: str) -> None:
        message = f"{made.cents} cents go back to a card ({made.status}), and are not booked: {why}"
        await raise_alert(self._ledger, self._clock, f"refund:{made.stripe_id}", f"refund {made.stripe_id}", message)

    async def _payment_id(self, refund: Record) -> str:
        bought = await self._ledger.find_record(records.PURCHASE, refund.text("purchase"))
        return bought.text("payment_id") if bought else ""

    async def _read(self, refund_id: str) -> Record:
        refund = await self._ledger.find_record(records.REFUND, refund_id)
        assert refund is not None, "records are never removed"
        return refund


def _intent(refund: Record) -> str:
    """Of making the refund, for `Attempts`."""
    return f"refund.{refund.id}"
