"""What can be asked of the SQLite ledger: plain synchronous functions over a cursor, each served by an index."""

import json
import sqlite3
from itertools import groupby, islice

from gollem.ledger.accounts import (
    EARNINGS_SHARDS,
    earnings_of,
    earnings_range,
    payable_account,
    provider_debt,
    user_account,
)
from gollem.ledger.checks import MAX_LEGS
from gollem.ledger.cursors import cursor_of, parse_cursor
from gollem.ledger.records import require_listed
from gollem.ledger.types import (
    Balance,
    Earnings,
    Entry,
    Hold,
    HoldState,
    Kind,
    Leg,
    ProviderBalance,
    Record,
    StatementFilter,
    StatementLine,
)

_HOLD = """
SELECT order_id, user, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence, state, settled_atoms, sequence
FROM hold
"""
_ENTRY = "SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail FROM entry WHERE key = ?"
_JOURNAL = """
SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail FROM entry
WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?
"""
_LEGS_BETWEEN = "SELECT number, account, amount_atoms FROM leg WHERE number >= ? AND number < ? ORDER BY number"
_STATEMENT = """
SELECT leg.number, entry.key, entry.kind, leg.amount_atoms, entry.order_id, entry.at_ms
FROM leg JOIN entry ON entry.sequence = leg.number / 64
WHERE leg.statement = ? AND leg.number < ? {} ORDER BY leg.number DESC LIMIT ?
"""
# Left alone, the planner would walk all earnings, or all records of a kind, by their primary key.
_DUE = """
SELECT account, balance_atoms FROM account INDEXED BY earnings_by_day
WHERE account GLOB 'PM:*' AND balance_atoms <> 0 AND substr(account, -10, 8) <= ?
ORDER BY substr(account, -10, 8), account LIMIT ?
"""

_LISTED = """
SELECT id, fields FROM record INDEXED BY record_by_state
WHERE is_listed = 1 AND kind = ? AND state = ? AND id > ? ORDER BY id LIMIT ?
"""

STATES = {state.value: state for state in HoldState}
KINDS = {kind.value: kind for kind in Kind}


def balance(cursor: sqlite3.Cursor, user: str) -> Balance:
    rows = cursor.execute(
        "SELECT balance_atoms, held_atoms, active FROM account WHERE account = ?", (user_account(user),)
    ).fetchall()
    if not rows:
        return Balance(0, 0, True)
    available, held, active = rows[0]
    return Balance(available, held, bool(active))


def account_atoms(cursor: sqlite3.Cursor, account: str) -> int:
    rows = cursor.execute("SELECT balance_atoms FROM account WHERE account = ?", (account,)).fetchall()
    return int(rows[0][0]) if rows else 0


def provider_balance(cursor: sqlite3.Cursor, provider: str) -> ProviderBalance:
    rows = cursor.execute(
        "SELECT balance_atoms FROM account WHERE account >= ? AND account < ?", earnings_range(provider)
    )
    return ProviderBalance(
        sum(balance_atoms for (balance_atoms,) in rows),
        account_atoms(cursor, payable_account(provider)),
        -account_atoms(cursor, provider_debt(provider)),
    )


def due_earnings(cursor: sqlite3.Cursor, until_day: str, limit: int) -> list[Earnings]:
    rows = cursor.execute(_DUE, (until_day, limit * EARNINGS_SHARDS)).fetchall()
    buckets = groupby(rows, key=lambda row: earnings_of(row[0]))
    return [Earnings(provider, day, dict(shards)) for (provider, day), shards in islice(buckets, limit)]


def find_hold(cursor: sqlite3.Cursor, order_id: str) -> Hold | None:
    rows = cursor.execute(f"{_HOLD} WHERE order_id = ?", (order_id,)).fetchall()
    return _hold(rows[0]) if rows else None


def find_entry(cursor: sqlite3.Cursor, key: str) -> Entry | None:
    rows = cursor.execute(_ENTRY, (key,)).fetchall()
    if not rows:
        return None
    sequence, key, kind, fingerprint, at_ms, order_id, detail = rows[0]
    legs = cursor.execute(
        "SELECT account, amount_atoms FROM leg WHERE number >= ? AND number < ? ORDER BY number",
        (sequence * MAX_LEGS, (sequence + 1) * MAX_LEGS),
    ).fetchall()
    return Entry(sequence, key, KINDS[kind], _legs(legs), fingerprint, at_ms, order_id, detail)


