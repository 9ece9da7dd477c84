"""A provider's earnings of a month, which add up: opening + what was earned + what moved = closing.

What is owned is what was earned and not paid out, less debt. The closing balance is today's, less all that came after;
there is no other store of balances that could say something else than the journal.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from gollem.clock import DAY_MS, Clock, utc_day
from gollem.errors import InvalidField, InvariantBroken, LedgerUnavailable
from gollem.ledger import Kind, Ledger, StatementLine
from gollem.payments.matured import entries, matured_entries
from gollem.payments.months import month_range_ms

MAX_LINES = 1_000_000  # that are read for one statement
MAX_FEES = 2_000  # orders whose fees are looked up
MATURES_WITHIN_DAYS = 120  # how long before the month a day may lie that matured in it
_EARNED = frozenset({Kind.SETTLE, Kind.PARTIAL_SETTLE})
_LOOKS = 32
_PAGE = 500


@dataclass(slots=True)
class DayEarned:
    """One UTC day (yyyymmdd). `net_atoms` is the provider's share of `gross_atoms`; gross and fee are None in a month
    with too many orders to look each up. `matured_atoms` became payable on that day, of earlier days' earnings."""

    day: str
    orders: int = 0
    net_atoms: int = 0
    matured_atoms: int = 0
    fee_atoms: int | None = None

    @property
    def gross_atoms(self) -> int | None:
        return None if self.fee_atoms is None else self.net_atoms + self.fee_atoms


@dataclass(frozen=True, slots=True)
class Moved:
    """What else moved: a payout, one that came back, a clawback, an adjustment. `reference` is its own id."""

    at_ms: int
    kind: Kind
    reference: str
    atoms: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A month (yyyymm) of a provider, oldest first; of the days, those on which anything happened."""

    provider: str
    month: str
    opening_atoms: int
    closing_atoms: int
    days: Sequence[DayEarned] = ()
    moved: Sequence[Moved] = ()


@dataclass(slots=True)
class _Sums:
    """What a walk through the lines of a month has found."""

    days: dict[str, DayEarned] = field(default_factory=dict)
    moved: list[Moved] = field(default_factory=list)
    settled: list[StatementLine] = field(default_factory=list)
    month_atoms: int = 0
    after_atoms: int = 0

    def day(self, day: str) -> DayEarned:
        return self.days.setdefault(day, DayEarned(day))

    def add(self, line: StatementLine) -> None:
        self.month_atoms += line.amount_atoms
        if line.kind not in _EARNED:
            self.moved.append(Moved(line.at_ms, line.kind, line.key.partition(":")[2], line.amount_atoms))
            return
        day = self.day(utc_day(line.at_ms))
        day.orders += line.kind is Kind.SETTLE
        day.net_atoms += line.amount_atoms
        if len(self.settled) <= MAX_FEES:
            self.settled.append(line)


class Statements:
    """Reads the ledger only."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def read(self, provider: str, month: str) -> Statement:
        """The month (yyyymm, UTC), which may be the current one. Raises InvalidField for one that has not begun, or has
        too many orders; LedgerUnavailable if the balance moves too fast to be read."""
        start_ms, end_ms = month_range_ms(month, "month")
        if start_ms > self._clock.now_ms():
            raise InvalidField("month", "must have begun")
        newest, balance_atoms = await self._anchor(provider)
        sums = _Sums()
        async for line in self._lines(provider, newest):
            if line.at_ms < start_ms:
                break
            if line.at_ms < end_ms:
                sums.add(line)
            else:
                sums.after_atoms += line.amount_atoms
        await self._add_fees(sums)
        await self._add_matured(provider, start_ms, end_ms, sums)
        closing_atoms = balance_atoms - sums.after_atoms
        days = [sums.days[day] for day in sorted(sums.days)]
        return Statement(
            provider, month, closing_atoms - sums.month_atoms, closing_atoms, days, list(reversed(sums.moved))
        )

    async def _anchor(self, provider: str) -> tuple[str, int]:
        """The newest line (empty if there is none) and the balance it left: nothing came while they were read."""
        for _ in range(_LOOKS):
            newest = await self._newest(provider)
            first, second = await self._owned(provider), await self._owned(provider)
            if first == second and newest == await self._newest(provider):
                return newest, first
        raise LedgerUnavailable(f"the balance of {provider} keeps changing: repeat the same call")

    async def _newest(self, provider: str) -> str:
        lines = await self._ledger.provider_statement(provider, limit=1)
        return lines[0].cursor if lines else ""

    async def _owned(self, provider: str) -> int:
        balance = await self._ledger.provider_balance(provider)
        return balance.earned_atoms - balance.debt_atoms

    async def _lines(self, provider: str, newest: str) -> AsyncIterator[StatementLine]:
        """From the newest line on, back in time."""
        cursor, is_there, read = "", False, 0
        while newest and (page := await self._ledger.provider_statement(provider, cursor, _PAGE)):
            for line in page:
                is_there = is_there or line.cursor == newest  # what came after the balance was read
                if is_there:
                    yield line
            read, cursor = read + len(page), page[-1].cursor
            if read >= MAX_LINES:
                raise InvalidField("month", f"lies behind more than {MAX_LINES} movements: export the journal instead")

    async def _add_fees(self, sums: _Sums) -> None:
        if len(sums.settled) > MAX_FEES:
            return
        for day in sums.days.values():
            day.fee_atoms = 0
        found = await entries(self._ledger, [line.key for line in sums.settled])
        for line, entry in zip(sums.settled, found, strict=True):
            if entry is None:
                raise InvariantBroken(f"{line.key} has a line and no entry")
            fee_atoms = sum(leg.amount_atoms for leg in entry.legs if leg.account.startswith("R:fee"))
            day = sums.day(utc_day(line.at_ms))
            day.fee_atoms = (day.fee_atoms or 0) + fee_atoms

    async def _add_matured(self, provider: str, start_ms: int, end_ms: int, sums: _Sums) -> None:
        """Maturing moves nothing that is the provider's, so that no line tells of it."""
        starts_ms = range(start_ms - MATURES_WITHIN_DAYS * DAY_MS, end_ms, DAY_MS)
        for _, entry in await matured_entries(self._ledger, provider, [utc_day(at_ms) for at_ms in starts_ms]):
            if start_ms <= entry.at_ms < end_ms:
                matured_atoms = -sum(leg.amount_atoms for leg in entry.legs if leg.amount_atoms < 0)
                sums.day(utc_day(entry.at_ms)).matured_atoms += matured_atoms
