"""What can be asked of the SQLite ledger: plain synchronous functions over a cursor, each served by an index."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby

from gollem.ledger.accounts import earnings_range, user_account
from gollem.ledger.audit import AccountState, HoldBalance, prove
from gollem.ledger.checks import MAX_LEGS
from gollem.ledger.types import AuditReport, Balance, Entry, Hold, HoldState, Kind, Leg, StatementLine

_HOLD = """
SELECT order_id, user, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence, state FROM hold
"""
_ENTRY = "SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail FROM entry WHERE key = ?"
_STATEMENT = """
SELECT leg.number, entry.key, entry.kind, leg.amount_atoms, entry.order_id, entry.at_ms
FROM leg JOIN entry ON entry.sequence = leg.number / 64
WHERE leg.statement = ? AND leg.number < ? ORDER BY leg.number DESC LIMIT ?
"""
_NEWEST = 2**63 - 1

_STATES = {state.value: state for state in HoldState}
_KINDS = {kind.value: kind for kind in Kind}


def balance(cursor: sqlite3.Cursor, user: str) -> Balance:
    rows = cursor.execute(
        "SELECT balance_atoms, held_atoms, active FROM account WHERE account = ?", (user_account(user),)
    ).fetchall()
    if not rows:
        return Balance(0, 0, True)
    available, held, active = rows[0]
    return Balance(available, held, bool(active))


def earned_atoms(cursor: sqlite3.Cursor, provider: str) -> int:
    rows = cursor.execute(
        "SELECT balance_atoms FROM account WHERE account >= ? AND account < ?", earnings_range(provider)
    )
    return int(sum(balance_atoms for (balance_atoms,) in rows))


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
    return Entry(sequence, key, _KINDS[kind], _legs(legs), fingerprint, at_ms, order_id, detail)


def open_holds(cursor: sqlite3.Cursor, after: str, limit: int) -> list[Hold]:
    where = "WHERE state = 'OPEN' AND order_id > ? ORDER BY order_id LIMIT ?"
    return [_hold(row) for row in cursor.execute(f"{_HOLD} {where}", (after, limit)).fetchall()]


def expired_holds(cursor: sqlite3.Cursor, now_ms: int, limit: int) -> list[Hold]:
    where = "WHERE state = 'OPEN' AND expires_at_ms <= ? ORDER BY expires_at_ms, order_id LIMIT ?"
    return [_hold(row) for row in cursor.execute(f"{_HOLD} {where}", (now_ms, limit)).fetchall()]


def statement(cursor: sqlite3.Cursor, owner: str, before: int | None, limit: int) -> list[StatementLine]:
    rows = cursor.execute(_STATEMENT, (owner, _NEWEST if before is None else before, limit)).fetchall()
    return [
        StatementLine(number, key, _KINDS[kind], amount_atoms, order_id, at_ms)
        for number, key, kind, amount_atoms, order_id, at_ms in rows
    ]


def audit(connection: sqlite3.Connection) -> AuditReport:
    """The proof over one snapshot, while others write."""
    connection.execute("BEGIN")
    try:
        accounts = connection.execute("SELECT account, balance_atoms, held_atoms FROM account")
        holds = connection.execute("SELECT order_id, user, state, remaining_atoms FROM hold")
        return prove(
            _journal(connection),
            (AccountState(*row) for row in accounts),
            (HoldBalance(order_id, user, _STATES[state], atoms) for order_id, user, state, atoms in holds),
        )
    finally:
        connection.rollback()


def trial_balance_atoms(cursor: sqlite3.Cursor) -> int:
    """The sum over all accounts: 0, or the books are wrong."""
    accounts = cursor.execute("SELECT balance_atoms FROM account")
    total_atoms: int = sum(atoms for (atoms,) in accounts)
    escrow = cursor.execute("SELECT remaining_atoms FROM hold WHERE state = 'OPEN'")
    return total_atoms + int(sum(atoms for (atoms,) in escrow))


def _journal(connection: sqlite3.Connection) -> Iterator[tuple[Entry, str]]:
    """Every entry with its legs and its seal; legs without an entry as one whose key says so."""
    legs = connection.execute("SELECT number / 64, account, amount_atoms FROM leg ORDER BY number")
    groups = groupby(legs, key=lambda row: int(row[0]))
    number, group = next(groups, (None, iter(())))
    entries = connection.execute(
        "SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail, seal FROM entry ORDER BY sequence"
    )
    for sequence, key, kind, fingerprint, at_ms, order_id, detail, seal in entries:
        while number is not None and number < sequence:
            yield _orphan(number, group)
            number, group = next(groups, (None, iter(())))
        found = _legs(row[1:] for row in group) if number == sequence else ()
        if number == sequence:
            number, group = next(groups, (None, iter(())))
        # A kind that is not known is damage, for the seal to find.
        yield Entry(sequence, key, _KINDS.get(kind, kind), found, fingerprint, at_ms, order_id, detail), seal
    while number is not None:
        yield _orphan(number, group)
        number, group = next(groups, (None, iter(())))


def _orphan(sequence: int, group: Iterable[tuple[int, str, int]]) -> tuple[Entry, str]:
    legs = _legs(row[1:] for row in group)
    return Entry(sequence, f"missing entry {sequence}", Kind.GRANT, legs, "", 0, "", ""), ""


def _legs(rows: Iterable[tuple[str, int]]) -> tuple[Leg, ...]:
    return tuple(Leg(account, amount_atoms) for account, amount_atoms in rows)


def _hold(row: tuple[str, str, str, int, int, int, str, int, str]) -> Hold:
    order_id, user, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence, state = row
    return Hold(order_id, user, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence, _STATES[state])
