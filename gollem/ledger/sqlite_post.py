"""One transaction written into an open SQL transaction: the guards as conditions of the updates, the legs, the effects.

Plain synchronous code over a cursor; who begins and commits is not its matter.
"""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass

from gollem.errors import InvariantBroken
from gollem.ledger import checks, sqlite_reads
from gollem.ledger.accounts import Bounds, bounds, is_debt, is_hold, is_user, statement_of, user_account
from gollem.ledger.audit import seal
from gollem.ledger.refusals import Refused, replayed
from gollem.ledger.sqlite_records import change_records, require_what_was_read, set_active
from gollem.ledger.types import (
    AvailableAtLeast,
    CloseHold,
    Entry,
    Hold,
    HoldOpen,
    HoldState,
    Leg,
    OpenHold,
    Posted,
    ReduceHold,
    Transaction,
    UserActive,
)

_INSERT_ENTRY = """
INSERT INTO entry (sequence, key, kind, fingerprint, at_ms, order_id, detail, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO NOTHING
"""
_INSERT_LEG = "INSERT INTO leg (number, account, amount_atoms, statement) VALUES (?, ?, ?, ?)"
_ADD_TO_ACCOUNT = "INSERT INTO account (account, balance_atoms) VALUES (?, ?)"
_ADD_IF_THERE = " ON CONFLICT (account) DO UPDATE SET balance_atoms = balance_atoms + excluded.balance_atoms"
# By number of rows: one statement of three rows costs half of three statements.
_INSERT_LEGS = [_INSERT_LEG + ", (?, ?, ?, ?)" * more for more in range(checks.MAX_LEGS)]
_ADD_TO_ACCOUNTS = [_ADD_TO_ACCOUNT + ", (?, ?)" * more + _ADD_IF_THERE for more in range(checks.MAX_LEGS)]
_INSERT_HOLD = """
INSERT INTO hold (entry, order_id, user, provider, amount_atoms, remaining_atoms, opened_at_ms, expires_at_ms, fence,
                  state, terms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CHANGE_HOLD = """
UPDATE hold SET state = ?, remaining_atoms = remaining_atoms - ?, settled_atoms = settled_atoms + ?,
                sequence = sequence + ?
WHERE order_id = ? AND state = 'OPEN' AND remaining_atoms = ? AND fence = ? AND sequence = ? AND expires_at_ms <= ?
  AND user = ?
"""
_CHANGE_USER = """
UPDATE account SET balance_atoms = balance_atoms + ?, held_atoms = held_atoms + ?
WHERE account = ? AND balance_atoms >= ? AND active >= ?
"""
_INSERT_USER = """
INSERT INTO account (account, balance_atoms, held_atoms) VALUES (?, ?, ?) ON CONFLICT (account) DO NOTHING
"""
_NO_DEADLINE = 2**63 - 1


@dataclass(slots=True)
class _UserChange:
    """All that a transaction does to one user's account, and the conditions: one UPDATE."""

    available_atoms: int = 0
    held_atoms: int = 0
    least_atoms: int = 0
    must_be_active: bool = False


def write(cursor: sqlite3.Cursor, transaction: Transaction, sequence: int) -> Posted:
    """Write the transaction as entry number `sequence`, or answer with the first of its key.

    Raises Refused, KeyReused, InvariantBroken and sqlite3.Error; whatever it wrote until then is the caller's to roll
    back, and then `sqlite_records.refusal` says why."""
    entry = checks.entry_of(transaction, sequence)
    if not _insert_entry(cursor, entry):
        first = sqlite_reads.find_entry(cursor, transaction.key)
        if first is None:
            raise InvariantBroken(f"{transaction.key}: neither written nor there")
        return replayed(first, transaction.fingerprint)
    # What can be refused first: a refusal is told before a balance that would leave its range.
    require_what_was_read(cursor, transaction)
    change_records(cursor, transaction)
    _change_holds(cursor, transaction, sequence)
    _change_users(cursor, transaction)
    _add_to_others(cursor, transaction)
    set_active(cursor, transaction)
    _insert_legs(cursor, entry)
    return Posted(applied=True, entry=entry)


def _insert_entry(cursor: sqlite3.Cursor, entry: Entry) -> bool:
    """The key decides before any guard does: whether it is new."""
    row = (entry.sequence, entry.key, entry.kind, entry.fingerprint, entry.at_ms, entry.order_id, entry.detail)
    return cursor.execute(_INSERT_ENTRY, (*row, seal(entry))).rowcount == 1


