"""What the shared book costs on Redis, alone and in whole servers: `python -m benchmarks.bench_nodes [--quick]`.

A table on stderr, one JSON line a case on stdout. Commands and bytes are counted by Redis itself, with what a function
calls inside counted apart, so they hold on any machine; rates share this one with Redis and the client. A change is a
report of an agent; changes are announced as they come, 20 ms of them to a batch.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass

import redis

from benchmarks import node_matches, node_refusals
from benchmarks.redis_usage import usage
from benchmarks.report import Case, tell
from gollem.clock import SystemClock
from gollem.config import NodesConfig, ProvidersConfig
from gollem.exchange import Floor
from gollem.market import Ask, Catalogue, MemoryBook
from gollem.nodes import Change, ClaimRequest, Granted, Heard, Lease, Placed, SharedBook, open_shared_book
from gollem.providers import Gauge, Promise, Registry
from tests.servers.redis_server import RedisServer, redis_server

BENCH = "nodes"
CALLERS = (1, 16, 64)
MODELS = 32


@dataclass(frozen=True)
class Sizes:
    seconds: float = 3.0
    asks: int = 100_000
    reports: int = 20_000


class Counter:
    """A listener that only counts."""

    def __init__(self) -> None:
        self.changes = 0
        self.batches = 0

    def apply(self, changes: Sequence[Change]) -> None:
        self.changes += len(changes)
        self.batches += 1

    def retain(self, partition: int, ask_keys: Set[str]) -> None:
        pass

    def restore(self, partition: int) -> None:
        pass


class Keeper(Counter):
    """A listener that does what a server does with what it hears: into the book, and into the registry of sellers."""

    def __init__(self) -> None:
        super().__init__()
        terms = {
            "multiplier": "1.00",
            "context_tokens": 8_192,
            "price": "0.001",
            "latency_ms": 200,
            "throughput_tps": 50,
        }
        models = {f"model-{number}": terms for number in range(MODELS)}
        catalogue = Catalogue.parse({"gpus": {"h100": {"multiplier": "1.00"}}, "models": models})
        self.floor = Floor(MemoryBook(catalogue), Registry(ProvidersConfig()), SystemClock())

    def apply(self, changes: Sequence[Change]) -> None:
        super().apply(changes)
        for change in changes:
            self.floor.take_in(change)


@asynccontextmanager
async def a_node(
    server: RedisServer, name: str, listener: Counter | None = None
) -> AsyncIterator[tuple[SharedBook, Counter]]:
    config = NodesConfig(
        book=f"redis://127.0.0.1:{server.port}",
        name=name,
        claim_timeout_ms=10_000,
        heartbeat_ms=10_000,
        join_ms=600_000,
        max_events=1_000_000,
    )
    node, listener = open_shared_book(config, "bench", SystemClock()), listener or Counter()
    await node.start(listener)
    try:
        yield node, listener
    finally:
        await node.close()


async def claim_cases(server: RedisServer, sizes: Sizes) -> AsyncIterator[Case]:
    async with a_node(server, "claimer") as (node, _):
        for callers in CALLERS:
            before, began, cpu_s = usage(server), time.perf_counter(), time.process_time()
            took_ms = await claim_and_release(node, callers, sizes.seconds)
            seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
            spent = usage(server).since(before)
            count = len(took_ms)
            yield Case(BENCH, f"claim and release, {callers} callers", count / seconds, "pairs/s")
            yield Case(BENCH, f"claim p50, {callers} callers", quantile(took_ms, 0.5), "ms")
            yield Case(BENCH, f"claim p99, {callers} callers", quantile(took_ms, 0.99), "ms")
        yield Case(BENCH, "commands a claim and release", spent.commands / count, "commands")
        yield Case(BENCH, "bytes a claim and release", spent.bytes / count, "bytes")
        yield Case(BENCH, "CPU of Redis a claim and release", 1e6 * spent.cpu_s / count, "us")
        yield Case(BENCH, "CPU of the node a claim and release", 1e6 * cpu_s / count, "us")


async def claim_and_release(node: SharedBook, callers: int, seconds: float) -> list[float]:
    """How long each claim took, in milliseconds."""
    took_ms: list[float] = []
    until = time.perf_counter() + seconds

    async def call(caller: int) -> None:
        number = 0
        while time.perf_counter() < until:
            number += 1
            order_id, key, model = f"order-{caller}-{number}", f"provider-{caller}/ask", f"model-{caller % MODELS}"
            began = time.perf_counter()
            answer = await node.claim(ClaimRequest(order_id, key, model, 1_000, 60_000, 1_000_000, 64))
            took_ms.append(1_000 * (time.perf_counter() - began))
            assert isinstance(answer, Granted), answer
            await node.release(Lease(order_id, key, model, 1_000, answer.fence))

    await asyncio.gather(*(call(caller) for caller in range(callers)))
    return took_ms


async def change_cases(server: RedisServer, sizes: Sizes) -> AsyncIterator[Case]:
    async with a_node(server, "speaker") as (speaker, _), a_node(server, "hearer") as (_, hearer):
        before, began = usage(server), time.perf_counter()
        for number in range(sizes.reports):
            speaker.announce(a_report(number, sequence=1))
            if number % 200 == 199:
                await asyncio.sleep(0)
        await reached(lambda: hearer.changes >= sizes.reports)
        seconds, spent = time.perf_counter() - began, usage(server).since(before)
        yield Case(BENCH, "changes from node to node", sizes.reports / seconds, "changes/s")
        yield Case(BENCH, "commands a change, sent and read", spent.commands / sizes.reports, "commands")
        yield Case(BENCH, "bytes a change, sent and read", spent.bytes / sizes.reports, "bytes")
        yield Case(BENCH, "CPU of Redis a change", 1e6 * spent.cpu_s / sizes.reports, "us")
        yield Case(BENCH, "changes a batch", hearer.changes / hearer.batches, "changes")
        yield Case(BENCH, "one change, announced to heard", await staleness_ms(speaker, hearer), "ms")


async def staleness_ms(speaker: SharedBook, hearer: Counter, rounds: int = 20) -> float:
    took_ms = []
    for number in range(rounds):
        known, began = hearer.changes, time.perf_counter()
        speaker.announce(a_report(number, sequence=2))
        await reached(lambda known=known: hearer.changes > known)
        took_ms.append(1_000 * (time.perf_counter() - began))
    return quantile(took_ms, 0.5)


async def catch_up_cases(server: RedisServer, sizes: Sizes) -> AsyncIterator[Case]:
    async with a_node(server, "speaker") as (speaker, _):
        for number in range(sizes.asks):
            speaker.announce(Placed(an_ask(number), None))
            speaker.announce(a_report(number, sequence=3))
        await reached(lambda: speaker.status().waiting == 0, within_s=600)
        before, began = usage(server), time.perf_counter()
        async with a_node(server, "newcomer") as (_, newcomer):
            seconds, spent = time.perf_counter() - began, usage(server).since(before)
        assert newcomer.changes >= 2 * sizes.asks, newcomer.changes
        yield Case(BENCH, f"a new node among {sizes.asks:,} asks", seconds, "s")
        yield Case(BENCH, "bytes an ask for a new node", spent.bytes / sizes.asks, "bytes")
        keeper, began = Keeper(), time.perf_counter()
        async with a_node(server, "keeper", keeper):
            seconds = time.perf_counter() - began
        assert len(keeper.floor) == sizes.asks, len(keeper.floor)
        yield Case(BENCH, f"the same, into its book and registry: {sizes.asks:,} asks", seconds, "s")
        with redis.Redis(port=server.port, protocol=2) as client:
            memory = client.info("memory")["used_memory"]
        yield Case(BENCH, "memory of Redis an ask", memory / sizes.asks, "bytes")


def an_ask(number: int) -> Ask:
    return Ask(
        provider_id=f"provider-{number}",
        ask_id="ask",
        model=f"model-{number % MODELS}",
        gpu_type="h100",
        price_ticks=100_000 + number,
        completion_price_ticks=100_000 + number,
        credit_rate_atoms=0,
        latency_us=200_000,
        tpot_ns=20_000_000,
        capacity_tokens=1_000_000,
        capacity_slots=64,
        endpoint=f"grpc://provider-{number}.example:443",
    )


def a_report(number: int, sequence: int) -> Heard:
    promise, gauge = Promise(200_000, 20_000_000, 1_000_000, 64), Gauge(3, 1, (("gpu0", 90, 1 << 30, 80 << 30),))
    return Heard(f"provider-{number}/ask", f"model-{number % MODELS}", sequence, promise, gauge)


async def reached(condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.perf_counter() + within_s
    while not condition():
        assert time.perf_counter() < deadline, "it takes too long"
        await asyncio.sleep(0.001)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


async def cases(sizes: Sizes, is_quick: bool) -> AsyncIterator[Case]:
    for part in (claim_cases, change_cases, catch_up_cases):
        with redis_server() as server:
            async for case in part(server, sizes):
                yield case
    async for case in node_refusals.refusal_cases(sizes.seconds):
        yield case
    async for case in node_matches.cases(sizes.seconds, is_quick):
        yield case


async def collect(sizes: Sizes, is_quick: bool) -> list[Case]:
    return [case async for case in cases(sizes, is_quick)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long claims or matches are made, each time")
    parser.add_argument("--asks", type=int, default=100_000, help="asks in the book that a new node reads")
    parser.add_argument("--quick", action="store_true", help="shows that it runs, its figures mean nothing")
    chosen = parser.parse_args(arguments)
    sizes = Sizes(0.05, 500, 500) if chosen.quick else Sizes(chosen.seconds, chosen.asks)
    tell("nodes", asyncio.run(collect(sizes, chosen.quick)))


if __name__ == "__main__":
    main(sys.argv[1:])
