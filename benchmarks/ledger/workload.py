"""What every ledger is asked to do: callers that hold and settle, each one order after the other."""

import asyncio
import json
import time
from array import array
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from gollem.ledger import Hold

USERS = 64
FUNDS_ATOMS = 10**15
NOW_MS = 1_800_000_000_000
HOLD_ATOMS, USAGE_ATOMS, FEE_ATOMS = 1_000, 700, 35
FINGERPRINT = "0123456789abcdef" * 2
TERMS = json.dumps(
    {"model": "a-model", "price_ticks": 100_000, "max_tokens": 512, "ask": "provider-1/ask-1"} | {"pad": "x" * 120}
)


class Client(Protocol):
    """What one caller does with a ledger; both return once the outcome is durable."""

    async def hold(self, hold: Hold) -> None: ...

    async def settle(self, hold: Hold) -> None: ...


@dataclass
class Run:
    """What one run measured. A pair is a hold and its settlement: two transactions."""

    pairs: int = 0
    seconds: float = 0.0
    hold_ms: "array[float]" = field(default_factory=lambda: array("d"))

    @property
    def pairs_per_second(self) -> float:
        return self.pairs / self.seconds

    def quantile_ms(self, share: float) -> float:
        return sorted(self.hold_ms)[int(len(self.hold_ms) * share)]


def order_of(caller: int, number: int) -> str:
    """Scattered like the random ids of clients, and the same in every run."""
    return f"{(caller * 1_000_003 + number) * 0x9E3779B97F4A7C15 % 2**64:016x}-{caller}-{number}"


def hold_of(caller: int, number: int) -> Hold:
    user, provider = f"user-{caller % USERS}", f"provider-{number % 8}"
    return Hold(order_of(caller, number), user, provider, HOLD_ATOMS, NOW_MS, NOW_MS + 60_000, TERMS)


async def trade(clients: Sequence[Client], seconds: float) -> Run:
    """All clients at once, until the time is over; what they have under way then is finished and counts."""
    run = Run()
    start = time.perf_counter()
    await asyncio.gather(*(_trade_alone(one, caller, start + seconds, run) for caller, one in enumerate(clients)))
    run.seconds = time.perf_counter() - start
    return run


async def _trade_alone(client: Client, caller: int, end: float, run: Run) -> None:
    number = 0
    while (start := time.perf_counter()) < end:
        hold = hold_of(caller, number)
        await client.hold(hold)
        run.hold_ms.append((time.perf_counter() - start) * 1_000)
        await client.settle(hold)
        run.pairs += 1
        number += 1


def run_loop(main: Coroutine[Any, Any, Run]) -> Run:
    """On the loop that the server uses, where it is installed."""
    runner: Callable[[Coroutine[Any, Any, Run]], Run] = asyncio.run
    with suppress(ImportError):
        import uvloop

        runner = uvloop.run
    return runner(main)
