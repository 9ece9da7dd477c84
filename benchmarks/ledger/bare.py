"""The limit: a loop that has the ledger's rows ready, asks nothing, and is as durable, in groups of the same size."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.ledger.workload import (
    FEE_ATOMS,
    FINGERPRINT,
    FUNDS_ATOMS,
    HOLD_ATOMS,
    NOW_MS,
    TERMS,
    USAGE_ATOMS,
    USERS,
    order_of,
)
from gollem.ledger.sqlite import LINE_BATCH

SCHEMA = Path(__file__).parents[2] / "gollem" / "ledger" / "schema.sql"
_LINES = """
INSERT INTO statement_line SELECT statement, number FROM leg WHERE number >= ? AND number < ? AND statement IS NOT NULL
ORDER BY statement, number
"""


def run_bare(folder: Path, group: int, seconds: float) -> float:
    """Pairs a second of a loop that has its rows ready, asks nothing, and commits after `group` transactions."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA.read_text()}")
    for setting in ("synchronous = FULL", "cache_size = -65536", "wal_autocheckpoint = 8192"):
        connection.execute(f"PRAGMA {setting}")
    accounts = [f"U:user-{user}" for user in range(USERS)]
    connection.executemany(
        "INSERT INTO account (account, balance_atoms) VALUES (?, ?)", [(a, FUNDS_ATOMS) for a in accounts]
    )
    pairs, sequence, lined = 0, 0, 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        numbers = range(pairs, pairs + group)
        for write in (_bare_hold, _bare_settle):
            connection.execute("BEGIN IMMEDIATE")
            for number in numbers:
                sequence += 1
                write(connection.execute, sequence, number)
            if sequence - lined >= LINE_BATCH:
                connection.execute(_LINES, (lined * 64 + 64, sequence * 64 + 64))
                lined = sequence
            connection.execute("COMMIT")
        pairs += group
    connection.close()
    return pairs / taken


def _bare_hold(execute: Callable[..., object], sequence: int, number: int) -> None:
    order, user = order_of(number % USERS, number), f"user-{number % USERS}"
    seal = FINGERPRINT
    execute(
        "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?)", (sequence, f"hold:{order}", "hold", seal, NOW_MS, order, "", seal)
    )
    execute(
        "INSERT INTO hold VALUES (?,?,?,?,?,?,?,?,?,?,?,0,0)",
        (sequence, order, user, "provider-1", HOLD_ATOMS, HOLD_ATOMS, NOW_MS, NOW_MS + 60_000, 0, "OPEN", TERMS),
    )
    execute(
        "UPDATE account SET balance_atoms = balance_atoms - ?, held_atoms = held_atoms + ? WHERE account = ?",
        (HOLD_ATOMS, HOLD_ATOMS, f"U:{user}"),
    )
    leg = sequence * 64
    execute(
        "INSERT INTO leg VALUES (?,?,?,?),(?,?,?,?)",
        (leg, f"U:{user}", -HOLD_ATOMS, f"U:{user}", leg + 1, f"H:{order}", HOLD_ATOMS, None),
    )


def _bare_settle(execute: Callable[..., object], sequence: int, number: int) -> None:
    order, user = order_of(number % USERS, number), f"user-{number % USERS}"
    seal = FINGERPRINT
    earned, fee, refund = USAGE_ATOMS - FEE_ATOMS, FEE_ATOMS, HOLD_ATOMS - USAGE_ATOMS
    earnings_account, fee_account = f"PM:provider-{number % 8}:20270115:{number % 4}", f"R:fee:{number % 16}"
    execute(
        "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?)",
        (sequence, f"settle:{order}", "settle", seal, NOW_MS, order, "", seal),
    )
    execute("UPDATE hold SET state = 'SETTLED', remaining_atoms = 0 WHERE order_id = ? AND state = 'OPEN'", (order,))
    execute(
        "UPDATE account SET balance_atoms = balance_atoms + ?, held_atoms = held_atoms - ? WHERE account = ?",
        (refund, HOLD_ATOMS, f"U:{user}"),
    )
    execute(
        "INSERT INTO account (account, balance_atoms) VALUES (?,?),(?,?) ON CONFLICT (account) DO UPDATE "
        "SET balance_atoms = balance_atoms + excluded.balance_atoms",
        (earnings_account, earned, fee_account, fee),
    )
    leg = sequence * 64
    row: list[object] = [leg, f"H:{order}", -HOLD_ATOMS, None]
    row += [leg + 1, earnings_account, earned, f"P:provider-{number % 8}", leg + 2, fee_account, fee, None]
    execute(
        "INSERT INTO leg VALUES (?,?,?,?),(?,?,?,?),(?,?,?,?),(?,?,?,?)",
        [*row, leg + 3, f"U:{user}", refund, f"U:{user}"],
    )
