"""The proof of a SQLite ledger: everything it has, in one pass over one snapshot."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby

from gollem.ledger.accounts import statement_of
from gollem.ledger.audit import OF_THE_JOURNAL, AccountState, HoldBalance, Proof
from gollem.ledger.sqlite_rows import Row, account_of, entry_of, hold_balance_of, leg_of, readable, record_of
from gollem.ledger.types import ALL_CHECKS, AuditReport, Check, Entry, Finding, Kind, Leg, Record

_ACCOUNTS = "SELECT account, balance_atoms, held_atoms FROM account"
_NEWEST = 1_000
_MOST_PROBLEMS = 100
# Without the index, which may be what is damaged.
_REPEATED_KEYS = "SELECT key, count(*) FROM entry NOT INDEXED GROUP BY key HAVING count(*) > 1 LIMIT ?"
_LOST_LINES = """
SELECT leg.statement, leg.number FROM leg, lined WHERE leg.statement IS NOT NULL AND leg.number < lined.below
AND NOT EXISTS (SELECT 1 FROM statement_line AS line WHERE line.statement = leg.statement AND line.number = leg.number)
LIMIT ?
"""
_STRAY_LINES = """
SELECT statement, number FROM statement_line AS line
WHERE NOT EXISTS (
    SELECT 1 FROM leg, lined
    WHERE leg.number = line.number AND leg.statement = line.statement AND leg.number < lined.below
) LIMIT ?
"""
_LOST_HOLDS = """
SELECT hold.order_id, hold.entry FROM hold LEFT JOIN entry ON entry.sequence = hold.entry
WHERE entry.key IS NOT 'hold:' || hold.order_id LIMIT ?
"""
_HOLDS = (
    "SELECT order_id, user, state, remaining_atoms, provider, amount_atoms, opened_at_ms, expires_at_ms, terms, fence "
    "FROM hold"
)


def audit(connection: sqlite3.Connection, checks: frozenset[Check] = ALL_CHECKS) -> AuditReport:
    """The proof over one snapshot, while others write. With the journal, the file itself is looked through first: an
    index that lies about the journal would let a key be posted twice."""
    proof = Proof(checks)
    problems: list[str] = []
    connection.execute("BEGIN")
    try:
        if checks & OF_THE_JOURNAL:
            problems = damage(connection) + line_damage(connection)
            proof.find(Check.TRANSACTIONS, *map(_damaged, problems))
            _read(connection, proof)
        else:
            _skim(connection, proof)
    except sqlite3.OperationalError:
        raise  # nothing is said about what is in the file
    except sqlite3.DatabaseError as error:
        # No check could be made to its end, so none holds.
        told = problems or [str(error)]
        return AuditReport(0, 0, [Finding(check, _damaged(one)) for check in sorted(checks) for one in told])
    finally:
        connection.rollback()
    return proof.report()


def damage(connection: sqlite3.Connection) -> list[str]:
    """What SQLite itself finds wrong with the file, its indexes among it: a line each."""
    lines: list[str] = []
    try:
        for (text,) in connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})"):
            lines += str(text).splitlines()  # some rows have several, or are a heading
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        lines.append(str(error))
    return [line for line in lines if line != "ok" and not line.startswith("***")]


def line_damage(connection: sqlite3.Connection) -> list[str]:
    """What is wrong with the mark between legs that have their lines of statements and those that have none yet."""
    marks = connection.execute("SELECT below FROM lined LIMIT 2").fetchall()
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM entry").fetchone()
    if len(marks) != 1 or not isinstance(marks[0][0], int) or not 0 <= marks[0][0] <= (last + 1) * 64:
        return [f"the mark of statement lines is {[mark for (mark,) in marks]}, the journal ends at {(last + 1) * 64}"]
    return []


def _damaged(problem: str) -> str:
    return f"the file is damaged: {problem}"


def _read(connection: sqlite3.Connection, proof: Proof) -> None:
    for key, count in connection.execute(_REPEATED_KEYS, (_MOST_PROBLEMS,)):
        proof.find(Check.TRANSACTIONS, f"{key}: {count} entries have this key")
    for owner, number in connection.execute(_LOST_LINES, (_MOST_PROBLEMS,)):
        proof.find(Check.TRANSACTIONS, f"the statement of {owner} lacks leg {number}")
    for owner, number in connection.execute(_STRAY_LINES, (_MOST_PROBLEMS,)):
        proof.find(Check.TRANSACTIONS, f"the statement of {owner} shows leg {number}, which is not its own")
    for order_id, sequence in connection.execute(_LOST_HOLDS, (_MOST_PROBLEMS,)):
        proof.find(Check.HOLDS, f"H:{order_id}: entry {sequence} did not open this hold")
    proof.read(
        _journal(connection, proof),
        _accounts(connection, proof),
        _holds(connection, proof),
        _records(connection, proof),
    )


def _skim(connection: sqlite3.Connection, proof: Proof) -> None:
    """Without the journal: SQLite adds up what need not be looked at one by one."""
    # Halves, since a sum over all accounts may leave 64 bits.
    count, high, low = connection.execute(
        "SELECT count(*), coalesce(sum(balance_atoms >> 32), 0), coalesce(sum(balance_atoms & 4294967295), 0) "
        "FROM account WHERE held_atoms = 0"
    ).fetchone()
    proof.add_idle(count, (high << 32) + low)
    proof.compare_accounts(_accounts(connection, proof, f"{_ACCOUNTS} WHERE held_atoms <> 0"))
    proof.compare_holds(_holds(connection, proof, f"{_HOLDS} WHERE state = 'OPEN' OR remaining_atoms <> 0"))


def _accounts(connection: sqlite3.Connection, proof: Proof, statement: str = _ACCOUNTS) -> Iterator[AccountState]:
    return readable(connection.execute(statement), account_of, partial(proof.find, Check.BALANCES))


def _holds(connection: sqlite3.Connection, proof: Proof, statement: str = _HOLDS) -> Iterator[HoldBalance]:
    return readable(connection.execute(statement), hold_balance_of, partial(proof.find, Check.HOLDS))


def _records(connection: sqlite3.Connection, proof: Proof) -> Iterator[Record]:
    rows = connection.execute("SELECT kind, id, state, fields FROM record")
    return readable(rows, record_of, partial(proof.find, Check.BALANCES))


def start_findings(connection: sqlite3.Connection) -> list[str]:
    """What can be seen at once: sums, holds, and whether the newest transactions are whole."""
    proof = Proof(frozenset({Check.TRANSACTIONS, Check.TRIAL_BALANCE, Check.HOLDS}))
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM entry").fetchone()
    _skim(connection, proof)
    proof.replay(_journal(connection, proof, max(last - _NEWEST, 0)))
    return proof.report().findings


def _journal(connection: sqlite3.Connection, proof: Proof, after: int = 0) -> Iterator[tuple[Entry, str]]:
    """Every entry with its legs and its seal; legs without an entry as one whose key says so."""
    tell = partial(proof.find, Check.TRANSACTIONS)
    legs = connection.execute(
        "SELECT number / 64, account, amount_atoms, statement FROM leg WHERE number >= ? ORDER BY number",
        ((after + 1) * 64,),
    )
    groups = groupby(legs, key=lambda row: int(row[0]))
    number, group = next(groups, (None, iter(())))
    entries = connection.execute(
        "SELECT sequence, key, kind, fingerprint, at_ms, order_id, detail, seal FROM entry "
        "WHERE sequence > ? ORDER BY sequence",
        (after,),
    )
    for *row, seal in entries:
        sequence = row[0]
        while number is not None and number < sequence:
            yield _orphan(number, group, tell)
            number, group = next(groups, (None, iter(())))
        rows = list(group) if number == sequence else []
        if number == sequence:
            number, group = next(groups, (None, iter(())))
        for entry in readable([tuple(row)], partial(entry_of, legs=_legs(rows, tell)), tell):
            _compare_owners(entry, rows, tell)
            yield entry, seal
    while number is not None:
        yield _orphan(number, group, tell)
        number, group = next(groups, (None, iter(())))


def _orphan(sequence: int, group: Iterable[Row], tell: Callable[[str], None]) -> tuple[Entry, str]:
    return Entry(sequence, f"missing entry {sequence}", Kind.GRANT, _legs(group, tell), "", 0, "", ""), ""


def _legs(group: Iterable[Row], tell: Callable[[str], None]) -> tuple[Leg, ...]:
    return tuple(readable((row[1:3] for row in group), leg_of, tell))


def _compare_owners(entry: Entry, rows: list[Row], tell: Callable[[str], None]) -> None:
    """Whether each leg is in the statement that it belongs to."""
    for _, account, _, owner in rows:
        if isinstance(account, str) and owner != statement_of(account, entry.kind):
            tell(f"{entry.key}: its leg of {account} is in the statement of {owner or 'nobody'}")
