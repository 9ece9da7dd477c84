"""What a user's orders have cost, by day and model: read from the ledger, newest orders first, a bounded number."""

from dataclasses import dataclass

from gollem.clock import DAY_MS, Clock, day_begins_ms, utc_day
from gollem.exchange.types import Terms
from gollem.ledger import HoldState, Kind, Ledger, StatementFilter, StatementLine

MAX_ORDERS = 2_000
_PAGE = 500
_LINES = frozenset({Kind.HOLD, Kind.SETTLE})


@dataclass(slots=True)
class DaySpend:
    """Of one model on one day (yyyymmdd), by when the orders were matched."""

    day: str
    model: str
    orders: int = 0
    charged_atoms: int = 0


class SpendReport:
    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def read(self, user: str, days: int) -> tuple[list[DaySpend], bool]:
        """Settled orders of the last `days` days, the newest day first; and whether older ones had to be left out."""
        from_ms = day_begins_ms(utc_day(self._clock.now_ms())) - (days - 1) * DAY_MS
        lines, truncated = await self._lines(user, StatementFilter(_LINES, from_ms))
        returned = {line.order_id: line.amount_atoms for line in lines if line.kind is not Kind.HOLD}
        spends: dict[tuple[str, str], DaySpend] = {}
        for line in lines:
            if line.kind is Kind.HOLD:
                await self._add(spends, line, returned.get(line.order_id, 0))
        return sorted(spends.values(), key=lambda one: (-int(one.day), one.model)), truncated

    async def _lines(self, user: str, only: StatementFilter) -> tuple[list[StatementLine], bool]:
        """An order has two of them at most."""
        lines: list[StatementLine] = []
        cursor = ""
        while len(lines) < 2 * MAX_ORDERS:
            page = await self._ledger.user_statement(user, cursor, _PAGE, only)
            lines += page
            if len(page) < _PAGE:
                return lines, False
            cursor = page[-1].cursor
        return lines, True

    async def _add(self, spends: dict[tuple[str, str], DaySpend], held: StatementLine, returned_atoms: int) -> None:
        hold = await self._ledger.find_hold(held.order_id)
        if hold is None or hold.state is not HoldState.SETTLED:
            return
        key = utc_day(held.at_ms), Terms.from_text(hold.terms).model
        spend = spends.setdefault(key, DaySpend(*key))
        spend.orders += 1
        spend.charged_atoms += hold.amount_atoms - returned_atoms
