"""Whose statement shows which leg, on SQLite: lines, kept by owner, beside the legs.

The legs of a group belong to as many owners as it has orders, so lines written with their legs would touch a page each:
that was a ninth of all that the ledger did. They are written by the thousand instead, those of an owner together, and a
statement looks through the legs that have none yet (docs/decisions/0002-ledger-writer.md).
"""

import sqlite3
from collections.abc import Iterator
from itertools import chain, islice

from gollem.ledger.checks import MAX_LEGS
from gollem.ledger.cursors import parse_cursor
from gollem.ledger.sqlite_rows import Row
from gollem.ledger.types import StatementFilter

_BELOW = "SELECT below FROM lined"
# What is there already is damage: the audit tells of it, and nobody's money waits for it.
_WRITE_LINES = """
INSERT OR IGNORE INTO statement_line (statement, number)
SELECT statement, number FROM leg WHERE number >= ? AND number < ? AND statement IS NOT NULL ORDER BY statement, number
"""
_LINE = """
SELECT leg.number, entry.key, entry.kind, leg.amount_atoms, entry.order_id, entry.at_ms
FROM {} JOIN entry ON entry.sequence = leg.number / 64
WHERE {} {} ORDER BY {}.number DESC LIMIT ?
"""
_NEW = ("leg", "leg.number >= ? AND leg.number < ? AND leg.statement = ?", "leg")
_LINED = (
    "statement_line AS line CROSS JOIN leg ON leg.number = line.number",
    "line.statement = ? AND line.number < ?",
    "line",
)


def write_lines(cursor: sqlite3.Cursor, last_sequence: int, batch: int) -> None:
    """Those of all legs so far, within the open SQL transaction, if `batch` entries or more have none."""
    (below,) = cursor.execute(_BELOW).fetchone()
    until = (last_sequence + 1) * MAX_LEGS
    if until - below >= batch * MAX_LEGS:
        cursor.execute(_WRITE_LINES, (below, until))
        cursor.execute("UPDATE lined SET below = ?", (until,))


def read(cursor: sqlite3.Cursor, owner: str, page: str, limit: int, only: StatementFilter) -> list[Row]:
    """The newest first. `below` only grows, and what is below it has its lines for ever: so what comes between the two
    queries is neither missed nor shown twice."""
    (below,) = cursor.execute(_BELOW).fetchone()
    before = parse_cursor(page)
    condition, more = _conditions(only)

    def query(place: tuple[str, str, str], *values: str | int) -> list[Row]:
        return cursor.execute(_sql(place, condition), (*values, *more, limit)).fetchall()

    def found() -> Iterator[list[Row]]:
        yield query(_NEW, below, before, owner)
        yield query(_LINED, owner, min(before, below))

    return list(islice(chain.from_iterable(found()), limit))


def _sql(place: tuple[str, str, str], condition: str = "") -> str:
    tables, where, ordered = place
    return _LINE.format(tables, where, condition, ordered)


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
