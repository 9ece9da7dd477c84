"""The ledger on SQLite under the workload, and how its memory grows."""

import asyncio
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ledger.workload import (
    FEE_ATOMS,
    FINGERPRINT,
    FUNDS_ATOMS,
    NOW_MS,
    USAGE_ATOMS,
    USERS,
    Run,
    hold_of,
    run_loop,
    trade,
)
from gollem.ledger import Hold, Ledger, open_ledger, rules

CALLERS = 64


@dataclass(frozen=True)
class LedgerClient:
    """One caller of the ledger, in its process, as the server is."""

    ledger: Ledger

    async def hold(self, hold: Hold) -> None:
        await self.ledger.post(rules.hold(hold, FINGERPRINT, NOW_MS))

    async def settle(self, hold: Hold) -> None:
        await self.ledger.post(rules.settle(hold, USAGE_ATOMS, FEE_ATOMS, NOW_MS))


def run_ledger(folder: Path, callers: int, seconds: float) -> Run:
    async def run() -> Run:
        ledger = await _opened(folder / "ledger.db")
        done = await trade([LedgerClient(ledger)] * callers, seconds)
        report = await ledger.audit()
        assert report.ok, report.findings
        await ledger.close()
        return done

    return run_loop(run())


def memory_mib(folder: Path, transactions: int) -> tuple[float, float]:
    """Resident memory of a process of its own after a fifth of the transactions, and after all of them."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        first, last = pool.apply(_measure_memory, (folder, transactions))
    return first, last


def _measure_memory(folder: Path, transactions: int) -> tuple[float, float]:
    pairs = transactions // 2 // CALLERS
    seen: list[float] = []

    async def caller(client: LedgerClient, number: int) -> None:
        for done in range(pairs):
            hold = hold_of(number, done)
            await client.hold(hold)
            await client.settle(hold)
            if number == 0 and done + 1 in (pairs // 5, pairs):
                seen.append(_resident_mib())

    async def run() -> Run:
        ledger = await _opened(folder / "memory.db")
        await asyncio.gather(*(caller(LedgerClient(ledger), number) for number in range(CALLERS)))
        await ledger.close()
        return Run(pairs * CALLERS)

    run_loop(run())
    first, last = seen
    return first, last


async def _opened(path: Path) -> Ledger:
    ledger = await open_ledger(f"sqlite://{path}")
    for user in range(USERS):
        await ledger.post(rules.grant(f"grant-{user}", f"user-{user}", FUNDS_ATOMS, NOW_MS))
    return ledger


def _resident_mib() -> float:
    """Without files mapped into memory: those belong to the system's cache."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {os.getpid()} does not know its memory")
