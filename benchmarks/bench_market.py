"""The order book beside peers in the same run: `python -m benchmarks.bench_market [--quick]`.

Prints a table, and one JSON line a case on stdout:
{"bench", "case", "value", "unit", "peer", "peer_value", "ratio", "target", "reached"}.
`ratio` is peer / value, so that more is better; a target is a least ratio, or a most value where there is no peer.

The asks and bids are those of market_world.py, the workloads those of market_workloads.py. A match is returned at once,
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

from rich.console import Console
from rich.table import Table

from benchmarks.market_workloads import WORKLOADS, Workload
from benchmarks.market_world import GPUS, MODEL, PROVIDERS, World
from gollem.market import Catalogue, MemoryBook
from gollem.market.types import Ask, Bid


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


def workload_cases(name: str, n: int, rounds: int, target: float | None = None) -> Iterator[Case]:
    """100 operations and one match: beside numpy's masked arg-min alone, and beside a scan of every page after the same
    operations."""
    workload = WORKLOADS[name](n)
    peers = [time_ns(lambda: workload.world.numpy_match(workload.bid())) for _ in range(max(5, rounds // 10))]
    rounds_ns(workload, rounds, by_scan=False)
    ours = rounds_ns(workload, rounds, by_scan=False)
    flat = rounds_ns(workload, max(5, rounds // 4), by_scan=True)
    yield against(f"{name}, {n:,} asks", ours, "ns", "numpy masked arg-min", median(peers), None)
    yield against(f"{name}, {n:,} asks", ours, "ns", "flat scan", flat, target)


def rounds_ns(workload: Workload, rounds: int, by_scan: bool) -> float:
    """Median of the operations and the match after them."""
    book, times = workload.world.book, []
    for _ in range(rounds):
        bid, change = workload.bid(), workload.change()
        query = workload.world.query(bid)
        start = time.perf_counter_ns()
        change()
        found = book.match_by_scan(query) if by_scan else book.match(query)
        times.append(time.perf_counter_ns() - start)
        if found and not by_scan:
            book.claim(found[0], -bid.prompt_tokens - bid.max_tokens, -1)
    return median(times)


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
    for n, target in ((10_000, 2), (big, 1 / 0.15), (million, 1 / 0.03)):
        yield from workload_cases("realistic", n, max(10, rounds // 10), target)
    for name in WORKLOADS:
        if name != "realistic":
            yield from workload_cases(name, big, max(10, rounds // 10))
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
