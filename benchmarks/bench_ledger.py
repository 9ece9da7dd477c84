"""The ledger beside its limit and beside a peer in the same run: `python -m benchmarks.bench_ledger [--quick]`.

Prints a table, and one JSON line a case on stdout:
{"bench", "case", "value", "unit", "peer", "peer_value", "ratio", "target", "reached"}.
`ratio` says how many times as good as the peer the value is; a target is a least ratio.

A pair is a hold and its settlement with fee and refund: two ledger transactions, each durable before it is answered.
The limit is a bare loop that writes the same rows, as durable, in groups of the same size. The peer is PostgreSQL with
the same two phases as one stored procedure each. All three take turns, and each figure is the median of its rounds.
"""

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.ledger.bare import run_bare
from benchmarks.ledger.ours import memory_mib, run_ledger
from benchmarks.ledger.pgbench import pgbench_pairs
from benchmarks.ledger.postgres import CLIENTS, PeerMissing, cluster, run_peer
from benchmarks.ledger.workload import Run
from benchmarks.report import Case, less_is_better, more_is_better, tell

BENCH = "ledger"
CALLERS = (1, 16, 64)
LIMIT_TARGET = 0.5
PEER_TARGET = 3.0
MEMORY_TARGET = 0.9
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True)
class Sizes:
    """How long and how often."""

    seconds: float
    rounds: int
    memory_transactions: int
    folder: str | None


def cases(sizes: Sizes, with_peer: bool) -> Iterator[Case]:
    with ExitStack() as stack:
        socket = library = ""
        if with_peer:
            try:
                socket = stack.enter_context(cluster(sizes.folder))
                library = faster_client(socket, sizes.seconds)
            except PeerMissing as error:
                print(error, file=sys.stderr)
        for callers in CALLERS:
            yield from throughput_cases(sizes, callers, socket, library)
        if socket:
            yield pgbench_case(sizes, socket)
    yield memory_case(sizes)


def faster_client(socket: str, seconds: float) -> str:
    """The library that a user after speed would pick: the one that does more at 64 callers."""
    return max(CLIENTS, key=lambda library: run_peer(socket, library, CALLERS[-1], seconds).pairs_per_second)


def throughput_cases(sizes: Sizes, callers: int, socket: str, library: str) -> Iterator[Case]:
    ours: list[Run] = []
    theirs: list[Run] = []
    limits: list[float] = []
    for _ in range(sizes.rounds):
        with tempfile.TemporaryDirectory(dir=sizes.folder) as name:
            limits.append(run_bare(Path(name), callers, sizes.seconds))
            ours.append(run_ledger(Path(name), callers, sizes.seconds))
        if socket:
            theirs.append(run_peer(socket, library, callers, sizes.seconds))
    yield from against_limit(callers, ours, limits)
    if theirs:
        yield from against_peer(callers, ours, theirs, f"PostgreSQL, {library}")


def against_limit(callers: int, ours: list[Run], limits: list[float]) -> Iterator[Case]:
    case = f"hold+settle, {callers} callers"
    yield more_is_better(BENCH, case, pairs(ours), "pairs/s", "bare loop", median(limits), LIMIT_TARGET)
    group_ms = 1_000 * callers / median(limits) / 2
    for name, share in QUANTILES.items():
        case = f"hold {name}, {callers} callers"
        yield less_is_better(BENCH, case, quantile_ms(ours, share), "ms", "bare loop, a group", group_ms)


def against_peer(callers: int, ours: list[Run], theirs: list[Run], peer: str) -> Iterator[Case]:
    target = PEER_TARGET if callers == CALLERS[-1] else None
    case = f"hold+settle beside the peer, {callers} callers"
    yield more_is_better(BENCH, case, pairs(ours), "pairs/s", peer, pairs(theirs), target)
    for name, share in QUANTILES.items():
        case = f"hold {name} beside the peer, {callers} callers"
        yield less_is_better(BENCH, case, quantile_ms(ours, share), "ms", peer, quantile_ms(theirs, share))


def pgbench_case(sizes: Sizes, socket: str) -> Case:
    """No target: the client is C in processes of its own, where the ledger's callers are Python in the server's."""
    callers = CALLERS[-1]
    with tempfile.TemporaryDirectory(dir=sizes.folder) as name:
        ours = run_ledger(Path(name), callers, sizes.seconds)
    theirs = pgbench_pairs(socket, callers, sizes.seconds * sizes.rounds)
    case = f"hold+settle beside the peer's C client, {callers} callers"
    return more_is_better(BENCH, case, ours.pairs_per_second, "pairs/s", "PostgreSQL, pgbench", theirs)


def memory_case(sizes: Sizes) -> Case:
    with tempfile.TemporaryDirectory(dir=sizes.folder) as name:
        first, last = memory_mib(Path(name), sizes.memory_transactions)
    case = f"memory after {sizes.memory_transactions:,} transactions"
    return less_is_better(BENCH, case, last, "MiB", "after a fifth of them", first, MEMORY_TARGET)


def pairs(runs: list[Run]) -> float:
    return median(run.pairs_per_second for run in runs)


def quantile_ms(runs: list[Run], share: float) -> float:
    return median(run.quantile_ms(share) for run in runs)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement runs")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, taking turns")
    parser.add_argument("--folder", default=None, help="where the files go; default: the system's temporary folder")
    parser.add_argument("--no-peer", action="store_true", help="without PostgreSQL")
    parser.add_argument("--quick", action="store_true", help="shows that it runs, its figures mean nothing")
    chosen = parser.parse_args(arguments)
    sizes = Sizes(chosen.seconds, chosen.rounds, 1_000_000, chosen.folder)
    if chosen.quick:
        sizes = Sizes(0.05, 1, 2_000, chosen.folder)
    logging.getLogger("gollem").setLevel(logging.ERROR)  # the warning of an old SQLite, at each of many starts
    tell("ledger", cases(sizes, with_peer=not chosen.no_peer))


if __name__ == "__main__":
    main()
