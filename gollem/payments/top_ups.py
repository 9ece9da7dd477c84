"""Top-ups: a kept card is charged when a user's credits fall below a threshold, up to a cap each calendar month (UTC).

Before anything is charged, the amount is reserved in the user's tally, one record that has this month's sum and the
top-up under way. Of several triggers, on however many servers, one changes it: so the cap holds, and a crossing makes
one purchase, whose id is the number of the reservation. A card that is declined switches top-ups off.
"""

import logging
from dataclasses import dataclass

from gollem.clock import Clock, utc_day
from gollem.errors import InvalidField, LedgerUnavailable, Overtaken, PaymentRefused, WorldError, WrongState
from gollem.ledger import Ledger, Record, records, rules
from gollem.payments.alerts import raise_alert, words_of
from gollem.payments.attempts import Attempts
from gollem.payments.cards import Cards
from gollem.payments.gateway import PaymentGateway
from gollem.payments.purchases import Purchases, Terms
from gollem.payments.types import PaymentStatus
from gollem.units import ATOMS_PER_CENT, MAX_ATOMS, format_fixed, format_usd

_log = logging.getLogger(__name__)
LEAST_CENTS, MOST_CENTS = 100, 100_000  # as of every purchase
MOST_MONTHLY_CENTS = 10_000_000
MAX_NOTED = 4_096
SWEEP_PAGE = 256
_ATTEMPTS = 4
_MOST_IN_A_ROW = 4


@dataclass(frozen=True, slots=True)
class TopUpView:
    """`month_cents` is what was charged, or is being charged, this month."""

    is_on: bool
    threshold_atoms: int
    amount_cents: int
    monthly_cap_cents: int
    month_cents: int


