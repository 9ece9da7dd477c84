"""Disputed payments: what a bank takes back, and what it gives back when a dispute is won.

Money is booked by the dispute's balance transactions and with their figures, each once: first the withdrawal, then the
reinstatement. Whatever else a bank does (a third movement, another currency) is told to a person and booked when the
books are compared. An inquiry moves nothing: it freezes, and lifts its own freeze when it closes. An
account stays frozen while it is in debt, and after a dispute was lost.
"""

import logging
from collections.abc import Awaitable, Callable

from gollem.clock import Clock
from gollem.errors import KeyReused, WrongState
from gollem.ledger import Desk, Kind, Ledger, Record, accounts, records, rules
from gollem.payments.alerts import raise_alert, words_of
from gollem.payments.gateway import PaymentGateway
from gollem.payments.purchases import Purchases
from gollem.payments.types import CURRENCY, Dispute, DisputeStatus, Movement
from gollem.units import ATOMS_PER_CENT, format_usd

_log = logging.getLogger(__name__)
PAGE = 256
NOBODY = "nobody"  # approves that nothing is written off


class Disputes:
    """Records of kind `dispute` (WITHDRAWN, WON, LOST), once money has moved, and `inquiry` (OPEN, CLOSED) before."""

    def __init__(self, ledger: Ledger, desk: Desk, gateway: PaymentGateway, purchases: Purchases, clock: Clock) -> None:
        self._ledger = ledger
        self._desk = desk
        self._gateway = gateway
        self._purchases = purchases
        self._clock = clock
        self._swept_to: dict[str, str] = {}

    async def refresh(self, dispute_id: str) -> None:
        """Fetch the dispute, book its movements, and freeze or unfreeze its user."""
        dispute = await self._gateway.dispute(dispute_id)
        if dispute is None:
            return
        user = await self._user_of(dispute)
        if user is None:
            await self._tell(dispute_id, "stranger", f"payment {dispute.payment_id} is no purchase's")
            return
        for place, movement in enumerate(dispute.movements):
            await self._book(dispute, user, movement, place)
        await self._mind_inquiry(dispute, user)
        if dispute.status is DisputeStatus.LOST:
            await self._close_lost(dispute_id)

    async def write_off(self, dispute_id: str, approver: str) -> bool:
        """The dispute was lost: what is still owed of it is the platform's loss. Returns whether this call decided it.

        Raises WrongState while it may still be won, InvalidField (approver)."""
        dispute = await self._gateway.dispute(dispute_id)
        if dispute is None or dispute.status is not DisputeStatus.LOST:
            state = dispute.status if dispute else "ABSENT"
            raise WrongState(f"dispute {dispute_id} is {state}", kind=records.DISPUTE, id=dispute_id, state=state)
        await self.refresh(dispute_id)
        return (await self._desk.write_off(dispute_id, approver)).applied

    async def sweep(self) -> int:
        """Look at disputes and inquiries that are open, a page of each a time. Returns how many were looked at."""
        looked_at = 0
        for kind, state in ((records.DISPUTE, "WITHDRAWN"), (records.INQUIRY, "OPEN")):
            page = await self._ledger.records(kind, state, self._swept_to.get(kind, ""), PAGE)
            self._swept_to[kind] = page[-1].id if len(page) == PAGE else ""
            for record in page:
                looked_at += await self._try(self.refresh, record.id)
        return looked_at

    # --- money ------------------------------------------------------------------------------------------------------

    async def _book(self, dispute: Dispute, user: str, movement: Movement, place: int) -> None:
        """Once, whoever looks; what cannot be booked as what it should be is a person's."""
        entry = await self._ledger.find_entry(f"stripe:{movement.txn_id}")
        if entry and entry.kind in (Kind.DISPUTE_WITHDRAWN, Kind.DISPUTE_REINSTATED):
            return
        if not _is_usual(movement, place):
            await self._tell(dispute.dispute_id, movement.txn_id, f"{movement.txn_id} is not booked as a dispute's")
            return
        book = self._withdraw if movement.cents < 0 else self._reinstate
        try:
            await book(dispute.dispute_id, user, movement)
        except (KeyReused, WrongState) as error:
            await self._tell(dispute.dispute_id, movement.txn_id, f"{movement.txn_id} cannot be booked: {error}")

    async def _withdraw(self, dispute_id: str, user: str, movement: Movement) -> None:
        amount_atoms, fee_atoms = -movement.cents * ATOMS_PER_CENT, movement.fee_cents * ATOMS_PER_CENT
        await self._desk.withdraw_dispute(dispute_id, movement.txn_id, user, amount_atoms, fee_atoms)

    async def _reinstate(self, dispute_id: str, user: str, movement: Movement) -> None:
        """A fee that comes back is a negative fee."""
        amount_atoms, fee_atoms = movement.cents * ATOMS_PER_CENT, -movement.fee_cents * ATOMS_PER_CENT
        await self._desk.reinstate_dispute(dispute_id, movement.txn_id, amount_atoms, fee_atoms)

    async def _close_lost(self, dispute_id: str) -> None:
        """By itself if nothing is owed: refused if anything is at the moment of posting."""
        known = await self._find(dispute_id)
        if known is None or known.state != "WITHDRAWN":
            return
        debt_atoms = -await self._ledger.account_atoms(accounts.user_debt(known.text("user")))
        if debt_atoms:
            owed = format_usd(min(debt_atoms, known.number("amount_atoms")))
            await self._tell(dispute_id, "lost", f"lost, and {owed} USD are owed: collect or write off")
            return
        await self._ledger.post(rules.write_off(known, NOBODY, 0, self._clock.now_ms()))

    # --- freezing ---------------------------------------------------------------------------------------------------

    async def _mind_inquiry(self, dispute: Dispute, user: str) -> None:
        """Open while a bank asks, or is to take money and has not: the dispute itself freezes from then on."""
        is_asking = dispute.status in (DisputeStatus.INQUIRY, DisputeStatus.OPEN)
        known = await self._ledger.find_record(records.INQUIRY, dispute.dispute_id)
        if is_asking and not dispute.movements and (known is None or known.state == "OPEN"):
            await self._open_inquiry(dispute.dispute_id, user)
        elif known and known.state == "OPEN":
            await self._close_inquiry(known, user)

    async def _open_inquiry(self, dispute_id: str, user: str) -> None:
        """Each once, however often it is looked at. The record first: it is what unfreezes, and what is swept."""
        now_ms = self._clock.now_ms()
        opened = Record(records.INQUIRY, dispute_id, "OPEN", {"user": user, "at_ms": now_ms})
        await self._ledger.post(rules.noted(None, opened, now_ms))
        await self._desk.freeze(dispute_id, user, "inquiry")

    async def _close_inquiry(self, known: Record, user: str) -> None:
        """Its own freeze and no other's. The record last: until then the sweep comes again."""
        try:
            await self._desk.unfreeze(known.id, user, "inquiry closed")
        except WrongState as error:
            _log.info("inquiry %s: %s", known.id, error)  # in debt, or a person was faster
        closed = Record(known.kind, known.id, "CLOSED", known.fields)
        await self._ledger.post(rules.noted(known, closed, self._clock.now_ms()))

    # --- whose, and telling -----------------------------------------------------------------------------------------

    async def _user_of(self, dispute: Dispute) -> str | None:
        """Who was credited for the payment; who is to be, if nobody was told of that yet."""
        key = f"purchase:{dispute.payment_id}"
        entry = await self._ledger.find_entry(key)
        if entry is None:
            await self._purchases.refresh(dispute.payment_id)
            entry = await self._ledger.find_entry(key)
        bought = await self._ledger.find_record(records.PURCHASE, entry.detail) if entry else None
        return bought.text("user") if bought else None

    async def _find(self, dispute_id: str) -> Record | None:
        return await self._ledger.find_record(records.DISPUTE, dispute_id)

    async def _try(self, refresh: Callable[[str], Awaitable[None]], dispute_id: str) -> bool:
        try:
            await refresh(dispute_id)
        except Exception as error:  # one keeps none of the others waiting
            _log.warning("dispute %s is looked at again later: %s", dispute_id, words_of(error))
            return False
        return True

    async def _tell(self, dispute_id: str, what: str, message: str) -> None:
        await raise_alert(self._ledger, self._clock, f"dispute:{dispute_id}:{what}", f"dispute {dispute_id}", message)


def _is_usual(movement: Movement, place: int) -> bool:
    """First money out with a fee, then money in, perhaps with the fee."""
    if movement.currency != CURRENCY:
        return False
    if place == 0:
        return movement.cents < 0 <= movement.fee_cents
    return place == 1 and movement.fee_cents <= 0 < movement.cents
