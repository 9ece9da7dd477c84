"""Figures of the ledger, read every so often by itself and told as they were then: a scrape asks the ledger nothing."""

from collections.abc import Iterable

from gollem.clock import DAY_MS, Clock, utc_day
from gollem.ledger import Check, Ledger, Record, accounts, records
from gollem.observability import Sample, metrics
from gollem.units import ATOMS_PER_CREDIT

_LISTED = 256  # records of a state that are looked at
_PAYOUTS = 16 * _LISTED  # of a state: they sort by id, so that the oldest may be any
_PLATFORM = (
    accounts.STRIPE, accounts.BANK, accounts.PROMO, accounts.STRIPE_FEES, accounts.DISPUTE_FEES, accounts.BAD_DEBT,
    accounts.GOODWILL, accounts.ADJUSTMENTS, accounts.UNMATCHED,
)  # fmt: skip
_PAYOUT_STATES = ("INITIATED", "TRANSFERRED", "FAILED")
_ALWAYS_MADE = (Check.TRIAL_BALANCE, Check.HOLDS)  # every exchange makes these checks, every minute
_COUNTED = (
    (metrics.ALERTS_OPEN, records.ALERT, "OPEN"),
    (metrics.LOW_BALANCES, records.ALERT_RULE, "FIRED"),
    (metrics.DISPUTES_OPEN, records.DISPUTE, "WITHDRAWN"),
)


class Books:
    """`look` reads; `samples` tells what it read last."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._began_ms = clock.now_ms()
        self._read_ms = clock.monotonic_ms()  # what was never read is as old as this server
        self._samples: tuple[Sample, ...] = ()

    async def look(self) -> None:
        """Raises LedgerUnavailable; what was read before stays, and grows old."""
        parts = (self._overdue, self._platform, self._payouts, self._events, self._checks, self._counted)
        self._samples = tuple([sample for part in parts for sample in await part()])
        self._read_ms = self._clock.monotonic_ms()

    def samples(self) -> Iterable[Sample]:
        yield from self._samples
        yield Sample(metrics.BOOKS_READ_AGE, (self._clock.monotonic_ms() - self._read_ms) / 1_000)

    async def ping(self) -> None:
        """Whether the ledger answers at all."""
        await self._ledger.account_atoms(accounts.ADJUSTMENTS)

    async def _overdue(self) -> list[Sample]:
        now_ms = self._clock.now_ms()
        overdue = await self._ledger.expired_holds(now_ms, _LISTED)
        oldest_ms = min((hold.expires_at_ms for hold in overdue), default=now_ms)
        return [
            Sample(metrics.HOLDS_OVERDUE, len(overdue)),
            Sample(metrics.HOLD_OVERDUE_AGE, (now_ms - oldest_ms) / 1_000),
        ]

    async def _platform(self) -> list[Sample]:
        atoms = {account: await self._ledger.account_atoms(account) for account in _PLATFORM}
        balances = [
            Sample(metrics.PLATFORM_BALANCE, of / ATOMS_PER_CREDIT, (account,)) for account, of in atoms.items()
        ]
        return [*balances, Sample(metrics.FLOAT, -atoms[accounts.STRIPE] / ATOMS_PER_CREDIT)]

    async def _payouts(self) -> list[Sample]:
        found, now_ms, oldest_ms = list[Sample](), self._clock.now_ms(), self._clock.now_ms()
        for state in _PAYOUT_STATES:
            payouts = await self._payouts_in(state)
            amount_atoms = sum(payout.number("amount_atoms") for payout in payouts)
            found.append(Sample(metrics.PAYOUTS, len(payouts), (state.lower(),)))
            found.append(Sample(metrics.PAYOUTS_CREDITS, amount_atoms / ATOMS_PER_CREDIT, (state.lower(),)))
            oldest_ms = min([oldest_ms, *(payout.number("at_ms") for payout in payouts)])
        breaker = await self._ledger.find_record(records.BREAKER, records.PAYOUTS)
        halted = breaker is not None and breaker.state == "HALTED"
        return [
            *found,
            Sample(metrics.PAYOUT_AGE, (now_ms - oldest_ms) / 1_000),
            Sample(metrics.PAYOUTS_HALTED, halted),
        ]

    async def _payouts_in(self, state: str) -> list[Record]:
        """A page at a time; those beyond _PAYOUTS are not looked at."""
        found = page = await self._ledger.records(records.PAYOUT, state, limit=_LISTED)
        while len(page) == _LISTED and len(found) < _PAYOUTS:
            page = await self._ledger.records(records.PAYOUT, state, page[-1].id, _LISTED)
            found = found + page
        return found

    async def _events(self) -> list[Sample]:
        """Events sort by age: the first is the oldest."""
        new = await self._ledger.records(records.EVENT, "NEW", limit=_LISTED)
        dead = await self._ledger.records(records.EVENT, "DEAD", limit=_LISTED)
        lag_ms = self._clock.now_ms() - new[0].number("created_ms") if new else 0
        return [
            Sample(metrics.EVENTS_WAITING, len(new), ("new",)),
            Sample(metrics.EVENTS_WAITING, len(dead), ("dead",)),
            Sample(metrics.WEBHOOK_LAG, max(lag_ms, 0) / 1_000),
        ]

    async def _checks(self) -> list[Sample]:
        """Of today, or of yesterday if today's has not come round. One that every exchange makes and that is in neither
        has not been made since this server began: its silence must not look as if all were well."""
        found, now_ms = list[Sample](), self._clock.now_ms()
        for check in Check:
            result = await self._result(check, now_ms) or await self._result(check, now_ms - DAY_MS)
            if result is not None:
                found.append(Sample(metrics.RECONCILED, result.state == "OK", (check.value,)))
            if result is not None or check in _ALWAYS_MADE:
                made_ms = result.number("at_ms") if result else self._began_ms
                found.append(Sample(metrics.RECONCILED_AGE, max(now_ms - made_ms, 0) / 1_000, (check.value,)))
        return found

    async def _result(self, check: Check, at_ms: int) -> Record | None:
        return await self._ledger.find_record(records.RECONCILIATION, f"{utc_day(at_ms)}:{check}")

    async def _counted(self) -> list[Sample]:
        return [
            Sample(metric, len(await self._ledger.records(kind, state, limit=_LISTED)))
            for metric, kind, state in _COUNTED
        ]
