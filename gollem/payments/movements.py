"""Every movement at the payment provider has its transactions in our books, to the cent (R5).

A movement is found in the books by two keys: one of its own, made of the object behind it (`purchase:{payment}`,
`rf_ok:{refund}`, `rf_fail:{refund}`, `po_tr:{transfer}`, `trr:{reversal}`), and `stripe:{txn}`, made of the movement:
its fee, or itself where no object has a key. All that these have moved of A:stripe is what moved there.

One that is not explained is healed: whoever should have booked it fetches its object again. Where that does not help
within PATIENCE_MS, and nothing is left to be decided, it goes to S:unmatched, under `stripe:{txn}` as well. So nothing
is booked twice:

- What is booked under `stripe:{txn}` itself (disputes, fees, platform payouts) finds its key taken: it stays unmatched,
  until a person says whose it is.
- What has a key of its own may still be booked, late. Then what was unmatched goes back to A:stripe, by itself
  (`resolved:{txn}`). If a person has resolved it otherwise before, it is twice in the books: that is a finding.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum

from gollem.clock import Clock
from gollem.errors import CallerError, KeyReused, Overtaken
from gollem.ledger import Entry, Kind, Ledger, Record, Transaction, accounts, records, rules
from gollem.payments.alerts import raise_alert
from gollem.payments.disputes import Disputes
from gollem.payments.gateway import PaymentGateway
from gollem.payments.in_books import InBooks, described, fields_of, own_keys
from gollem.payments.payouts import Payouts
from gollem.payments.purchases import Purchases
from gollem.payments.refunds import Refunds
from gollem.payments.types import CURRENCY, Movement, MovementKind, PaymentStatus, RefundStatus
from gollem.units import ATOMS_PER_CENT

_log = logging.getLogger(__name__)
PATIENCE_MS = 5 * 60_000  # what is younger may still be explained: lists, events and servers lag
UNRESOLVED_MS = 86_400_000  # how long something may lie at S:unmatched before somebody is told again
BY_ITSELF = "books"  # approves that what was unmatched goes back, once it is explained

_PLATFORM_PAYOUTS = (MovementKind.PLATFORM_PAYOUT, MovementKind.PLATFORM_PAYOUT_FAILED)


class Place(StrEnum):
    """What becomes of a movement. All but the first are kept as records, and looked at again."""

    EXPLAINED = "EXPLAINED"
    WAITING = "WAITING"  # young, or a bank has not decided
    UNMATCHED = "UNMATCHED"
    DIFFERENT = "DIFFERENT"  # booked, and not to the cent: a break


class Movements:
    """Looks at them one by one; every method may be repeated, by anybody, at any time."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: PaymentGateway,
        purchases: Purchases,
        refunds: Refunds,
        disputes: Disputes,
        payouts: Payouts,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._payouts = payouts
        self._clock = clock
        self._healers: dict[MovementKind, tuple[Callable[[str], Awaitable[object]], str]] = {
            MovementKind.CHARGE: (purchases.refresh, "payment_id"),
            MovementKind.REFUND: (refunds.refresh, "source_id"),
            MovementKind.REFUND_FAILED: (refunds.refresh, "source_id"),
            MovementKind.DISPUTE: (disputes.refresh, "dispute_id"),
            MovementKind.TRANSFER: (payouts.refresh_transfer, "source_id"),
            MovementKind.TRANSFER_REVERSED: (self._refresh_reversed, "payout_id"),
        }

    async def look_at(self, movement: Movement) -> Place:
        """Explain it, if that is possible, and book what nobody else does."""
        if movement.currency != CURRENCY:
            await self._tell(movement, "foreign", "is no credits: convert it at the payment provider")
            return Place.EXPLAINED
        seen = await self.read(movement)
        if seen.own is None:
            await self._heal(movement)
            seen = await self.read(movement)
        if seen.own is None and seen.mark is None and await self._may_still_be_explained(movement):
            return await self._keep(movement, Place.WAITING)
        await self._complete(seen)
        return await self._keep(movement, await self._judge(movement))

    async def read(self, movement: Movement) -> InBooks:
        mark_key = f"stripe:{movement.txn_id}"
        mark = await self._ledger.find_entry(mark_key)
        own = await self._own(own_keys(movement), mark)
        more = [await self._ledger.find_entry(key) for key in (f"{mark_key}.fee", f"resolved:{movement.txn_id}")]
        return InBooks(movement, own, mark, tuple(entry for entry in more if entry))

    async def _own(self, keys: tuple[str, ...], mark: Entry | None) -> Entry | None:
        if not keys:
            return mark if mark and mark.kind is not Kind.UNMATCHED else None
        for key in keys:
            if entry := await self._ledger.find_entry(key):
                return entry
        return None

    # --- explaining -------------------------------------------------------------------------------------------------

    async def _heal(self, movement: Movement) -> None:
        """Have it booked by whom it belongs to. What they refuse stays unexplained; while the payment provider or the
        ledger is away nothing is decided, and this raises."""
        if movement.kind in self._healers:
            refresh, field = self._healers[movement.kind]
            object_id = getattr(movement, field)
            with suppress(CallerError):
                await refresh(object_id) if object_id else None
        elif movement.kind is MovementKind.FEE and movement.net_cents < 0:
            atoms = -movement.net_cents * ATOMS_PER_CENT
            await self._post(rules.stripe_fee(movement.txn_id, atoms, self._clock.now_ms()))
        elif movement.kind in _PLATFORM_PAYOUTS and movement.cents:
            atoms = -movement.cents * ATOMS_PER_CENT
            await self._post(rules.platform_payout(movement.txn_id, atoms, self._clock.now_ms()))

    async def _refresh_reversed(self, payout_id: str) -> None:
        payout = await self._ledger.find_record(records.PAYOUT, payout_id)
        if payout and payout.text("transfer_id"):
            await self._payouts.refresh_transfer(payout.text("transfer_id"))

    async def _may_still_be_explained(self, movement: Movement) -> bool:
        """It is young, or what is behind it is under way: banks take days, and our books wait for their word."""
        if self._clock.now_ms() - movement.created_ms < PATIENCE_MS:
            return True
        if movement.kind is MovementKind.REFUND and movement.refund_id:
            refund = await self._gateway.refund(movement.source_id)
            return refund is not None and refund.status is RefundStatus.PENDING
        if movement.kind is MovementKind.CHARGE and movement.payment_id:
            payment = await self._gateway.payment(movement.payment_id)
            return payment is not None and payment.status is PaymentStatus.PROCESSING
        return False

    # --- booking what nobody else does ------------------------------------------------------------------------------

    async def _complete(self, seen: InBooks) -> None:
        """What is unmatched, what is not any more, and the fee that goes with either."""
        movement = seen.movement
        if seen.own is None and seen.mark is None:
            gross_cents = movement.cents if movement.fee_cents > 0 else movement.net_cents
            if gross_cents:
                atoms = gross_cents * ATOMS_PER_CENT
                await self._post(rules.unmatched(movement.txn_id, atoms, self._clock.now_ms()))
            seen = await self.read(movement)
        elif seen.own and seen.is_unmatched:
            await self._take_back(movement)
        if movement.fee_cents > 0 and not _has_its_fee(seen):
            name = f"{movement.txn_id}.fee" if seen.mark else movement.txn_id
            atoms = movement.fee_cents * ATOMS_PER_CENT
            await self._post(rules.stripe_fee(name, atoms, self._clock.now_ms()))

    async def _take_back(self, movement: Movement) -> None:
        """It is explained after all."""
        unmatched = await self._ledger.find_record(records.UNMATCHED, movement.txn_id)
        if unmatched and unmatched.state == "OPEN":
            await self._post(rules.unmatched_resolved(unmatched, accounts.STRIPE, BY_ITSELF, self._clock.now_ms()))

    async def _post(self, transaction: Transaction) -> None:
        """Whoever was faster with the key is right: what differs then is seen afterwards."""
        with suppress(KeyReused, Overtaken):
            await self._ledger.post(transaction)

    # --- judging ----------------------------------------------------------------------------------------------------

    async def _judge(self, movement: Movement) -> Place:
        seen = await self.read(movement)
        if seen.difference_atoms:
            return Place.DIFFERENT
        if seen.own or not seen.is_unmatched:
            return Place.EXPLAINED
        unmatched = await self._ledger.find_record(records.UNMATCHED, movement.txn_id)
        if unmatched is None or unmatched.state != "OPEN":
            return Place.EXPLAINED  # by a person
        await self._tell(movement, "unmatched", "is not explained: see whose it is, then resolve it")
        if seen.mark and self._clock.now_ms() - seen.mark.at_ms > UNRESOLVED_MS:
            await self._tell(movement, "unresolved", "is still not resolved after a day")
        return Place.UNMATCHED

    async def _keep(self, movement: Movement, place: Place) -> Place:
        """Only what is not explained, or was not."""
        known = await self._ledger.find_record(records.MOVEMENT, movement.txn_id)
        if known is None and place is Place.EXPLAINED:
            return place
        if known is None or known.state != place:
            new = Record(records.MOVEMENT, movement.txn_id, place, fields_of(movement))
            with suppress(Overtaken):  # somebody else was faster
                await self._ledger.post(rules.noted(known, new, self._clock.now_ms()))
        return place

    async def _tell(self, movement: Movement, what: str, message: str) -> None:
        name = f"movement {movement.txn_id}"
        text = f"{described(movement)} {message}"
        await raise_alert(self._ledger, self._clock, f"{what}:{movement.txn_id}", name, text)


def _has_its_fee(seen: InBooks) -> bool:
    """Whether the entry that explains it has the fee in it, or it is booked."""
    if seen.movement.kind is MovementKind.FEE and seen.own:
        return True
    if seen.movement.kind is MovementKind.DISPUTE and seen.own:
        return True
    is_booked = seen.mark is not None and seen.mark.kind is Kind.STRIPE_FEE
    return is_booked or any(entry.kind is Kind.STRIPE_FEE for entry in seen.more)
