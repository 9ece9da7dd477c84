"""Which payouts are due: at a threshold, once a calendar month, on request. Whatever coincides, one is made.

The id of a payout is made of its provider and of what triggered it, so that the same trigger makes the same payout on
every server, however often, and no provider can take another's. Different triggers meet in the ledger: a provider has
one payout under way at most, and what one has set aside another does not find.

The month's payout is of what was payable on the first day (UTC) of the month; what comes later waits for the next, a
month at most. Nobody waits longer unseen: an alert a provider and month tells of earnings that nothing pays out.
"""

import logging

from gollem.clock import DAY_MS, Clock
from gollem.config import PaymentsConfig
from gollem.errors import GollemError
from gollem.ledger import Desk, Ledger, Record, accounts, records, rules
from gollem.payments.alerts import raise_alert
from gollem.payments.halts import are_payouts_halted
from gollem.payments.months import month_of, month_range_ms
from gollem.payments.rounds import Round
from gollem.units import ATOMS_PER_CENT, format_usd

_log = logging.getLogger(__name__)
WAITS_AT_MOST_MS = 31 * DAY_MS
PAGE = 256  # providers of a state that one look considers


def payout_id_of(provider: str, trigger: str, what: str | int) -> str:
    """Of fixed form, one a provider and trigger: ("auto", number of the payout), ("month", yyyymm), ("request", the id
    that the provider chose)."""
    return f"po-{rules.digest('payout', provider, trigger, what)[:24]}"


class PayoutDue:
    """Considers all providers, a bounded number a look."""

    def __init__(self, ledger: Ledger, desk: Desk, clock: Clock, config: PaymentsConfig) -> None:
        self._ledger = ledger
        self._desk = desk
        self._clock = clock
        self._threshold_atoms = config.payout_cents * ATOMS_PER_CENT
        self._least_atoms = config.least_payout_cents * ATOMS_PER_CENT
        self._payees = [Round(ledger, clock, records.PROVIDER, state, PAGE) for state in ("ENABLED", "DISABLED")]

    async def look(self) -> int:
        """Initiate what is due. Returns how many payouts were."""
        is_halted = await are_payouts_halted(self._ledger)
        initiated = 0
        for payee in [payee for one in self._payees for payee in await one.page()]:
            try:
                initiated += await self._consider(payee, is_halted)
            except GollemError as error:
                _log.warning("payouts of %s wait for the next look: %s: %s", payee.id, type(error).__name__, error)
        return initiated

    async def _consider(self, payee: Record, is_halted: bool) -> bool:
        payable_atoms = await self._ledger.account_atoms(accounts.payable_account(payee.id))
        if payable_atoms < max(self._least_atoms, ATOMS_PER_CENT):
            return False
        since_ms = await self._payable_since_ms(payee)
        is_free = payee.state == "ENABLED" and not is_halted and not payee.text("open_payout")
        if is_free and await self._initiate(payee, payable_atoms, since_ms):
            return True
        if self._clock.now_ms() - since_ms > WAITS_AT_MOST_MS:
            await self._alert(payee, payable_atoms)
        return False

    async def _initiate(self, payee: Record, payable_atoms: int, since_ms: int) -> bool:
        """Whether a payout was due, and this call made it."""
        if payable_atoms >= self._threshold_atoms:
            return await self._pay_out(("auto", payee.number("payouts")), payee, self._threshold_atoms)
        if since_ms < self._second_day_ms():
            return await self._pay_out(("month", month_of(self._clock.now_ms())), payee, self._least_atoms)
        return False

    async def _pay_out(self, trigger: tuple[str, str | int], payee: Record, least_atoms: int) -> bool:
        posted = await self._desk.pay_out(payout_id_of(payee.id, *trigger), payee.id, least_atoms)
        return posted is not None and posted.applied

    async def _payable_since_ms(self, payee: Record) -> int:
        """Since when it has had as much as this that could be paid out, or since its last payout."""
        known = await self._ledger.find_record(records.PAYABLE, payee.id)
        if known is not None and known.number("payouts") == payee.number("payouts"):
            return known.number("since_ms")
        now_ms = self._clock.now_ms()
        new = Record(records.PAYABLE, payee.id, "WAITING", {"since_ms": now_ms, "payouts": payee.number("payouts")})
        await self._ledger.post(rules.noted(known, new, now_ms))
        return now_ms

    def _second_day_ms(self) -> int:
        """When the second day of this month begins, or began."""
        return month_range_ms(month_of(self._clock.now_ms()), "month")[0] + DAY_MS

    async def _alert(self, payee: Record, payable_atoms: int) -> None:
        blocked_by = payee.text("blocked_by") if payee.state == "DISABLED" else ""
        why = (
            f"cannot be paid: {blocked_by}" if blocked_by else "nothing paid it out: are payouts halted, is it in debt?"
        )
        message = f"{format_usd(payable_atoms)} USD have been payable for more than 30 days; {why}"
        month = month_of(self._clock.now_ms())
        await raise_alert(self._ledger, self._clock, f"unpaid:{payee.id}:{month}", f"provider {payee.id}", message)
