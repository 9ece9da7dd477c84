"""Rows of the file as what they stand for. A damaged one is told from a sound one, and crashes nobody.

The file's types hold for what is written, not for what a failing disk gives back: there a text may come as bytes, and
an amount as nothing at all.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from gollem.errors import InvariantBroken
from gollem.ledger.audit import AccountState, HoldBalance, hold_digest
from gollem.ledger.cursors import cursor_of
from gollem.ledger.types import Entry, Hold, HoldState, Kind, Leg, Record, StatementLine

Row = tuple[Any, ...]
_T = TypeVar("_T")

_STATES = {state.value: state for state in HoldState}
_KINDS = {kind.value: kind for kind in Kind}
_ENTRY = (int, str, str, str, int, str, str)
_LEG = (str, int)
_LINE = (int, str, str, int, str, int)
_HOLD = (str, str, str, int, int, int, str, int, str, int, int)
_HOLD_BALANCE = (str, str, str, int, str, int, int, int, str, int)
_ACCOUNT = (str, int, int)
_RECORD = (str, str, str, str)


def text_of(raw: bytes) -> str | bytes:
    """For connections: what is no text stays bytes, so that it spoils its own row and not the whole reading."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def readable(rows: Iterable[Row], read: Callable[[Row], _T], tell: Callable[[str], None]) -> Iterator[_T]:
    """What `read` makes of the sound rows; `tell` hears of the others."""
    for row in rows:
        try:
            yield read(row)
        except InvariantBroken as error:
            tell(error.message)


# Each raises InvariantBroken for a row that cannot be.


def entry_of(row: Row, legs: tuple[Leg, ...]) -> Entry:
    """A kind that is not known is damage too, for the seals to find."""
    _require(_ENTRY, row, f"entry {row[0]}")
    sequence, key, kind, fingerprint, at_ms, order_id, detail = row
    return Entry(sequence, key, _KINDS.get(kind) or kind, legs, fingerprint, at_ms, order_id, detail)


def leg_of(row: Row) -> Leg:
    _require(_LEG, row, f"a leg of {row[0]!r}")
    return Leg(*row)


def line_of(row: Row) -> StatementLine:
    _require(_LINE, row, f"leg {row[0]}")
    number, key, kind, amount_atoms, order_id, at_ms = row
    if kind not in _KINDS:
        raise _damaged(f"the kind of {key}")
    return StatementLine(cursor_of(number), key, _KINDS[kind], amount_atoms, order_id, at_ms)


def hold_of(row: Row) -> Hold:
    _require(_HOLD, row, f"the hold of order {row[0]!r}")
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
        _state(order_id, state),
        settled,
        sequence,
    )


def hold_balance_of(row: Row) -> HoldBalance:
    _require(_HOLD_BALANCE, row, f"the hold of order {row[0]!r}")
    order_id, user, state, remaining_atoms, *fixed = row
    digest = hold_digest(Hold(order_id, user, *fixed))
    return HoldBalance(order_id, user, _state(order_id, state), remaining_atoms, digest)


def account_of(row: Row) -> AccountState:
    _require(_ACCOUNT, row, f"the account {row[0]!r}")
    return AccountState(*row)


def record_of(row: Row) -> Record:
    name = f"the record {row[0]} {row[1]!r}"
    _require(_RECORD, row, name)
    kind, record_id, state, text = row
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise _damaged(name) from error
    if type(fields) is not dict or not all(type(value) in (str, int) for value in fields.values()):
        raise _damaged(name)
    return Record(kind, record_id, state, fields)


def _state(order_id: str, state: str) -> HoldState:
    if state not in _STATES:
        raise _damaged(f"the state of the hold of order {order_id!r}")
    return _STATES[state]


def _require(types: tuple[type, ...], row: Row, name: str) -> None:
    if tuple(map(type, row)) != types:
        raise _damaged(name)


def _damaged(name: str) -> InvariantBroken:
    return InvariantBroken(f"{name} cannot be read: the file is damaged")
