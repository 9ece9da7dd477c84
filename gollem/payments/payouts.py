"""Earnings to the bank: what a provider has, asks for and was paid.

`payout_due` says when a payout is made, `payout_drive` moves it, `payout_booking` writes down what became of it,
`payout_recheck` looks at it again, `payout_trail` tells where its money came from.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gollem.clock import Clock
from gollem.config import PaymentsConfig
from gollem.errors import (
    GollemError,
    InvalidField,
    NothingPayable,
    NotOnboarded,
    UnknownPayout,
    WrongState,
)
from gollem.ledger import Desk, Ledger, Record, StatementLine, accounts, records
from gollem.payments.attempts import Attempts
from gollem.payments.gateway import PaymentGateway
from gollem.payments.payees import find_payee
from gollem.payments.payout_booking import PayoutBooking, cents_of
from gollem.payments.payout_drive import PayoutDrive
from gollem.payments.payout_due import PayoutDue, payout_id_of
from gollem.payments.payout_recheck import PayoutRecheck
from gollem.payments.payout_trail import PayoutTrail, Trail
from gollem.payments.types import Page
from gollem.units import ATOMS_PER_CENT, format_fixed

_log = logging.getLogger(__name__)
MAX_PAGE = 100
_LOOKS = 4


@dataclass(frozen=True, slots=True)
class PayoutView:
    """`state` is initiated, transferred (to the provider's account at the payment provider), paid (to its bank), failed
    (its bank sent it back, it is tried again), cancelled or reversed (both: the money is payable again). `attempt`
    counts tries at the bank from 0."""

    payout_id: str
    provider: str
    state: str
    cents: int
    initiated_ms: int
    attempt: int
    transfer_id: str = ""

    @classmethod
    def of(cls, payout: Record) -> "PayoutView":
        return cls(
            payout.id,
            payout.text("provider"),
            payout.state.lower(),
            cents_of(payout),
            payout.number("at_ms"),
            payout.number("attempt"),
            payout.text("transfer_id"),
        )


@dataclass(frozen=True, slots=True)
class EarningsView:
    """Earned and not due yet; due; on the way to the bank; at the bank; owed to the platform."""

    maturing_atoms: int
    payable_atoms: int
    in_flight_atoms: int
    paid_atoms: int
    debt_atoms: int


class Payouts:
    """Every method may be repeated, by anybody, at any time."""

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
        self._desk = desk
        self._gateway = gateway
        self._least_atoms = config.least_payout_cents * ATOMS_PER_CENT
        self._due = PayoutDue(ledger, desk, clock, config)
        self._booking = PayoutBooking(ledger, desk, clock)
        self._recheck = PayoutRecheck(ledger, self._booking, gateway, clock)
        self._drive = PayoutDrive(ledger, self._booking, self._recheck, gateway, attempts, clock)
        self._trail = PayoutTrail(ledger, config.delay_days)

    async def request(self, provider: str, payout_id: str) -> PayoutView:
        """Pay out all whole cents that are payable, now. The same `payout_id` again answers with the same payout.

        While another payout is under way this is refused and the id stays unused, so that it means one payout for ever:
        its figures name the one under way. Raises WrongState (also while payouts are halted), NothingPayable
        (fewer than the least that is paid out), NotOnboarded, InvalidField."""
        if not accounts.is_name(payout_id):
            raise InvalidField("payout_id", "must be 1 to 64 letters, digits, dots, hyphens or underscores")
        our_id = payout_id_of(provider, "request", payout_id)
        known = await self._ledger.find_record(records.PAYOUT, our_id)
        if known is not None:
            return PayoutView.of(known)
        payee = await find_payee(self._ledger, provider)
        if payee is None or payee.state != "ENABLED":
            blocked_by = payee.text("blocked_by") if payee else "onboarding has not begun"
            raise NotOnboarded(f"{provider} cannot be paid: {blocked_by}", provider_id=provider, blocked_by=blocked_by)
        if await self._desk.pay_out(our_id, provider, self._least_atoms) is None:
            await self._refuse(provider)
        return await self.find(provider, our_id)

    async def find(self, provider: str, payout_id: str) -> PayoutView:
        """`payout_id` is ours, as a view names it. Raises UnknownPayout."""
        return PayoutView.of(await self._own(provider, payout_id))

    async def list(self, provider: str, cursor: str = "", limit: int = 50) -> Page[PayoutView]:
        """The provider's payouts, newest first, at most 100 a page. Raises InvalidField for a cursor no page gave."""
        payee = await find_payee(self._ledger, provider)
        next_id = payee.text("last_payout") if payee else ""
        if cursor:
            next_id = await self._after(provider, cursor)
        views = list[PayoutView]()
        while next_id and len(views) < min(max(limit, 1), MAX_PAGE):
            payout = await self._own(provider, next_id)
            views.append(PayoutView.of(payout))
            next_id = payout.text("before")
        return Page(views, views[-1].payout_id if views and next_id else "")

    async def take_back(self, payout_id: str, operator: str) -> bool:
        """An operator wants the money of a payout payable again, which is not transferred yet. Returns whether this
        call did it. Raises UnknownPayout, WrongState (also while its transfer may be on its way: ask again later)."""
        payout = await self._find(payout_id)
        if payout is None:
            raise UnknownPayout(f"there is no payout {payout_id}", payout_id=payout_id)
        if payout.state == "CANCELLED":
            return False
        if payout.state == "INITIATED" and await self._drive.take_back(payout, f"{operator} took it back"):
            payout = await self._find(payout_id) or payout
        if payout.state == "CANCELLED":
            return True
        message = f"payout {payout_id} cannot be taken back"
        message += ": its transfer may be on its way, ask again later" if payout.state == "INITIATED" else ""
        raise WrongState(message, kind=records.PAYOUT, id=payout_id, state=payout.state)

    async def trail(self, payout_id: str) -> Trail:
        """From match to bank. Raises UnknownPayout."""
        return await self._trail.trail(payout_id)

    async def orders(self, provider: str, day: str, cursor: str = "", limit: int = 50) -> Sequence[StatementLine]:
        """The orders behind a day (yyyymmdd) of a trail, newest first, at most 500 a page. Raises InvalidField."""
        return await self._trail.orders(provider, day, cursor, limit)

    async def earnings(self, provider: str) -> EarningsView:
        """What the provider has. While a payout moves, as of one moment before or after."""
        payee = await find_payee(self._ledger, provider)
        for _ in range(_LOOKS):
            view, seen = await self._earnings(provider, payee), payee
            payee = await find_payee(self._ledger, provider)
            if payee == seen:
                break
        return view

    async def look(self) -> int:
        """Mature what is due, initiate payouts that are due, take all open ones a step further. Returns how much
        happened. What fails is left for the next look, and keeps nothing else waiting."""
        return sum([await self._part(part) for part in (self._desk.mature_due, self._due.look, self._drive.look)])

    async def refresh(self, connected_id: str, bank_payout_id: str) -> bool:
        """Fetch a bank payout and write down what became of it. Returns whether that was news; one that is no payout
        of ours is passed over."""
        bank = await self._gateway.bank_payout(connected_id, bank_payout_id)
        payout = await self._find(bank.payout_id) if bank else None
        if bank is None or payout is None or payout.text("connected_id") != connected_id:
            _log.info("bank payout %s of %s is none of ours", bank_payout_id, connected_id)
            return False
        return await self._booking.bank(payout, bank)

    async def refresh_bank_payouts(self, payee: Record) -> bool:
        """Write down what became of all that its account sent to a bank not long ago; a bounded number, and the next
        call goes on. Returns whether that was news."""
        return await self._recheck.look_at(payee)

    async def refresh_transfer(self, transfer_id: str) -> bool:
        """Fetch a transfer and write down what became of it: made, or reversed. Returns whether that was news."""
        transfer = await self._gateway.transfer(transfer_id)
        payout = await self._find(transfer.payout_id) if transfer else None
        if transfer is None or payout is None:
            _log.warning("transfer %s is none of ours", transfer_id)
            return False
        return await self._booking.transfer(payout, transfer)

    async def _part(self, part: Callable[[], Awaitable[int]]) -> int:
        try:
            return await part()
        except GollemError as error:
            _log.warning("payouts wait for the next look: %s: %s", type(error).__name__, error)
            return 0

    async def _refuse(self, provider: str) -> None:
        """Say why there was nothing to pay out."""
        payee = await find_payee(self._ledger, provider)
        under_way = payee.text("open_payout") if payee else ""
        if under_way:
            payout = await self._own(provider, under_way)
            message = f"payout {under_way} is under way: what is payable is paid out after it"
            raise WrongState(message, kind=records.PAYOUT, id=under_way, state=payout.state)
        balance = await self._ledger.provider_balance(provider)
        available_atoms = max(balance.payable_atoms - balance.debt_atoms, 0)
        needed, available = format_fixed(self._least_atoms), format_fixed(available_atoms)
        message = f"{needed} credits are the least that is paid out, {available} are payable"
        raise NothingPayable(message, needed=needed, available=available)

    async def _find(self, payout_id: str) -> Record | None:
        return await self._ledger.find_record(records.PAYOUT, payout_id) if accounts.is_name(payout_id) else None

    async def _own(self, provider: str, payout_id: str) -> Record:
        known = await self._find(payout_id)
        if known is None or known.text("provider") != provider:
            raise UnknownPayout(f"there is no payout {payout_id}", payout_id=payout_id)
        return known

    async def _after(self, provider: str, cursor: str) -> str:
        try:
            return (await self._own(provider, cursor)).text("before")
        except UnknownPayout:
            raise InvalidField("page_token", "must be the next_page_token of the page before") from None

    async def _earnings(self, provider: str, payee: Record | None) -> EarningsView:
        balance = await self._ledger.provider_balance(provider)
        under_way = payee.text("open_payout") if payee else ""
        set_aside_atoms = await self._ledger.account_atoms(accounts.payout_account(under_way)) if under_way else 0
        return EarningsView(
            balance.maturing_atoms,
            balance.payable_atoms,
            set_aside_atoms - await self._ledger.account_atoms(accounts.connected_account(provider)),
            -await self._ledger.account_atoms(accounts.paid_account(provider)),
            balance.debt_atoms,
        )
