"""The order book beside peers in the same run: `python -m benchmarks.bench_market [--quick]`.

Prints a table, and one JSON line a case on stdout:
{"bench", "case", "value", "unit", "peer", "peer_value", "ratio", "target", "reached"}.
`ratio` is peer / value, so that more is better; a target is a least ratio, or a most value where there is no peer.

Workload: one model, four GPU types. Prices on 32 ticks, lognormal latency and time per token, capacity heavy-tailed.
Bids have all limits and equal weights, 30 % name one GPU type, 10 % exclude two providers. A match is returned at once,
outside the time measured, so that the book stays as it is. Values are medians of single calls.
"""

import argparse
import json
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from gollem._core import Book, Query
from gollem.market import Catalogue, MemoryBook
from gollem.market.pricing import max_cost_units, scales
from gollem.market.types import Ask, Bid

MODEL = Catalogue.load().resolve("llama-3.3-70b")
GPUS = ("h100", "a100", "l40s", "rtx4090")
GPU_CENTI = np.array([200, 150, 100, 100])
PROVIDERS = 500


@dataclass
class Case:
    case: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    target: float | None = None
    reached: bool | None = None
    bench: str = "market"


def against(case: str, value: float, unit: str, peer: str, peer_value: float, target: float | None) -> Case:
    ratio = peer_value / value
    return Case(case, value, unit, peer, peer_value, ratio, target, None if target is None else ratio >= target)


def at_most(case: str, value: float, unit: str, target: float) -> Case:
    return Case(case, value, unit, target=target, reached=value <= target)