def open_holds(cursor: sqlite3.Cursor, after: str, limit: int) -> list[Hold]:
    where = "WHERE state = 'OPEN' AND order_id > ? ORDER BY order_id LIMIT ?"
    return [_hold(row) for row in cursor.execute(f"{_HOLD} {where}", (after, limit)).fetchall()]


def expired_holds(cursor: sqlite3.Cursor, now_ms: int, limit: int) -> list[Hold]:
    where = "WHERE state = 'OPEN' AND expires_at_ms <= ? ORDER BY expires_at_ms, order_id LIMIT ?"
    return [_hold(row) for row in cursor.execute(f"{_HOLD} {where}", (now_ms, limit)).fetchall()]


def last_sequence(cursor: sqlite3.Cursor) -> int:
    (sequence,) = cursor.execute("SELECT coalesce(max(sequence), 0) FROM entry").fetchone()
    return int(sequence)


def journal(cursor: sqlite3.Cursor, after: int, until: int, limit: int) -> list[Entry]:
    rows = cursor.execute(_JOURNAL, (after, until, limit)).fetchall()
    numbers = (rows[0][0] * MAX_LEGS, (rows[-1][0] + 1) * MAX_LEGS) if rows else (0, 0)
    legs: dict[int, list[tuple[str, int]]] = {}
    for number, account, atoms in cursor.execute(_LEGS_BETWEEN, numbers):
        legs.setdefault(number // MAX_LEGS, []).append((account, atoms))
    return [
        # A kind that is not known is damage, for the seals to find.
        Entry(sequence, key, KINDS.get(kind, kind), _legs(legs.get(sequence, [])), *rest)
        for sequence, key, kind, *rest in rows
    ]


def find_record(cursor: sqlite3.Cursor, kind: str, record_id: str) -> Record | None:
    rows = cursor.execute("SELECT state, fields FROM record WHERE kind = ? AND id = ?", (kind, record_id)).fetchall()
    return Record(kind, record_id, rows[0][0], json.loads(rows[0][1])) if rows else None


def records(cursor: sqlite3.Cursor, kind: str, state: str, after: str, limit: int) -> list[Record]:
    require_listed(kind, state)
    rows = cursor.execute(_LISTED, (kind, state, after, limit))
    return [Record(kind, record_id, state, json.loads(fields)) for record_id, fields in rows.fetchall()]


def statement(cursor: sqlite3.Cursor, owner: str, page: str, limit: int, only: StatementFilter) -> list[StatementLine]:
    condition, values = _conditions(only)
    rows = cursor.execute(_STATEMENT.format(condition), (owner, parse_cursor(page), *values, limit)).fetchall()
    return [
        StatementLine(cursor_of(number), key, KINDS[kind], amount_atoms, order_id, at_ms)
        for number, key, kind, amount_atoms, order_id, at_ms in rows
    ]


def _conditions(only: StatementFilter) -> tuple[str, list[str | int]]:
    """The filter as SQL, and its values."""
    condition, values = "", list[str | int]()
    if only.kinds:
        condition += f" AND entry.kind IN ({', '.join('?' * len(only.kinds))})"
        values += [kind.value for kind in only.kinds]
    if only.from_ms:
        condition += " AND entry.at_ms >= ?"
        values.append(only.from_ms)
    if only.to_ms is not None:
        condition += " AND entry.at_ms < ?"
        values.append(only.to_ms)
    return condition, values


def _legs(rows: list[tuple[str, int]]) -> tuple[Leg, ...]:
    return tuple(Leg(account, amount_atoms) for account, amount_atoms in rows)


def _hold(row: tuple[str, str, str, int, int, int, str, int, str, int, int]) -> Hold:
    order_id, user, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence, state, settled, sequence = row
    return Hold(
        order_id,
        user,
        provider,
        amount_atoms,
        opened_at_ms,
        expires_at_ms,
        terms,
        fence,
        STATES[state],
        settled,
        sequence,
    )
