"""The proof of a SQLite ledger: everything it has, in one pass over one snapshot."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby

from gollem.ledger.audit import OF_THE_JOURNAL, AccountState, HoldBalance, Proof, hold_digest, prove
from gollem.ledger.sqlite_reads import KINDS, STATES
from gollem.ledger.types import ALL_CHECKS, AuditReport, Check, Entry, Hold, Kind, Leg, Record

_ACCOUNTS = "SELECT account, balance_atoms, held_atoms FROM account"
_NEWEST = 1_000
_HOLDS = (
    "SELECT order_id, user, state, remaining_atoms, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence "
    "FROM hold"
)


def audit(connection: sqlite3.Connection, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
    """The proof over one snapshot, while others write."""
    connection.execute("BEGIN")
    try:
        if checks & OF_THE_JOURNAL:
            return prove(_journal(connection), _accounts(connection), _holds(connection), _records(connection), checks)
        return _skim(connection, checks)
    finally:
        connection.rollback()


def _skim(connection: sqlite3.Connection, checks: frozenset[Check]) -> AuditReport:
    """Without the journal: SQLite adds up what need not be looked at one by one."""
    proof = Proof(checks)
    # Halves, since a sum over all accounts may leave 64 bits.
    count, high, low = connection.execute(
        "SELECT count(*), coalesce(sum(balance_atoms >> 32), 0), coalesce(sum(balance_atoms & 4294967295), 0) "
        "FROM account WHERE held_atoms = 0"
    ).fetchone()
    proof.add_idle(count, (high << 32) + low)
    proof.compare_accounts(_accounts(connection, f"{_ACCOUNTS} WHERE held_atoms <> 0"))
    proof.compare_holds(_holds(connection, f"{_HOLDS} WHERE state = 'OPEN' OR remaining_atoms <> 0"))
    return proof.report()


def _accounts(connection: sqlite3.Connection, statement: str = _ACCOUNTS) -> Iterator[AccountState]:
    for row in connection.execute(statement):
        yield AccountState(*row)


def _holds(connection: sqlite3.Connection, statement: str = _HOLDS) -> Iterator[HoldBalance]:
    for order_id, user, state, atoms, *fixed in connection.execute(statement):
        digest = hold_digest(Hold(order_id, user, *fixed))
        yield HoldBalance(order_id, user, STATES[state], atoms, digest)


def start_findings(connection: sqlite3.Connection) -> list[str]:
    """What can be seen at once: sums, holds, and whether the newest transactions are whole."""
    newest = Proof(frozenset({Check.TRANSACTIONS}))
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM entry").fetchone()
    newest.replay(_journal(connection, max(last - _NEWEST, 0)))
    sums = _skim(connection, frozenset({Check.TRIAL_BALANCE, Check.HOLDS}))
    return sums.findings + newest.report().findings


def _records(connection: sqlite3.Connection) -> Iterator[Record]:
    for kind, record_id, state, fields in connection.execute("SELECT kind, id, state, fields FROM record"):
        yield Record(kind, record_id, state, json.loads(fields))


def _journal(connection: sqlite3.Connection, after: int = 0) -> Iterator[tuple[Entry, str]]:
    """Every entry with its legs and its seal; legs without an entry as one whose key says so."""
    legs = connection.execute(
        "SELECT number / 64, account, amount_atoms FROM leg WHERE number >= ? ORDER BY number", ((after + 1) * 64,)
    )
    groups = groupby(legs, key=lambda row: int(row[0]))
    number, group = next(groups, (None, iter(())))
    entries = connection.execute(
        "SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail, seal FROM entry "
        "WHERE sequence > ? ORDER BY sequence",
        (after,),
    )
    for sequence, key, kind, fingerprint, at_ms, order_id, detail, seal in entries:
        while number is not None and number < sequence:
            yield _orphan(number, group)
            number, group = next(groups, (None, iter(())))
        found = _legs(row[1:] for row in group) if number == sequence else ()
        if number == sequence:
            number, group = next(groups, (None, iter(())))
        # A kind that is not known is damage, for the seal to find.
        yield Entry(sequence, key, KINDS.get(kind, kind), found, fingerprint, at_ms, order_id, detail), seal
    while number is not None:
        yield _orphan(number, group)
        number, group = next(groups, (None, iter(())))


def _orphan(sequence: int, group: Iterable[tuple[int, str, int]]) -> tuple[Entry, str]:
    legs = _legs(row[1:] for row in group)
    return Entry(sequence, f"missing entry {sequence}", Kind.GRANT, legs, "", 0, "", ""), ""


def _legs(rows: Iterable[tuple[str, int]]) -> tuple[Leg, ...]:
    return tuple(Leg(account, amount_atoms) for account, amount_atoms in rows)
