"""Moves payouts forward: transfer, bank, and what comes back. Whatever happened before, the next look goes on.

Each step is looked up before it is done, done under a key of its own, then booked, so that a step whose answer was lost
is found. Before money leaves, the account is read again. If it may not be paid any more, the payout is cancelled, but
only once it is certain that no transfer exists or can still come: first the attempt is called off (see `attempts`),
which from then on forbids everybody to begin one and is refused while one may be on its way; then it is looked up. In
between the money stays set aside, where it cannot be paid twice.

While payouts are halted nothing is transferred; what was goes on to the bank, for it is the provider's.

A payout waits, and says so once, while the platform's balance is too small or the payment provider refuses it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gollem.clock import DAY_MS, Clock
from gollem.errors import GollemError, PaymentRefused, WrongState
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.attempts import Attempts
from gollem.payments.gateway import PaymentGateway
from gollem.payments.halts import are_payouts_halted
from gollem.payments.payees import find_payee, note_account, note_gone
from gollem.payments.payout_booking import PayoutBooking, cents_of
from gollem.payments.payout_recheck import PayoutRecheck
from gollem.payments.rounds import Round
from gollem.payments.types import BankPayout, Transfer

_log = logging.getLogger(__name__)
BANK_REST_MS = DAY_MS  # after a bank sent money back
REFUSAL_REST_MS = 10 * 60_000
LATE_MS = 10 * DAY_MS
PAGE = 256  # payouts of a state that one look moves
AT_ONCE = 8
_OPEN = ("INITIATED", "TRANSFERRED", "FAILED")


class PayoutDrive:
    def __init__(
        self,
        ledger: Ledger,
        booking: PayoutBooking,
        recheck: PayoutRecheck,
        gateway: PaymentGateway,
        attempts: Attempts,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._booking = booking
        self._gateway = gateway
        self._attempts = attempts
        self._clock = clock
        self._open = [Round(ledger, clock, records.PAYOUT, state, PAGE) for state in _OPEN]
        self._recheck = recheck

    async def look(self) -> int:
        """Take every open payout a step further, and look again at those that a bank may still send back; a bounded
        number. One that fails keeps no other waiting. Returns how many changed."""
        under_way = [payout for one in self._open for payout in await one.page()]
        moved = await self._each(under_way, self._move)
        return moved + await self._each(await self._recheck.due(), self._recheck.look_at)

    async def _move(self, payout: Record) -> bool:
        if self._age_ms(payout) > LATE_MS:
            await self._booking.alert(payout, "late", f"is {payout.state} after {self._age_ms(payout) // DAY_MS} days")
        return await (self._transfer(payout) if payout.state == "INITIATED" else self._bank(payout))

    async def _transfer(self, payout: Record) -> bool:
        found = await self._gateway.find_transfer(payout.id)
        if found is not None:
            return await self._booking.transfer(payout, found)
        if not await self._can_be_paid(payout):
            return await self.take_back(payout, f"{payout.text('connected_id')} cannot be paid any more")
        if await are_payouts_halted(self._ledger):
            return False
        intent = f"transfer.{payout.id}"
        if await self._attempts.is_refused(intent, REFUSAL_REST_MS) or not await self._has_funds(payout):
            return False

        async def act(key: str) -> Transfer:
            return await self._gateway.create_transfer(payout.id, payout.text("connected_id"), cents_of(payout), key)

        try:
            made = await self._attempts.carry_out(intent, lambda: self._gateway.find_transfer(payout.id), act)
        except WrongState:
            return await self.take_back(payout, "it was called off")  # by a server that did not come to cancel it
        except PaymentRefused as error:
            return await self._booking.alert(payout, f"refused:{error.code}", f"its transfer was refused: {error}")
        return await self._booking.transfer(payout, made)

    async def _can_be_paid(self, payout: Record) -> bool:
        """Whether its account can, as the payment provider says at this moment, and is not held for what our books
        say."""
        account = await self._gateway.account(payout.text("connected_id"))
        payee = await find_payee(self._ledger, payout.text("provider"))
        if payee is None or payee.text("connected_id") != payout.text("connected_id"):
            return False
        if account is None:
            await note_gone(self._ledger, self._clock, payee)
            return False
        await note_account(self._ledger, self._clock, account)
        return account.can_be_paid and not payee.text("held_by")

    async def _has_funds(self, payout: Record) -> bool:
        """Asked first, because a refusal costs a number of the attempt."""
        funds = await self._gateway.funds()
        if funds.available_cents >= cents_of(payout):
            return True
        message = f"waits for {cents_of(payout)} cents, the platform has {funds.available_cents} available"
        await self._booking.alert(payout, "refused:balance_insufficient", message)
        return False

    async def take_back(self, payout: Record, why: str) -> bool:
        """The money is payable again, if it is certain that it never left."""
        is_certain = await self._attempts.call_off(f"transfer.{payout.id}")
        found = await self._gateway.find_transfer(payout.id)
        if found is not None:
            return await self._booking.transfer(payout, found)
        return is_certain and await self._booking.cancelled(payout, why)

    async def _bank(self, payout: Record) -> bool:
        connected_id, number = payout.text("connected_id"), payout.number("attempt")

        async def look_up() -> BankPayout | None:
            return await self._gateway.find_bank_payout(connected_id, payout.id, number)

        async def act(key: str) -> BankPayout:
            return await self._gateway.create_bank_payout(connected_id, payout.id, number, cents_of(payout), key)

        found = await look_up()
        if found is not None:
            return await self._booking.bank(payout, found)
        transfer = await self._gateway.transfer(payout.text("transfer_id"))
        if transfer is not None and transfer.reversed_cents:
            return await self._booking.transfer(payout, transfer)
        intent = f"bank.{payout.id}.{number}"
        if not await self._may_go_to_bank(payout, intent):
            return False
        try:
            return await self._booking.bank(payout, await self._attempts.carry_out(intent, look_up, act))
        except PaymentRefused as error:
            return await self._booking.alert(payout, f"refused:{error.code}", f"its bank payout was refused: {error}")

    async def _may_go_to_bank(self, payout: Record, intent: str) -> bool:
        """Not while the last try rests, the account is blocked, or the money has not become available there."""
        if payout.state == "FAILED" and not await self._rested(payout):
            return False
        if await self._attempts.is_refused(intent, REFUSAL_REST_MS) or not await self._can_be_paid(payout):
            return False
        return (await self._gateway.funds(payout.text("connected_id"))).available_cents >= cents_of(payout)

    async def _rested(self, payout: Record) -> bool:
        """Whether a day has passed since its bank sent it back, or the provider's account has changed since."""
        number = payout.number("attempt") - 1
        failed = await self._ledger.find_entry(f"po_fail:{payout.text(rules.bank_field(number))}:{number}")
        if failed is None or self._clock.now_ms() - failed.at_ms >= BANK_REST_MS:
            return True
        payee = await find_payee(self._ledger, payout.text("provider"))
        version = payee.number("version") if payee else 0
        changed = await self._ledger.find_entry(f"provider:{payout.text('provider')}:{version}")
        return changed is not None and changed.at_ms > failed.at_ms

    async def _each(self, items: Sequence[Record], work: Callable[[Record], Awaitable[bool]]) -> int:
        """A few at once. What goes wrong with one is logged, and left for the next look."""

        async def one(item: Record) -> bool:
            try:
                return await work(item)
            except GollemError as error:
                _log.warning("%s %s waits for the next look: %s: %s", item.kind, item.id, type(error).__name__, error)
                return False

        done = 0
        for start in range(0, len(items), AT_ONCE):
            done += sum(await asyncio.gather(*(one(item) for item in items[start : start + AT_ONCE])))
        return done

    def _age_ms(self, payout: Record) -> int:
        return self._clock.now_ms() - payout.number("at_ms")
