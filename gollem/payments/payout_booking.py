"""Writes down what became of a payout, as fetched from the payment provider: each thing once, and only what is news.

What a program cannot decide, and what somebody has to hear of, becomes an alert before it is booked, so that a crash
between the two loses neither.
"""

from collections.abc import Callable

from gollem.clock import Clock
from gollem.errors import WrongState
from gollem.ledger import Desk, Ledger, Record, Transaction, records, rules
from gollem.payments.alerts import raise_alert
from gollem.payments.types import BankPayout, BankPayoutStatus, Transfer
from gollem.units import ATOMS_PER_CENT


class _NoNewsError(Exception):
    """It is in the books already, or does not belong there. Never leaves this file."""


class PayoutBooking:
    """All of it may be repeated, by anybody. What returns a bool tells whether this call booked anything."""

    def __init__(self, ledger: Ledger, desk: Desk, clock: Clock) -> None:
        self._ledger = ledger
        self._desk = desk
        self._clock = clock

    async def transfer(self, payout: Record, transfer: Transfer) -> bool:
        """Made, or reversed."""
        if not _is_of(payout, transfer):
            return await self.alert(payout, f"foreign:{transfer.transfer_id}", f"{transfer} is not its transfer")
        if payout.state == "INITIATED":
            return await self._post(
                payout, lambda known: rules.payout_transferred(known, transfer.transfer_id, self._clock.now_ms())
            )
        return transfer.reversed_cents > 0 and await self._reversal(payout, transfer)

    async def bank(self, payout: Record, bank: BankPayout) -> bool:
        """Paid, or sent back."""
        if bank.cents != cents_of(payout):
            return await self.alert(payout, f"foreign:{bank.bank_payout_id}", f"{bank} has another amount")
        is_paid = bank.status is BankPayoutStatus.PAID
        if is_paid and payout.state in ("CANCELLED", "REVERSED"):
            return await self.alert(payout, "paid_after_all", f"{bank.bank_payout_id} was paid, it is {payout.state}")
        if bank.status is BankPayoutStatus.UNDER_WAY or not _is_news(payout, bank):
            return False
        if not is_paid:
            told = f"its bank sent back {bank.bank_payout_id} ({bank.failure})"
            await self.alert(
                payout, f"failed:{bank.attempt}", f"{told}: tried again in a day, or when the account changes"
            )
        return await self._post(payout, lambda known: self._banked(known, bank))

    async def cancelled(self, payout: Record, why: str) -> bool:
        """It is certain that there is no transfer, nor will be."""
        await self.alert(payout, "cancelled", f"cancelled: {why}; the money is payable again")
        return await self._post(payout, lambda known: rules.payout_cancelled(known, self._clock.now_ms()))

    async def alert(self, payout: Record, what: str, message: str) -> bool:
        """Tell somebody, once a payout and thing. Always False: nothing has moved."""
        who = f"payout {payout.id} of {payout.text('provider')}"
        await raise_alert(self._ledger, self._clock, f"payout:{payout.id}:{what}", who, message)
        return False

    async def _reversal(self, payout: Record, transfer: Transfer) -> bool:
        if payout.state in ("REVERSED", "CANCELLED"):
            return False
        told = f"{transfer.reversed_cents} of {transfer.cents} cents of {transfer.transfer_id} were reversed"
        await self.alert(payout, f"reversed:{transfer.reversed_cents}", f"{told} while it is {payout.state}")
        if transfer.reversal_cents < transfer.cents or payout.state == "PAID":
            return False  # nothing that a program could decide: each part may have been resolved by a person
        return await self._post(
            payout, lambda known: rules.payout_reversed(known, transfer.reversal_id, self._clock.now_ms())
        )

    def _banked(self, known: Record, bank: BankPayout) -> Transaction:
        if not _is_news(known, bank):
            raise _NoNewsError
        build = rules.payout_paid if bank.status is BankPayoutStatus.PAID else rules.payout_failed
        return build(known, bank.bank_payout_id, bank.attempt, self._clock.now_ms())

    async def _post(self, payout: Record, build: Callable[[Record], Transaction]) -> bool:
        try:
            return (await self._desk.post_about(records.PAYOUT, payout.id, build)).applied
        except (_NoNewsError, WrongState):
            return False


def cents_of(payout: Record) -> int:
    return payout.number("amount_atoms") // ATOMS_PER_CENT


def _is_news(payout: Record, bank: BankPayout) -> bool:
    """Only the attempt under way, or paid, can bring any."""
    states = ("TRANSFERRED", "FAILED") if bank.status is BankPayoutStatus.PAID else ("TRANSFERRED", "FAILED", "PAID")
    return payout.state in states and payout.number("attempt") == bank.attempt


def _is_of(payout: Record, transfer: Transfer) -> bool:
    """Whether it is what the payout asked for, and the one it knows."""
    asked = (payout.id, payout.text("connected_id"), cents_of(payout))
    known = payout.text("transfer_id")
    return (transfer.payout_id, transfer.connected_id, transfer.cents) == asked and known in ("", transfer.transfer_id)
