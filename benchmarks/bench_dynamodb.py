"""The ledger on DynamoDB Local: what an order costs in calls, items and write units, and what group commit gains.

    python -m benchmarks.bench_dynamodb [--seconds 3]

A table on stderr, one JSON line a case on stdout. DynamoDB Local shares the machine, writes one transaction at a
time and takes its time by the item, so its rates are no measure of DynamoDB's; calls, items and the client's own CPU
are. What group commit gains where a call takes time on its way is measured through a proxy that delays every request.
Write units are counted by DynamoDB's rule for transactions, 2 for each KB of an item, without its indexes; an update
counts as much as it says.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from gollem.ledger import Hold, Ledger, rules
from gollem.ledger.dynamodb.ledger import DynamoDBLedger, create_dynamodb, open_dynamodb
from gollem.ledger.dynamodb.plan import size_bytes
from gollem.ledger.dynamodb.writer import MAX_GROUP
from tests.fakes.tcp_proxy import TcpProxy
from tests.servers.dynamodb_local import CREDENTIALS, dynamodb_local

NOW_MS = 1_800_000_000_000
TERMS = json.dumps({"model": "a-model", "price_ticks": 100_000, "pad": "x" * 180})
USERS = 64
CALLERS = (1, 16, 64)
GAIN_TARGET = 5.0
DELAY_MS = 10  # about what a transaction takes in one region
_numbers = count(1)


@dataclass
class Run:
    """What one case measured. A write is one TransactWriteItems."""

    orders: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    writes: int = 0
    items: int = 0
    units: int = 0
    hold_ms: list[float] = field(default_factory=list)

    def watch(self, ledger: DynamoDBLedger) -> None:
        ledger.client.events.register("before-parameter-build.dynamodb.TransactWriteItems", self._note)

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self.writes += 1
        self.items += len(params["TransactItems"])
        self.units += sum(2 * -(-size_bytes(write) // 1_024) for write in params["TransactItems"])

    def quantile_ms(self, share: float) -> float:
        return sorted(self.hold_ms)[int(len(self.hold_ms) * share)]


Work = Callable[[Ledger, int, Run], Awaitable[None]]


@asynccontextmanager
async def opened(endpoint: str, users: int, max_group: int) -> AsyncIterator[DynamoDBLedger]:
    url = f"dynamodb://bench-{next(_numbers)}?endpoint={endpoint}&region=eu-west-1"
    await create_dynamodb(url, stream=False)
    ledger = await open_dynamodb(url, max_group=max_group)
    try:
        for user in range(users):
            await ledger.post(rules.grant(f"grant-{user}", f"user-{user}", 10**15, NOW_MS))
        yield ledger
        report = await ledger.audit()
        assert report.ok, report.findings
    finally:
        await ledger.close()


async def measure(
    endpoint: str, work: Work, callers: int, users: int, seconds: float, max_group: int = MAX_GROUP
) -> Run:
    run = Run()
    async with opened(endpoint, users, max_group) as ledger:
        run.watch(ledger)
        started, cpu_s = time.perf_counter(), time.process_time()

        async def call(caller: int) -> None:
            while time.perf_counter() < started + seconds:
                await work(ledger, caller % users, run)
                run.orders += 1

        await asyncio.gather(*map(call, range(callers)))
        run.seconds, run.cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    return run


async def hold(ledger: Ledger, user: int, run: Run) -> None:
    await _hold(ledger, user, run)


async def hold_and_settle(ledger: Ledger, user: int, run: Run) -> None:
    held = await _hold(ledger, user, run)
    await ledger.post(rules.settle(held, 700, 35, NOW_MS))


async def _hold(ledger: Ledger, user: int, run: Run) -> Hold:
    number = next(_numbers)
    opening = Hold(f"order-{number:09d}", f"user-{user}", f"p{number % 8}", 1_000, NOW_MS, NOW_MS + 60_000, TERMS)
    started = time.perf_counter()
    await ledger.post(rules.hold(opening, "bid", NOW_MS))
    run.hold_ms.append((time.perf_counter() - started) * 1_000)
    return opening


def report(case: str, value: float, unit: str, peer: str = "", peer_value: float = 0, target: float = 0) -> None:
    """One JSON line on stdout, one of the table on stderr."""
    ratio = round(value / peer_value, 3) if peer_value else None
    line = {"bench": "dynamodb", "case": case, "value": round(value, 3), "unit": unit}
    line |= {"peer": peer or None, "peer_value": round(peer_value, 3) if peer_value else None, "ratio": ratio}
    line |= {"target": target or None, "reached": ratio >= target if ratio and target else None}
    print(json.dumps(line), flush=True)
    beside = f"{ratio:8.2f} x {peer}" if ratio else ""
    print(f"{case:<44} {value:12,.2f} {unit:<14}{beside}", file=sys.stderr)


async def bench(endpoint: str, seconds: float) -> None:
    for callers in CALLERS:
        run = await measure(endpoint, hold_and_settle, callers, USERS, seconds)
        report(f"hold+settle, {callers} callers", 2 * run.orders / run.seconds, "transactions/s")
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            report(f"hold {name}, {callers} callers", run.quantile_ms(share), "ms")
        report(f"calls an order, {callers} callers", run.writes / run.orders, "calls")
        report(f"items an order, {callers} callers", run.items / run.orders, "items")
        report(f"write units an order, {callers} callers", run.units / run.orders, "WCU")
    await bench_groups(endpoint, "", seconds)
    host, port = "127.0.0.1", int(endpoint.rsplit(":", 1)[1])
    async with TcpProxy(host, port, delay_s=DELAY_MS / 1_000) as proxy:
        await bench_groups(f"http://{host}:{proxy.port}", f", {DELAY_MS} ms away", seconds)


async def bench_groups(endpoint: str, where: str, seconds: float) -> None:
    """64 callers of one user: several holds a request beside one."""
    single = await measure(endpoint, hold, 64, 1, seconds, max_group=1)
    group = await measure(endpoint, hold, 64, 1, seconds)
    peer, case = "one request a hold", f"64 callers of one user{where}"
    rates = group.orders / group.seconds, single.orders / single.seconds
    report(f"holds, {case}", rates[0], "holds/s", peer, rates[1], GAIN_TARGET if where else 0)
    cpu_ms = group.cpu_s / group.orders * 1_000, single.cpu_s / single.orders * 1_000
    report(f"client CPU a hold, {case}", cpu_ms[0], "ms", peer, cpu_ms[1])
    report(f"calls a hold, {case}", group.writes / group.orders, "calls", peer, single.writes / single.orders)
    units = group.units / group.orders, single.units / single.orders
    report(f"write units a hold, {case}", units[0], "WCU", peer, units[1])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement runs")
    chosen = parser.parse_args(arguments)
    os.environ |= CREDENTIALS
    with dynamodb_local() as endpoint:
        asyncio.run(bench(endpoint, chosen.seconds))


if __name__ == "__main__":
    main()