def _insert_legs(cursor: sqlite3.Cursor, entry: Entry) -> None:
    if not entry.legs:
        return
    row: list[object] = []
    for place, leg in enumerate(entry.legs):
        number = checks.leg_number(entry.sequence, place)
        row += (number, leg.account, leg.amount_atoms, statement_of(leg.account, entry.kind))
    cursor.execute(_INSERT_LEGS[len(entry.legs) - 1], row)


def _add_to_others(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    """Accounts beside users' and escrows, which are the holds themselves. What moves towards its bound is there: its
    guard said so; and a row to be inserted may not be beyond it, even if it is never inserted."""
    row: list[object] = []
    for leg in transaction.legs:
        if is_hold(leg.account) or is_user(leg.account):
            continue
        if is_debt(leg.account) != (leg.amount_atoms > 0) or bounds(leg.account) is Bounds.FREE:
            row += (leg.account, leg.amount_atoms)
        else:
            _add_towards_bound(cursor, leg)
    if row:
        cursor.execute(_ADD_TO_ACCOUNTS[len(row) // 2 - 1], row)


def _add_towards_bound(cursor: sqlite3.Cursor, leg: Leg) -> None:
    added = "UPDATE account SET balance_atoms = balance_atoms + ? WHERE account = ?"
    if cursor.execute(added, (leg.amount_atoms, leg.account)).rowcount != 1:
        raise Refused


def _change_holds(cursor: sqlite3.Cursor, transaction: Transaction, sequence: int) -> None:
    guards = {guard.order_id: guard for guard in transaction.guards if isinstance(guard, HoldOpen)}
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            _open(cursor, effect.hold, sequence)
        elif isinstance(effect, CloseHold):
            _change(cursor, guards[effect.order_id], effect.user, (effect.state, effect.amount_atoms, 0, 0))
        elif isinstance(effect, ReduceHold):
            _change(cursor, guards[effect.order_id], effect.user, (HoldState.OPEN, effect.atoms, effect.atoms, 1))


def _open(cursor: sqlite3.Cursor, hold: Hold, sequence: int) -> None:
    """There is none of the order yet: its entry's key is new."""
    row = (
        sequence,
        hold.order_id,
        hold.user,
        hold.provider,
        hold.amount_atoms,
        hold.amount_atoms,
        hold.opened_at_ms,
        hold.expires_at_ms,
        hold.fence,
        hold.state,
        hold.terms,
    )
    cursor.execute(_INSERT_HOLD, row)


def _change(cursor: sqlite3.Cursor, guard: HoldOpen, user: str, change: tuple[HoldState, int, int, int]) -> None:
    latest_ms = _NO_DEADLINE if guard.expired_by_ms is None else guard.expired_by_ms
    condition = (guard.order_id, guard.remaining_atoms, guard.fence, guard.sequence, latest_ms, user)
    if cursor.execute(_CHANGE_HOLD, (*change, *condition)).rowcount != 1:
        raise Refused


def _change_users(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    for account, change in _user_changes(transaction).items():
        condition = (account, change.least_atoms, int(change.must_be_active))
        added = (change.available_atoms, change.held_atoms)
        if cursor.execute(_CHANGE_USER, (*added, *condition)).rowcount == 1:
            continue
        # Refused, or new; a new account cannot take the row of one that is there.
        if change.least_atoms > 0:
            raise Refused
        if cursor.execute(_INSERT_USER, (account, *added)).rowcount != 1:
            raise Refused


def _user_changes(transaction: Transaction) -> dict[str, _UserChange]:
    changes = defaultdict[str, _UserChange](_UserChange)
    for leg in transaction.legs:
        if is_user(leg.account):
            changes[leg.account].available_atoms = leg.amount_atoms
    for guard in transaction.guards:
        if isinstance(guard, AvailableAtLeast) and is_user(guard.account):
            changes[guard.account].least_atoms = guard.atoms
        elif isinstance(guard, UserActive):
            changes[user_account(guard.user)].must_be_active = True
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            changes[user_account(effect.hold.user)].held_atoms += effect.hold.amount_atoms
        elif isinstance(effect, CloseHold):
            changes[user_account(effect.user)].held_atoms -= effect.amount_atoms
        elif isinstance(effect, ReduceHold):
            changes[user_account(effect.user)].held_atoms -= effect.atoms
    return changes
