"""One transaction written into an open SQL transaction: the guards as conditions of the updates, the legs, the effects.

Plain synchronous code over a cursor; who begins and commits is not its matter.
"""

import sqlite3
from dataclasses import dataclass

from gollem.errors import InvariantBroken
from gollem.ledger import checks
from gollem.ledger.accounts import is_hold, is_user, statement_of, user_account
from gollem.ledger.audit import seal
from gollem.ledger.sqlite_reads import find_entry, find_hold
from gollem.ledger.types import (
    AvailableAtLeast,
    CloseHold,
    Entry,
    Hold,
    HoldOpen,
    Leg,
    OpenHold,
    Posted,
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
INSERT INTO hold (order_id, user, provider, amount_atoms, remaining_atoms, opened_at_ms, expires_at_ms, fence, state,
                  terms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO NOTHING
"""
_CLOSE_HOLD = """
UPDATE hold SET state = ?, remaining_atoms = 0
WHERE order_id = ? AND state = 'OPEN' AND remaining_atoms = ? AND fence = ? AND expires_at_ms <= ? AND user = ?
"""
_CHANGE_USER = """
UPDATE account SET balance_atoms = balance_atoms + ?, held_atoms = held_atoms + ?
WHERE account = ? AND balance_atoms >= ? AND active >= ?
"""
_NO_DEADLINE = 2**63 - 1


@dataclass(slots=True)
class _UserChange:
    """All that a transaction does to one user's account, and the conditions: one UPDATE."""

    user: str
    available_atoms: int = 0
    held_atoms: int = 0
    least_atoms: int = 0
    must_be_active: bool = False


def write(cursor: sqlite3.Cursor, transaction: Transaction, sequence: int) -> Posted:
    """Write the transaction as entry number `sequence`, or answer with the first of its key.

    Raises what `Ledger.post` raises, and sqlite3.Error; whatever it wrote until then is the caller's to roll back."""
    entry = checks.entry_of(transaction, sequence)
    if not _insert_entry(cursor, entry):
        first = find_entry(cursor, transaction.key)
        if first is None:
            raise InvariantBroken(f"{transaction.key}: neither written nor there")
        return checks.replayed(first, transaction)
    _change_holds(cursor, transaction)
    _change_users(cursor, transaction)
    _add_to_others(cursor, entry.legs)
    _insert_legs(cursor, entry)
    return Posted(applied=True, entry=entry)


def _insert_entry(cursor: sqlite3.Cursor, entry: Entry) -> bool:
    """The key decides before any guard does: whether it is new."""
    row = (entry.sequence, entry.key, entry.kind, entry.fingerprint, entry.at_ms, entry.order_id, entry.detail)
    return cursor.execute(_INSERT_ENTRY, (*row, seal(entry))).rowcount == 1


def _insert_legs(cursor: sqlite3.Cursor, entry: Entry) -> None:
    row: list[object] = []
    for place, leg in enumerate(entry.legs):
        number = checks.leg_number(entry.sequence, place)
        row += (number, leg.account, leg.amount_atoms, statement_of(leg.account))
    cursor.execute(_INSERT_LEGS[len(entry.legs) - 1], row)


def _add_to_others(cursor: sqlite3.Cursor, legs: tuple[Leg, ...]) -> None:
    """Accounts without a guard; escrows are the holds themselves."""
    row: list[object] = []
    for leg in legs:
        if not is_hold(leg.account) and not is_user(leg.account):
            row += (leg.account, leg.amount_atoms)
    if row:
        cursor.execute(_ADD_TO_ACCOUNTS[len(row) // 2 - 1], row)


def _change_holds(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    guards = {guard.order_id: guard for guard in transaction.guards if isinstance(guard, HoldOpen)}
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            _open(cursor, effect.hold)
        else:
            _close(cursor, effect, guards[effect.order_id])


def _open(cursor: sqlite3.Cursor, hold: Hold) -> None:
    row = (
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
    if cursor.execute(_INSERT_HOLD, row).rowcount != 1:
        raise InvariantBroken(f"order {hold.order_id} has a hold already")


def _close(cursor: sqlite3.Cursor, effect: CloseHold, guard: HoldOpen) -> None:
    latest_ms = _NO_DEADLINE if guard.expired_by_ms is None else guard.expired_by_ms
    condition = (effect.order_id, guard.amount_atoms, guard.fence, latest_ms, effect.user)
    if cursor.execute(_CLOSE_HOLD, (effect.state, *condition)).rowcount == 1:
        return
    hold = find_hold(cursor, effect.order_id)
    if checks.meets(hold, guard):
        raise InvariantBroken(f"the hold of order {effect.order_id} is of another user")
    raise checks.hold_closed(effect.order_id, hold)


def _change_users(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    for account, change in _user_changes(transaction).items():
        condition = (account, change.least_atoms, int(change.must_be_active))
        row = (change.available_atoms, change.held_atoms, *condition)
        if cursor.execute(_CHANGE_USER, row).rowcount == 1:
            continue
        _require_user(cursor, transaction, account)
        cursor.execute(
            "INSERT INTO account (account, balance_atoms, held_atoms) VALUES (?, ?, ?)",
            (account, change.available_atoms, change.held_atoms),
        )


def _user_changes(transaction: Transaction) -> dict[str, _UserChange]:
    changes: dict[str, _UserChange] = {}

    def of(user: str) -> _UserChange:
        return changes.setdefault(user_account(user), _UserChange(user))

    for leg in transaction.legs:
        if is_user(leg.account):
            of(leg.account[2:]).available_atoms = leg.amount_atoms
    for guard in transaction.guards:
        if isinstance(guard, AvailableAtLeast):
            of(guard.user).least_atoms = guard.atoms
        elif isinstance(guard, UserActive):
            of(guard.user).must_be_active = True
    for effect in transaction.effects:
        if isinstance(effect, OpenHold):
            of(effect.hold.user).held_atoms += effect.hold.amount_atoms
        else:
            of(effect.user).held_atoms -= effect.amount_atoms
    return changes


def _require_user(cursor: sqlite3.Cursor, transaction: Transaction, account: str) -> None:
    """Say which guard refused, in the transaction's order; nothing if the account is only new."""
    row = cursor.execute("SELECT balance_atoms, active FROM account WHERE account = ?", (account,)).fetchone()
    available_atoms, active = row or (0, 1)
    for guard in transaction.guards:
        if isinstance(guard, UserActive) and user_account(guard.user) == account and not active:
            raise checks.frozen(guard.user)
        if (
            isinstance(guard, AvailableAtLeast)
            and user_account(guard.user) == account
            and available_atoms < guard.atoms
        ):
            raise checks.insufficient(guard.atoms, available_atoms)
    if row is not None:
        raise InvariantBroken(f"{transaction.key}: {account} was refused for no reason")
