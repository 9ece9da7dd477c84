"""Looks again at what banks were sent: one may send it back weeks after it was paid, and telling that may be missed.

The accounts' own lists are read, a hundred bank payouts a call, so that a provider who is paid often hides none.
"""

from collections.abc import Sequence

from gollem.clock import DAY_MS, Clock
from gollem.ledger import Ledger, Record, records
from gollem.payments.gateway import PaymentGateway
from gollem.payments.payees import find_payee, is_gone
from gollem.payments.payout_booking import PayoutBooking
from gollem.payments.rounds import Round
from gollem.payments.types import BankPayout, BankPayoutStatus

PAID_FOR_SURE_MS = 60 * DAY_MS  # after this long, no bank sends money back
PAUSE_MS = 6 * 3_600_000
PAYEES = 256  # of a state, a look
PAGES = 4  # of one account, a look


class PayoutRecheck:
    """`look_at` may be repeated, by anybody, at any time."""

    def __init__(self, ledger: Ledger, booking: PayoutBooking, gateway: PaymentGateway, clock: Clock) -> None:
        self._ledger = ledger
        self._booking = booking
        self._gateway = gateway
        self._clock = clock
        self._payees = [
            Round(ledger, clock, records.PROVIDER, state, PAYEES, PAUSE_MS) for state in ("ENABLED", "DISABLED")
        ]
        self._behind: dict[str, tuple[str, str]] = {}  # by provider: its account, and the page to go on with

    async def due(self) -> Sequence[Record]:
        """Whose turn it is: a bounded number, and those of whom not all has been seen."""
        found = {payee.id: payee for one in self._payees for payee in await one.page()}
        for provider in [provider for provider in self._behind if provider not in found][:PAYEES]:
            payee = await find_payee(self._ledger, provider)
            found |= {provider: payee} if payee else {}
        return list(found.values())

    async def look_at(self, payee: Record) -> bool:
        """Book what became of its bank payouts, some pages of them; the next look goes on. Returns whether that was
        news."""
        if is_gone(payee):
            return False
        connected_id, changed = payee.text("connected_id"), False
        of, page = self._behind.pop(payee.id, ("", ""))  # what fails begins again with the next round
        page = page if of == connected_id else ""
        for _ in range(PAGES):
            since_ms = self._clock.now_ms() - PAID_FOR_SURE_MS
            listed = await self._gateway.bank_payouts_since(connected_id, since_ms, page)
            for bank in listed.items:
                changed |= await self._book(connected_id, bank)
            page = listed.next
            if not page:
                return changed
        self._behind[payee.id] = (connected_id, page)
        return changed

    async def _book(self, connected_id: str, bank: BankPayout) -> bool:
        """What is under way is waited for elsewhere; what is none of ours is passed over."""
        if bank.status is BankPayoutStatus.UNDER_WAY or not bank.payout_id:
            return False
        payout = await self._ledger.find_record(records.PAYOUT, bank.payout_id)
        if payout is None or payout.text("connected_id") != connected_id:
            return False
        return await self._booking.bank(payout, bank)
