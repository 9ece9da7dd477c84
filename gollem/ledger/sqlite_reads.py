"""What can be asked of the SQLite ledger: plain synchronous functions over a cursor, each served by an index.

Who asks for one thing is told if it is damaged; a list passes over what is, with a line in the log, so that one bad row
does not stop a sweep.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from itertools import groupby, islice
from typing import TypeVar

from gollem.ledger import sqlite_statements
from gollem.ledger.accounts import (
    EARNINGS_SHARDS,
    earnings_of,
    earnings_range,
    hold_key,
    payable_account,
    provider_debt,
    user_account,
)
from gollem.ledger.checks import MAX_LEGS
from gollem.ledger.records import require_listed
from gollem.ledger.sqlite_rows import Row, entry_of, hold_of, leg_of, line_of, readable, record_of
from gollem.ledger.types import (
    Balance,
    Earnings,
    Entry,
    Hold,
    ProviderBalance,
    Record,
    StatementFilter,
    StatementLine,
)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_HOLD = """
SELECT order_id, user, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence, state, settled_atoms, sequence
FROM hold
"""
_OF_ORDER = "WHERE entry = (SELECT sequence FROM entry WHERE key = ?)"
_ENTRY = "SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail FROM entry WHERE key = ?"
_JOURNAL = """
SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail FROM entry
WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?
"""
_LEGS_BETWEEN = "SELECT number, account, amount_atoms FROM leg WHERE number >= ? AND number < ? ORDER BY number"
# Left alone, the planner would walk all earnings, or all records of a kind, by their primary key.
_DUE = """
SELECT account, balance_atoms FROM account INDEXED BY earnings_by_day
WHERE account GLOB 'PM:*' AND balance_atoms <> 0 AND substr(account, -10, 8) <= ?
ORDER BY substr(account, -10, 8), account LIMIT ?
"""

_LISTED = """
SELECT kind, id, state, fields FROM record INDEXED BY record_by_state
WHERE is_listed = 1 AND kind = ? AND state = ? AND id > ? ORDER BY id LIMIT ?
"""


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
    rows = cursor.execute(f"{_HOLD} {_OF_ORDER}", (hold_key(order_id),)).fetchall()
    return hold_of(rows[0]) if rows else None


def find_entry(cursor: sqlite3.Cursor, key: str) -> Entry | None:
    rows = cursor.execute(_ENTRY, (key,)).fetchall()
    if not rows:
        return None
    sequence = rows[0][0]
    legs = cursor.execute(
        "SELECT account, amount_atoms FROM leg WHERE number >= ? AND number < ? ORDER BY number",
        (sequence * MAX_LEGS, (sequence + 1) * MAX_LEGS),
    ).fetchall()
    return entry_of(rows[0], tuple(map(leg_of, legs)))


def open_holds(cursor: sqlite3.Cursor, after: str, limit: int) -> list[Hold]:
    where = "WHERE state = 'OPEN' AND order_id > ? ORDER BY order_id LIMIT ?"
    return _sound(cursor.execute(f"{_HOLD} {where}", (after, limit)), hold_of)


def expired_holds(cursor: sqlite3.Cursor, now_ms: int, limit: int) -> list[Hold]:
    where = "WHERE state = 'OPEN' AND expires_at_ms <= ? ORDER BY expires_at_ms, order_id LIMIT ?"
    return _sound(cursor.execute(f"{_HOLD} {where}", (now_ms, limit)), hold_of)


def last_sequence(cursor: sqlite3.Cursor) -> int:
    (sequence,) = cursor.execute("SELECT coalesce(max(sequence), 0) FROM entry").fetchone()
    return int(sequence)


def journal(cursor: sqlite3.Cursor, after: int, until: int, limit: int) -> list[Entry]:
    rows = cursor.execute(_JOURNAL, (after, until, limit)).fetchall()
    numbers = (rows[0][0] * MAX_LEGS, (rows[-1][0] + 1) * MAX_LEGS) if rows else (0, 0)
    legs: dict[int, list[Row]] = {}
    for number, account, atoms in cursor.execute(_LEGS_BETWEEN, numbers):
        legs.setdefault(number // MAX_LEGS, []).append((account, atoms))

    def read(row: Row) -> Entry:
        return entry_of(row, tuple(_sound(legs.get(row[0], ()), leg_of)))

    return _sound(rows, read)


def find_record(cursor: sqlite3.Cursor, kind: str, record_id: str) -> Record | None:
    rows = cursor.execute(
        "SELECT kind, id, state, fields FROM record WHERE kind = ? AND id = ?", (kind, record_id)
    ).fetchall()
    return record_of(rows[0]) if rows else None


def records(cursor: sqlite3.Cursor, kind: str, state: str, after: str, limit: int) -> list[Record]:
    require_listed(kind, state)
    return _sound(cursor.execute(_LISTED, (kind, state, after, limit)), record_of)


def statement(cursor: sqlite3.Cursor, owner: str, page: str, limit: int, only: StatementFilter) -> list[StatementLine]:
    return _sound(sqlite_statements.read(cursor, owner, page, limit, only), line_of)


def _sound(rows: Iterable[Row], read: Callable[[Row], _T]) -> list[_T]:
    return list(readable(rows, read, _log.error))
