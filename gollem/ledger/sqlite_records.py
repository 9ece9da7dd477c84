"""The rarer parts of a transaction on SQLite: guards that are read, records that change, and why one was refused."""

import json
import sqlite3

from msgspec.structs import replace

from gollem.errors import GollemError, InvariantBroken
from gollem.ledger import sqlite_reads
from gollem.ledger.accounts import is_user, user_account
from gollem.ledger.records import is_listed
from gollem.ledger.refusals import Refused, require
from gollem.ledger.types import (
    ABSENT,
    AvailableAtLeast,
    BalanceIs,
    Hold,
    HoldOpen,
    PutRecord,
    Record,
    RecordIs,
    SetUserActive,
    Transaction,
    UpdateRecord,
    UserActive,
)

_CONDITIONS = (UserActive, HoldOpen)
_SET_ACTIVE = """
INSERT INTO account (account, balance_atoms, active) VALUES (?, 0, ?)
ON CONFLICT (account) DO UPDATE SET active = excluded.active
"""
_INSERT_RECORD = """
INSERT INTO record (kind, id, state, fields, is_listed) VALUES (?, ?, ?, ?, ?) ON CONFLICT (kind, id) DO NOTHING
"""

_UPDATE_RECORD = "UPDATE record SET state = ?, fields = ?, is_listed = ? WHERE kind = ? AND id = ?"


def require_what_was_read(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    """Check the guards that are no conditions of the writer's updates: there is one writer, so what it reads here stays
    until it commits. Raises Refused."""
    for guard in transaction.guards:
        if not isinstance(guard, _CONDITIONS) and not _is_met(cursor, guard):
            raise Refused


def _is_met(cursor: sqlite3.Cursor, guard: AvailableAtLeast | BalanceIs | RecordIs) -> bool:
    if isinstance(guard, AvailableAtLeast):
        return is_user(guard.account) or sqlite_reads.account_atoms(cursor, guard.account) >= guard.atoms
    if isinstance(guard, BalanceIs):
        return sqlite_reads.account_atoms(cursor, guard.account) == guard.atoms
    record = sqlite_reads.find_record(cursor, guard.kind, guard.id)
    if record is None:
        return ABSENT in guard.states
    if record.state not in guard.states:
        return False
    return all(record.fields.get(name) == value for name, value in guard.equals.items())


def change_records(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    """Raises Refused."""
    for effect in transaction.effects:
        if isinstance(effect, PutRecord):
            record = effect.record
            if cursor.execute(_INSERT_RECORD, (record.kind, record.id, *_row_of(record))).rowcount != 1:
                raise Refused
        elif isinstance(effect, UpdateRecord):
            _update(cursor, effect)


def set_active(cursor: sqlite3.Cursor, transaction: Transaction) -> None:
    """Last: until then, guards mean what was before."""
    for effect in transaction.effects:
        if isinstance(effect, SetUserActive):
            cursor.execute(_SET_ACTIVE, (user_account(effect.user), int(effect.active)))


def _update(cursor: sqlite3.Cursor, effect: UpdateRecord) -> None:
    old = sqlite_reads.find_record(cursor, effect.kind, effect.id)
    if old is None:
        raise Refused
    new = replace(old, state=effect.state or old.state, fields={**old.fields, **effect.fields})
    cursor.execute(_UPDATE_RECORD, (*_row_of(new), effect.kind, effect.id))


def _row_of(record: Record) -> tuple[str, str, int]:
    return record.state, json.dumps(record.fields), int(is_listed(record.kind, record.state))


def refusal(cursor: sqlite3.Cursor, transaction: Transaction) -> GollemError:
    """Why `write` refused, from what is there without it."""
    try:
        require(transaction, _View(cursor))
    except GollemError as error:
        return error
    return InvariantBroken(f"{transaction.key} was refused for no reason")


class _View:
    """What refusals look at."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def balance_atoms(self, account: str) -> int:
        return sqlite_reads.account_atoms(self._cursor, account)

    def is_active(self, user: str) -> bool:
        return sqlite_reads.balance(self._cursor, user).active

    def hold(self, order_id: str) -> Hold | None:
        return sqlite_reads.find_hold(self._cursor, order_id)

    def record(self, kind: str, record_id: str) -> Record | None:
        return sqlite_reads.find_record(self._cursor, kind, record_id)