class TopUps:
    """Records of kind `top_up` (ON, OFF), what the user wants, and `topped_up` (RESTING, UNDER_WAY), the tally; both by
    user. Lives on one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        gateway: PaymentGateway,
        attempts: Attempts,
        purchases: Purchases,
        clock: Clock,
        max_noted: int = MAX_NOTED,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._purchases = purchases
        self._clock = clock
        self._cards = Cards(ledger, gateway, attempts, clock)
        self._max_noted = max_noted
        self._wanted: frozenset[str] = frozenset()  # users with top-ups at the last sweep
        self._noted: dict[str, None] = {}  # in order, each once

    async def configure(self, user: str, threshold_atoms: int, amount_cents: int, monthly_cap_cents: int) -> TopUpView:
        """Buy for `amount_cents` whenever fewer than `threshold_atoms` are left. Raises InvalidField, and WrongState
        unless a card was kept by an earlier purchase."""
        if type(threshold_atoms) is not int or not 0 < threshold_atoms < MAX_ATOMS:
            raise InvalidField("threshold", f"must be above 0 and below {format_fixed(MAX_ATOMS)}")
        _require_cents("amount_usd", amount_cents, LEAST_CENTS, MOST_CENTS)
        _require_cents("monthly_cap_usd", monthly_cap_cents, amount_cents, MOST_MONTHLY_CENTS)
        await self._card_of(user)
        await self._set(
            user,
            "ON",
            {
                "threshold_atoms": threshold_atoms,
                "amount_cents": amount_cents,
                "monthly_cap_cents": monthly_cap_cents,
            },
        )
        self._wanted |= {user}
        self.note_user(user)
        return await self.find(user)

    async def switch_off(self, user: str) -> TopUpView:
        """No more of them. One that is under way is called off, unless its payment was made: then it is booked."""
        await self._set(user, "OFF", {})
        tally = await self._tally(user)
        if tally and tally.state == "UNDER_WAY":
            try:
                await self._call_off(tally)
            except WorldError as error:  # nothing charges the card any more: the sweep of purchases cancels this one
                _log.warning("the top-up under way of %s is cancelled later: %s", user, error)
        return await self.find(user)

    async def find(self, user: str) -> TopUpView:
        wanted = await self._ledger.find_record(records.TOP_UP, user)
        if wanted is None:
            return TopUpView(False, 0, 0, 0, 0)
        return TopUpView(
            is_on=wanted.state == "ON",
            threshold_atoms=wanted.number("threshold_atoms"),
            amount_cents=wanted.number("amount_cents"),
            monthly_cap_cents=wanted.number("monthly_cap_cents"),
            month_cents=self._month_cents(await self._tally(user)),
        )

    def note_user(self, user: str) -> None:
        """The user's credits were just debited. When too many wait, the sweep has to do."""
        if user in self._wanted and len(self._noted) < self._max_noted:
            self._noted[user] = None

    async def look(self) -> int:
        """Look at the users that were noted. Returns how many top-ups were credited."""
        credited = 0
        for user in list(self._noted):
            del self._noted[user]
            credited += await self._look_at(user)
        return credited

    async def sweep(self) -> int:
        """Look at every user with top-ups. Returns how many top-ups were credited."""
        credited, seen, after = 0, set[str](), ""
        while page := await self._ledger.records(records.TOP_UP, "ON", after, SWEEP_PAGE):
            for wanted in page:
                seen.add(wanted.id)
                credited += await self._look_at(wanted.id)
            after = page[-1].id
        self._wanted = frozenset(seen)
        return credited

    # --- one user ---------------------------------------------------------------------------------------------------

    async def _look_at(self, user: str) -> int:
        """One top-up after another while the first were not enough. What fails is tried again at the next look."""
        credited = 0
        try:
            for _ in range(_MOST_IN_A_ROW):
                if not await self._top_up(user):
                    break
                credited += 1
        except Exception as error:  # one keeps none of the others waiting
            _log.warning("the top-up of %s is looked at again later: %s", user, words_of(error))
        return credited

    async def _top_up(self, user: str) -> bool:
        """Whether credits were booked: of the top-up under way, or of a new one."""
        wanted = await self._ledger.find_record(records.TOP_UP, user)
        if wanted is None or wanted.state != "ON":
            return False
        tally = await self._tally(user)
        if tally is None or tally.state == "RESTING":
            tally = await self._reserve(wanted, tally)
        elif not await self._is_still_wanted(wanted, tally) and not (await self._call_off(tally)).text("payment_id"):
            return False
        return tally is not None and await self._charge(wanted, tally)

    async def _is_due(self, wanted: Record) -> bool:
        balance = await self._ledger.balance(wanted.id)
        return balance.active and balance.available_atoms < wanted.number("threshold_atoms")

    async def _is_still_wanted(self, wanted: Record, tally: Record) -> bool:
        """A top-up that was reserved may be charged much later: what its user wants by then is what counts."""
        is_same = tally.number("amount_cents") == wanted.number("amount_cents")
        is_within = self._month_cents(tally) <= wanted.number("monthly_cap_cents")
        return is_same and is_within and await self._is_due(wanted)

    async def _call_off(self, tally: Record) -> Record:
        """The purchase of the top-up under way, cancelled unless its payment was made, or may still be made by a call
        that is on its way: then it waits, and is not charged anew."""
        bought = await self._purchases.call_off(_stored(tally), tally.id, tally.number("amount_cents"), _terms(tally))
        await self._close(tally, bought)
        return bought

    async def _reserve(self, wanted: Record, tally: Record | None) -> Record | None:
        """The tally with one more top-up under way; None if none is due, or may be."""
        user, amount_cents = wanted.id, wanted.number("amount_cents")
        if not await self._is_due(wanted):
            return None
        month_cents = self._month_cents(tally) + amount_cents
        if month_cents > wanted.number("monthly_cap_cents"):
            await self._tell_capped(wanted)
            return None
        card = await self._card_of(user)
        fields: dict[str, str | int] = {
            "month": self._month(),
            "month_cents": month_cents,
            "amount_cents": amount_cents,
            "number": tally.number("number") + 1 if tally else 1,
            "customer_id": card.text("customer_id"),
            "card_id": card.text("card_id"),
        }
        return await self._change(tally, Record(records.TOPPED_UP, user, "UNDER_WAY", fields))

    async def _charge(self, wanted: Record, tally: Record) -> bool:
        """Make the purchase, or find it made, and see what has become of it. Whether it is credited."""
        stored = _stored(tally)
        try:
            made = await self._purchases.order(stored, tally.id, tally.number("amount_cents"), _terms(tally))
        except PaymentRefused as error:
            await self._declined(wanted, stored, error.code)
        else:
            if made.purchase.state == "CREATED":
                await self._see(wanted, made.purchase)
        bought = await self._ledger.find_record(records.PURCHASE, stored)
        return bought is not None and await self._close(tally, bought)

    async def _see(self, wanted: Record, bought: Record) -> None:
        """A payment that waits, though nobody is there who could pay it, was declined."""
        payment = await self._gateway.payment(bought.text("payment_id"))
        if payment and payment.status is PaymentStatus.WAITING:
            await self._declined(wanted, bought.id, "unpaid")
        else:
            await self._purchases.refresh(bought.text("payment_id"))

    async def _close(self, tally: Record, bought: Record) -> bool:
        """Once it is over; what was not charged may be charged again this month."""
        if bought.state == "CREATED":
            return False
        is_credited = bought.state == "CREDITED"
        back_cents = 0 if is_credited else tally.number("amount_cents")
        month_cents = tally.number("month_cents") - back_cents
        await self._change(tally, Record(tally.kind, tally.id, "RESTING", {**tally.fields, "month_cents": month_cents}))
        return is_credited

    async def _declined(self, wanted: Record, stored: str, code: str) -> None:
        """Off first, so that nothing charges the card again; then the purchase is given up."""
        await self._set(wanted.id, "OFF", {})
        message = f"the card was declined ({code}): top-ups are switched off"
        await raise_alert(self._ledger, self._clock, f"top_up:{stored}", f"top-up of {wanted.id}", message)
        bought = await self._ledger.find_record(records.PURCHASE, stored)
        if bought is not None and bought.state == "CREATED":
            await self._purchases.cancel(bought)

    # --- records ----------------------------------------------------------------------------------------------------

    async def _tally(self, user: str) -> Record | None:
        return await self._ledger.find_record(records.TOPPED_UP, user)

    def _month(self) -> str:
        return utc_day(self._clock.now_ms())[:6]

    def _month_cents(self, tally: Record | None) -> int:
        return tally.number("month_cents") if tally and tally.text("month") == self._month() else 0

    async def _card_of(self, user: str) -> Record:
        card = await self._cards.find(user)
        if card is None or not card.text("card_id"):
            raise WrongState("no card is kept: buy once and keep it", kind=records.CUSTOMER, id=user, state="ABSENT")
        return card

    async def _set(self, user: str, state: str, fields: dict[str, str | int]) -> None:
        """Over whatever somebody else may set at the same time."""
        for _ in range(_ATTEMPTS):
            known = await self._ledger.find_record(records.TOP_UP, user)
            if known is None and state == "OFF":
                return
            kept = dict(known.fields) if known else {}
            if await self._change(known, Record(records.TOP_UP, user, state, kept | fields)):
                return
        raise LedgerUnavailable(f"top-ups of {user} keep changing: repeat it")

    async def _change(self, known: Record | None, new: Record) -> Record | None:
        """The record as it is now; None if somebody else was faster."""
        try:
            posted = await self._ledger.post(rules.noted(known, new, self._clock.now_ms()))
        except Overtaken:
            return None
        return await self._ledger.find_record(new.kind, new.id) if posted.applied else None

    async def _tell_capped(self, wanted: Record) -> None:
        cap = format_usd(wanted.number("monthly_cap_cents") * ATOMS_PER_CENT)
        await raise_alert(
            self._ledger,
            self._clock,
            f"top_up_cap:{wanted.id}:{self._month()}",
            f"top-up of {wanted.id}",
            f"credits are low, and another top-up would exceed the {cap} USD of this month",
        )


def _stored(tally: Record) -> str:
    """The name of the top-up's purchase: every reservation makes one."""
    return f"tu-{rules.digest('top_up', tally.id, tally.number('number'))}"


def _terms(tally: Record) -> Terms:
    return {"customer_id": tally.text("customer_id"), "card_id": tally.text("card_id")}


def _require_cents(field: str, cents: int, least: int, most: int) -> None:
    if type(cents) is not int or not least <= cents <= most:
        least_usd, most_usd = (format_usd(bound * ATOMS_PER_CENT) for bound in (least, most))
        raise InvalidField(field, f"must be whole cents from {least_usd} to {most_usd}")
