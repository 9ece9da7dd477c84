"""A process that trades and says what was acknowledged, one key a line, until it is killed. Run by test_crash.py.

    python crash_child.py PATH ROUND CALLERS [LIMIT_BYTES]

With a limit, no file may grow beyond it at first: it stands for a full disk, which is emptied after the first failures.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path

import uvloop

from gollem.clock import SystemClock
from gollem.errors import WorldError
from gollem.ledger import Desk, Hold, Ledger, Posted, rules
from gollem.ledger.sqlite import open_sqlite

NOW_MS = 1_800_000_000_000
HOLD_ATOMS = 10
CENT = 10**9
CASHIERS = 2

Deed = tuple[str, Callable[[], Awaitable[Posted | None]]]  # a key, and the call that posts it, however often
Life = Callable[[Ledger, str], list[Deed]]


def order(ledger: Ledger, name: str) -> list[Deed]:
    """A hold and its settlement."""
    user = f"user-{name.split('-')[1]}"
    hold = Hold(f"order-{name}", user, "acme", HOLD_ATOMS, NOW_MS, NOW_MS + 60_000, "terms " * 50)
    posts = (rules.hold(hold, "bid", NOW_MS), rules.settle(hold, 7, 1, NOW_MS))
    return [(one.key, partial(ledger.post, one)) for one in posts]


def money(ledger: Ledger, name: str) -> list[Deed]:
    """Dollars in and out: a purchase, and what somebody adjusts in a provider's favour is paid out."""
    desk = Desk(ledger, SystemClock(), delay_days=7, cap_atoms=2**61)
    provider = f"prov-{name}"
    created = rules.purchase_created(f"buy-{name}", "buyer", 100, NOW_MS)
    registered = rules.provider_registered(provider, f"acct-{name}", True, NOW_MS)
    proposed = rules.adjustment_proposed(f"adj-{name}", f"P:{provider}", CENT, "goodwill", "carol", NOW_MS)
    transferred = partial(rules.payout_transferred, transfer_id=f"tr-{name}", now_ms=NOW_MS)
    return [
        (created.key, partial(ledger.post, created)),
        (f"purchase:pi-{name}", partial(desk.credit_purchase, f"buy-{name}", f"pi-{name}", 100, "usd")),
        (registered.key, partial(ledger.post, registered)),
        (proposed.key, partial(ledger.post, proposed)),
        (f"adj:adj-{name}", partial(desk.approve_adjustment, f"adj-{name}", "dave")),
        (f"po_init:po-{name}", partial(desk.pay_out, f"po-{name}", provider, CENT)),
        (f"po_tr:tr-{name}", partial(desk.post_about, "payout", f"po-{name}", transferred)),
    ]


def lives(round_number: int, callers: int) -> list[tuple[Life, str]]:
    """What each caller does again and again, and how its deeds are named."""
    traders: list[tuple[Life, str]] = [(order, f"{round_number}-{caller}") for caller in range(callers)]
    return traders + [(money, f"{round_number}-{callers + cashier}") for cashier in range(CASHIERS)]


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def live(ledger: Ledger, life: Life, name: str) -> None:
    for number in count():
        for key, post in life(ledger, f"{name}-{number}"):
            while True:
                try:
                    await post()
                    break
                except WorldError as error:
                    say(f"! {type(error).__name__} {key}")
                    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            say(key)


async def main(path: Path, round_number: int, callers: int, limit_bytes: int = 0) -> None:
    ledger = open_sqlite(path, line_batch=5)
    for caller in range(callers):
        await ledger.post(rules.grant(f"grant-{round_number}-{caller}", f"user-{caller}", 10**9, NOW_MS))
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    await asyncio.gather(*(live(ledger, life, name) for life, name in lives(round_number, callers)))


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
