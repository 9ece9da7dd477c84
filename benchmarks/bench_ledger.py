"""The ledger's speed beside its limit: a bare loop that writes the same rows, as durable, in groups of the same size.

    python benchmarks/bench_ledger.py [--seconds 2] [--folder DIR]

Prints one JSON line a case. A pair is a hold and its settlement: two ledger transactions.
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gollem.ledger import Hold, Ledger, open_ledger, rules

USERS = 64
NOW_MS = 1_800_000_000_000
HOLD_ATOMS, USAGE_ATOMS, FEE_ATOMS = 1_000, 700, 35
TERMS = json.dumps(
    {"model": "a-model", "price_ticks": 100_000, "max_tokens": 512, "ask": "provider-1/ask-1"} | {"pad": "x" * 120}
)
CALLERS = (1, 16, 64)


@dataclass
class Run:
    """What one case measured."""

    pairs: int
    seconds: float
    hold_ms: list[float]

    def quantile_ms(self, share: float) -> float:
        return sorted(self.hold_ms)[int(len(self.hold_ms) * share)]


def order_of(caller: int, number: int) -> str:
    """Scattered like the random ids of clients, and the same in every run."""
    return f"{(caller * 1_000_003 + number) * 0x9E3779B97F4A7C15 % 2**64:016x}-{caller}-{number}"


def hold_of(caller: int, number: int) -> Hold:
    user, provider = f"user-{caller % USERS}", f"provider-{number % 8}"
    return Hold(order_of(caller, number), user, provider, HOLD_ATOMS, NOW_MS, NOW_MS + 60_000, TERMS)


async def run_ledger(folder: Path, callers: int, seconds: float) -> Run:
    ledger = await open_ledger(f"sqlite://{folder}/ledger.db")
    for user in range(USERS):
        await ledger.post(rules.grant(f"grant-{user}", f"user-{user}", 10**15, NOW_MS))
    run = Run(0, 0.0, [])
    start = time.perf_counter()
    await asyncio.gather(*(_call(ledger, caller, start + seconds, run) for caller in range(callers)))
    run.seconds = time.perf_counter() - start
    report = await ledger.audit()
    assert report.ok, report.findings
    await ledger.close()
    return run


async def _call(ledger: Ledger, caller: int, end: float, run: Run) -> None:
    number = 0
    while (start := time.perf_counter()) < end:
        hold = hold_of(caller, number)
        await ledger.post(rules.hold(hold, "0123456789abcdef" * 2, NOW_MS))
        run.hold_ms.append((time.perf_counter() - start) * 1_000)
        await ledger.post(rules.settle(hold, USAGE_ATOMS, FEE_ATOMS, NOW_MS))
        run.pairs += 1
        number += 1


def run_bare(folder: Path, group: int, seconds: float) -> float:
    """Pairs a second of a loop that has its rows ready, asks nothing, and commits after `group` transactions."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    schema = Path("gollem/ledger/schema.sql").read_text()
    connection.executescript(f"PRAGMA journal_mode = WAL; {schema}")
    for setting in ("synchronous = FULL", "cache_size = -65536", "wal_autocheckpoint = 8192"):
        connection.execute(f"PRAGMA {setting}")
    accounts = [f"U:user-{user}" for user in range(USERS)]
    connection.executemany(
        "INSERT INTO account (account, balance_atoms) VALUES (?, ?)", [(a, 10**15) for a in accounts]
    )
    pairs, sequence = 0, 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        numbers = range(pairs, pairs + group)
        for write in (_bare_hold, _bare_settle):
            connection.execute("BEGIN IMMEDIATE")
            for number in numbers:
                sequence += 1
                write(connection.execute, sequence, number)
            connection.execute("COMMIT")
        pairs += group
    connection.close()
    return pairs / taken


def _bare_hold(execute: Callable[..., object], sequence: int, number: int) -> None:
    order, user = order_of(number % USERS, number), f"user-{number % USERS}"
    seal = "0123456789abcdef" * 2
    execute(
        "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?)", (sequence, f"hold:{order}", "hold", seal, NOW_MS, order, "", seal)
    )
    execute(
        "INSERT INTO hold VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
        (order, user, "provider-1", HOLD_ATOMS, HOLD_ATOMS, NOW_MS, NOW_MS + 60_000, 0, "OPEN", TERMS, 0, 0),
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
    seal = "0123456789abcdef" * 2
    earned, fee, refund = USAGE_ATOMS - FEE_ATOMS, FEE_ATOMS, HOLD_ATOMS - USAGE_ATOMS
    earnings_account, fee_account = f"PM:provider-{number % 8}:20270115:{number % 4}", f"R:fee:{number % 16}"
    execute(
        "INSERT INTO entry VALUES (?,?,?,?,?,?,?,?)",
        (sequence, f"settle:{order}", "settle", seal, NOW_MS, order, "", seal),
    )
    execute("UPDATE hold SET state = 'SETTLED', remaining_atoms = 0 WHERE order_id = ?", (order,))
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


def report(case: str, value: float, unit: str, peer: str, peer_value: float, target: float) -> None:
    """One JSON line; `reached` compares the ratio with the target."""
    ratio = value / peer_value
    figures = {"value": round(value, 3), "unit": unit, "peer": peer, "peer_value": round(peer_value, 3)}
    line = {
        "bench": "ledger",
        "case": case,
        **figures,
        "ratio": round(ratio, 3),
        "target": target,
        "reached": ratio >= target,
    }
    print(json.dumps(line), flush=True)


def measure(callers: int, seconds: float, folder: str | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        bare = run_bare(Path(name), callers, seconds)
        run = _loop_runner()(run_ledger(Path(name), callers, seconds))
    report(f"hold+settle, {callers} callers", run.pairs / run.seconds, "pairs/s", "bare loop", bare, 0.5)
    limit_ms = 1_000 * callers / bare / 2
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value = run.quantile_ms(share)
        line = {"value": round(value, 3), "unit": "ms", "peer": "bare loop, a group", "peer_value": round(limit_ms, 3)}
        figures = {"ratio": round(value / limit_ms, 3), "target": None, "reached": None}
        print(json.dumps({"bench": "ledger", "case": f"hold {name}, {callers} callers", **line, **figures}), flush=True)


def _loop_runner() -> Callable[..., Run]:
    with suppress(ImportError):
        import uvloop

        return uvloop.run
    return asyncio.run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement runs")
    parser.add_argument("--folder", default=None, help="where the files go; default: the system's temporary folder")
    arguments = parser.parse_args()
    for callers in CALLERS:
        measure(callers, arguments.seconds, arguments.folder)


if __name__ == "__main__":
    main()
