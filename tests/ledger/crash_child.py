"""A process that trades and says what was acknowledged, one key a line, until it is killed. Run by test_crash.py.

    python crash_child.py PATH ROUND CALLERS [LIMIT_BYTES]

With a limit, no file may grow beyond it at first: it stands for a full disk, which is emptied after the first failures.
"""

import asyncio
import os
import resource
import sys
from itertools import count
from pathlib import Path

import uvloop

from gollem.errors import WorldError
from gollem.ledger import Hold, Ledger, rules
from gollem.ledger.sqlite import open_sqlite

NOW_MS = 1_800_000_000_000
HOLD_ATOMS = 10


def hold_of(round_number: int, caller: int, number: int) -> Hold:
    order_id = f"order-{round_number}-{caller}-{number}"
    return Hold(order_id, f"user-{caller}", "acme", HOLD_ATOMS, NOW_MS, NOW_MS + 60_000, "terms " * 50)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def trade(ledger: Ledger, round_number: int, caller: int) -> None:
    for number in count():
        hold = hold_of(round_number, caller, number)
        for transaction in (rules.hold(hold, "bid", NOW_MS), rules.settle(hold, 7, 1, NOW_MS)):
            while True:
                try:
                    await ledger.post(transaction)
                    break
                except WorldError as error:
                    say(f"! {type(error).__name__} {transaction.key}")
                    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            say(transaction.key)


async def main(path: Path, round_number: int, callers: int, limit_bytes: int = 0) -> None:
    ledger = open_sqlite(path)
    for caller in range(callers):
        await ledger.post(rules.grant(f"grant-{round_number}-{caller}", f"user-{caller}", 10**9, NOW_MS))
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    await asyncio.gather(*(trade(ledger, round_number, caller) for caller in range(callers)))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
