"""What a bookkeeper reads: every movement of a day at the payment provider, beside what our books have for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gollem.clock import DAY_MS, Clock, day_begins_ms
from gollem.errors import InvalidField
from gollem.payments.gateway import PaymentGateway
from gollem.payments.in_books import InBooks, described
from gollem.payments.movements import Movements
from gollem.payments.types import CURRENCY, Movement
from gollem.units import format_usd

MAX_PAGES = 256


@dataclass(frozen=True, slots=True)
class DayRow:
    """All movements of a kind: `cents` in (positive) or out, the fees taken from them, and what the books say came."""

    kind: str
    count: int
    cents: int
    fee_cents: int
    booked_atoms: int


@dataclass(frozen=True, slots=True)
class DayReport:
    """A UTC day (yyyymmdd) in USD. The balances at its two midnights are None where there are too many movements since
    to reckon back from the balance now; then also the rows end early, and a finding says so."""

    day: str
    opening_cents: int | None
    closing_cents: int | None
    rows: Sequence[DayRow]
    findings: Sequence[str]

    @property
    def ok(self) -> bool:
        return not self.findings


async def report_day(gateway: PaymentGateway, movements: Movements, clock: Clock, day: str) -> DayReport:
    """Reads only. Raises InvalidField for what is no day, or one that has not begun."""
    from_ms = _begin_ms(day, clock.now_ms())
    funds = await gateway.funds()
    moved, is_whole = await _since(gateway, from_ms)
    in_usd = [movement for movement in moved if movement.currency == CURRENCY]
    of_day = [movement for movement in in_usd if movement.created_ms < from_ms + DAY_MS]
    seen = [await movements.read(movement) for movement in reversed(of_day)]
    findings = [f"{described(movement)}: not in USD, not in the books" for movement in moved if movement not in in_usd]
    findings += [line for one in seen for line in _findings(one)]
    if not is_whole:
        return DayReport(
            day, None, None, _rows(seen), [*findings, "the day is not complete: there are too many movements"]
        )
    closing_cents = funds.cents - sum(movement.net_cents for movement in in_usd if movement not in of_day)
    opening_cents = closing_cents - sum(movement.net_cents for movement in of_day)
    return DayReport(day, opening_cents, closing_cents, _rows(seen), findings)


def _begin_ms(day: str, now_ms: int) -> int:
    try:
        begins_ms = day_begins_ms(day)
    except ValueError:
        raise InvalidField("day", "must be a day as yyyymmdd") from None
    if begins_ms > now_ms:
        raise InvalidField("day", "must have begun")
    return begins_ms


async def _since(gateway: PaymentGateway, from_ms: int) -> tuple[list[Movement], bool]:
    """Newest first, and whether that is all."""
    moved, page_name = list[Movement](), ""
    for _ in range(MAX_PAGES):
        page = await gateway.movements_since(from_ms, page_name)
        moved += page.items
        page_name = page.next
        if not page_name:
            return moved, True
    return moved, False


def _rows(seen: Sequence[InBooks]) -> list[DayRow]:
    kinds = sorted({str(one.movement.kind) for one in seen})
    return [_row(kind, [one for one in seen if one.movement.kind == kind]) for kind in kinds]


def _row(kind: str, seen: Sequence[InBooks]) -> DayRow:
    return DayRow(
        kind,
        len(seen),
        sum(one.movement.cents for one in seen),
        sum(one.movement.fee_cents for one in seen),
        sum(one.booked_atoms for one in seen),
    )


def _findings(seen: InBooks) -> list[str]:
    if seen.difference_atoms:
        due, booked = format_usd(seen.due_atoms), format_usd(seen.booked_atoms)
        return [f"{described(seen.movement)}: {due} USD moved, {booked} USD are booked"]
    if seen.is_unmatched and not seen.own:
        resolved = next((entry.detail for entry in seen.more if entry.key.startswith("resolved:")), "")
        return [f"{described(seen.movement)}: unmatched" + (f", resolved by {resolved}" if resolved else "")]
    return []