def time_ns(call: Callable[[], Any]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


class World:
    """n asks as columns, in a core book and for the peers."""

    def __init__(self, n: int, seed: int = 7) -> None:
        self.random = rng = np.random.default_rng(seed)
        self.n = n
        self.price = 1_000 * rng.integers(20, 52, n)
        self.completion = 2 * self.price
        self.latency, self.tpot = self.reported(n)
        self.tokens = np.minimum(10**9, 4_000 * rng.pareto(1.1, n) + 2_000).astype(np.int64)
        self.slots = np.full(n, 1_000)
        self.gpu = rng.integers(0, len(GPUS), n)
        self.provider = rng.integers(0, PROVIDERS, n)
        self.book = Book()
        self.partitions = [self.book.partition(int(centi)) for centi in GPU_CENTI]
        self.handles = np.array([self.book.add(self.partitions[g], p, *terms) for g, p, *terms in self.rows()])

    def rows(self) -> Iterator[tuple[int, ...]]:
        columns = (self.gpu, self.provider, self.price, self.completion, np.zeros(self.n, int))
        yield from zip(
            *[column.tolist() for column in (*columns, self.latency, self.tpot, self.tokens, self.slots)], strict=True
        )

    def reported(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        rng = self.random
        latency = np.clip(500_000 * rng.lognormal(0, 0.6, n), 1, 3.6e9).astype(np.int64)
        return latency, np.clip(1.5e7 * rng.lognormal(0, 0.5, n), 1, 1e13).astype(np.int64)

    def bid(self) -> Bid:
        rng = self.random
        return Bid(
            model=MODEL.name,
            prompt_tokens=int(rng.integers(50, 3_000)),
            max_tokens=int(rng.integers(50, 1_000)),
            max_price_ticks=60_000,
            max_cost_atoms=10**12,
            max_latency_us=1_500_000,
            max_tpot_ns=40_000_000,
            gpu_types=(GPUS[rng.integers(4)],) if rng.random() < 0.3 else (),
            exclude_providers=("1", "2") if rng.random() < 0.1 else (),
        )

    def query(self, bid: Bid) -> Query:
        cost, latency, tpot = scales(bid, MODEL)
        named = [GPUS.index(gpu) for gpu in bid.gpu_types] or range(4)
        return Query(
            tuple(self.partitions[i] for i in named),
            bid.prompt_tokens,
            bid.max_tokens,
            bid.prompt_tokens + bid.max_tokens,
            bid.max_price_ticks or 0,
            max_cost_units(bid.max_cost_atoms, MODEL.multiplier_micro),
            bid.max_latency_us or 0,
            bid.max_tpot_ns or 0,
            (*cost, *latency, *tpot),
            None,
            tuple(map(int, bid.exclude_providers)),
        )

    # --- peers ------------------------------------------------------------------------------------------------------

    def numpy_feasible(self, bid: Bid) -> tuple[np.ndarray, np.ndarray]:
        blend = self.price * bid.prompt_tokens + self.completion * bid.max_tokens
        cost = blend * GPU_CENTI[self.gpu]
        n = bid.prompt_tokens + bid.max_tokens
        ok = (blend <= (bid.max_price_ticks or 0) * n) & (self.latency <= (bid.max_latency_us or 0))
        ok &= (self.tpot <= (bid.max_tpot_ns or 0)) & (self.tokens >= n) & (self.slots > 0)
        ok &= cost <= max_cost_units(bid.max_cost_atoms, MODEL.multiplier_micro)
        if bid.gpu_types:
            ok &= self.gpu == GPUS.index(bid.gpu_types[0])
        for provider in bid.exclude_providers:
            ok &= self.provider != int(provider)
        return ok, cost

    def numpy_match(self, bid: Bid) -> int:
        """A masked arg-min."""
        ok, cost = self.numpy_feasible(bid)
        n = bid.prompt_tokens + bid.max_tokens
        score = cost / (60_000 * n * 100) + self.latency / 1_500_000 + self.tpot / 40_000_000
        return int(np.argmin(np.where(ok, score, np.inf)))

    def numpy_front(self, bid: Bid) -> int:
        """Sort by cost, then keep what the rest does not dominate, in blocks (numpy has no sweep)."""
        ok, cost = self.numpy_feasible(bid)
        points = np.column_stack([cost[ok], self.latency[ok], self.tpot[ok]])
        points = points[np.argsort(points.sum(axis=1) / points.mean(), kind="stable")]
        size = 0
        while len(points):
            head = points[0]
            size += 1
            points = points[np.any(points < head, axis=1)]
        return size


def matches(world: World, rounds: int) -> float:
    """Median ns of a match through Python, the query built beforehand."""
    book, times = world.book, []
    bids = [world.bid() for _ in range(rounds)]
    for bid, query in [(bid, world.query(bid)) for bid in bids]:
        start = time.perf_counter_ns()
        found = book.match(query)
        times.append(time.perf_counter_ns() - start)
        if found:
            book.claim(found[0], -bid.prompt_tokens - bid.max_tokens, -1)
    return median(times)


def match_cases(n: int, rounds: int) -> Iterator[Case]:
    world = World(n)
    matches(world, rounds)
    ours = matches(world, rounds)
    peers = [
        time_ns(lambda bid=bid: world.numpy_match(bid)) for bid in [world.bid() for _ in range(max(20, rounds // 10))]
    ]
    target = 20 if n <= 1_000 else 300
    yield against(f"match, {n:,} asks", ours, "ns", "numpy masked arg-min", median(peers), target)
    yield at_most(f"memory, {n:,} asks", world.book.memory_bytes() / n, "bytes/ask", 130)


def whole_book_case(n: int, rounds: int) -> Iterator[Case]:
    """Bid in, Match out: the query, names and offers included."""
    world, book = World(n), MemoryBook(Catalogue.load())
    for i, (gpu, provider, price, completion, _, latency, tpot, tokens, slots) in enumerate(world.rows()):
        book.place(
            Ask(str(provider), str(i), MODEL.name, GPUS[gpu], price, completion, 0, latency, tpot, tokens, slots, "")
        )
    bids = [world.bid() for _ in range(rounds)]
    times = []
    for bid in bids:
        start = time.perf_counter_ns()
        match = book.match(bid, 0)
        times.append(time.perf_counter_ns() - start)
        if hasattr(match, "offer"):
            book.release(match.offer.ask.key, match.claimed_tokens)
    peers = [time_ns(lambda bid=bid: world.numpy_match(bid)) for bid in bids[: max(20, rounds // 10)]]
    yield against(f"MemoryBook.match, {n:,} asks", median(times), "ns", "numpy masked arg-min", median(peers), None)


def mixed_case(n: int, rounds: int) -> Iterator[Case]:
    """82 % reprice, 7.5 % new, 7.5 % cancel, 3 % match; one Python call an operation."""
    world = World(n)
    rng, book = world.random, world.book
    handles = world.handles.tolist()
    kinds = rng.random(rounds).tolist()
    picks = rng.integers(0, n, rounds).tolist()
    prices = (1_000 * rng.integers(20, 52, rounds)).tolist()
    query = world.query(world.bid())
    change, add, remove, match = book.change, book.add, book.remove, book.match
    start = time.perf_counter_ns()
    for kind, pick, price in zip(kinds, picks, prices, strict=True):
        if kind < 0.82:
            change(handles[pick % len(handles)], price, price, 0, 500_000, 15_000_000, 100_000, 1_000)
        elif kind < 0.895:
            handles.append(add(pick & 3, pick % PROVIDERS, price, price, 0, 500_000, 15_000_000, 100_000, 1_000))
        elif kind < 0.97:
            handles[pick % len(handles)], last = handles[-1], handles[pick % len(handles)]
            handles.pop()
            remove(last)
        else:
            match(query)
    each = (time.perf_counter_ns() - start) / rounds
    yield Case(
        f"mixed stream, {n:,} asks",
        each,
        "ns/operation",
        "nautilus_trader's book, elsewhere",
        614,
        614 / each,
        2,
        each <= 307,
    )


def telemetry_case(n: int, rounds: int, target: float) -> Iterator[Case]:
    world = World(n)
    book, size = world.book, 10_000
    batches = []
    for _ in range(rounds):
        picked = world.random.integers(0, n, size)
        latency, tpot = world.reported(size)
        columns = (world.handles[picked], latency, tpot, world.tokens[picked], world.slots[picked])
        batches.append([array("q", column.tolist()) for column in columns])
    times = [time_ns(lambda batch=batch: book.update(*batch)) / size for batch in batches]
    one = [array("q", [column[0]]) for column in batches[0]]
    single = median(time_ns(lambda: book.update(*one)) for _ in range(2_000))
    yield at_most(f"telemetry in arrays of 10,000, {n:,} asks", median(times), "ns/update", target)
    yield against(
        f"the same beside single calls, {n:,} asks", median(times), "ns/update", "one call an update", single, 5
    )


def live_case(n: int, rounds: int) -> Iterator[Case]:
    """100 telemetry updates and one match."""
    world = World(n)
    book = world.book
    times, peers = [], []
    for _ in range(rounds):
        picked = world.random.integers(0, n, 100)
        latency, tpot = world.reported(100)
        bid = world.bid()
        query, columns = (
            world.query(bid),
            (world.handles[picked], latency, tpot, world.tokens[picked], world.slots[picked]),
        )
        batch = [array("q", column.tolist()) for column in columns]
        start = time.perf_counter_ns()
        book.update(*batch)
        found = book.match(query)
        times.append(time.perf_counter_ns() - start)
        if found:
            book.claim(found[0], -bid.prompt_tokens - bid.max_tokens, -1)
        world.latency[picked], world.tpot[picked] = latency, tpot
        if len(peers) < 50:
            peers.append(time_ns(lambda bid=bid: world.numpy_match(bid)))
    yield against(
        f"100 updates + 1 match, {n:,} asks", median(times), "ns", "numpy masked arg-min", median(peers), None
    )


def front_case(n: int, rounds: int, anticorrelated: bool = False) -> Iterator[Case]:
    """The whole front of independent, or of anti-correlated, asks."""
    world = World(n)
    if anticorrelated:
        world.latency = 10**9 // world.price + world.random.integers(0, 1_000, n)
        world.tpot = 10**12 // world.latency
        rows = [
            array("q", column.tolist())
            for column in (world.handles, world.latency, world.tpot, world.tokens, world.slots)
        ]
        world.book.update(*rows)
    bid = Bid(MODEL.name, 500, 500, 100_000, 10**15, 10**9, 10**12)
    query = world.query(bid)
    assert world.book.front(query, False, 0)[0] > 0
    ours = median(time_ns(lambda: world.book.front(query, False, 0)) for _ in range(rounds))
    peer = median(time_ns(lambda: world.numpy_front(bid)) for _ in range(max(1, rounds // 4)))
    kind = "anti-correlated" if anticorrelated else "independent"
    yield against(f"front of {n:,} {kind} asks", ours, "ns", "numpy, sort and sieve", peer, None)


def growth_case(sizes: list[int], rounds: int) -> Iterator[Case]:
    medians = [matches(World(n), rounds) for n in sizes]
    yield at_most(f"median match at {sizes[-1]:,} over {sizes[0]:,} asks", max(medians) / medians[0], "times", 8)


def cases(quick: bool) -> Iterator[Case]:
    big, million = (2_000, 3_000) if quick else (100_000, 1_000_000)
    rounds = 20 if quick else 2_000
    yield from match_cases(1_000, rounds)
    yield from whole_book_case(1_000, rounds)
    yield from match_cases(big, rounds)
    yield from mixed_case(1_000, rounds * 50)
    yield from mixed_case(big, rounds * 50)
    for n, target in ((1_000, 10), (10_000, 12), (big, 25), (million, 45)):
        yield from telemetry_case(n, 3 if quick else 30, target)
    for n in (10_000, big, million):
        yield from live_case(n, max(5, rounds // 10))
    for n in (10_000, big, million):
        yield from front_case(n, 2 if quick else 9)
    yield from front_case(10_000 if not quick else 500, 2 if quick else 9, anticorrelated=True)
    yield from growth_case([1_000, 10_000, big, million], max(5, rounds // 10))


def as_table(done: list[Case]) -> Table:
    table = Table("case", "value", "peer", "ratio", "target", "reached", title="order book")
    for case in done:
        table.add_row(
            case.case,
            f"{case.value:,.1f} {case.unit}",
            f"{case.peer} {case.peer_value:,.0f}" if case.peer_value is not None else "",
            f"{case.ratio:,.1f}" if case.ratio is not None else "",
            f"{case.target:g}" if case.target is not None else "",
            {True: "yes", False: "no", None: ""}[case.reached],
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, its figures mean nothing"
    )
    done = []
    for case in cases(parser.parse_args(arguments).quick):
        print(json.dumps(asdict(case)), flush=True)
        done.append(case)
    Console(file=sys.stderr).print(as_table(done))


if __name__ == "__main__":
    main()
