"""The trail of a payout, from match to bank: the orders it was earned with, the days they matured, every step since.

What is payable is one sum, so that a payout covers what matured between the payout before it and itself. The rest of
its amount was left by the payout before, or taken since: dust, debt repaid, clawbacks, cancelled payouts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gollem.clock import DAY_MS, utc_day
from gollem.errors import UnknownPayout
from gollem.ledger import Entry, Kind, Ledger, Record, StatementFilter, StatementLine, accounts, records, rules
from gollem.payments.matured import entries, matured_entries
from gollem.payments.months import begins_at_ms

MAX_DAYS = 400  # that are looked at before a first payout
LATE_DAYS = 62  # how much later than due a day is looked for that matured late
MAX_COUNTED = 100_000  # orders that one trail counts
MAX_PAGE = 500
_ORDERS = frozenset({Kind.SETTLE})


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the journal about the payout. `stripe_id` is the payment provider's object behind it, if any."""

    what: Kind
    at_ms: int
    key: str
    stripe_id: str


@dataclass(frozen=True, slots=True)
class EarnedDay:
    """A day (yyyymmdd) whose earnings the payout covers. `orders` is None where they were too many to count."""

    day: str
    earned_atoms: int
    payable_atoms: int  # less the debt they repaid
    matured_ms: int
    orders: int | None


@dataclass(frozen=True, slots=True)
class Trail:
    """`days` are the newest first; their `payable_atoms` and `other_atoms` sum to the amount."""

    payout: Record
    steps: Sequence[Step]
    days: Sequence[EarnedDay]
    other_atoms: int


class PayoutTrail:
    """Reads the ledger only. `delay_days` is after how many days earnings mature."""

    def __init__(self, ledger: Ledger, delay_days: int) -> None:
        self._ledger = ledger
        self._delay_days = delay_days

    async def trail(self, payout_id: str) -> Trail:
        """Raises UnknownPayout."""
        payout = await self._ledger.find_record(records.PAYOUT, payout_id) if accounts.is_name(payout_id) else None
        if payout is None:
            raise UnknownPayout(f"there is no payout {payout_id}", payout_id=payout_id)
        days = await self._counted(payout, await self._days(payout))
        other_atoms = payout.number("amount_atoms") - sum(day.payable_atoms for day in days)
        return Trail(payout, await self._steps(payout), days, other_atoms)

    async def orders(self, provider: str, day: str, cursor: str = "", limit: int = 50) -> list[StatementLine]:
        """What the provider earned on a UTC day (yyyymmdd), order by order, newest first, at most 500 a page. Raises
        InvalidField."""
        start_ms = begins_at_ms(day, "day")
        of_day = StatementFilter(_ORDERS | {Kind.PARTIAL_SETTLE}, start_ms, start_ms + DAY_MS)
        return await self._ledger.provider_statement(provider, cursor, min(max(limit, 1), MAX_PAGE), of_day)

    async def _steps(self, payout: Record) -> list[Step]:
        """Every entry, in the journal's order; of the last sixteen attempts at the bank."""
        transfer_id, reversal_id = payout.text("transfer_id"), payout.text("reversal_id")
        keys = {f"po_init:{payout.id}": "", f"po_cancel:{payout.id}": "", f"po_tr:{transfer_id}": transfer_id}
        keys[f"trr:{reversal_id}"] = reversal_id
        last = payout.number("attempt")
        for attempt in range(max(0, last - rules.KEPT_ATTEMPTS + 1), last + 1):
            bank = payout.text(rules.bank_field(attempt))
            keys |= {f"po_paid:{bank}:{attempt}": bank, f"po_fail:{bank}:{attempt}": bank}
        found = [entry for entry in await entries(self._ledger, list(keys)) if entry]
        found.sort(key=lambda entry: entry.sequence)
        return [Step(entry.kind, entry.at_ms, entry.key, keys[entry.key]) for entry in found]

    async def _days(self, payout: Record) -> list[EarnedDay]:
        """The days that matured between the payout before and this one; not counted yet."""
        this = await self._ledger.find_entry(f"po_init:{payout.id}")
        before = await self._ledger.find_entry(f"po_init:{payout.text('before')}") if payout.text("before") else None
        assert this is not None, "a payout has the entry that made it"
        newest_ms = this.at_ms - self._delay_days * DAY_MS
        number = MAX_DAYS
        if before is not None:
            number = min((this.at_ms - before.at_ms) // DAY_MS + LATE_DAYS, MAX_DAYS)
        names = [utc_day(newest_ms - back * DAY_MS) for back in range(-1, number)]
        matured = await matured_entries(self._ledger, payout.text("provider"), names)
        after = before.sequence if before else -1
        return [
            _earned(payout.text("provider"), day, entry)
            for day, entry in matured
            if after < entry.sequence < this.sequence
        ]

    async def _counted(self, payout: Record, days: list[EarnedDay]) -> list[EarnedDay]:
        """With the number of their orders: one walk through the statement, from the newest day to the oldest."""
        if not days:
            return days
        counts = dict.fromkeys((day.day for day in days), 0)
        oldest, newest = min(counts), max(counts)
        within = StatementFilter(_ORDERS, to_ms=begins_at_ms(newest, "day") + DAY_MS)
        cursor, read, reached = "", 0, newest
        while read < MAX_COUNTED and reached >= oldest:
            page = await self._ledger.provider_statement(payout.text("provider"), cursor, MAX_PAGE, within)
            for line in page:
                reached = utc_day(line.at_ms)
                if reached in counts:
                    counts[reached] += 1
            if len(page) < MAX_PAGE:
                reached = ""
                break
            read, cursor = read + len(page), page[-1].cursor
        return [_with_orders(day, counts[day.day] if day.day > reached else None) for day in days]


def _earned(provider: str, day: str, entry: Entry) -> EarnedDay:
    account = accounts.payable_account(provider)
    payable_atoms = sum(leg.amount_atoms for leg in entry.legs if leg.account == account)
    earned_atoms = -sum(leg.amount_atoms for leg in entry.legs if leg.amount_atoms < 0)
    return EarnedDay(day, earned_atoms, payable_atoms, entry.at_ms, None)


def _with_orders(day: EarnedDay, orders: int | None) -> EarnedDay:
    return EarnedDay(day.day, day.earned_atoms, day.payable_atoms, day.matured_ms, orders)
