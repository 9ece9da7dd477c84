"""Limits of what a user spends: one record a user has them, and what counts against them today and this month (UTC).

A hold that is counted changes that record in its own transaction, guarded by what was read of it. So of any number of
holds at once, on however many servers, those that a limit allows are written and no more. What an order did not use is
taken out of the count afterwards; until then it counts, so that a limit errs on the side of spending less.
"""

from msgspec.structs import replace

from gollem.clock import DAY_MS, day_begins_ms, utc_day
from gollem.errors import InvariantBroken, SpendLimitReached
from gollem.ledger import records
from gollem.ledger.rules.notes import noted
from gollem.ledger.rules.parts import digest, require_kind
from gollem.ledger.types import Hold, Kind, Record, RecordIs, Transaction, UpdateRecord
from gollem.units import format_fixed

_Fields = dict[str, str | int]
_PERIODS = ("day", "month")


def spend_limited(
    user: str, known: Record | None, day_limit_atoms: int, month_limit_atoms: int, today: str, now_ms: int
) -> Transaction:
    """Set both limits, 0 for none. `known` as just read. What counts already goes on counting; what is held while there
    is no limit never does."""
    is_on = bool(day_limit_atoms or month_limit_atoms)
    fields = spent(known, today)
    fields |= {"day_limit_atoms": day_limit_atoms, "month_limit_atoms": month_limit_atoms}
    return noted(known, Record(records.SPEND_LIMIT, user, "ON" if is_on else "OFF", fields), now_ms)


def counted(opening: Transaction, limit: Record, amount_atoms: int, today: str) -> Transaction:
    """The transaction that opens a hold, and its amount counted. Raises SpendLimitReached."""
    require_kind(limit, records.SPEND_LIMIT)
    fields = spent(limit, today)
    for period in _PERIODS:
        fields[f"{period}_atoms"] = _with(fields, period, amount_atoms)
        _require_within(limit, period, int(fields[f"{period}_atoms"]), amount_atoms)
    guard, effect = _change(limit, fields)
    return replace(opening, guards=(*opening.guards, guard), effects=(*opening.effects, effect))


def uncounted(limit: Record, hold: Hold, unused_atoms: int, counted_on: str, now_ms: int) -> Transaction:
    """Take out what an order did not use, of the day and the month that it was counted in if those go on. Key
    `uncount:{order_id}`."""
    require_kind(limit, records.SPEND_LIMIT)
    if not 0 < unused_atoms <= hold.amount_atoms:
        raise InvariantBroken(f"order {hold.order_id} cannot leave {unused_atoms} of {hold.amount_atoms} atoms")
    fields = dict(limit.fields)
    for period, name in (("day", counted_on), ("month", counted_on[:6])):
        if fields.get(period) == name:
            fields[f"{period}_atoms"] = max(_with(fields, period, -unused_atoms), 0)
    guard, effect = _change(limit, fields)
    return Transaction(
        key=f"uncount:{hold.order_id}",
        kind=Kind.NOTE,
        legs=(),
        fingerprint=digest("uncount", hold.user, unused_atoms),
        at_ms=now_ms,
        guards=(guard,),
        effects=(effect,),
        order_id=hold.order_id,
    )


def spent(limit: Record | None, today: str) -> _Fields:
    """What counts today and this month: `day`, `day_atoms`, `month`, `month_atoms`. A new day begins at 0.

    It begins once: a server whose clock is behind counts in the day that another has begun."""
    begun = limit.text("day") if limit else ""
    if begun == _next(today):
        today = begun
    fields: _Fields = {}
    for period, name in (("day", today), ("month", today[:6])):
        goes_on = limit is not None and limit.text(period) == name
        fields |= {period: name, f"{period}_atoms": limit.number(f"{period}_atoms") if limit and goes_on else 0}
    return fields


def _next(day: str) -> str:
    return utc_day(day_begins_ms(day) + DAY_MS)


def _with(fields: _Fields, period: str, atoms: int) -> int:
    return int(fields[f"{period}_atoms"]) + atoms


def _require_within(limit: Record, period: str, total_atoms: int, amount_atoms: int) -> None:
    limit_atoms = limit.number(f"{period}_limit_atoms")
    if limit_atoms and total_atoms > limit_atoms:
        needed, left = format_fixed(amount_atoms), format_fixed(limit_atoms - total_atoms + amount_atoms)
        raise SpendLimitReached(
            f"{needed} credits are needed, and the account's limit of this {period} leaves {left}",
            period=period,
            limit=format_fixed(limit_atoms),
            needed=needed,
            left=left,
        )


def _change(limit: Record, fields: _Fields) -> tuple[RecordIs, UpdateRecord]:
    version = limit.number("version")
    guard = RecordIs(limit.kind, limit.id, (limit.state,), {"version": version})
    return guard, UpdateRecord(limit.kind, limit.id, limit.state, fields | {"version": version + 1})
